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

// ComputeEnvStatus tells whether work can be sent to a compute environment.
type ComputeEnvStatus string

// The states of a compute environment, as the API names them.
const (
	ComputeEnvCreating  ComputeEnvStatus = "CREATING"
	ComputeEnvAvailable ComputeEnvStatus = "AVAILABLE"
	ComputeEnvErrored   ComputeEnvStatus = "ERRORED"
	ComputeEnvInvalid   ComputeEnvStatus = "INVALID"
	ComputeEnvDisabled  ComputeEnvStatus = "DISABLED"
	ComputeEnvDeleting  ComputeEnvStatus = "DELETING"
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
	Message     string // why it is not available
	Primary     bool   // offered first in the launch form
	Config      ComputeEnvConfig
	Created     time.Time
	LastUsed    time.Time // zero: never
}

// ComputeEnvConfig is what every machine of an environment gets. It is kept as JSON, with the API's field names.
type ComputeEnvConfig struct {
	NextflowConfig string `json:"nextflowConfig,omitempty"`
	PreRunScript   string `json:"preRunScript,omitempty"`
	PostRunScript  string `json:"postRunScript,omitempty"`
	Environment    []Env  `json:"environment,omitempty"`
}

// Env is one environment variable of a run.
type Env struct {
	Name  string `json:"name"`
	Value string `json:"value"`
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
	}
	if c.Platform != PlatformLocal {
		errs.Add("platform", "This version can make environments on this host (local) only.")
	}
	if c.WorkDir == "" {
		errs.Add("workDir", "Enter the folder where Nextflow keeps its work.")
	} else {
		checkWorkDir(errs, c.Platform, c.WorkDir)
	}
	checkTextSize(errs, "nextflowConfig", c.Config.NextflowConfig)
	checkTextSize(errs, "preRunScript", c.Config.PreRunScript)
	checkTextSize(errs, "postRunScript", c.Config.PostRunScript)
	checkEnvironment(errs, c.Config.Environment)
	return errs.OrNil()
}

func checkWorkDir(errs FieldErrors, platform PlatformName, dir string) {
	switch platform {
	case PlatformLocal:
		if !strings.HasPrefix(dir, "/") || strings.ContainsAny(dir, "\x00\n") || strings.Contains(dir+"/", "/../") {
			errs.Add("workDir", "On this host the work directory is an absolute path, such as /data/work.")
		}
	case PlatformAWSCloud:
		if !strings.HasPrefix(dir, "s3://") {
			errs.Add("workDir", "On AWS the work directory is an S3 path, such as s3://bucket/work.")
		}
	}
}
