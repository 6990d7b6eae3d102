package agent

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	if header.Name, err = filepath.Rel(root, path); err != nil {
		return err
	}
	header.Format, header.Uname, header.Gname = tar.FormatPAX, "", ""
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
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

// unpack restores what packFolder wrote, below root and nowhere else.
func unpack(from io.Reader, folder string) error {
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
		if err := unpackOne(root, h, r); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			folders = append(folders, h)
		}
	}
	for _, h := range folders { // last, because what is put into a folder changes its time
		if err := root.Chtimes(h.Name, h.ModTime, h.ModTime); err != nil {
			return err
		}
	}
	return nil
}

func unpackOne(root *os.Root, h *tar.Header, body io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
		return err
	}
	mode := h.FileInfo().Mode().Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(h.Name, 0o755); err != nil {
			return err
		}
	case tar.TypeSymlink:
		return unpackLink(root, h)
	case tar.TypeReg:
		if err := unpackFile(root, h, body); err != nil {
			return err
		}
	default:
		return nil
	}
	if os.Geteuid() == 0 {
		if err := root.Chown(h.Name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	return errors.Join(root.Chmod(h.Name, mode), root.Chtimes(h.Name, h.ModTime, h.ModTime))
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
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root.Name(), h.Name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}
