package image

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"wherry/cloud/aws/instance"
	"wherry/platform"
)

var digest = strings.Repeat("a1", 32)

func options() Options {
	return Options{Region: "eu-west-1", Arch: "arm64", Nextflow: DefaultNextflow, Plugins: []string{"nf-amazon@2.9.0", "nf-tower"},
		Pull: []string{"quay.io/biocontainers/fastqc:0.12.1--hdfd78af_0", "ubuntu@sha256:" + digest}, AgentURL: "https://wherry.example.org/agent/arm64", AgentSHA256: digest, WherryVersion: "v1.2.3-4-gabc-dirty"}
}

// parsed is a Packer template whose variables have their defaults.
type parsed struct {
	t    *testing.T
	body *hclsyntax.Body
	ctx  *hcl.EvalContext
}

func parsePacker(t *testing.T, o Options) parsed {
	t.Helper()
	text, err := Packer(o)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := hclsyntax.ParseConfig([]byte(text), "wherry.pkr.hcl", hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatalf("%v in\n%s", problems, text)
	}
	p := parsed{t, file.Body.(*hclsyntax.Body), &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: map[string]function.Function{
		"join": stdlib.JoinFunc, "formatdate": stdlib.FormatDateFunc, "contains": stdlib.ContainsFunc,
		"timestamp": function.New(&function.Spec{Type: function.StaticReturnType(cty.String), Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
			return cty.StringVal("2027-02-03T04:05:06Z"), nil
		}})}}}
	variables := map[string]cty.Value{}
	for _, b := range p.body.Blocks {
		if b.Type == "variable" {
			variables[b.Labels[0]] = p.value(b.Body, "default")
		}
	}
	p.ctx.Variables["var"] = cty.ObjectVal(variables)
	locals := map[string]cty.Value{}
	body := p.block("locals").Body
	for _, name := range []string{"machine", "builder", "base", "name", "tags"} { // each needs those before it alone
		locals[name] = p.value(body, name)
		p.ctx.Variables["local"] = cty.ObjectVal(locals)
	}
	if len(body.Attributes) != len(locals) {
		t.Fatalf("there are %d locals, and %d are read here", len(body.Attributes), len(locals))
	}
	return p
}

func (p parsed) block(kind string, labels ...string) *hclsyntax.Block {
	p.t.Helper()
	return child(p.t, p.body, kind, labels...)
}

func child(t *testing.T, body *hclsyntax.Body, kind string, labels ...string) *hclsyntax.Block {
	t.Helper()
	for _, b := range body.Blocks {
		if b.Type == kind && slices.Equal(b.Labels, labels) {
			return b
		}
	}
	t.Fatalf("there is no block %s %v", kind, labels)
	return nil
}

// value evaluates an attribute.
func (p parsed) value(body *hclsyntax.Body, name string) cty.Value {
	p.t.Helper()
	attribute, ok := body.Attributes[name]
	if !ok {
		p.t.Fatalf("there is no %s", name)
	}
	v, problems := attribute.Expr.Value(p.ctx)
	if problems.HasErrors() {
		p.t.Fatalf("%s: %v", name, problems)
	}
	return v
}

func stringsOf(v cty.Value) (list []string) {
	for _, e := range v.AsValueSlice() {
		list = append(list, e.AsString())
	}
	return list
}

func TestPackerTemplateIsWellFormedAndEveryValueInItHasOne(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"everything": options(),
		"the least": {Region: "us-east-1", Arch: "amd64", Nextflow: "25.04.6", Plugins: DefaultPlugins, WherryVersion: "development", GPU: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := parsePacker(t, o)
			evaluated := 0
			var walk func(body *hclsyntax.Body)
			walk = func(body *hclsyntax.Body) {
				for attribute := range body.Attributes {
					if attribute != "type" { // the type of a variable is a word of its own
						p.value(body, attribute)
						evaluated++
					}
				}
				for _, b := range body.Blocks {
					walk(b.Body)
				}
			}
			for _, b := range p.body.Blocks {
				walk(b.Body)
			}
			if evaluated < 50 {
				t.Errorf("only %d values were found", evaluated)
			}
		})
	}
}

func TestPackerTemplateBuildsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	p := parsePacker(t, options())
	source := p.block("source", "amazon-ebs", "wherry").Body
	filters := p.value(child(t, source, "source_ami_filter").Body, "filters").AsValueMap()
	for what, c := range map[string]struct{ got, want string }{
		"region":        {p.value(source, "region").AsString(), "eu-west-1"},
		"builder":       {p.value(source, "instance_type").AsString(), "m6g.large"},
		"base image":    {filters["name"].AsString(), "al2023-ami-ecs-hvm-*"},
		"architecture":  {filters["architecture"].AsString(), "arm64"},
		"name":          {p.value(source, "ami_name").AsString(), "wherry-nextflow-24.10.0-arm64-20270203-040506"},
		"IMDS":          {p.value(child(t, source, "metadata_options").Body, "http_tokens").AsString(), "required"},
		"template mark": {p.value(p.block("locals").Body, "tags").AsValueMap()["wherry:base-image"].AsString(), "{{ .SourceAMIName }}"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", what, c.got, c.want)
		}
	}
	shell := child(t, p.block("build").Body, "provisioner", "shell").Body
	if got := stringsOf(p.value(shell, "inline")); len(got) != 1 || got[0] != script() {
		t.Errorf("the script that Packer runs is not prepare.sh:\n%s", strings.Join(got, "\n---\n"))
	}
	want := []string{"NEXTFLOW_VERSION=24.10.0", "NEXTFLOW_PLUGINS=nf-amazon@2.9.0,nf-tower", "PULL_IMAGES=quay.io/biocontainers/fastqc:0.12.1--hdfd78af_0 ubuntu@sha256:" + digest,
		"AGENT_URL=https://wherry.example.org/agent/arm64", "AGENT_SHA256=" + digest, "WHERRY_VERSION=v1.2.3-4-gabc-dirty"}
	if got := stringsOf(p.value(shell, "environment_vars")); !slices.Equal(got, want) {
		t.Errorf("the script gets\n%v\nwant\n%v", got, want)
	}
	o := options()
	o.GPU = true
	p = parsePacker(t, o)
	filters = p.value(child(t, p.block("source", "amazon-ebs", "wherry").Body, "source_ami_filter").Body, "filters").AsValueMap()
	if got := filters["name"].AsString(); got != "al2023-ami-ecs-gpu-hvm-*" {
		t.Errorf("with GPUs the base image is %s", got)
	}
}

func TestImageBuilderComponentRunsThePreparation(t *testing.T) {
	t.Parallel()
	text, err := ImageBuilder(options())
	if err != nil {
		t.Fatal(err)
	}
	var doc component
	if err := yaml.UnmarshalWithOptions([]byte(text), &doc, yaml.Strict()); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if doc.SchemaVersion != "1.0" || len(doc.Phases) != 2 || doc.Phases[0].Name != "build" || doc.Phases[1].Name != "validate" {
		t.Fatalf("%+v", doc)
	}
	prepare := doc.Phases[0].Steps[0]
	if prepare.Action != "ExecuteBash" || prepare.Failure != "Abort" || len(prepare.Inputs.Commands) != 1 || !strings.HasSuffix(prepare.Inputs.Commands[0], script()) {
		t.Errorf("%+v", prepare)
	}
	if strings.Contains(text, "{{") {
		t.Error("Image Builder takes what is in {{ }} for a parameter of its own")
	}
}

func TestRecipesRefuseWhatWouldBreakOutOfThem(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Options){
		"region":    func(o *Options) { o.Region = `x" }` },
		"arch":      func(o *Options) { o.Arch = "sparc" },
		"nextflow":  func(o *Options) { o.Nextflow = "24.10.0; rm -rf /" },
		"plugin":    func(o *Options) { o.Plugins = []string{"nf-amazon,$(id)"} },
		"pull":      func(o *Options) { o.Pull = []string{"ubuntu", "${var.region}"} },
		"agent-url": func(o *Options) { o.AgentURL = "https://h/$(id)" },
		"version":   func(o *Options) { o.WherryVersion = "1\n2" },
	} {
		o := options()
		change(&o)
		for name, write := range map[string]func(Options) (string, error){"Packer": Packer, "Image Builder": ImageBuilder} {
			text, err := write(o)
			if text != "" || platform.ErrorCode(err) != platform.CodeInvalid || !strings.Contains(fmt.Sprint(err), want+": ") {
				t.Errorf("%s, %s: %v", name, want, err)
			}
		}
	}
	for _, half := range []Options{{AgentURL: "https://h/a"}, {AgentSHA256: digest}} {
		o := options()
		o.AgentURL, o.AgentSHA256 = half.AgentURL, half.AgentSHA256
		if _, err := Packer(o); err == nil {
			t.Errorf("half of an agent is taken: %+v", half)
		}
	}
}

