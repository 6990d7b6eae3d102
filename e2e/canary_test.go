package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud/aws/sandbox"
	"wherry/platform"
)

// canaries are secrets by what they are. Whatever shows one that should not have it is named with it.
type canaries map[string]string

func newCanary(name string) string { return "canary-" + name + "-" + platform.NewToken() }

// found lists which are in a text, as they are or in base64.
func (c canaries) found(text string) (names []string) {
	for name, secret := range c {
		if strings.Contains(text, secret) {
			names = append(names, name)
		}
		// Of the three ways in which base64 may begin within a text, the one that begins with the secret itself.
		if encoded := base64.StdEncoding.EncodeToString([]byte(secret)); strings.Contains(text, encoded[:len(encoded)-4]) {
			names = append(names, name+" in base64")
		}
	}
	return names
}

// watchCommandLines looks at the command lines of all processes of this host until stop is called, which tells what it saw.
func (c canaries) watchCommandLines() (stop func() (seen []string, looks int)) {
	var seen []string
	looks, done := 0, make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() {
		for {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				text, _ := os.ReadFile(file) // the process may have ended meanwhile
				for _, name := range c.found(string(text)) {
					seen = append(seen, fmt.Sprintf("%s: %q", name, text))
				}
			}
			looks++
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() ([]string, int) {
		close(done)
		over.Wait()
		return seen, looks
	}
}

// telltale is a pipeline that tells its secrets wherever a pipeline can.
const telltale = `
process TELL {
    secret 'TEAM_KEY'
    secret 'OWN_KEY'
    output: stdout
    script: '''
    echo "to the output: $TEAM_KEY"
    echo "to the error stream: $OWN_KEY" >&2
    sleep 2
    exit 3
    '''
}
workflow {
    println "the script has ${secrets.TEAM_KEY} and ${secrets.OWN_KEY}"
    log.warn "in the log: ${secrets.TEAM_KEY}"
    TELL | view
}
`

// member's browser, without a browser: the forms and pages by HTTP.
type client struct {
	*http.Client
	t    *testing.T
	p    *portal
	csrf string
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// signInClient signs in by a link and gives the user a password.
func (p *portal) signInClient(password string) *client {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	must(p.t, err)
	c := &client{Client: &http.Client{Jar: jar}, t: p.t, p: p}
	link, err := url.Parse(p.signInLink())
	must(p.t, err)
	c.post("/sign-in/link", url.Values{"token": {link.Query().Get("token")}})
	c.csrf = c.token(c.get("/account/password"))
	c.post("/account/password", url.Values{"password": {password}})
	c.csrf = c.token(c.get("/account/password")) // it is another session now
	return c
}

func (c *client) token(page string) string {
	c.t.Helper()
	found := csrfField.FindStringSubmatch(page)
	if found == nil {
		c.t.Fatalf("no form in %.2000s", page)
	}
	return found[1]
}

func (c *client) get(path string) string {
	c.t.Helper()
	resp, err := c.Get(c.p.url + path)
	return c.read(path, resp, err)
}

func (c *client) post(path string, form url.Values) string {
	c.t.Helper()
	form.Set("csrf", c.csrf)
	resp, err := c.PostForm(c.p.url+path, form)
	return c.read(path, resp, err)
}

func (c *client) read(path string, resp *http.Response, err error) string {
	c.t.Helper()
	must(c.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(c.t, err)
	if resp.StatusCode >= http.StatusBadRequest {
		c.t.Errorf("%s: %d %.1500s", path, resp.StatusCode, body)
	}
	return string(body)
}

// TestNoSecretGetsOutAnywhere gives a portal secrets of every kind, has a pipeline on EC2 shout them, and looks for them in database,
// files, logs, pages, metrics, process lists, user data, S3, CloudWatch, the audit log and a backup.
func TestNoSecretGetsOutAnywhere(t *testing.T) {
	t.Parallel()
	all := canaries{}
	add := func(name string) string {
		all[name] = newCanary(name)
		return all[name]
	}
	metrics := add("metrics-token")
	s := newCloudSite(t, func(e *platform.ComputeEnv, o *sandbox.Options) {
		e.AccessToken = platform.NewSecret(add("wave-token"))
	},
		"WHERRY_METRICS_TOKEN="+metrics, "WHERRY_OIDC_ISSUER=https://127.0.0.1:1", "WHERRY_OIDC_PRIVATE=true", "WHERRY_OIDC_CLIENT_ID=wherry", "WHERRY_OIDC_CLIENT_SECRET="+add("oidc-secret"),
		"WHERRY_SMTP_HOST=127.0.0.1", "WHERRY_SMTP_PORT=1", "WHERRY_SMTP_TLS=none", "WHERRY_SMTP_USER=wherry", "WHERRY_SMTP_PASSWORD="+add("smtp-password"), "WHERRY_SMTP_FROM=wherry@example.org",
		"WHERRY_LOG_LEVEL=debug")
	all["secret-key"] = s.key.Secret
	c := s.signInClient(add("password"))
	all["access-token"] = regexp.MustCompile(`wherry_[A-Za-z0-9_-]{20,}`).FindString(c.post("/account/tokens", url.Values{"name": {"laptop"}, "days": {"30"}}))
	if all["access-token"] == "" {
		t.Fatal("no access token was shown")
	}
	address, err := url.Parse(s.url)
	must(t, err)
	for _, cookie := range c.Jar.Cookies(address) {
		all["session"] = cookie.Value
	}
	team := platform.PipelineSecret{Owner: platform.SecretsOwner{WorkspaceID: s.owner.Workspace.ID}, Name: "TEAM_KEY", Value: platform.NewSecret(add("team-secret"))}
	own := platform.PipelineSecret{Owner: platform.SecretsOwner{UserID: s.owner.User.ID}, Name: "OWN_KEY", Value: platform.NewSecret(add("own-secret"))}
	must(t, s.db.AddPipelineSecret(t.Context(), &team))
	must(t, s.db.AddPipelineSecret(t.Context(), &own))
	s.askWithToken(all["access-token"])
	s.fails(c)

	stop := all.watchCommandLines()
	dir := filepath.Join(s.data, "telltale")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "main.nf"), []byte(telltale), 0o644))
	r := s.launch(s.owner, s.env, platform.Launch{Pipeline: dir, WorkspaceSecrets: []string{"TEAM_KEY"}, UserSecrets: []string{"OWN_KEY"}})
	r = s.wait(r.ID, 2*time.Minute)
	if out := s.output(r.ID, platform.LogOutput); r.State != platform.RunFailed || !strings.Contains(out, "the script has **** and ****") {
		t.Fatalf("the run is %s: %s\n%s", r.State, r.ErrorMessage, out)
	}
	if seen, looks := stop(); len(seen) > 0 || looks < 50 {
		t.Errorf("in process lists, after %d looks: %q", looks, seen)
	}
	all.inPages(c, s, r)
	all.inTheAccount(s, r)
	all.inTheFolder(s.portal)
}

