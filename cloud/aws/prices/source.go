package prices

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// lookEvery is how often a source looks for refreshed prices, at most.
const lookEvery = time.Minute

// Source gives the table in force to a portal that runs for long: a refresh is seen within a minute.
type Source struct {
	dataDir string
	log     *slog.Logger
	now     func() time.Time

	mu     sync.Mutex
	table  *Table
	seen   string    // what the folder was like when the table was loaded
	looked time.Time // when it was last looked at
}

// NewSource returns a source for a data folder. Files that cannot be used are logged, once.
func NewSource(dataDir string, log *slog.Logger) *Source {
	return &Source{dataDir: dataDir, log: log, now: time.Now}
}

// Table returns the table in force.
func (s *Source) Table() *Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.table != nil && now.Sub(s.looked) < lookEvery && !now.Before(s.looked) {
		return s.table
	}
	s.looked = now
	folder := look(filepath.Join(s.dataDir, FolderName))
	if s.table != nil && folder == s.seen {
		return s.table
	}
	table, err := Load(s.dataDir)
	if err != nil {
		s.log.Warn("some refreshed prices cannot be used", "error", err)
	}
	s.table, s.seen = table, folder
	return table
}

// look describes the files of a folder so that a change of one changes the description.
func look(dir string) string {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	var b strings.Builder
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			fmt.Fprintln(&b, f.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}
