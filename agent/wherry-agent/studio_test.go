package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// toolDocker plays docker: what it runs in a container is a web server on this machine, in the workspace.
const toolDocker = `here=$(dirname "$0")
case $1 in
  stop) kill -TERM "$(cat "$here/pid")"; exit ;;
  rm) echo "No such container" >&2; exit 1 ;;
  run) ;;
  *) exit ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --publish) port=${2#127.0.0.1:}; port=${port%:*} ;;
    --volume) cd "${2%%:*}" || exit ;;
  esac
  shift
done
echo $$ >"$here/pid"
exec python3 -m http.server --bind 127.0.0.1 "$port"`

// runStudio runs one session on an instance of its own until it is stopped, and returns what its agent told. While the tool
// runs, work is done in its workspace.
func runStudio(t *testing.T, spec platform.Spec, aws, metadata string, work func(workspace string)) *portal {
	t.Helper()
	root := t.TempDir()
	path := filepath.Join(root, "usr/local/bin")
	must(t, os.MkdirAll(path, 0o755))
	for name, script := range map[string]string{"docker": toolDocker, "shutdown": "exit 0"} {
		must(t, os.WriteFile(filepath.Join(path, name), []byte("#!/bin/bash\n"+script+"\n"), 0o755))
	}
	p := newPortal(t, spec)
	agent := agentOn(t, root, path, aws, metadata, p)
	var said bytes.Buffer
	agent.Stdout, agent.Stderr = &said, &said
	must(t, agent.Start())
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	for deadline := time.Now().Add(time.Minute); !p.has(`"name":"` + platform.StepToolReady + `"`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) || len(ended) > 0 {
			t.Fatalf("the tool is not ready: %s\n%s", strings.Join(p.all, "\n"), said.String())
		}
	}
	work(filepath.Join(root, "var/lib/wherry/disk/workspace"))
	p.mu.Lock()
	p.stop = true
	p.mu.Unlock()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the agent does not end")
	}
	return p
}

// has tells whether an agent told something.
func (p *portal) has(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.all, func(body string) bool { return strings.Contains(body, text) })
}

func TestTheWorkOfAStudioGoesFromInstanceToInstance(t *testing.T) {
	t.Parallel()
	const bucket = "studio-whole-way"
	server := awstest.Moto(t)
	key, _ := server.User(t, bucket,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"},{"Effect":"Allow","Action":"s3:*Object","Resource":"arn:aws:s3:::`+bucket+`/*"}]}`)
	files := s3.NewFromConfig(server.Admin(t, region), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := files.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: awssdk.String(bucket)})
	must(t, err)
	proxy, role := awstest.NewProxy(t, server), metadata(t, key)
	studio := platform.StudioSpec{StudioID: "studio1", SessionID: "session1", Name: "Notebook", Token: "hush-hush",
		Template: platform.StudioTemplate{ID: "web", Name: "Web server", Image: "example.org/web:1", Port: 80}}
	spec := platform.Spec{Launch: platform.Launch{WorkDir: "s3://" + bucket + "/work"}, Cloud: platform.CloudSpec{Region: region}, Studio: &studio}
	first := runStudio(t, spec, proxy.URL, role, func(workspace string) {
		must(t, os.WriteFile(filepath.Join(workspace, "notes.txt"), []byte("my notes"), 0o640))
	})
	var saved []platform.CheckpointReport
	must(t, json.Unmarshal(first.said["/agent/checkpoints"], &saved))
	if len(saved) != 1 || !saved[0].Final || saved[0].Files != 1 {
		t.Fatalf("checkpoints %+v", saved)
	}

	next := studio
	next.SessionID, next.Restore = "session2", &platform.CheckpointRef{StudioID: "studio1", CheckpointID: saved[0].ID}
	spec.Studio = &next
	second := runStudio(t, spec, proxy.URL, role, func(workspace string) {
		file := filepath.Join(workspace, "notes.txt")
		text, err := os.ReadFile(file)
		if info, statErr := os.Stat(file); err != nil || statErr != nil || string(text) != "my notes" || info.Mode() != 0o640 {
			t.Errorf("%q, %v, %v", text, err, statErr)
		}
		must(t, os.WriteFile(filepath.Join(workspace, "more.txt"), nil, 0o640))
	})
	must(t, json.Unmarshal(second.said["/agent/checkpoints"], &saved))

	third := studio
	third.SessionID, third.Forget = "session3", []platform.CheckpointRef{*next.Restore}
	third.Restore = &platform.CheckpointRef{StudioID: "studio1", CheckpointID: saved[0].ID}
	spec.Studio = &third
	runStudio(t, spec, proxy.URL, role, func(string) {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			out, err := files.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: awssdk.String(bucket), Prefix: awssdk.String("work/.wherry/studios/studio1/checkpoints/")})
			must(t, err)
			if len(out.Contents) == 1 && strings.HasSuffix(*out.Contents[0].Key, saved[0].ID+".tar.gz") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("an archive that nobody wants is still there: %d", len(out.Contents))
			}
		}
	})
	for _, c := range proxy.Calls() {
		if c.ErrorCode != "" {
			t.Errorf("%s was refused: %s", c.Operation, c.ErrorCode)
		}
	}
	if first.has("hush-hush") {
		t.Error("a secret was said")
	}
}