// fails does what comes to nothing, so that errors are written down too.
func (s *cloudSite) fails(c *client) {
	for _, path := range []string{"/sign-in/oidc", "/sign-in/oidc/callback?code=x&state=y"} {
		resp, err := http.Get(s.url + path)
		must(s.portal.t, err)
		resp.Body.Close()
	}
	c.post("/orgs/lab/invitations", url.Values{"email": {"bob@example.org"}, "orgRole": {"member"}})
}

func (s *cloudSite) askWithToken(token string) {
	t := s.portal.t
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+"/api/user-info", nil)
	must(t, err)
	req.SetBasicAuth("@token", token)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "ada@example.org") {
		t.Errorf("with the access token: %d %s", resp.StatusCode, body)
	}
}

// inPages looks at what the owner sees. Nobody is shown a secret once it was saved.
func (c canaries) inPages(b *client, s *cloudSite, r platform.Run) {
	t := b.t
	t.Helper()
	const ws = "/orgs/lab/workspaces/rivers"
	run := ws + "/runs/" + r.ID
	paths := []string{"/account", "/account/tokens", "/account/secrets", "/account/second-factor", "/orgs/lab", "/orgs/lab/audit", "/admin/audit", "/admin/users",
		"/orgs/lab/audit/export/csv", "/orgs/lab/audit/export/json", "/admin/audit/export/json", ws + "/launchpad", ws + "/launch", ws + "/runs", ws + "/machines", ws + "/participants", ws + "/secrets",
		ws + "/labels", ws + "/credentials", ws + "/credentials/" + s.creds.ID, ws + "/compute-envs", ws + "/compute-envs/" + s.env.ID, ws + "/compute-envs/" + s.env.ID + "/edit",
		run, run + "/tasks", run + "/tasks/1", run + "/reports", run + "/log/stdout", run + "/log/stdout/download", run + "/log/nextflow", run + "/log/nextflow/download"}
	for _, file := range []string{".command.out", ".command.err", ".command.log", ".command.sh"} {
		paths = append(paths, run+"/tasks/1/files/"+file)
	}
	for _, path := range paths {
		for _, name := range c.found(b.get(path)) {
			t.Errorf("%s shows %s", path, name)
		}
	}
	req, err := http.NewRequest(http.MethodGet, s.url+"/metrics", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+c["metrics-token"])
	resp, err := http.DefaultClient.Do(req)
	text := b.read("/metrics", resp, err)
	if names := c.found(text); len(names) > 0 || !strings.Contains(text, "wherry_") {
		t.Errorf("the metrics show %v: %s", names, text)
	}
}