// machine is a folder in which prepare.sh runs with commands that write down how they were called.
type machine struct {
	t    *testing.T
	root string
}

// standIn is each command that the script calls: it writes down its call, and fails where the test wants that. curl also
// delivers a file, which for Nextflow is a stand-in too.
const standIn = `#!/bin/bash
name=$(basename "$0")
echo "$name $*" >>"$ROOT/calls"
case "$FAIL" in "$name $1"|"$name") exit "${FAIL_WITH:-1}";; esac
case $name in
curl) while [ "$1" != -o ]; do shift; done; cp "$0" "$2";;
nextflow) if [ "$1" = plugin ]; then mkdir -p "$NXF_HOME/plugins/nf-amazon-2.9.0" "$NXF_HOME/plugins/nf-tower-1.9.3"; fi
  echo "offline=$NXF_OFFLINE home=$NXF_HOME" >>"$ROOT/calls";;
java) echo 'openjdk version "17.0.13" 2024-10-15 LTS' >&2;;
docker) echo "Docker version 25.0.6, build 32b99dd";;
rpm) echo amazon-cloudwatch-agent-1.300044.0-1.amzn2023;;
esac
`

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	for _, dir := range []string{"bin", "etc"} {
		if err := os.Mkdir(filepath.Join(m.root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cloud-init", "dnf", "systemctl", "shutdown", "curl", "docker", "java", "rpm", "sha256sum"} {
		m.command(name)
	}
	return m
}

func (m machine) command(name string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, "bin", name), []byte(standIn), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

// run runs the script with its absolute paths inside of the folder.
func (m machine) run(env map[string]string) (calls, output string, err error) {
	m.t.Helper()
	text := script()
	for _, path := range []string{"/opt/wherry", "/etc/wherry", "/etc/machine-id", "/var/lib", "/var/log", "/root/"} {
		if !strings.Contains(text, path) {
			m.t.Fatalf("the script does not use %s", path)
		}
		text = strings.ReplaceAll(text, path, m.root+path)
	}
	bash := exec.Command("bash", "-s")
	bash.Stdin, bash.Dir = strings.NewReader(text), m.root
	bash.Env = []string{"PATH=" + filepath.Join(m.root, "bin") + ":/usr/bin:/bin", "ROOT=" + m.root, "TMPDIR=" + m.root}
	all := map[string]string{"NEXTFLOW_VERSION": "24.10.0", "NEXTFLOW_PLUGINS": "nf-amazon,nf-tower", "PULL_IMAGES": "", "AGENT_URL": "", "AGENT_SHA256": "", "WHERRY_VERSION": "1.2.3"}
	maps.Copy(all, env)
	for name, value := range all {
		bash.Env = append(bash.Env, name+"="+value)
	}
	out, err := bash.CombinedOutput()
	written, readErr := os.ReadFile(filepath.Join(m.root, "calls"))
	if readErr != nil {
		m.t.Fatalf("%v: %s", readErr, out)
	}
	return string(written), string(out), err
}

func (m machine) marker() (marker map[string]any, err error) {
	text, err := os.ReadFile(filepath.Join(m.root, "etc/wherry/image.json"))
	if err != nil {
		return nil, err
	}
	return marker, json.Unmarshal(text, &marker)
}

func TestPreparationMakesTheImageAndItsMarker(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	calls, output, err := m.run(map[string]string{"PULL_IMAGES": "ubuntu:24.04 quay.io/a/b:1", "AGENT_URL": "https://wherry.example.org/agent", "AGENT_SHA256": digest})
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, output, calls)
	}
	at := 0
	for _, want := range []string{"cloud-init status --wait", "dnf install -y -q java-17-amazon-corretto-headless amazon-cloudwatch-agent", "systemctl enable docker", "systemctl start docker",
		"systemctl stop ecs", "systemctl mask ecs", "https://github.com/nextflow-io/nextflow/releases/download/v24.10.0/nextflow", "nextflow -version", "nextflow plugin install nf-amazon,nf-tower",
		"nextflow -q run trial.nf -plugins nf-amazon,nf-tower", "offline=true home=" + m.root + "/opt/wherry/nextflow", "https://wherry.example.org/agent", "sha256sum -c",
		"docker pull -q ubuntu:24.04", "docker pull -q quay.io/a/b:1", "dnf clean all"} {
		found := strings.Index(calls[at:], want)
		if found < 0 {
			t.Fatalf("%q was not called in its place:\n%s", want, calls)
		}
		at += found
	}
	marker, err := m.marker()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"format": 1.0, "wherry": "1.2.3", "nextflow": "24.10.0", "nextflowHome": m.root + "/opt/wherry/nextflow", "nextflowCommand": m.root + "/opt/wherry/bin/nextflow",
		"plugins": "nf-amazon-2.9.0,nf-tower-1.9.3", "java": "17.0.13", "docker": "Docker version 25.0.6, build 32b99dd", "cloudWatchAgent": "amazon-cloudwatch-agent-1.300044.0-1.amzn2023", "agentSHA256": digest} {
		if marker[name] != want {
			t.Errorf("the marker's %s is %v, want %v", name, marker[name], want)
		}
	}
	if got := fmt.Sprint(marker["images"]); got != "[ubuntu:24.04 quay.io/a/b:1]" {
		t.Errorf("the marker's images are %s", got)
	}
}

