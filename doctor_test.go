package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// has tells whether there is a finding with a status whose text has a part.
func (d *doctor) has(status, part string) bool {
	return slices.ContainsFunc(d.findings, func(f finding) bool {
		return f.Status == status && strings.Contains(f.Check+": "+f.Found+" - "+f.Do, part)
	})
}

// program writes a program that prints a text.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\necho '%s'\n", text), 0o755))
	return path
}

func TestTheDoctorFindsNothingWrongWithAPortalThatServes(t *testing.T) {
	t.Parallel()
	p, _ := serving(t, settings{data: t.TempDir()})
	d := &doctor{settings: p.settings}
	d.nextflow, d.agentURL = program(t, "version 24.10.0 build 5928"), p.url
	must(t, os.Chmod(d.data, 0o700))
	d.examine(t.Context())
	if d.count(wrong) > 0 {
		t.Errorf("it finds %+v", d.findings)
	}
	for _, want := range []string{fmt.Sprintf("the process %d works", os.Getpid()), "WHERRY_URL: " + p.url + " answers", "nextflow: 24.10.0", "key: ", "leads to this portal's Studios", "proxies: none is trusted"} {
		if !d.has(fine, want) {
			t.Errorf("it does not say %q: %+v", want, d.findings)
		}
	}
}

func TestTheDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		spoil        func(t *testing.T, d *doctor)
		status, want string
	}{
		"no folder":           {func(_ *testing.T, d *doctor) { d.data += "/none" }, wrong, "is not there"},
		"a key for others":    {func(t *testing.T, d *doctor) { must(t, os.Chmod(filepath.Join(d.data, db.KeyName), 0o644)) }, wrong, "wherry.key: its mode is 0644"},
		"a folder for others": {func(t *testing.T, d *doctor) { must(t, os.Chmod(d.data, 0o755)) }, unsure, "chmod 700"},
		"no key":              {func(t *testing.T, d *doctor) { must(t, os.Remove(filepath.Join(d.data, db.KeyName))) }, wrong, "the master key is missing"},
		"another key":         {func(_ *testing.T, d *doctor) { d.key.Value = platform.NewSecret(strings.Repeat("ab", 32)) }, wrong, "two master keys"},
		"no database yet":     {func(t *testing.T, d *doctor) { must(t, os.Remove(filepath.Join(d.data, db.FileName))) }, skipped, "there is none yet"},
		"not a database": {func(t *testing.T, d *doctor) {
			must(t, os.WriteFile(filepath.Join(d.data, db.FileName), []byte("text\n"), 0o600))
		}, wrong, "no database"},
		"no nextflow":          {func(_ *testing.T, d *doctor) { d.nextflow = "/no/nextflow" }, wrong, "set WHERRY_NEXTFLOW"},
		"a silent nextflow":    {func(t *testing.T, d *doctor) { d.nextflow = program(t, "hello") }, unsure, "does not say its version"},
		"an address in clear":  {func(_ *testing.T, d *doctor) { d.url = "http://portal.example.org" }, unsure, "in clear"},
		"no address at all":    {func(_ *testing.T, d *doctor) { d.address = "0.0.0.0:8080" }, unsure, "set WHERRY_URL"},
		"an unreachable cloud": {func(_ *testing.T, d *doctor) { d.agentURL = "http://127.0.0.1:1" }, wrong, "no address that instances reach"},
		"nobody at an address": {func(t *testing.T, d *doctor) {
			lease, err := db.TakeLeaseNow(t.Context(), d.data)
			must(t, err)
			t.Cleanup(func() { lease.Release() })
			d.url = "http://127.0.0.1:1"
		}, wrong, "WHERRY_URL: "},
		"no certificate":      {func(t *testing.T, d *doctor) { d.tls.cert, d.tls.key = "/no/cert.pem", "/no/key.pem" }, wrong, "TLS: open /no/cert.pem"},
		"an old certificate":  {func(t *testing.T, d *doctor) { withCertificate(t, d, -time.Minute, "portal.example.org") }, wrong, "renew it"},
		"one that ends soon":  {func(t *testing.T, d *doctor) { withCertificate(t, d, 24*time.Hour, "portal.example.org") }, unsure, "see that it is renewed"},
		"one of another name": {func(t *testing.T, d *doctor) { withCertificate(t, d, 90*24*time.Hour, "other.example.org") }, wrong, "get a certificate for portal.example.org"},
		"one without Studios": {func(t *testing.T, d *doctor) {
			withCertificate(t, d, 90*24*time.Hour, "portal.example.org")
			d.studios.domain = "s.example.org"
		}, wrong, "get a certificate for a.s.example.org"},
		"an unknown authority": {func(t *testing.T, d *doctor) { withCertificate(t, d, 90*24*time.Hour, "portal.example.org") }, unsure, "does not trust the certificate"},
		"a key for all to read": {func(t *testing.T, d *doctor) {
			withCertificate(t, d, 90*24*time.Hour, "portal.example.org")
			must(t, os.Chmod(d.tls.key, 0o644))
		}, unsure, "key.pem has the mode 0644"},
		"open keys of ACME": {func(t *testing.T, d *doctor) {
			d.tls.domains = []string{"portal.example.org"}
			must(t, os.Mkdir(filepath.Join(d.data, acmeFolder), 0o755))
		}, wrong, "chmod 700: keys of certificates"},
		"a port no authority asks at": {func(_ *testing.T, d *doctor) { d.tls.domains = []string{"portal.example.org"} }, unsure, "authorities ask at port 443"},
		"an authority not asked":      {func(_ *testing.T, d *doctor) { d.tls.domains = []string{"portal.example.org"} }, skipped, "--online asks"},
		"an unnamed proxy":            {func(_ *testing.T, d *doctor) { d.url = "https://portal.example.org" }, unsure, "WHERRY_TRUSTED_PROXIES names none"},
		"Studios without an address":  {func(_ *testing.T, d *doctor) { d.url = "https://portal.example.org" }, unsure, "they run, and cannot be opened"},
		"Studios in clear": {func(_ *testing.T, d *doctor) {
			d.url, d.studios.domain = "http://portal.example.org", "s.example.org"
		}, unsure, "keep Studios apart"},
		"Studios not asked": {func(_ *testing.T, d *doctor) { d.url = "http://127.0.0.1:1" }, skipped, "studios.localhost:1 was not asked"},
		"Studios elsewhere": {func(t *testing.T, d *doctor) {
			lease, err := db.TakeLeaseNow(t.Context(), d.data)
			must(t, err)
			t.Cleanup(func() { lease.Release() })
			other := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(other.Close)
			d.url = other.URL
		}, wrong, "404 Not Found, and not as a Studio does"},
		"nobody to ask": {func(_ *testing.T, d *doctor) { d.url = "http://127.0.0.1:1" }, skipped, "no portal works"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := &doctor{settings: settings{data: t.TempDir(), address: "127.0.0.1:8080", nextflow: program(t, "version 24.10.0 build 5928")}}
			must(t, os.Chmod(d.data, 0o700))
			withEnvironments(t, d.data, "")
			c.spoil(t, d)
			d.examine(t.Context())
			if !d.has(c.status, c.want) {
				t.Errorf("it finds %+v", d.findings)
			}
		})
	}
}

