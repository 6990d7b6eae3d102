package aws

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wherry/cloud/aws/image"
	"wherry/platform"
)

// bootWorld runs a boot script as a machine would: with a folder for its root, a portal and a metadata service of its own, and
// commands that do not end the host.
type bootWorld struct {
	t      *testing.T
	root   string
	portal *httptest.Server
	imds   *httptest.Server
	agent  string // what the agent does, in bash
	boot   boot

	mu        sync.Mutex
	downloads int
	reports   []platform.BootReport
	failures  map[string]int // how often a path is answered with an error
}

const agentEnv = `env | grep -E '^WHERRY_AGENT_|^HOME=' | sort >"$WHERRY_ROOT/env"
`

func newBootWorld(t *testing.T, agent string) *bootWorld {
	t.Helper()
	w := &bootWorld{t: t, root: t.TempDir(), agent: "#!/bin/bash\n" + agentEnv + agent, failures: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /agent/download/arm64", w.download)
	mux.HandleFunc("POST /agent/boot/{machine}", w.report)
	w.portal = httptest.NewServer(w.failing(mux))
	t.Cleanup(w.portal.Close)
	metadata := http.NewServeMux()
	metadata.HandleFunc("PUT /latest/api/token", func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
			http.Error(out, "no lifetime", http.StatusBadRequest)
		}
		io.WriteString(out, "imds-token")
	})
	metadata.HandleFunc("GET /latest/meta-data/instance-id", func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token") != "imds-token" {
			http.Error(out, "no token", http.StatusUnauthorized)
			return
		}
		io.WriteString(out, "i-0123456789abcdef0")
	})
	w.imds = httptest.NewServer(w.failing(metadata))
	t.Cleanup(w.imds.Close)
	digest := sha256.Sum256([]byte(w.agent))
	w.boot = boot{PortalURL: w.portal.URL, Arch: "arm64", AgentDigest: hex.EncodeToString(digest[:]), Minutes: 30, Lifetime: "29m30s"}
	w.command("shutdown", `echo "$*" >>"$WHERRY_ROOT/shutdowns"`)
	w.command("systemctl", `echo "$*" >>"$WHERRY_ROOT/systemctl"; exit 1`)
	w.command("sleep", `[[ $1 != 60 ]] || exec /bin/sleep 60; exec /bin/sleep 0.02`)
	return w
}

// failing answers a path with an error as often as the test wants; -1: for ever.
func (w *bootWorld) failing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		left := w.failures[r.URL.Path]
		if left > 0 {
			w.failures[r.URL.Path]--
		}
		w.mu.Unlock()
		if left != 0 {
			http.Error(out, "not now", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(out, r)
	})
}

// download sends the agent compressed, as the portal does.
func (w *bootWorld) download(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.downloads++
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.t.Error("the agent is not fetched compressed")
	}
	out.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(out)
	io.WriteString(z, w.agent)
	z.Close()
}

func (w *bootWorld) report(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var report platform.BootReport
	body, _ := io.ReadAll(r.Body)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil || r.PathValue("machine") != "0MachineIDxxxx" || r.Header.Get("Authorization") != "Bearer the-claim-token" || r.Header.Get("Content-Type") != "application/json" {
		w.t.Errorf("the report %s (%v, %v)", body, err, r.Header)
	}
	w.reports = append(w.reports, report)
}

// command puts a command before the host's.
func (w *bootWorld) command(name, script string) {
	w.t.Helper()
	writeProgram(w.t, filepath.Join(w.root, "bin", name), "#!/bin/bash\n"+script+"\n")
}

// writeProgram writes a file that can be executed at once: no process that is started meanwhile inherits it open for writing.
func writeProgram(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	must(t, os.WriteFile(path, []byte(text), 0o755))
}

// start begins the script; its console comes with the end.
func (w *bootWorld) start(console io.Writer) *exec.Cmd {
	w.t.Helper()
	text, err := w.boot.userData("0MachineIDxxxx", "the-claim-token")
	must(w.t, err)
	script, err := base64.StdEncoding.DecodeString(text)
	must(w.t, err)
	path := filepath.Join(w.root, "part-001")
	writeProgram(w.t, path, string(script))
	cmd := exec.CommandContext(w.t.Context(), path)
	cmd.Env = []string{"PATH=" + filepath.Join(w.root, "bin") + ":" + os.Getenv("PATH"), "WHERRY_ROOT=" + w.root, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + w.imds.URL + "/"}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(w.t, cmd.Start())
	w.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // what the machine's end would have ended
	return cmd
}

