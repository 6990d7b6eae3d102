package agent

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"wherry/platform"
)

// dataFolder is the folder at the root of a workspace that has the mounts. Nothing in it is kept.
var dataFolder = path.Base(platform.DataFolder)

// inData tells whether a name of a workspace is the folder of the mounts, or in it.
func inData(name string) bool {
	first, _, _ := strings.Cut(path.Clean(strings.TrimLeft(name, "/")), "/")
	return first == dataFolder
}

// walkWorkspace calls visit for all of a workspace that is kept, in order, by its name in it. err is why something cannot be looked
// at.
func walkWorkspace(folder string, visit func(name string, d fs.DirEntry, err error) error) error {
	return filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(folder, file)
		switch {
		case relErr != nil:
			return relErr
		case name == "." && err != nil:
			return err
		case inData(name) && err == nil && d.IsDir():
			return fs.SkipDir
		case inData(name):
			return nil
		}
		return visit(name, d, err)
	})
}

// workspaceArchive is what is known of an archive of a workspace.
type workspaceArchive struct {
	size, bytes, files int64    // of the archive, and of the files in it
	unread             []string // what could not be read, and is not in it
}

// packWorkspace writes a workspace that may be in use as packFolder does, compressed. Each file is as it was when it was
// read: one that vanishes meanwhile is left out, one that becomes shorter ends with zeros. Nothing outside is read, whatever
// becomes a link meanwhile.
func packWorkspace(to io.Writer, folder string) (workspaceArchive, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return workspaceArchive{}, err
	}
	defer root.Close()
	counted := &counter{to: to}
	zipped, err := gzip.NewWriterLevel(counted, gzip.BestSpeed)
	if err != nil {
		return workspaceArchive{}, err
	}
	p := &packer{w: tar.NewWriter(zipped), root: root, first: map[inode]string{}}
	err = walkWorkspace(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			p.passOver(name, err)
			return nil
		}
		return p.add(name, d)
	})
	err = errors.Join(err, p.w.Close(), zipped.Close())
	p.made.size = counted.n
	return p.made, err
}

// counter counts what goes through it.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	return n, err
}

// inode is a file, whatever its names.
type inode struct{ device, number uint64 }

// packer adds files to an archive.
type packer struct {
	w     *tar.Writer
	root  *os.Root
	first map[inode]string // of files with more than one name: the first
	made  workspaceArchive
}

// passOver notes what cannot be read; what has vanished was never there.
func (p *packer) passOver(name string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		p.made.unread = append(p.made.unread, name)
	}
}

// add adds one file, folder or link. An error is one of writing.
func (p *packer) add(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		p.passOver(name, err)
		return nil
	}
	switch {
	case info.IsDir():
		return p.header(name, info, "")
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := p.root.Readlink(name)
		if err != nil {
			p.passOver(name, err)
			return nil
		}
		p.made.files++
		return p.header(name, info, to)
	case info.Mode().IsRegular():
		return p.file(name)
	}
	return nil // a socket, a pipe or a device
}

func (p *packer) header(name string, info fs.FileInfo, link string) error {
	h, err := archiveHeader(name, info, link)
	if err != nil {
		return err
	}
	return p.w.WriteHeader(h)
}

// file adds a regular file, and of its later names only that they are the same file.
func (p *packer) file(name string) error {
	file, err := p.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		p.passOver(name, err)
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() { // it has become something else
		p.passOver(name, err)
		return nil
	}
	h, err := archiveHeader(name, info, "")
	if err != nil {
		return err
	}
	p.made.files++
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		node := inode{uint64(stat.Dev), stat.Ino}
		if first, known := p.first[node]; known {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.w.WriteHeader(h)
		}
		p.first[node] = name
	}
	p.made.bytes += h.Size
	return p.content(h, file)
}

// content writes a header and as many bytes as it says.
func (p *packer) content(h *tar.Header, file io.Reader) error {
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	source := &source{Reader: file}
	n, err := io.CopyN(p.w, source, h.Size)
	if err == nil {
		return nil
	}
	if source.err == nil { // the archive could not be written
		return err
	}
	if !errors.Is(source.err, io.EOF) {
		p.made.unread = append(p.made.unread, h.Name)
	}
	_, err = io.CopyN(p.w, zeros{}, h.Size-n)
	return err
}

// source remembers why it could not be read on.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(b []byte) (n int, err error) {
	n, err = s.Reader.Read(b)
	s.err = err
	return n, err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// unpackWorkspace restores what packWorkspace wrote. The archive is checked to its last byte.
func unpackWorkspace(from io.Reader, folder string) (made workspaceArchive, err error) {
	zipped, err := gzip.NewReader(from)
	if err != nil {
		return made, err
	}
	err = unpackSome(zipped, folder, func(h *tar.Header) bool {
		if inData(h.Name) {
			return false
		}
		if h.Typeflag != tar.TypeDir {
			made.files, made.bytes = made.files+1, made.bytes+h.Size
		}
		return true
	})
	if err == nil {
		_, err = io.Copy(io.Discard, zipped)
	}
	return made, err
}

// workspacePrint tells whether a workspace is as it was: names, sizes, modes and times of change. What cannot be looked at
// counts as not there.
func workspacePrint(ctx context.Context, folder string) (uint64, error) {
	sum := fnv.New64a()
	err := walkWorkspace(folder, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintln(sum, name, info.Size(), info.Mode(), changedAt(info))
		}
		return nil
	})
	return sum.Sum64(), err
}

// changedAt is when a file was last changed, its owner and mode included, in nanoseconds.
func changedAt(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ctim.Nano()
	}
	return info.ModTime().UnixNano()
}
