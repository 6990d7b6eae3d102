// Package oidctest gives tests a real OpenID Connect provider: npm's certified oidc-provider, as a process on this host.
package oidctest

import (
	"bufio"
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startLimit is generous, for busy machines.
const startLimit = time.Minute

//go:embed provider/provider.mjs
var program []byte

// User is somebody who can sign in at the provider.
type User struct {
	Login    string `json:"login"`
	Password string `json:"password"`
	Subject  string `json:"subject"`

	Email           string         `json:"email,omitempty"`
	EmailUnverified bool           `json:"emailUnverified,omitempty"`
	Name            string         `json:"name,omitempty"`
	UserName        string         `json:"userName,omitempty"`
	Groups          any            `json:"groups,omitempty"` // []string, or a string as some providers have it
	Claims          map[string]any `json:"claims,omitempty"` // others, in the scope openid
}

// Options are what a provider is to be. All but the redirect URIs has a default.
type Options struct {
	RedirectURIs     []string `json:"redirectURIs"` // RedirectURIs are the portal's addresses for browsers that come back.
	LogoutURIs       []string `json:"logoutURIs"`
	Users            []User   `json:"users"`       // Users are Ada and Ben if there are none.
	Issuer           string   `json:"issuer"`      // Issuer is another one than the address, for a proxy in front.
	GroupsClaim      string   `json:"groupsClaim"` // GroupsClaim is "groups" if it is empty.
	Algorithm        string   `json:"algorithm"`   // Algorithm signs ID tokens: RS256 if it is empty, or ES256.
	ClaimsInUserInfo bool     `json:"claimsInUserInfo"`
	SecretInBody     bool     `json:"secretInBody"` // SecretInBody wants the client's secret beside the code and not in a header.
}

// The users that there are where a test names none.
var (
	Ada = User{Login: "ada", Password: "ada's password", Subject: "subject-of-ada", Email: "ada@example.org", Name: "Ada Lovelace", UserName: "ada", Groups: []string{"genomics", "admins"}}
	Ben = User{Login: "ben", Password: "ben's password", Subject: "subject-of-ben", Email: "ben@example.org", EmailUnverified: true, Name: "Ben", UserName: "ben"}
)

// Provider is a provider that runs until its test ends.
type Provider struct {
	Issuer, ClientID, ClientSecret string
	Address                        string // Address is where it answers; it differs from Issuer where a test says so.

	t       testing.TB
	options Options
	port    int
	process *os.Process
	ended   chan struct{}
}

// Start runs a provider. A short test is skipped where there is none, any other fails.
func Start(t testing.TB, o Options) *Provider {
	t.Helper()
	if _, err := os.Stat(filepath.Join(os.Getenv("OIDC_PROVIDER"), "node_modules", "oidc-provider")); err != nil {
		if testing.Short() {
			t.Skip("without an OpenID Connect provider")
		}
		t.Fatalf("OIDC_PROVIDER does not name a folder with oidc-provider (%v): run the tests with `make test`", err)
	}
	o.Algorithm, o.GroupsClaim = cmp.Or(o.Algorithm, "RS256"), cmp.Or(o.GroupsClaim, "groups")
	if o.Users == nil {
		o.Users = []User{Ada, Ben}
	}
	if o.LogoutURIs == nil {
		o.LogoutURIs = []string{}
	}
	p := &Provider{ClientID: "wherry", ClientSecret: "the-secret-of+the/client", t: t, options: o}
	p.run()
	p.Issuer = cmp.Or(o.Issuer, p.Address)
	t.Cleanup(p.Stop)
	return p
}

// Stop ends the provider as a crash does.
func (p *Provider) Stop() {
	p.process.Kill() // it may be gone already
	<-p.ended
}

// Restart runs it again at the same address after Stop, with other keys and without anybody's sessions.
func (p *Provider) Restart() {
	p.t.Helper()
	p.run()
}

// run starts the process. One that says nothing in time is started again: node itself has been seen to hang at its start.
func (p *Provider) run() {
	p.t.Helper()
	err := p.start()
	if err != nil {
		p.t.Logf("starting the provider again: %v", err)
		err = p.start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// start starts the process and waits for its address.
func (p *Provider) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	var complaints bytes.Buffer
	cmd := exec.Command("node", "--input-type=module", "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(program), w, &complaints
	cmd.Env = append(os.Environ(), "PROVIDER="+p.settings())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	p.ended = make(chan struct{})
	go hold(cmd, w, started, p.ended)
	if err := <-started; err != nil {
		return err
	}
	p.process = cmd.Process
	timer := time.AfterFunc(startLimit, p.Stop)
	defer timer.Stop()
	output := bufio.NewReader(r)
	line, err := output.ReadString('\n')
	if err != nil {
		p.Stop()
		return fmt.Errorf("the provider did not start: %w\n%s", err, complaints.String())
	}
	go func() {
		io.Copy(io.Discard, output)
		r.Close()
	}()
	p.Address = strings.TrimSpace(line)
	if _, err := fmt.Sscanf(p.Address, "http://127.0.0.1:%d", &p.port); err != nil {
		return fmt.Errorf("the provider says %q", line)
	}
	return nil
}

// settings are what the program reads.
func (p *Provider) settings() string {
	text, err := json.Marshal(struct {
		Options
		Port         int    `json:"port"`
		ClientID     string `json:"clientID"`
		ClientSecret string `json:"clientSecret"`
	}{p.options, p.port, p.ClientID, p.ClientSecret})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// hold keeps its thread until the child has ended, because Pdeathsig is sent when the thread that started it ends.
func hold(cmd *exec.Cmd, output *os.File, started chan<- error, ended chan<- struct{}) {
	defer close(ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	output.Close()
	started <- err
	if err == nil {
		cmd.Wait()
	}
}
