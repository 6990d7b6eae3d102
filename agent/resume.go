package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// resumeFolder is where a session's work is kept for a run that resumes it, relative to the work directory.
func resumeFolder(sessionID string) string { return ".wherry/resume/" + sessionID }

const (
	cacheFolder  = ".nextflow" // Nextflow's cache, in the folder of work
	cacheArchive = "cache.tar"
	// startFile and exitFile are what a task's folder has when it has begun and when it has ended (Nextflow's
	// documentation, "Cache and resume").
	startFile = ".command.run"
	exitFile  = ".exitcode"
)

// saver keeps the folder of work and Nextflow's cache while a run goes on, each task's folder as an archive of its own.
type saver struct {
	store   Store
	work    string
	session func() string // "" until Nextflow has told it
	log     *slog.Logger

	mu    sync.Mutex
	saved map[string]uint64 // by folder: the print of what was saved
}

func newSaver(store Store, work string, session func() string, log *slog.Logger) *saver {
	return &saver{store: store, work: work, session: session, log: log, saved: map[string]uint64{}}
}

// run saves what has ended every so often, until ctx is done.
func (s *saver) run(ctx context.Context, every time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
			if err := s.save(ctx, false); err != nil && ctx.Err() == nil {
				s.log.Warn("saving the work for a resumed run failed; it is tried again", "error", err)
			}
		}
	}
}

// save keeps what is new or changed. The cache comes last: what it names is there then. At the end, when Nextflow has
// closed it, all is saved that is there.
func (s *saver) save(ctx context.Context, end bool) error {
	session := s.session()
	if session == "" {
		return nil // Nextflow did not come so far as to have anything to resume
	}
	units, err := workUnits(s.work, end)
	if err != nil {
		return err
	}
	err = each(ctx, units, func(ctx context.Context, unit string) error {
		return s.saveFolder(ctx, unit, resumeFolder(session)+"/work/"+filepath.ToSlash(unit)+".tar")
	})
	return errors.Join(err, s.saveCache(ctx, resumeFolder(session)+"/"+cacheArchive))
}

func (s *saver) saveFolder(ctx context.Context, folder, key string) error {
	now, _, err := folderPrint(filepath.Join(s.work, folder))
	if err != nil {
		return err
	}
	s.mu.Lock()
	same := s.saved[folder] == now
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := putFolder(ctx, s.store, key, s.work, folder); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved[folder] = now
	return nil
}

// saveCache keeps Nextflow's cache. While it is read Nextflow may write: the database appends to its log, which a reader
// stands, and now and then makes new files of old ones. Then it is read again another time.
func (s *saver) saveCache(ctx context.Context, key string) error {
	folder := filepath.Join(s.work, cacheFolder)
	if !exists(folder) {
		return nil
	}
	_, before, err := folderPrint(folder)
	if err != nil {
		return err
	}
	copied, err := os.MkdirTemp(s.work, ".cache-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	if err := copyFolder(folder, filepath.Join(copied, cacheFolder)); err != nil {
		return err
	}
	if _, after, err := folderPrint(folder); err != nil || after != before {
		return errors.Join(err, errors.New("Nextflow's cache changed while it was read"))
	}
	return putFolder(ctx, s.store, key, copied, cacheFolder)
}

func copyFolder(from, to string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(packFolder(w, from, ".")) }()
	if err := os.MkdirAll(to, 0o755); err != nil {
		r.CloseWithError(err)
		return err
	}
	err := unpack(r, to)
	r.CloseWithError(err)
	return err
}

// putFolder keeps a folder below root as an archive.
func putFolder(ctx context.Context, store Store, key, root, folder string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(packFolder(w, root, folder)) }()
	err := store.Put(ctx, key, r)
	r.CloseWithError(errors.New("nobody reads any more"))
	return err
}

// folderPrint tells whether a folder is as it was (names, sizes, times), and whether its files are the same ones (names).
func folderPrint(folder string) (all, names uint64, err error) {
	sum, nameSum := fnv.New64a(), fnv.New64a()
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(nameSum, path)
		fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	return sum.Sum64(), nameSum.Sum64(), err
}

var hashFolder = regexp.MustCompile(`^[0-9a-f]{2}$`)

// workUnits lists the folders that are saved each for itself: those of tasks that have ended, and files that Nextflow
// staged. Other folders, such as those of Conda, are saved at the end.
func workUnits(work string, end bool) (units []string, err error) {
	tops, err := os.ReadDir(work)
	if err != nil {
		return nil, err
	}
	for _, top := range tops {
		name := top.Name()
		switch {
		case !top.IsDir() || strings.HasPrefix(name, "."):
		case hashFolder.MatchString(name):
			units = append(units, below(work, name, func(folder string) bool { return end || hasEnded(filepath.Join(work, folder)) })...)
		case strings.HasPrefix(name, "stage-"):
			units = append(units, below(work, name, func(string) bool { return end })...)
		case end:
			units = append(units, name)
		}
	}
	return units, nil
}

// below lists the folders in a folder that pass a test. What vanishes meanwhile is not there.
func below(work, folder string, passes func(string) bool) (list []string) {
	entries, _ := os.ReadDir(filepath.Join(work, folder))
	for _, e := range entries {
		if name := filepath.Join(folder, e.Name()); e.IsDir() && passes(name) {
			list = append(list, name)
		}
	}
	return list
}

// hasEnded tells whether a folder is a task's that has ended, or was never one of a task that could end.
func hasEnded(folder string) bool {
	info, err := os.Stat(filepath.Join(folder, exitFile))
	return err == nil && info.Size() > 0 || err != nil && !exists(filepath.Join(folder, startFile))
}

// restore brings back a session's work and cache, to the same paths. It returns how many folders of work it brought.
func restore(ctx context.Context, store Store, work, sessionID string) (count int, err error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return 0, err
	}
	prefix := resumeFolder(sessionID) + "/"
	keys, err := store.List(ctx, prefix)
	if err != nil {
		return 0, err
	}
	err = each(ctx, keys, func(ctx context.Context, key string) error {
		body, err := store.Get(ctx, key)
		if err != nil {
			return err
		}
		defer body.Close()
		if err := unpack(body, work); err != nil {
			return fmt.Errorf("%s: %w", path.Base(key), err)
		}
		return nil
	})
	return max(0, len(keys)-1), err
}
