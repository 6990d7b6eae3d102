package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wherry/db"
	"wherry/platform"
)

// serving runs a portal on a data folder until stop.
func serving(t *testing.T, s settings) (p *portal, stop func()) {
	t.Helper()
	s.address, s.nextflow = "127.0.0.1:0", "true"
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	p, err := openPortal(t.Context(), s)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	stopped := false
	stop = func() {
		t.Helper()
		if !stopped {
			stopped = true
			cancel()
			must(t, <-done)
			must(t, p.close())
		}
	}
	t.Cleanup(stop)
	return p, stop
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send posts a form as a browser that follows nothing, and wants to be sent on.
func send(t *testing.T, address string, form url.Values) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(address, form)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s answers %s", address, resp.Status)
	}
}

// TestAPortalIsBackedUpWhileItServesAndRestored goes the whole way: a portal in use, a backup, the same portal elsewhere.
func TestAPortalIsBackedUpWhileItServesAndRestored(t *testing.T) {
	t.Parallel()
	first, file := settings{data: t.TempDir()}, filepath.Join(t.TempDir(), "backup")
	p, stop := serving(t, first)
	owner := url.Values{"email": {"ada@example.org"}, "userName": {"ada"}, "password": {"a long enough password"}, "organization": {"lab"}, "workspace": {"rivers"}}
	send(t, p.url+"/set-up", owner)
	creds := platform.Credentials{WorkspaceID: 1, Name: "account", Mode: "keys", AccessKey: "AKIA", SecretKey: platform.NewSecret("canary-secret")}
	must(t, p.db.AddCredentials(t.Context(), &creds))
	ctx, cancel := context.WithCancel(t.Context())
	begun, written := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			c := platform.Credentials{WorkspaceID: 1, Name: fmt.Sprint("busy", n), Mode: "keys", AccessKey: "AKIA", SecretKey: platform.NewSecret("s")}
			if err := p.db.AddCredentials(context.Background(), &c); err != nil {
				t.Error(err)
			}
			if n == 0 {
				close(begun)
			}
		}
		written <- n
	}()
	must(t, withKeys(t.Context(), "keys rotate", []string{"--data", first.data}, nil, func(d *db.DB) error { return rotateKeys(t.Context(), d, "", &bytes.Buffer{}) }))
	<-begun // a rotation that does not wait may be over before
	must(t, backupCommand(t.Context(), []string{file, "--data", first.data}))
	cancel()
	if n := <-written; n == 0 {
		t.Error("nothing was written meanwhile")
	}
	if err := restoreCommand(t.Context(), []string{file, "--data", first.data}); err == nil || !strings.Contains(err.Error(), "a portal works on") {
		t.Errorf("into a portal that serves: %v", err)
	}
	stop()

	second := settings{data: t.TempDir()}
	if err := restoreCommand(t.Context(), []string{file, "--data", second.data}); err == nil || !strings.Contains(err.Error(), "master key is missing") {
		t.Errorf("without the key: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(first.data, db.KeyName))
	must(t, err)
	text, err := os.ReadFile(file)
	must(t, err)
	for _, secret := range []string{"canary-secret", strings.TrimSpace(string(key))} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%q is in the backup", secret)
		}
	}
	must(t, os.WriteFile(filepath.Join(second.data, db.KeyName), key, 0o600))
	must(t, restoreCommand(t.Context(), []string{file, "--data", second.data}))
	q, _ := serving(t, second)
	send(t, q.url+"/sign-in", url.Values{"login": {"ada"}, "password": owner["password"]})
	if c, err := q.db.OpenCredentials(t.Context(), creds.ID); err != nil || c.SecretKey != creds.SecretKey {
		t.Errorf("the secret: %v", err)
	}
}

func TestAnotherUserMayNotChangeKeys(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := asItsUser(data, os.Geteuid()); err != nil {
		t.Error(err)
	}
	if err := asItsUser(data, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "sudo -u") {
		t.Errorf("%v", err)
	}
	if err := asItsUser(filepath.Join(data, "none"), os.Geteuid()+1); err != nil {
		t.Error(err)
	}
}

func TestABackupSaysWhereItsKeyIs(t *testing.T) {
	t.Parallel()
	with := settings{data: t.TempDir()}
	d, err := db.Open(t.Context(), with.data)
	must(t, err)
	must(t, d.Close())
	for want, s := range map[string]settings{
		filepath.Join(with.data, db.KeyName): with,
		"does not find it":                   {data: t.TempDir()},
		"in WHERRY_KEY":                      {data: t.TempDir(), key: db.KeySource{Value: platform.NewSecret(strings.Repeat("ab", 32))}},
	} {
		if text := whereTheKeyIs(s, "1234"); !strings.Contains(text, want) || !strings.Contains(text, "1234") {
			t.Errorf("it says %q, and not %q", text, want)
		}
	}
}

func TestKeysAreShownWithoutSecrets(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := keysCommand(t.Context(), []string{"list", "--data", data}); err == nil || !strings.Contains(err.Error(), "there is no portal") {
		t.Errorf("a folder that was mistyped: %v", err)
	}
	d, err := db.Open(t.Context(), data)
	must(t, err)
	defer d.Close()
	var out bytes.Buffer
	next := filepath.Join(t.TempDir(), "next.key")
	must(t, rotateKeys(t.Context(), d, next, &out))
	must(t, listKeys(t.Context(), d, &out))
	for _, want := range []string{"The new data key is", next, "master key", "tokens of machines"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	key, err := os.ReadFile(filepath.Join(data, db.KeyName))
	must(t, err)
	if strings.Contains(out.String(), strings.TrimSpace(string(key))) {
		t.Error("it prints the key")
	}
	if err := keysCommand(t.Context(), []string{"polish"}); err == nil || !strings.Contains(err.Error(), "rotate") {
		t.Errorf("%v", err)
	}
}
