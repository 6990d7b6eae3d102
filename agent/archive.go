package agent

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// packFolder writes a folder as a tar archive: bytes, links as they are, modes, owners and times to the nanosecond, because
// Nextflow tells by them whether a task's input is the same. Names begin with the folder's path below root. Sockets and
// pipes are left out. A file that grows while it is read is taken as long as it was.
func packFolder(to io.Writer, root, folder string) error {
	w := tar.NewWriter(to)
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return packOne(w, root, path, d)
	})
	return errors.Join(err, w.Close())
}

func packOne(w *tar.Writer, root, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	} else if !info.Mode().IsRegular() && !info.IsDir() {
		return nil
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	header, err := archiveHeader(name, info, link)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyN(w, file, info.Size())
	return err
}

// archiveHeader is what an archive says of a file before its bytes. link is what a symbolic link holds.
func archiveHeader(name string, info fs.FileInfo, link string) (*tar.Header, error) {
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil, err
	}
	header.Name, header.Format, header.Uname, header.Gname = name, tar.FormatPAX, "", ""
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	return header, nil
}

// unpack restores what packFolder wrote, below root and nowhere else.
func unpack(from io.Reader, folder string) error {
	return unpackSome(from, folder, func(*tar.Header) bool { return true })
}

// unpackSome is unpack for what wanted tells. Names may be given to it that are not below root.
func unpackSome(from io.Reader, folder string, wanted func(*tar.Header) bool) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	var folders []*tar.Header
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !wanted(h) {
			continue
		}
		if err := unpackOne(root, h, r); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			folders = append(folders, h)
		}
	}
	for _, h := range slices.Backward(folders) { // last, because what is put into a folder changes its time, and may need its mode
		if err := settleMode(root, h); err != nil {
			return err
		}
	}
	return nil
}

func unpackOne(root *os.Root, h *tar.Header, body io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(h.Name, 0o755)
	case tar.TypeSymlink:
		return unpackLink(root, h)
	case tar.TypeLink:
		return root.Link(h.Linkname, h.Name)
	case tar.TypeReg:
		return errors.Join(unpackFile(root, h, body), settleMode(root, h))
	}
	return nil
}

// settleMode gives a file or folder its owner, mode and time.
func settleMode(root *os.Root, h *tar.Header) error {
	if os.Geteuid() == 0 {
		if err := root.Chown(h.Name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	return errors.Join(root.Chmod(h.Name, h.FileInfo().Mode().Perm()), root.Chtimes(h.Name, h.ModTime, h.ModTime))
}

func unpackFile(root *os.Root, h *tar.Header, body io.Reader) error {
	file, err := root.Create(h.Name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
}

func unpackLink(root *os.Root, h *tar.Header) error {
	if err := root.Remove(h.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.Symlink(h.Linkname, h.Name); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := root.Lchown(h.Name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root.Name(), h.Name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}