// run runs the script to its end and returns what it said.
func (w *bootWorld) run() string {
	w.t.Helper()
	var console bytes.Buffer
	_ = w.start(&console).Wait() // a machine that ends has no status
	return console.String()
}

func (w *bootWorld) file(name string) string {
	text, _ := os.ReadFile(filepath.Join(w.root, name))
	return string(text)
}

// ended fails the test unless the machine armed its timer first and shut itself down last.
func (w *bootWorld) ended() {
	w.t.Helper()
	calls := strings.Split(strings.TrimSpace(w.file("shutdowns")), "\n")
	if calls[0] != "-h +30" || calls[len(calls)-1] != "-h now" {
		w.t.Errorf("shutdown was called with %q", calls)
	}
}

// failure is what was reported as one.
func (w *bootWorld) failure() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.reports {
		if r.Failure != "" {
			return r.Failure
		}
	}
	return ""
}

// steps are the reported ones, in order of their times.
func (w *bootWorld) steps() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []platform.StepReport
	for _, r := range w.reports {
		all = append(all, r.Steps...)
	}
	slices.SortFunc(all, func(a, b platform.StepReport) int { return a.At.Compare(b.At) })
	for _, s := range all {
		names = append(names, s.Name)
		if age := time.Since(s.At); age < 0 || age > time.Minute {
			w.t.Errorf("%s is said to have been %s ago", s.Name, age)
		}
	}
	return names
}

// reported waits for a report that is on its way: reports hold nothing up.
func (w *bootWorld) reported(n int) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(w.steps()) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("reported are %v", w.steps())
		}
	}
}

func TestAMachineFetchesItsAgentAndEndsWithIt(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, `echo "the agent says hello"`)
	console := w.run()
	w.ended()
	w.reported(2)
	if got := w.steps(); !slices.Equal(got, []string{platform.StepBooted, platform.StepAgentFetched}) {
		t.Errorf("steps: %v", got)
	}
	if f := w.failure(); f != "" || w.downloads != 1 {
		t.Errorf("failure %q, %d downloads", f, w.downloads)
	}
	says(t, console, "the agent says hello")
	env := w.file("env")
	for _, line := range []string{"HOME=/root", "WHERRY_AGENT_CLAIM_TOKEN=the-claim-token", "WHERRY_AGENT_DIR=" + w.root + "/var/lib/wherry",
		"WHERRY_AGENT_HEARD_FILE=" + w.root + "/var/lib/wherry/heard", "WHERRY_AGENT_INSTANCE=i-0123456789abcdef0", "WHERRY_AGENT_LIFETIME=29m30s",
		"WHERRY_AGENT_MACHINE=0MachineIDxxxx", "WHERRY_AGENT_PORTAL_URL=" + w.portal.URL} {
		says(t, env, line+"\n")
	}
	_, booted, _ := strings.Cut(env, "WHERRY_AGENT_BOOTED=")
	booted, _, _ = strings.Cut(booted, "\n")
	if at, err := time.Parse(time.RFC3339Nano, booted); err != nil || time.Since(at) > time.Minute {
		t.Errorf("booted at %q (%v)", booted, err)
	}
	if w.file("systemctl") != "" {
		t.Error("a machine in a folder touched the host's services")
	}
}

func TestABakedInAgentIsUsedWhenItIsTheRightOne(t *testing.T) {
	t.Parallel()
	for _, right := range []bool{true, false} {
		w := newBootWorld(t, "")
		baked := filepath.Join(w.root, image.AgentPath)
		text := w.agent
		if !right {
			text += "echo an old agent >" + w.root + "/old\n"
		}
		writeProgram(t, baked, text)
		w.run()
		w.ended()
		if fetched := w.downloads > 0; fetched == right || w.file("env") == "" || w.file("old") != "" {
			t.Errorf("right %v: fetched %v, ran %v", right, fetched, w.file("env") != "")
		}
	}
}

func TestAnAgentThatFailsIsTold(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, `echo starting; printf 'claiming the work: "refused" \\ by\tthe portal\n' >&2; exit 3`)
	console := w.run()
	w.ended()
	want := "The agent ended with exit status 3: claiming the work: \"refused\" \\ by the portal"
	if got := w.failure(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	says(t, console, "starting\n", "wherry: The agent ended with exit status 3: claiming the work:")
}

