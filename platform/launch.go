package platform

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a launch. MaxLaunchText is in bytes (the API's launchConfigTextMaxSize and launchParamsTextMaxSize); the
// rest in characters.
const (
	MaxLaunchText     = 100 << 10
	MaxRunNameLength  = 80
	MaxPipelineLength = 500
	MaxRevisionLength = 100
	MaxProfiles       = 50
	MaxEnvironment    = 100
)

// Launch is everything that decides what a run does. A pipeline is a saved Launch; a run keeps its own copy, so that
// it can be launched again. JSON names are those of the API.
type Launch struct {
	ComputeEnvID   string   `json:"computeEnvId,omitempty"`
	Pipeline       string   `json:"pipeline"` // a repository's URL, owner/name, or an absolute path on the machine
	Revision       string   `json:"revision,omitempty"`
	WorkDir        string   `json:"workDir,omitempty"` // empty: the compute environment's
	RunName        string   `json:"runName,omitempty"` // Nextflow's -name; unique in the workspace
	ConfigProfiles []string `json:"configProfiles,omitempty"`
	ParamsText     string   `json:"paramsText,omitempty"` // YAML or JSON
	ConfigText     string   `json:"configText,omitempty"` // Nextflow configuration, after the environment's
	PreRunScript   string   `json:"preRunScript,omitempty"`
	PostRunScript  string   `json:"postRunScript,omitempty"`
	MainScript     string   `json:"mainScript,omitempty"`
	PullLatest     bool     `json:"pullLatest,omitempty"`
	StubRun        bool     `json:"stubRun,omitempty"`
	Resume         bool     `json:"resume,omitempty"`
	SessionID      string   `json:"sessionId,omitempty"` // with Resume: the Nextflow session to go on with
	Environment    []Env    `json:"environment,omitempty"`
	// NextflowVersion is for machines that run Nextflow in its container image; empty: the environment's.
	NextflowVersion string `json:"nextflowVersion,omitempty"`
	// TimeLimit is how long the run may take in minutes from when Nextflow begins; 0: as long as it wants.
	TimeLimit int `json:"timeLimit,omitempty"`
	// RelaunchInterrupted launches the run again, and resumes it, when its platform takes the machine away.
	RelaunchInterrupted bool `json:"relaunchInterrupted,omitempty"`
	// UserSecrets and WorkspaceSecrets name the pipeline secrets that the run is given: of who launches it, and of the workspace.
	// Of two with one name the user's own counts.
	UserSecrets      []string `json:"userSecrets,omitempty"`
	WorkspaceSecrets []string `json:"workspaceSecrets,omitempty"`
	// LabelIDs are the labels that the run, or the saved pipeline, is to have. They are not kept here: they can be changed later, and
	// are read by db's Labels methods. nil: those that it has stay.
	LabelIDs []int64 `json:"-"`
}

var (
	// Nextflow's own rule (nextflow.cli.CmdRun.RUN_NAME_PATTERN), and its limit of 80 characters.
	// It is written without (?i), which in Go takes letters beyond ASCII that fold to a-z.
	runNamePattern = regexp.MustCompile(`^[a-zA-Z](?:[a-zA-Z\d]|[-_][a-zA-Z\d]){0,79}$`)
	profilePattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.+-]*$`)
	envNamePattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	sessionPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	revisionForm   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_./+@-]*$`)
	// NextflowForm is that of the tags of the image nextflow/nextflow.
	NextflowForm = regexp.MustCompile(`^[0-9]{2}\.[0-9]{2}\.[0-9]{1,3}(-edge)?$`)
	projectName  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*(/\.?[a-zA-Z0-9_-][a-zA-Z0-9_.-]*)?$`)
)

// reservedEnv are the variables that the agent sets itself; a launch that set them would break or betray the run.
var reservedEnv = map[string]bool{
	"TOWER_ACCESS_TOKEN": true, "TOWER_REFRESH_TOKEN": true, "TOWER_API_ENDPOINT": true, "TOWER_WORKFLOW_ID": true,
	"TOWER_WORKSPACE_ID": true, "NXF_CACHE_DIR": true, "NXF_LOG_FILE": true, "WHERRY_MACHINE": true,
}

// Clean trims what was entered and checks all that can be told without asking anyone, field by field. What the database
// knows (whether the environment exists, whether the name is taken) is checked where the launch is saved.
func (l *Launch) Clean() error {
	l.trim()
	errs := FieldErrors{}
	checkPipeline(errs, l.Pipeline)
	if l.ComputeEnvID == "" {
		errs.Add("computeEnvId", "Choose a compute environment.")
	}
	if l.Revision != "" && (!revisionForm.MatchString(l.Revision) || len(l.Revision) > MaxRevisionLength) {
		errs.Add("revision", "A revision is the name of a branch or tag, or a commit.")
	}
	checkMainScript(errs, l.MainScript)
	if l.RunName != "" && (len(l.RunName) > MaxRunNameLength || !runNamePattern.MatchString(l.RunName)) {
		errs.Add("runName", "Begin with a letter; then letters, digits, and single hyphens or underscores between them; at most %d.", MaxRunNameLength)
	}
	if l.RunName == "last" {
		errs.Add("runName", "Nextflow keeps the name “last” for itself. Choose another name.")
	}
	checkProfiles(errs, l.ConfigProfiles)
	if _, err := ParseParams(l.ParamsText); err != nil {
		errs.Add("paramsText", "%s", err.Error())
	}
	checkTextSize(errs, "configText", l.ConfigText)
	checkTextSize(errs, "preRunScript", l.PreRunScript)
	checkTextSize(errs, "postRunScript", l.PostRunScript)
	checkEnvironment(errs, "environment", l.Environment)
	checkSecretNames(errs, "userSecrets", l.UserSecrets)
	checkSecretNames(errs, "workspaceSecrets", l.WorkspaceSecrets)
	if l.SessionID != "" && !sessionPattern.MatchString(l.SessionID) {
		errs.Add("sessionId", "This is not a Nextflow session id.")
	}
	if l.NextflowVersion != "" && !NextflowForm.MatchString(l.NextflowVersion) {
		errs.Add("nextflowVersion", "A version of Nextflow looks like 24.10.0 or 25.04.0-edge.")
	}
	if l.TimeLimit < 0 || l.TimeLimit > MaxTimeLimit {
		errs.Add("timeLimit", timeLimitRange)
	}
	return errs.OrNil()
}

// CleanFor checks the launch with the environment it goes to, after Clean, and leaves out what means nothing there.
func (l *Launch) CleanFor(env ComputeEnv) error {
	errs := FieldErrors{}
	if env.Status != ComputeEnvAvailable {
		errs.Add("computeEnvId", "The compute environment %q is %s and takes no work. %s", env.Name, env.Status, env.Message)
	}
	if l.WorkDir != "" {
		checkWorkDir(errs, env.Platform, l.WorkDir)
	}
	if !env.InCloud() && NextflowForm.MatchString(l.NextflowVersion) { // another is wrong, and shown as it was typed
		l.NextflowVersion = ""
	}
	l.RelaunchInterrupted = l.RelaunchInterrupted && env.Config.Spot
	return errs.OrNil()
}

func (l *Launch) trim() {
	for _, s := range []*string{&l.ComputeEnvID, &l.Pipeline, &l.Revision, &l.WorkDir, &l.RunName, &l.MainScript, &l.SessionID, &l.NextflowVersion} {
		*s = strings.TrimSpace(*s)
	}
	for _, s := range []*string{&l.ParamsText, &l.ConfigText, &l.PreRunScript, &l.PostRunScript} {
		*s = strings.ReplaceAll(*s, "\r\n", "\n") // browsers send CRLF, bash chokes on it
	}
	l.UserSecrets, l.WorkspaceSecrets = distinct(l.UserSecrets), distinct(l.WorkspaceSecrets)
}

func checkPipeline(errs FieldErrors, pipeline string) {
	const hint = "Enter a repository's address (https://…), owner/name, or an absolute path on the machine."
	switch {
	case pipeline == "":
		errs.Add("pipeline", "%s", hint)
	case utf8.RuneCountInString(pipeline) > MaxPipelineLength:
		errs.Add("pipeline", "Use at most %d characters.", MaxPipelineLength)
	case strings.HasPrefix(pipeline, "/"):
		if strings.ContainsAny(pipeline, "\x00\n\r") || !utf8.ValidString(pipeline) {
			errs.Add("pipeline", "%s", hint)
		}
	case strings.Contains(pipeline, "://"):
		u, err := url.Parse(pipeline)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			errs.Add("pipeline", "%s", hint)
		} else if u.User != nil {
			errs.Add("pipeline", "Leave the user name and password out of the address; they would be shown to everyone who sees the run.")
		}
	case !projectName.MatchString(pipeline):
		errs.Add("pipeline", "%s", hint)
	}
}

func checkMainScript(errs FieldErrors, script string) {
	outside := path.IsAbs(script) || strings.HasPrefix(path.Clean(script), "..")
	if outside || strings.HasPrefix(script, "-") || strings.ContainsAny(script, "\x00\n\r") || !utf8.ValidString(script) {
		errs.Add("mainScript", "The main script is a path inside the pipeline's repository.")
	}
	if utf8.RuneCountInString(script) > MaxPipelineLength {
		errs.Add("mainScript", "Use at most %d characters.", MaxPipelineLength)
	}
}

func checkProfiles(errs FieldErrors, profiles []string) {
	if len(profiles) > MaxProfiles {
		errs.Add("configProfiles", "Use at most %d profiles.", MaxProfiles)
	}
	for _, p := range profiles {
		if !profilePattern.MatchString(p) {
			errs.Add("configProfiles", "%q is not the name of a profile: letters, digits, dots, hyphens and underscores.", p)
		}
	}
}

func checkTextSize(errs FieldErrors, field, text string) {
	if len(text) > MaxLaunchText {
		errs.Add(field, "This is %d KiB; at most %d KiB are taken.", len(text)>>10, MaxLaunchText>>10)
	}
	if !utf8.ValidString(text) {
		errs.Add(field, notUTF8)
	}
	if strings.ContainsRune(text, 0) {
		errs.Add(field, "This holds a NUL character, which no script or configuration may.")
	}
}

func checkEnvironment(errs FieldErrors, field string, env []Env) {
	if len(env) > MaxEnvironment {
		errs.Add(field, "Use at most %d variables.", MaxEnvironment)
	}
	seen := map[string]bool{}
	for _, e := range env {
		switch {
		case !envNamePattern.MatchString(e.Name):
			errs.Add(field, "%q is not the name of a variable: letters, digits and underscores, not beginning with a digit.", e.Name)
		case reservedEnv[e.Name]:
			errs.Add(field, "%s is set by Wherry itself and cannot be changed.", e.Name)
		case seen[e.Name]:
			errs.Add(field, "%s is set twice.", e.Name)
		case !utf8.ValidString(e.Value):
			errs.Add(field, "The value of %s is not UTF-8 text.", e.Name)
		case strings.ContainsRune(e.Value, 0):
			errs.Add(field, "The value of %s holds a NUL character, which no variable may.", e.Name)
		case len(e.Value) > MaxLaunchText:
			errs.Add(field, "The value of %s is %d KiB; at most %d KiB are taken.", e.Name, len(e.Value)>>10, MaxLaunchText>>10)
		}
		seen[e.Name] = true
	}
}

// ParseEnvironment reads variables as people type them: NAME=value, one a line. Empty lines and lines beginning with #
// are passed over.
func ParseEnvironment(text string) ([]Env, error) {
	var env []Env
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, Errorf(CodeInvalid, "Line %d has no “=”: write NAME=value, one a line.", i+1)
		}
		env = append(env, Env{Name: strings.TrimSpace(name), Value: strings.TrimRight(value, "\r")}) // written again, one at the end would be a part of the line end
	}
	return env, nil
}

// FormatEnvironment is the opposite of ParseEnvironment.
func FormatEnvironment(env []Env) string {
	var b strings.Builder
	for _, e := range env {
		b.WriteString(e.Name + "=" + e.Value + "\n")
	}
	return b.String()
}

// MergeEnv returns the environment's variables with the launch's over them.
func MergeEnv(base, over []Env) []Env {
	values := map[string]string{}
	var names []string
	for _, list := range [][]Env{base, over} {
		for _, e := range list {
			if _, ok := values[e.Name]; !ok {
				names = append(names, e.Name)
			}
			values[e.Name] = e.Value
		}
	}
	merged := make([]Env, 0, len(names))
	for _, name := range names {
		merged = append(merged, Env{Name: name, Value: values[name]})
	}
	return merged
}

// RelaunchOf returns what the launch form starts with when a run is launched again. With resume, it goes on from the
// run's Nextflow session in the same work directory.
func RelaunchOf(r Run, resume bool) Launch {
	l := r.Launch
	l.RunName, l.Resume, l.SessionID = "", resume, ""
	if resume {
		l.SessionID = r.SessionID
		l.WorkDir = r.WorkDir
	}
	l.Environment = append([]Env(nil), l.Environment...)
	l.ConfigProfiles = append([]string(nil), l.ConfigProfiles...)
	l.UserSecrets, l.WorkspaceSecrets = slices.Clone(l.UserSecrets), slices.Clone(l.WorkspaceSecrets)
	return l
}

// ShortPipeline is the last part of a pipeline's address, for titles and default names.
func ShortPipeline(pipeline string) string {
	s := strings.TrimSuffix(strings.TrimRight(pipeline, "/"), ".git")
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	return s
}
