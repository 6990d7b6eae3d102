package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"wherry/platform"
)

// taskFileNames are what people look at in a task's folder.
var taskFileNames = []string{".command.sh", ".command.run", ".command.out", ".command.err", ".command.log", ".command.begin", ".command.trace", exitFile}

// taskFiles keeps the small files of tasks that have ended at their place in the work directory, where Nextflow works in a
// folder of the machine. Those of failed tasks go first.
type taskFiles struct {
	store Store
	work  string
	log   *slog.Logger
	wake  chan struct{}

	mu             sync.Mutex
	failed, others []string
	seen           map[string]bool
	ended          bool
	missing        atomic.Int64 // files that could not be kept
}

func newTaskFiles(store Store, work string, log *slog.Logger) *taskFiles {
	return &taskFiles{store: store, work: work, log: log, wake: make(chan struct{}, 1), seen: map[string]bool{}}
}

// see takes the tasks of a trace call.
func (k *taskFiles) see(body json.RawMessage) {
	var call struct {
		Tasks []struct {
			Status  platform.TaskStatus `json:"status"`
			Workdir string              `json:"workdir"`
		} `json:"tasks"`
	}
	if json.Unmarshal(body, &call) != nil {
		return // whoever takes the call says so
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range call.Tasks {
		folder, err := filepath.Rel(k.work, t.Workdir)
		if !t.Status.Ended() || err != nil || !filepath.IsLocal(folder) || k.seen[folder] {
			continue
		}
		k.seen[folder] = true
		if t.Status == platform.TaskFailed {
			k.failed = append(k.failed, folder)
		} else {
			k.others = append(k.others, folder)
		}
	}
	wake(k.wake)
}

// finish lets run return once all is kept.
func (k *taskFiles) finish() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	wake(k.wake)
}

func (k *taskFiles) take() (batch []string, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := &k.failed
	if len(*list) == 0 {
		list = &k.others
	}
	n := min(len(*list), parallel)
	batch, *list = (*list)[:n:n], (*list)[n:]
	return batch, k.ended
}

// run keeps what see took, until finish.
func (k *taskFiles) run(ctx context.Context) {
	for ctx.Err() == nil {
		batch, ended := k.take()
		if len(batch) > 0 {
			if err := each(ctx, batch, k.keep); err != nil {
				k.log.Warn("files of tasks could not be kept", "error", err)
			}
			continue
		}
		if ended {
			return
		}
		select {
		case <-ctx.Done():
		case <-k.wake:
		}
	}
}

func (k *taskFiles) keep(ctx context.Context, folder string) error {
	var failures []error
	for _, name := range taskFileNames {
		err := putFile(ctx, k.store, filepath.ToSlash(filepath.Join(folder, name)), filepath.Join(k.work, folder, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.missing.Add(1)
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// putFile keeps a file as long as it is now.
func putFile(ctx context.Context, store Store, key, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return store.Put(ctx, key, io.NewSectionReader(file, 0, info.Size()))
}

// moved replaces the folder that a machine works in by the work directory, in a trace call's workdir and workDir: what
// people see is where the files are kept.
func moved(body json.RawMessage, from, to string) json.RawMessage {
	var call map[string]json.RawMessage
	if from == to || json.Unmarshal(body, &call) != nil {
		return body
	}
	var tasks []map[string]json.RawMessage
	if json.Unmarshal(call["tasks"], &tasks) == nil && tasks != nil {
		for _, t := range tasks {
			moveField(t, "workdir", from, to)
		}
		call["tasks"] = mustJSON(tasks)
	}
	var workflow map[string]json.RawMessage
	if json.Unmarshal(call["workflow"], &workflow) == nil && workflow != nil {
		moveField(workflow, "workDir", from, to)
		call["workflow"] = mustJSON(workflow)
	}
	return mustJSON(call)
}

func moveField(object map[string]json.RawMessage, name, from, to string) {
	var path string
	if json.Unmarshal(object[name], &path) != nil {
		return
	}
	if rest, ok := strings.CutPrefix(path, from); ok && (rest == "" || rest[0] == '/') {
		object[name] = mustJSON(strings.TrimRight(to, "/") + rest)
	}
}

func mustJSON(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // what was read as JSON can be written
	}
	return text
}
