package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/platform"
)

// fakePortal takes what an agent sends, as the real one does, with the faults that a test asks for.
type fakePortal struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	spec    platform.Spec
	key     string
	logs    map[platform.LogStream][]byte
	steps   []string
	stepAt  map[string]time.Time // of the machine's clock
	reports []platform.Report
	boots   []platform.BootReport
	kept    []platform.CheckpointReport
	forget  []platform.CheckpointRef // what is answered to checkpoints
	removed []string                 // ids of checkpoints
	usage   []platform.Usage
	stopIn  time.Duration // what is told of a Studio's lifespan
	idle    int           // how many claims are answered with no work yet
	trace   []string      // names of calls
	bodies  []string      // of trace calls
	end     *platform.EndReport
	cancel  chan struct{}
	over    bool
	count   int
	// fault decides about the nth request: "" to take it, "refuse" to answer 503 and do nothing, "lose" to do it and then
	// answer 503.
	fault func(n int, path string) string
	// tunnel answers who opens one; nil: 503, as of a portal that is starting.
	tunnel http.HandlerFunc
}

func newFakePortal(t *testing.T, spec platform.Spec) *fakePortal {
	t.Helper()
	p := &fakePortal{t: t, spec: spec, logs: map[platform.LogStream][]byte{}, stepAt: map[string]time.Time{}, cancel: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agent/claim", p.claim)
	mux.HandleFunc("POST /agent/sync", p.sync)
	mux.HandleFunc("POST /agent/steps", p.takeSteps)
	mux.HandleFunc("POST /agent/logs/{stream}", p.takeLog)
	mux.HandleFunc("POST /agent/reports", p.takeReports)
	mux.HandleFunc("POST /agent/boot/{machine}", p.takeBoot)
	mux.HandleFunc("POST /agent/end", p.takeEnd)
	mux.HandleFunc("GET /agent/tunnel", p.openTunnel)
	mux.HandleFunc("POST /agent/checkpoints", p.takeCheckpoints)
	mux.HandleFunc("POST /agent/checkpoints/removed", p.takeRemoved)
	mux.HandleFunc("POST /api/trace/create", p.takeTrace)
	mux.HandleFunc("PUT /api/trace/{id}/{call}", p.takeTrace)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.count++
		n, fault, over := p.count, "", p.over
		if p.fault != nil {
			fault = p.fault(n, r.URL.Path)
		}
		authorized := r.URL.Path == "/agent/claim" || r.URL.Path == "/agent/boot/m" || r.Header.Get("Authorization") == "Bearer "+p.key
		p.mu.Unlock()
		switch {
		case over:
			w.WriteHeader(http.StatusGone)
		case !authorized:
			w.WriteHeader(http.StatusUnauthorized)
		case fault == "refuse":
			w.WriteHeader(http.StatusServiceUnavailable)
		case fault == "lose":
			mux.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(p.CloseClientConnections)
	return p
}

func (p *fakePortal) claim(w http.ResponseWriter, r *http.Request) {
	var req platform.ClaimRequest
	_ = json.NewDecoder(r.Body).Decode(&req)
	p.mu.Lock()
	defer p.mu.Unlock()
	if req.ClaimToken != "claim" || (p.key != "" && p.key != req.Key) {
		w.WriteHeader(http.StatusConflict)
		return
	}
	p.key = req.Key
	if p.idle > 0 {
		p.idle--
		w.WriteHeader(http.StatusAccepted)
		return
	}
	_ = json.NewEncoder(w).Encode(p.spec)
}

func (p *fakePortal) sync(w http.ResponseWriter, r *http.Request) {
	var req platform.SyncRequest
	_ = json.NewDecoder(r.Body).Decode(&req)
	wait := 500 * time.Millisecond
	p.mu.Lock()
	if req.Usage != nil {
		p.usage = append(p.usage, *req.Usage)
	}
	stopIn := p.stopIn
	p.mu.Unlock()
	if req.Cancel {
		<-time.After(wait)
		_ = json.NewEncoder(w).Encode(platform.SyncResponse{Cancel: true})
		return
	}
	select {
	case <-p.cancel:
		_ = json.NewEncoder(w).Encode(platform.SyncResponse{Cancel: true})
	case <-time.After(wait):
		_ = json.NewEncoder(w).Encode(platform.SyncResponse{StopIn: stopIn})
	}
}

func (p *fakePortal) takeSteps(w http.ResponseWriter, r *http.Request) {
	var reports []platform.StepReport
	_ = json.NewDecoder(r.Body).Decode(&reports)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range reports {
		if !slices.Contains(p.steps, s.Name) {
			p.steps, p.stepAt[s.Name] = append(p.steps, s.Name), s.At
		}
	}
	fmt.Fprint(w, "{}")
}

func (p *fakePortal) takeLog(w http.ResponseWriter, r *http.Request) {
	stream := platform.LogStream(r.PathValue("stream"))
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	data, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	have := len(p.logs[stream])
	if offset > have {
		w.WriteHeader(http.StatusConflict)
	} else if new := data[min(len(data), have-offset):]; len(new) > 0 {
		p.logs[stream] = append(p.logs[stream], new...)
	}
	_ = json.NewEncoder(w).Encode(platform.LogAck{Next: int64(len(p.logs[stream]))})
}

func (p *fakePortal) takeReports(w http.ResponseWriter, r *http.Request) {
	var reports []platform.Report
	_ = json.NewDecoder(r.Body).Decode(&reports)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = reports
	fmt.Fprint(w, "{}")
}

func (p *fakePortal) openTunnel(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	open := p.tunnel
	p.mu.Unlock()
	if open == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	open(w, r)
}

func (p *fakePortal) takeCheckpoints(w http.ResponseWriter, r *http.Request) {
	var reports []platform.CheckpointReport
	_ = json.NewDecoder(r.Body).Decode(&reports)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range reports {
		if !slices.ContainsFunc(p.kept, func(k platform.CheckpointReport) bool { return k.ID == c.ID }) {
			p.kept = append(p.kept, c)
		}
	}
	_ = json.NewEncoder(w).Encode(platform.CheckpointAck{Forget: p.forget})
}

func (p *fakePortal) takeRemoved(w http.ResponseWriter, r *http.Request) {
	var ids []string
	_ = json.NewDecoder(r.Body).Decode(&ids)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = append(p.removed, ids...)
	fmt.Fprint(w, "{}")
}

func (p *fakePortal) takeBoot(w http.ResponseWriter, r *http.Request) {
	var report platform.BootReport
	_ = json.NewDecoder(r.Body).Decode(&report)
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer claim" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.boots = append(p.boots, report)
	fmt.Fprint(w, "{}")
}

func (p *fakePortal) takeEnd(w http.ResponseWriter, r *http.Request) {
	var end platform.EndReport
	_ = json.NewDecoder(r.Body).Decode(&end)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = &end
	}
	fmt.Fprint(w, "{}")
}

func (p *fakePortal) takeTrace(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	name := r.PathValue("call")
	if name == "" {
		name = "create"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trace, p.bodies = append(p.trace, name), append(p.bodies, string(body))
	fmt.Fprint(w, "{}")
}

// ended is the agent's report, or nil.
func (p *fakePortal) ended() *platform.EndReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

func (p *fakePortal) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.logs[platform.LogOutput])
}

// start runs an agent whose Nextflow is a script of a test, until it ends.
func (p *fakePortal) start(ctx context.Context, script string, change func(*Config)) (dir string, ended <-chan error) {
	p.t.Helper()
	dir = p.t.TempDir()
	command := filepath.Join(dir, "nextflow")
	must(p.t, os.WriteFile(command, []byte("#!/bin/bash\n"+script), 0o755))
	cfg := Config{PortalURL: p.URL, MachineID: "m", InstanceID: "i", ClaimToken: "claim", Dir: dir, Lifetime: time.Minute, Nextflow: command,
		Grace: 500 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	return dir, done
}

// finish waits for the agent's end.
func finish(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the agent does not end")
	}
	return nil
}

func spec(t *testing.T) platform.Spec {
	return platform.Spec{RunID: "run1", WorkspaceID: 7, Launch: platform.Launch{Pipeline: "nextflow-io/hello", RunName: "brisk_thames", WorkDir: filepath.Join(t.TempDir(), "work")}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not have %q:\n%s", what, part, text)
		}
	}
}