// inTheAccount looks at what AWS was told, user data first, and at what is in S3 and CloudWatch.
func (c canaries) inTheAccount(s *cloudSite, r platform.Run) {
	t := s.portal.t
	t.Helper()
	launched := false
	for _, call := range s.proxy.Calls() {
		for param, values := range call.Params {
			text := strings.Join(values, "\n")
			if param == "UserData" {
				plain, err := base64.StdEncoding.DecodeString(text)
				must(t, err)
				launched = launched || strings.Contains(string(plain), "#!")
				text += string(plain)
			}
			for _, name := range c.found(text) {
				t.Errorf("%s %s was told %s in %s", call.Service, call.Operation, name, param)
			}
		}
	}
	if !launched {
		t.Error("no call with user data was seen")
	}
	for _, stream := range []string{"stdout", "nextflow"} {
		if names := c.found(s.cloudWatch(r.ID + "/" + stream)); len(names) > 0 {
			t.Errorf("CloudWatch's %s shows %v", stream, names)
		}
	}
	c.inTheBucket(s)
}

// inTheBucket looks at all files. What a task itself wrote is the pipeline's own.
func (c canaries) inTheBucket(s *cloudSite) {
	t := s.portal.t
	t.Helper()
	bucket := s3.NewFromConfig(s.moto.Admin(t, "eu-west-1"), func(o *s3.Options) { o.UsePathStyle = true })
	list, err := bucket.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &s.bucket})
	must(t, err)
	for _, object := range list.Contents {
		key := strings.TrimPrefix(aws.ToString(object.Key), "work/")
		names := c.found(s.object(key))
		if ownOutput := regexp.MustCompile(`/\.command\.(out|err|log)$`).MatchString(key); len(names) > 0 && !ownOutput {
			t.Errorf("the file %s shows %v", key, names)
		}
	}
	if len(list.Contents) < 4 {
		t.Errorf("there are only %d files", len(list.Contents))
	}
}

// inTheFolder looks at the data folder with the database and its write-ahead log, the portal's log at its most talkative, and a backup.
func (c canaries) inTheFolder(p *portal) {
	t := p.t
	t.Helper()
	backup := filepath.Join(t.TempDir(), "backup")
	cmd := exec.Command(wherry, "backup", backup, "--data", p.data)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("backup: %v %s", err, out)
	}
	text, err := os.ReadFile(backup)
	must(t, err)
	for what, text := range map[string][]byte{"the backup": text, "what the backup prints": out} {
		for _, name := range c.found(string(text)) {
			t.Errorf("%s has %s", what, name)
		}
	}
	if !bytes.Contains(text, []byte("SQLite format 3")) {
		t.Error("the backup is no database")
	}
	files := 0
	must(t, filepath.WalkDir(p.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, name := range c.found(string(text)) {
			t.Errorf("the file %s has %s", strings.TrimPrefix(path, p.data), name)
		}
		return err
	}))
	for _, name := range c.found(p.log.String()) {
		t.Errorf("the portal's log has %s", name)
	}
	if files < 3 || len(p.log.String()) < 1000 {
		t.Errorf("only %d files and %d bytes of log were looked at", files, len(p.log.String()))
	}
}
