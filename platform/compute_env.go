package platform

import (
	"strings"
	"time"
	"unicode/utf8"
)

// PlatformName names a kind of place where machines run.
type PlatformName string

// The platforms.
const (
	PlatformLocal    PlatformName = "local"
	PlatformAWSCloud PlatformName = "aws-cloud"
)

// ComputeEnv is where work runs.
type ComputeEnv struct {
	ID          string
	WorkspaceID int64
	Name        string // unique in the workspace
	Platform    PlatformName
	Region      string // empty on platforms that have none
	WorkDir     string // where Nextflow keeps its work: an absolute path or, on AWS, s3://bucket/path
	Status      ComputeEnvStatus
	Message     string // why it is not available, or what keeps it from becoming so
	// CredentialsID names the credentials that reach its account; empty on platforms that need none.
	CredentialsID string
	Primary       bool // offered first in the launch form
	Config        ComputeEnvConfig
	// AccessToken is the user's own token for Wave and Fusion; zero unless it was just entered, or was read to be used.
	AccessToken    Secret
	HasAccessToken bool // one is saved
	Created        time.Time
	LastUsed       time.Time // zero: never
	StatusSince    time.Time
	NextStep       time.Time // when a loop looks at it next, while there is something to do
	Attempts       int       // failed attempts at the present step
	CheckAsked     time.Time // when someone asked for a check; zero: nobody does
	Version        int64     // counts the changes that people saved; a change is made to the version that was read
	LabelIDs       []int64   // that it is to have, where it is saved; nil: those that it has stay
}

// InCloud tells whether the environment's machines are in somebody's account, and not on the portal's own host.
func (c ComputeEnv) InCloud() bool { return c.Platform == PlatformAWSCloud }

// ComputeEnvConfig is what every machine of an environment gets. It is kept as JSON, with the API's field names.
type ComputeEnvConfig struct {
	NextflowConfig string `json:"nextflowConfig,omitempty"`
	PreRunScript   string `json:"preRunScript,omitempty"`
	PostRunScript  string `json:"postRunScript,omitempty"`
	Environment    []Env  `json:"environment,omitempty"`
	AWSCloud
}

// Env is one environment variable of a run. Of a compute environment's it is told whether the Nextflow process has it
// (head), the tasks (compute), or both; neither means the Nextflow process.
type Env struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Head    bool   `json:"head,omitempty"`
	Compute bool   `json:"compute,omitempty"`
}

// MaxComputeEnvNameLength is in characters.
const MaxComputeEnvNameLength = 100

// Clean trims what was entered and checks it, field by field.
func (c *ComputeEnv) Clean() error {
	c.Name = strings.TrimSpace(c.Name)
	c.WorkDir = strings.TrimSpace(c.WorkDir)
	errs := FieldErrors{}
	switch n := utf8.RuneCountInString(c.Name); {
	case n == 0:
		errs.Add("name", "Give the compute environment a name.")
	case n > MaxComputeEnvNameLength:
		errs.Add("name", "Use at most %d characters.", MaxComputeEnvNameLength)
	case !plain(c.Name, ""):
		errs.Add("name", notPlain)
	}
	switch c.Platform {
	case PlatformLocal:
		c.Config.AWSCloud, c.AccessToken, c.HasAccessToken = AWSCloud{}, Secret{}, false
	case PlatformAWSCloud:
		if !regionForm.MatchString(c.Region) {
			errs.Add("region", "Choose a region.")
		}
		if !ValidID(c.CredentialsID) {
			errs.Add("credentialsId", "Choose the credentials of the account.")
		}
		c.Config.AWSCloud.clean(errs)
		c.cleanAccessToken(errs)
	default:
		errs.Add("platform", "There is no platform %q.", c.Platform)
	}
	checkWorkDir(errs, c.Platform, c.WorkDir)
	checkTextSize(errs, "nextflowConfig", c.Config.NextflowConfig)
	checkTextSize(errs, "preRunScript", c.Config.PreRunScript)
	checkTextSize(errs, "postRunScript", c.Config.PostRunScript)
	checkEnvironment(errs, "environment", c.Config.HeadEnvironment())
	checkEnvironment(errs, "taskEnvironment", c.Config.TaskEnvironment())
	c.cleanScripts()
	return errs.OrNil()
}

// maxAccessToken is in bytes; Seqera's tokens have some hundred.
const maxAccessToken = 4096

func (c *ComputeEnv) cleanAccessToken(errs FieldErrors) {
	token := strings.TrimSpace(c.AccessToken.Reveal())
	c.AccessToken = NewSecret(token)
	if len(token) > maxAccessToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs.Add("accessToken", "This is not the form of an access token: letters, digits and signs, without spaces.")
	}
}

// cleanScripts turns line ends into those of bash: browsers send CRLF.
func (c *ComputeEnv) cleanScripts() {
	for _, s := range []*string{&c.Config.NextflowConfig, &c.Config.PreRunScript, &c.Config.PostRunScript} {
		*s = strings.ReplaceAll(*s, "\r\n", "\n")
	}
}

func checkWorkDir(errs FieldErrors, platform PlatformName, dir string) {
	switch {
	case dir == "" && platform == PlatformLocal:
		errs.Add("workDir", "Enter the folder where Nextflow keeps its work.")
	case platform == PlatformLocal:
		if !strings.HasPrefix(dir, "/") || strings.ContainsAny(dir, "\x00\n") || !utf8.ValidString(dir) || strings.Contains(dir+"/", "/../") {
			errs.Add("workDir", "On this host the work directory is an absolute path, such as /data/work.")
		}
	case platform == PlatformAWSCloud:
		checkS3WorkDir(errs, dir)
	}
}

// HeadEnvironment lists the variables that the Nextflow process gets.
func (c ComputeEnvConfig) HeadEnvironment() (env []Env) {
	for _, e := range c.Environment {
		if e.Head || !e.Compute {
			env = append(env, Env{Name: e.Name, Value: e.Value})
		}
	}
	return env
}

// TaskEnvironment lists the variables that tasks get.
func (c ComputeEnvConfig) TaskEnvironment() (env []Env) {
	for _, e := range c.Environment {
		if e.Compute {
			env = append(env, Env{Name: e.Name, Value: e.Value})
		}
	}
	return env
}

// SetEnvironment keeps the variables of the Nextflow process and those of the tasks, as one list.
func (c *ComputeEnvConfig) SetEnvironment(head, tasks []Env) {
	c.Environment = nil
	for _, e := range head {
		c.Environment = append(c.Environment, Env{Name: e.Name, Value: e.Value, Head: true})
	}
next:
	for _, e := range tasks {
		for i, known := range c.Environment {
			if known.Name == e.Name && known.Value == e.Value && !known.Compute {
				c.Environment[i].Compute = true
				continue next
			}
		}
		c.Environment = append(c.Environment, Env{Name: e.Name, Value: e.Value, Compute: true})
	}
}

// Nextflow writes the values of its env scope between double quotes into each task's script, as they are, so the
// characters that bash reads there are escaped first; and the configuration reads its single quotes as Groovy does.
var (
	bashText   = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	groovyText = strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\r", `\r`)
)

// TaskEnvironmentConfig writes variables as the env scope of a Nextflow configuration, by which tasks get them.
func TaskEnvironmentConfig(env []Env) string {
	var b strings.Builder
	for _, e := range env {
		b.WriteString("env." + e.Name + " = '" + groovyText.Replace(bashText.Replace(e.Value)) + "'\n")
	}
	return b.String()
}