func TestAPortalThatIsAwayIsWaitedForAndTheConsoleSaysSo(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, "")
	w.failures["/agent/download/arm64"] = 3
	w.failures["/agent/boot/0MachineIDxxxx"] = -1
	console := w.run()
	w.ended()
	says(t, console, "wherry: the portal at "+w.portal.URL+" cannot be reached: curl: (22)")
	if n := strings.Count(console, "cannot be reached"); n != 1 || w.downloads != 1 {
		t.Errorf("it was said %d times, and the agent fetched %d times", n, w.downloads)
	}
	if w.file("env") == "" {
		t.Error("the agent did not run")
	}
}

func TestAnotherAgentThanTheAnnouncedOneIsNotRun(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, "")
	w.boot.AgentDigest = strings.Repeat("0", 64)
	w.run()
	w.ended()
	says(t, w.failure(), "digest differs")
	if w.file("env") != "" || w.downloads < 2 {
		t.Errorf("it ran: %v, after %d downloads", w.file("env") != "", w.downloads)
	}
}

func TestAMachineThatDoesNotKnowItselfSaysSo(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, "")
	w.failures["/latest/meta-data/instance-id"] = 2
	w.run()
	w.ended()
	if f := w.failure(); f != "" || w.file("env") == "" {
		t.Errorf("after two failures: %q", f)
	}
	w = newBootWorld(t, "")
	w.failures["/latest/api/token"] = -1
	w.run()
	w.ended()
	says(t, w.failure(), "could not learn its own id", w.imds.URL)
}

func TestTheTimerIsArmedAgainOnlyWhileThePortalIsHeard(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, `for i in 1 2 3; do touch -d "2026-01-01 00:00:0$i" "$WHERRY_AGENT_HEARD_FILE"; /bin/sleep 0.1; done; exec /bin/sleep 60`)
	w.boot.Minutes = 40
	// A minute passes quickly, but none before the portal was heard once.
	w.command("sleep", `until [[ -e $WHERRY_ROOT/var/lib/wherry/heard ]]; do /bin/sleep 0.01; done; echo a minute >>"$WHERRY_ROOT/shutdowns"; exec /bin/sleep 0.02`)
	w.command("shutdown", `echo "$*" >>"$WHERRY_ROOT/shutdowns"; [[ $* != "-h now" ]] || kill -9 "$(cat "$WHERRY_ROOT/script")"`)
	var console bytes.Buffer
	cmd := w.start(&console)
	must(t, os.WriteFile(filepath.Join(w.root, "script"), fmt.Append(nil, cmd.Process.Pid), 0o600))
	_ = cmd.Wait()
	lines := strings.Split(strings.TrimSpace(w.file("shutdowns")), "\n")
	last := len(lines) - 1
	for lines[last] != "-h +40" {
		last--
	}
	if lines[0] != "-h +40" || last == 0 || len(lines)-last-1 != 41 || lines[len(lines)-1] != "-h now" {
		t.Errorf("not armed again, or not ended 40 minutes after the last time: %q", lines)
	}
}

func TestAMachineThatIsToldToEndEnds(t *testing.T) {
	t.Parallel()
	w := newBootWorld(t, `exec /bin/sleep 60`)
	var console bytes.Buffer
	cmd := w.start(&console)
	for w.file("env") == "" {
		time.Sleep(5 * time.Millisecond)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	w.ended()
}

func TestUserDataIsSmallAndReadsEveryValueAsItIs(t *testing.T) {
	t.Parallel()
	nasty := `https://x'; touch /tmp/pwned #$(id)` + "`id`\n\"\\"
	b := boot{PortalURL: nasty, Arch: "arm64", AgentDigest: strings.Repeat("a", 64), Minutes: 999, Lifetime: "999m0s"}
	text, err := b.userData("0MachineIDxxxx", strings.Repeat("t", 43))
	must(t, err)
	script, err := base64.StdEncoding.DecodeString(text)
	must(t, err)
	if len(script) > maxUserData/2 {
		t.Errorf("it has %d bytes", len(script))
	}
	head, _, _ := strings.Cut(string(script), "\nROOT=")
	out, err := exec.CommandContext(t.Context(), "bash", "-uc", head+"\nprintf %s \"$PORTAL\"").Output()
	if err != nil || string(out) != nasty {
		t.Errorf("%q (%v)", out, err)
	}
	b.PortalURL = strings.Repeat("x", maxUserData)
	if _, err := b.userData("m", "t"); err == nil {
		t.Error("user data that EC2 does not take was made")
	}
}