// TestAnInstanceFindsWhatThePreparationMade holds together what three programs say of one image: prepare.sh, which makes it, the
// boot script, which looks for the agent at AgentPath, and the agent, which asks the instance for its Nextflow.
func TestAnInstanceFindsWhatThePreparationMade(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	place := instance.New(m.root, slog.New(slog.DiscardHandler))
	if command, home, err := place.Nextflow(); command+home != "" || err != nil {
		t.Errorf("an image without a marker has %q, %q, %v", command, home, err)
	}
	if _, output, err := m.run(map[string]string{"AGENT_URL": "https://wherry.example.org/agent", "AGENT_SHA256": digest}); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if info, err := os.Stat(filepath.Join(m.root, AgentPath)); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the agent: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(m.root, MarkerPath)); err != nil {
		t.Error(err)
	}
	nextflow := filepath.Join(m.root, "opt/wherry/bin/nextflow")
	if command, home, err := place.Nextflow(); command != nextflow || home != filepath.Join(m.root, "opt/wherry/nextflow") || err != nil {
		t.Errorf("%q, %q, %v", command, home, err)
	}
	if err := os.Remove(nextflow); err != nil {
		t.Fatal(err)
	}
	if command, _, err := place.Nextflow(); command != "" || err != nil {
		t.Errorf("a Nextflow that is gone: %q, %v", command, err)
	}
	if err := os.WriteFile(filepath.Join(m.root, MarkerPath), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if command, _, err := place.Nextflow(); command != "" || err == nil {
		t.Errorf("a marker that is broken: %q, %v", command, err)
	}
}

func TestPreparationWithoutImagesAndAgent(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	calls, output, err := m.run(map[string]string{"FAIL": "cloud-init", "FAIL_WITH": "2"}) // it mended something
	if err != nil || strings.Contains(calls, "docker pull") || strings.Count(calls, "curl") != 1 {
		t.Fatalf("%v: %s\n%s", err, output, calls)
	}
	if marker, err := m.marker(); err != nil || fmt.Sprint(marker["images"]) != "[]" || marker["agentSHA256"] != "" {
		t.Errorf("%v, %v", marker, err)
	}
}

func TestPreparationThatFailsLeavesNoMarker(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{"cloud-init status", "dnf install", "systemctl enable", "systemctl stop", "systemctl mask", "curl", "nextflow -version", "nextflow plugin", "nextflow -q", "sha256sum", "docker pull"} {
		t.Run(failing, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			_, output, err := m.run(map[string]string{"FAIL": failing, "PULL_IMAGES": "ubuntu", "AGENT_URL": "https://h/a", "AGENT_SHA256": digest})
			if _, markerErr := m.marker(); err == nil || !os.IsNotExist(markerErr) {
				t.Errorf("it ends with %v and a marker (%v): %s", err, markerErr, output)
			}
		})
	}
}
