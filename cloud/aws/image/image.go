// Package image writes recipes for an AMI of one's own, on which Wherry's machines boot faster: for Packer and for EC2 Image
// Builder. Both run prepare.sh.
package image

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/goccy/go-yaml"

	"wherry/platform"
)

//go:embed prepare.sh packer.pkr.hcl
var files embed.FS

// What prepare.sh makes, for whoever boots the image: the boot script takes the agent, and the agent reads the marker.
const (
	AgentPath  = "/opt/wherry/bin/agent"
	MarkerPath = "/etc/wherry/image.json"
)

// DefaultNextflow is the version of Nextflow that Wherry's tests run with.
const DefaultNextflow = "24.10.0"

// DefaultPlugins are those that runs on AWS need, in the versions that come with the version of Nextflow.
var DefaultPlugins = []string{"nf-amazon", "nf-tower", "nf-wave"}

// Options are what a recipe can be told.
type Options struct {
	Region                string // where Packer builds it
	Arch                  string // amd64 or arm64
	GPU                   bool   // begin with the image that has NVIDIA's drivers
	Nextflow              string // its version
	Plugins               []string
	Pull                  []string // container images
	AgentURL, AgentSHA256 string   // the agent to have in the image; empty: none
	WherryVersion         string
}

// The forms of what goes into a script and a file of another language. None has quotes, spaces or signs of those.
var (
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	pluginForm  = regexp.MustCompile(`^[a-z][a-z0-9-]{1,60}(@[0-9][0-9A-Za-z.-]{0,40})?$`)
	imageForm   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/:-]{0,254}(@sha256:[0-9a-f]{64})?$`)
	urlForm     = regexp.MustCompile(`^https?://[a-zA-Z0-9.:\[\]-]+(/[a-zA-Z0-9._~/-]*)?$`)
	digestForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	versionForm = regexp.MustCompile(`^[0-9A-Za-z.+-]{1,100}$`)
)

// check says what cannot be in a recipe, by the name of the option.
func (o Options) check() error {
	errs := platform.FieldErrors{}
	for _, f := range []struct {
		option, value string
		form          *regexp.Regexp
		example       string
	}{
		{"region", o.Region, regionForm, "eu-west-1"},
		{"arch", o.Arch, regexp.MustCompile(`^(amd64|arm64)$`), "amd64 or arm64"},
		{"nextflow", o.Nextflow, platform.NextflowForm, DefaultNextflow},
		{"version", o.WherryVersion, versionForm, "1.2.3"},
	} {
		if !f.form.MatchString(f.value) {
			errs.Add(f.option, "%q is not such as %s", f.value, f.example)
		}
	}
	for _, p := range o.Plugins {
		if !pluginForm.MatchString(p) {
			errs.Add("plugin", "%q is not such as nf-amazon or nf-amazon@2.9.0", p)
		}
	}
	for _, p := range o.Pull {
		if !imageForm.MatchString(p) {
			errs.Add("pull", "%q is not the name of a container image, such as quay.io/biocontainers/fastqc:0.12.1--hdfd78af_0", p)
		}
	}
	if (o.AgentURL != "" || o.AgentSHA256 != "") && (!urlForm.MatchString(o.AgentURL) || !digestForm.MatchString(o.AgentSHA256)) {
		errs.Add("agent-url", "give an address without a query, and with --agent-sha256 the SHA-256 of what is there in hex")
	}
	if len(o.Plugins) == 0 {
		errs.Add("plugin", "name at least one")
	}
	return errs.OrNil()
}

func script() string {
	text, err := files.ReadFile("prepare.sh")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// Packer writes a template for Packer, in HCL, with everything in one file.
func Packer(o Options) (string, error) {
	if err := o.check(); err != nil {
		return "", err
	}
	t := template.Must(template.New("packer.pkr.hcl").Delims("[[", "]]").Funcs(template.FuncMap{"quote": quote, "quotes": quotes}).ParseFS(files, "packer.pkr.hcl"))
	var b bytes.Buffer
	err := t.Execute(&b, struct {
		Options
		Script string
	}{o, hclTemplate(script())})
	return b.String(), err
}

// hclTemplate writes text so that HCL finds no templates of its own in it.
func hclTemplate(text string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(text)
}

// quote writes a string of HCL; what comes here was checked, and has no signs that need more.
func quote(s string) string { return `"` + s + `"` }

func quotes(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// The form of a component of EC2 Image Builder: its user guide, "Use the AWSTOE component document framework".
type component struct {
	Name          string  `yaml:"name"`
	Description   string  `yaml:"description"`
	SchemaVersion string  `yaml:"schemaVersion"`
	Phases        []phase `yaml:"phases"`
}

type phase struct {
	Name  string `yaml:"name"`
	Steps []step `yaml:"steps"`
}

type step struct {
	Name    string `yaml:"name"`
	Action  string `yaml:"action"`
	Timeout int    `yaml:"timeoutSeconds"`
	Failure string `yaml:"onFailure"`
	Inputs  struct {
		Commands []string `yaml:"commands"`
	} `yaml:"inputs"`
}

// buildLimit is how long the preparation may take, in seconds; most of it are the pulls of container images.
const buildLimit = 3600

// ImageBuilder writes a component document for EC2 Image Builder, in YAML. Region, architecture and base image stand in the
// recipe that uses it.
func ImageBuilder(o Options) (string, error) {
	if err := o.check(); err != nil {
		return "", err
	}
	prepare := fmt.Sprintf("export NEXTFLOW_VERSION=%q NEXTFLOW_PLUGINS=%q PULL_IMAGES=%q AGENT_URL=%q AGENT_SHA256=%q WHERRY_VERSION=%q\n%s",
		o.Nextflow, strings.Join(o.Plugins, ","), strings.Join(o.Pull, " "), o.AgentURL, o.AgentSHA256, o.WherryVersion, script())
	doc := component{Name: "wherry-machine", SchemaVersion: "1.0",
		Description: "Makes the ECS-optimised Amazon Linux 2023 into an image for machines of Wherry " + o.WherryVersion,
		Phases: []phase{
			{"build", []step{newStep("Prepare", prepare)}},
			{"validate", []step{newStep("CheckMarker", "test -s "+MarkerPath+" && systemctl is-enabled docker && command -v shutdown")}},
		}}
	text, err := yaml.MarshalWithOptions(doc, yaml.UseLiteralStyleIfMultiline(true))
	return "# A component of EC2 Image Builder. In the recipe, use as base image the newest ECS-optimised Amazon Linux 2023 of the\n" +
		"# architecture that you want.\n" + string(text), err
}

func newStep(name, command string) step {
	s := step{Name: name, Action: "ExecuteBash", Timeout: buildLimit, Failure: "Abort"}
	s.Inputs.Commands = []string{command}
	return s
}
