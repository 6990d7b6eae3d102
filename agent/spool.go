package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"wherry/mask"
	"wherry/platform"
)

// traceCall is one call of the trace API.
type traceCall = platform.KeptCall

// spool keeps calls of the trace API in order until the portal has taken them. Whoever makes a call, Nextflow's plugin or
// the agent itself, is answered at once: a portal that restarts must not stop a run, and the plugin does not repeat.
type spool struct {
	portal *portal
	runID  string
	log    *slog.Logger
	wake   chan struct{}

	// Where Nextflow works in a folder of the machine, paths in it are told as paths in the work directory.
	from, to string
	seen     func(body json.RawMessage) // gets every call before that; nil: nobody
	mask     *mask.Mask                 // of what is told; nil: nothing is masked
	record   io.Writer                  // gets every call as a line after that; nil: nothing

	mu               sync.Mutex
	waiting          []traceCall
	ended            bool
	session, project string
}

func newSpool(p *portal, runID string, log *slog.Logger) *spool {
	return &spool{portal: p, runID: runID, log: log, wake: make(chan struct{}, 1)}
}

// maxMerged is how many bytes of progress are merged into one call: the portal takes calls of 16 MB, and refuses longer ones.
const maxMerged = 4 << 20

// add takes a call. Progress that waits behind progress is merged with it, so that an outage costs memory for the tasks
// that changed and not for its length.
func (s *spool) add(call traceCall) {
	if s.seen != nil {
		s.seen(call.Body)
	}
	call.Body = moved(call.Body, s.from, s.to)
	if s.mask != nil {
		call.Body = maskJSON(s.mask, call.Body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer wake(s.wake)
	s.note(call)
	last := len(s.waiting) - 1
	if call.Name == "progress" && last >= 1 && s.waiting[last].Name == "progress" && // the first may be on its way
		len(s.waiting[last].Body)+len(call.Body) <= maxMerged {
		if merged, err := mergeProgress(s.waiting[last].Body, call.Body); err == nil {
			s.waiting[last].Body = merged
			return
		}
	}
	s.waiting = append(s.waiting, call)
}

// note keeps a call for a portal that does not hear it, and what the agent itself must know.
func (s *spool) note(call traceCall) {
	if s.record != nil {
		var line bytes.Buffer
		err := json.Compact(&line, call.Body)
		if err == nil {
			err = json.NewEncoder(s.record).Encode(traceCall{Name: call.Name, Body: line.Bytes()})
		}
		if err != nil {
			s.log.Warn("a trace call could not be kept", "call", call.Name, "error", err)
		}
	}
	var created struct {
		SessionID   string `json:"sessionId"`
		ProjectName string `json:"projectName"`
	}
	if call.Name == "create" && json.Unmarshal(call.Body, &created) == nil {
		s.session, s.project = created.SessionID, created.ProjectName
	}
}

// sessionID is Nextflow's session, "" until it has told it.
func (s *spool) sessionID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// projectName is the pipeline as Nextflow names it, "" until it has.
func (s *spool) projectName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.project
}

// mergeProgress joins two reports: of each task the newer state, and the newer counts.
func mergeProgress(older, newer json.RawMessage) (json.RawMessage, error) {
	var a, b map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(older, &a), json.Unmarshal(newer, &b)); err != nil {
		return nil, err
	}
	type ident struct {
		TaskID int64 `json:"taskId"`
	}
	var tasks []json.RawMessage
	place := map[int64]int{}
	for _, body := range []map[string]json.RawMessage{a, b} {
		var list []json.RawMessage
		if len(body["tasks"]) == 0 {
			continue
		}
		if err := json.Unmarshal(body["tasks"], &list); err != nil {
			return nil, err
		}
		for _, task := range list {
			var id ident
			if err := json.Unmarshal(task, &id); err != nil {
				return nil, err
			}
			if i, ok := place[id.TaskID]; ok {
				tasks[i] = task
				continue
			}
			place[id.TaskID] = len(tasks)
			tasks = append(tasks, task)
		}
	}
	var err error
	if b["tasks"], err = json.Marshal(tasks); err != nil {
		return nil, err
	}
	return json.Marshal(b)
}

// finish lets run return once all is sent.
func (s *spool) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	wake(s.wake)
}

func (s *spool) first() (call traceCall, ok, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return call, false, s.ended
	}
	return s.waiting[0], true, s.ended
}

// run sends calls in their order until finish. One that the portal refuses is left out: the run is worth more.
func (s *spool) run(ctx context.Context) error {
	for ctx.Err() == nil {
		call, ok, ended := s.first()
		if !ok {
			if ended {
				return nil
			}
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		err := s.send(ctx, call)
		var refused *refusal
		if errors.As(err, &refused) {
			s.log.Warn("the portal refused a trace call", "call", call.Name, "error", err)
		} else if err != nil {
			return err
		}
		s.mu.Lock()
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
	}
	return nil
}

func (s *spool) send(ctx context.Context, call traceCall) error {
	method, path := http.MethodPut, "/api/trace/"+s.runID+"/"+call.Name
	if call.Name == "create" {
		method, path = http.MethodPost, "/api/trace/create"
	}
	_, err := s.portal.callRaw(ctx, method, path, "application/json", call.Body)
	return err
}
