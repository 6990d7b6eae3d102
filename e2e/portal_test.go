package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/cloud/local"
	"wherry/db"
	"wherry/examples"
	"wherry/platform"
)

// portal is a portal that runs as a process of its own, on a data folder that outlives it.
type portal struct {
	t    *testing.T
	data string
	addr string
	url  string
	env  []string
	cmd  *exec.Cmd
	log  *syncBuffer
	db   *db.DB // the same file, read beside the portal
}

// newPortal starts a portal on an empty data folder. plugin lets Nextflow have its nf-tower plugin.
func newPortal(t *testing.T, plugin bool) *portal {
	t.Helper()
	return newPortalWith(t, plugin)
}

// newPortalWith gives the portal more variables.
func newPortalWith(t *testing.T, plugin bool, env ...string) *portal {
	t.Helper()
	data := t.TempDir()
	p := &portal{t: t, data: data, addr: addressOf(t, env), log: &syncBuffer{}}
	p.url = urlOf(p.addr, env)
	pluginDir := filepath.Join(data, "no-plugins")
	if plugin {
		pluginDir = plugins
	}
	must(t, os.MkdirAll(pluginDir, 0o755))
	p.env = append(os.Environ(), "WHERRY_NEXTFLOW="+nextflow, "NXF_PLUGINS_DIR="+pluginDir, "NXF_OPTS=-Xmx256m", "NXF_HOME="+filepath.Join(data, "nxf-home"))
	p.env = append(p.env, env...)
	p.start()
	t.Cleanup(p.cleanUp)
	d, err := db.Open(t.Context(), data)
	must(t, err)
	p.db = d
	for _, name := range []string{"crossing", "leak", "regatta"} {
		must(t, os.CopyFS(filepath.Join(data, "examples", name), sub(t, name)))
	}
	return p
}

// addressOf is where the portal listens: where its machines were told that it does, or anywhere.
func addressOf(t *testing.T, env []string) string {
	for _, e := range env {
		if address, ok := strings.CutPrefix(e, "WHERRY_AGENT_PORTAL=http://"); ok {
			return address
		}
		if _, port, ok := strings.Cut(e, "WHERRY_URL=https://localhost:"); ok {
			return "127.0.0.1:" + port
		}
	}
	return freeAddress(t)
}

// urlOf is how browsers reach the portal.
func urlOf(address string, env []string) string {
	for _, e := range env {
		if url, ok := strings.CutPrefix(e, "WHERRY_URL="); ok {
			return url
		}
	}
	return "http://" + address
}

// unchecked asks a portal of a test, whatever its certificate.
var unchecked = http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// start starts the process and waits until it answers.
func (p *portal) start() {
	p.t.Helper()
	p.cmd = exec.Command(wherry, "serve", "--data", p.data, "--address", p.addr)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, p.log, p.log
	must(p.t, p.cmd.Start())
	eventually(p.t, 10*time.Second, "the portal answers", func() bool {
		resp, err := unchecked.Get(p.url + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill kills the portal as a power cut would. Its machines go on.
func (p *portal) kill() {
	p.t.Helper()
	must(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // "signal: killed" is what was wanted
}

func (p *portal) cleanUp() {
	if p.t.Failed() {
		p.t.Logf("the portal's log:\n%s", p.log.String())
		for _, name := range []string{"agent.log", "stdout.log"} {
			logs, _ := filepath.Glob(filepath.Join(p.data, "local/machines/*", name))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				p.t.Logf("%s:\n%s", path, text[max(0, len(text)-3000):])
			}
		}
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	if p.db != nil {
		p.db.Close()
	}
	place, env := p.place()
	left, _ := place.List(context.Background(), env)
	for _, i := range left {
		_ = place.End(context.Background(), env, i.InstanceID)
	}
}

// place is the host as the portal sees it.
func (p *portal) place() (cloud.Cloud, platform.ComputeEnv) {
	return local.New(local.Config{Dir: filepath.Join(p.data, "local")}), platform.ComputeEnv{Platform: platform.PlatformLocal}
}

// nothingLeft fails the test if any machine is still there.
func (p *portal) nothingLeft() {
	p.t.Helper()
	place, env := p.place()
	left, err := place.List(p.t.Context(), env)
	must(p.t, err)
	if len(left) > 0 {
		p.t.Errorf("machines are left behind: %v", left)
	}
}

// member sets the portal up through the database, as `wherry demo` does, and returns the owner.
func (p *portal) member() platform.Member {
	p.t.Helper()
	m, err := p.db.SetUp(p.t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(p.t, err)
	return m
}

// env adds a compute environment on this host.
func (p *portal) computeEnv(m platform.Member) platform.ComputeEnv {
	p.t.Helper()
	e := platform.ComputeEnv{WorkspaceID: m.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: filepath.Join(p.data, "work"), Status: platform.ComputeEnvAvailable}
	must(p.t, p.db.AddComputeEnv(p.t.Context(), &e))
	return e
}

// example is the path of an example pipeline.
func (p *portal) example(name string) string { return filepath.Join(p.data, "examples", name) }

// launch saves a run as the launch form does.
func (p *portal) launch(m platform.Member, e platform.ComputeEnv, l platform.Launch) platform.Run {
	p.t.Helper()
	l.ComputeEnvID = e.ID
	if l.RunName == "" {
		l.RunName = platform.RandomRunName()
	}
	must(p.t, l.Clean())
	r := platform.Run{WorkspaceID: m.Workspace.ID, UserID: m.User.ID, ComputeEnvID: e.ID, Name: l.RunName, Launch: l, WorkDir: e.WorkDir}
	_, err := p.db.AddRun(p.t.Context(), &r)
	must(p.t, err)
	return r
}

// run reads a run as it is now.
func (p *portal) run(id string) platform.Run {
	p.t.Helper()
	r, err := p.db.AnyRun(p.t.Context(), id)
	must(p.t, err)
	return r
}

// wait waits until a run has ended and its machine is gone.
func (p *portal) wait(id string, limit time.Duration) platform.Run {
	p.t.Helper()
	eventually(p.t, limit, "the run has ended and its machine is gone", func() bool {
		m, err := p.db.MachineOfRun(p.t.Context(), id)
		must(p.t, err)
		return p.run(id).State.Ended() && m.State == platform.MachineTerminated
	})
	return p.run(id)
}

// output reads the whole of a run's log.
func (p *portal) output(id string, stream platform.LogStream) string {
	p.t.Helper()
	var b bytes.Buffer
	must(p.t, p.db.CopyLog(p.t.Context(), &b, id, stream))
	return b.String()
}

// folder is the folder of a run's machine.
func (p *portal) folder(id string) string {
	p.t.Helper()
	m, err := p.db.MachineOfRun(p.t.Context(), id)
	must(p.t, err)
	return filepath.Join(p.data, "local", "machines", m.ID)
}

// signInLink prints a link as the operator would.
func (p *portal) signInLink() string {
	p.t.Helper()
	cmd := exec.Command(wherry, "sign-in-link", "--data", p.data, "--address", p.addr, "ada")
	cmd.Env = p.env
	out, err := cmd.Output()
	must(p.t, err)
	return strings.TrimSpace(string(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for something that must come.
func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// syncBuffer is a bytes.Buffer that a process writes and a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// sub is one example's folder.
func sub(t *testing.T, name string) fs.FS {
	t.Helper()
	files, err := fs.Sub(examples.Files, name)
	must(t, err)
	return files
}
