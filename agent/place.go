package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"wherry/platform"
)

// Place is what an agent needs of the cloud that its machine is in. On the portal's own host there is none.
type Place interface {
	// Store keeps files in a run's work directory. An error says, for people, why that directory cannot be one.
	Store(ctx context.Context, spec platform.Spec) (Store, error)
	// StreamLog sends a log file to where the place keeps logs, as it grows, until ended is closed and all is sent, ctx is
	// done, or the place refuses for good. It never waits for anything but ctx once it has given up.
	StreamLog(ctx context.Context, spec platform.Spec, stream platform.LogStream, file string, ended <-chan struct{}) error
	// Interruption waits until the place says that it takes the machine away, and returns when that will be. An error
	// means that ctx is done first.
	Interruption(ctx context.Context) (time.Time, error)
	// StayAlive puts the machine's own end off: without another call within d it ends itself.
	StayAlive(ctx context.Context, d time.Duration) error
	// FastDisk puts the machine's fastest unused disk at a folder, which exists afterwards in any case, and says what the
	// folder lies on.
	FastDisk(ctx context.Context, dir string) (what string, err error)
	// InstallMounter makes sure that the command that mounts buckets (mountCommand) is there.
	InstallMounter(ctx context.Context) error
}

// Store keeps files for longer than the machine lives. Keys are relative to a run's work directory, with slashes.
type Store interface {
	// Put keeps all that body has. What is there under the key already is replaced, at once or not at all.
	Put(ctx context.Context, key string, body io.Reader) error
	// Get opens what is kept; fs.ErrNotExist means nothing.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// List returns the keys that begin with a prefix, in order.
	List(ctx context.Context, prefix string) ([]string, error)
	// Delete removes what is kept under the key. Nothing there is as good; fs.ErrNotExist may say so.
	Delete(ctx context.Context, key string) error
}

// folderStore is a work directory on the portal's own host: its files outlive the machine where they are.
type folderStore string

func (s folderStore) path(key string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return "", &fs.PathError{Op: "open", Path: key, Err: fs.ErrInvalid}
	}
	return filepath.Join(string(s), filepath.FromSlash(key)), nil
}

// partPrefix begins the names of files that are being written.
const partPrefix = ".part-"

// removeParts removes what an agent that was killed left half written in a folder, in which nobody else writes.
func (s folderStore) removeParts(folder string) error {
	found, err := filepath.Glob(filepath.Join(string(s), filepath.FromSlash(folder), partPrefix+"*"))
	for _, part := range found {
		err = errors.Join(err, os.Remove(part))
	}
	return err
}

// Put writes a file beside its place and moves it there.
func (s folderStore) Put(_ context.Context, key string, body io.Reader) error {
	to, err := s.path(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(to), partPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name()) // it is not there any more when all went well
	_, err = io.Copy(part, body)
	if err := errors.Join(err, part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), to)
}

func (s folderStore) Get(_ context.Context, key string) (io.ReadCloser, error) {
	from, err := s.path(key)
	if err != nil {
		return nil, err
	}
	return os.Open(from)
}

func (s folderStore) Delete(_ context.Context, key string) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func (s folderStore) List(_ context.Context, prefix string) (keys []string, err error) {
	err = filepath.WalkDir(filepath.Join(string(s), filepath.FromSlash(path.Dir(prefix+"x"))), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(string(s), p)
		if key := filepath.ToSlash(name); err == nil && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
		return err
	})
	return keys, err
}