// withCertificate gives the portal a certificate for a name, which ends some time from now.
func withCertificate(t *testing.T, d *doctor, left time.Duration, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	d.tls.cert, d.tls.key, d.url = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), "https://portal.example.org"
	must(t, os.WriteFile(d.tls.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(d.tls.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

// withEnvironments makes a database with an environment on this host and one in AWS, whose credentials have the secret.
func withEnvironments(t *testing.T, data, secret string) {
	t.Helper()
	store, err := db.Open(t.Context(), data)
	must(t, err)
	defer store.Close()
	m, err := store.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(t, err)
	creds := platform.Credentials{WorkspaceID: m.Workspace.ID, Name: "account", Mode: platform.CredentialsKeys, AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: platform.NewSecret(secret)}
	must(t, store.AddCredentials(t.Context(), &creds))
	for _, e := range []platform.ComputeEnv{{Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w"},
		{Name: "cloudy", Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work", CredentialsID: creds.ID}} {
		e.WorkspaceID, e.Status = m.Workspace.ID, platform.ComputeEnvAvailable
		must(t, store.AddComputeEnv(t.Context(), &e))
	}
}

// TestTheDoctorAsksAWSOnlyWhenItMay has AWS played by a server that counts.
func TestTheDoctorAsksAWSOnlyWhenItMay(t *testing.T) {
	asked, known := 0, true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if !known {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/wherry</Arn><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("WHERRY_ADRESS", "a typing error")
	data := t.TempDir()
	withEnvironments(t, data, "canary-secret")
	ask := func(online bool) *doctor {
		d := &doctor{settings: settings{data: data, address: "127.0.0.1:8080", nextflow: program(t, "version 24.10.0"), metricsToken: platform.NewSecret("canary-token")}, online: online}
		d.examine(t.Context())
		return d
	}
	if d := ask(false); asked > 0 || !d.has(skipped, "--online") || !d.has(unsure, "WHERRY_ADRESS") {
		t.Errorf("asked %d times: %+v", asked, d.findings)
	}
	if d := ask(true); asked == 0 || !d.has(fine, "arn:aws:iam::123456789012:user/wherry") {
		t.Errorf("asked %d times: %+v", asked, d.findings)
	}
	known = false
	d := ask(true)
	if !d.has(wrong, "credentials of cloudy") {
		t.Errorf("%+v", d.findings)
	}
	var out, lines strings.Builder
	must(t, d.print(&out, true))
	must(t, d.print(&lines, false))
	var read []finding
	if err := json.Unmarshal([]byte(out.String()), &read); err != nil || !slices.Equal(read, d.findings) {
		t.Errorf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String()+lines.String(), "canary") {
		t.Errorf("it shows secrets:\n%s\n%s", out.String(), lines.String())
	}
}

// TestTheDoctorKnowsEverySetting compares its list with what is read.
func TestTheDoctorKnowsEverySetting(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	must(t, err)
	found := []string{"WHERRY_AGENT_PLUGIN"} // of the agents of machines on this host
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "doctor") {
			continue
		}
		text, err := os.ReadFile(file)
		must(t, err)
		for _, m := range regexp.MustCompile(`"(WHERRY_[A-Z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(found, m[1]) {
				found = append(found, m[1])
			}
		}
	}
	slices.Sort(found)
	if known := slices.Sorted(slices.Values(settingNames)); !slices.Equal(known, found) {
		t.Errorf("it knows %q, and these are read: %q", known, found)
	}
}

func TestTheDoctorEndsWithAnErrorWhenSomethingIsWrong(t *testing.T) {
	t.Setenv("WHERRY_NEXTFLOW", program(t, "version 24.10.0"))
	if err := doctorCommand(t.Context(), []string{"--json", "--data", filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "problems: 1") {
		t.Errorf("%v", err)
	}
	if err := doctorCommand(t.Context(), []string{"--address", "nonsense"}); err == nil || !strings.Contains(err.Error(), "problems: 1") {
		t.Errorf("with a setting that means nothing: %v", err)
	}
}
