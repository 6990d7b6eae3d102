package agent

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"wherry/platform"
)

// relay answers Nextflow's nf-tower plugin on this machine and hands its calls on. The token is the relay's own: what
// Nextflow and its tasks know opens nothing but this.
type relay struct {
	name     string // the plugin, for -plugins
	secret   string
	runID    string
	watch    string // where people watch the run
	spool    *spool
	steps    *steps
	server   *http.Server
	listener net.Listener
}

func startRelay(plugin, token, runID, watch string, spool *spool, steps *steps) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{name: plugin, secret: token, runID: runID, watch: watch, spool: spool, steps: steps, listener: listener}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/trace/create", r.create)
	mux.HandleFunc("PUT /api/trace/{id}/{call}", r.update)
	mux.HandleFunc("GET /api/user-info", r.userInfo)
	mux.HandleFunc("GET /api/service-info", r.serviceInfo)
	r.server = &http.Server{Handler: r.checkToken(mux), ReadHeaderTimeout: 10 * time.Second}
	go r.server.Serve(listener) // until finish
	return r, nil
}

func (r *relay) plugin() string { return r.name }
func (r *relay) url() string    { return "http://" + r.listener.Addr().String() + "/api" }
func (r *relay) token() string  { return r.secret }

// finish closes the relay. The plugin has made its last call before Nextflow ended.
func (r *relay) finish(platform.EndReport) { _ = r.server.Close() }

// checkToken lets the plugin through, which sends its token as Basic authentication or, for one of JWT's form, as Bearer.
func (r *relay) checkToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, token, ok := req.BasicAuth()
		if !ok {
			token = strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		}
		if token != r.secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, req)
	})
}

func (r *relay) create(w http.ResponseWriter, req *http.Request) {
	if r.take(w, req, "create") {
		answer(w, map[string]string{"workflowId": r.runID})
	}
}

func (r *relay) update(w http.ResponseWriter, req *http.Request) {
	call := req.PathValue("call")
	switch call {
	case "begin", "progress", "heartbeat", "complete":
	default:
		http.NotFound(w, req)
		return
	}
	if r.take(w, req, call) {
		answer(w, map[string]string{"workflowId": r.runID, "watchUrl": r.watch, "status": "OK"})
	}
}

// take puts a call into the spool.
func (r *relay) take(w http.ResponseWriter, req *http.Request, call string) bool {
	body, err := io.ReadAll(io.LimitReader(req.Body, 16<<20))
	if err != nil || !json.Valid(body) {
		http.Error(w, "this is not JSON", http.StatusBadRequest)
		return false
	}
	r.spool.add(traceCall{Name: call, Body: body})
	switch call {
	case "begin":
		r.steps.add(platform.StepNextflowReady, time.Now(), "")
	case "progress":
		r.steps.add(platform.StepFirstTask, time.Now(), "")
	}
	return true
}

// userInfo and serviceInfo answer what some versions of the plugin ask before they begin.
func (r *relay) userInfo(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"user": map[string]any{"id": 0, "userName": "wherry", "email": ""}})
}

func (r *relay) serviceInfo(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"serviceInfo": map[string]any{"version": "", "apiVersion": "1.0.0"}})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a plugin that went away needs no answer
}
