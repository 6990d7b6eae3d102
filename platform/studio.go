package platform

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Studio is an interactive session that people come back to: what it is made of, and its kept work. Each start of it is a
// StudioSession, with a machine of its own.
type Studio struct {
	ID           string
	WorkspaceID  int64
	UserID       int64  // who added it
	UserName     string // of UserID, filled in by reading
	ComputeEnvID string
	ComputeEnv   string       // name of ComputeEnvID, filled in by reading
	Platform     PlatformName // of ComputeEnvID, filled in by reading
	Name         string       // unique in the workspace
	Description  string
	Private      bool // only who added it connects
	Config       StudioConfig
	Created      time.Time
	Updated      time.Time
	Version      int64          // how often people have saved changes
	LabelIDs     []int64        // that it is to have, where it is saved; nil: those that it has stay
	Session      *StudioSession // the newest, filled in by reading; nil: it was never started
}

// StudioConfig is what the sessions of a Studio are started with.
type StudioConfig struct {
	Template      string        `json:"template,omitempty"` // id of a StudioTemplate; empty: a custom image
	Image         string        `json:"image,omitempty"`    // a custom container image
	Port          int           `json:"port,omitempty"`     // on which a custom image serves HTTP; 0: DefaultStudioPort
	Spot          bool          `json:"spot,omitempty"`
	Environment   []Env         `json:"environment,omitempty"`   // over the compute environment's
	CondaPackages string        `json:"condaPackages,omitempty"` // one specification a line, such as samtools=1.21
	Mounts        []StudioMount `json:"mounts,omitempty"`
	LifespanHours int           `json:"lifespanHours,omitempty"` // 0: until it is stopped
	IdleMinutes   int           `json:"idleMinutes,omitempty"`   // it stops after so long without people or work; 0: it does not
	// Restore is the checkpoint, of whatever Studio of the workspace, that the first session starts with; empty: none. Later
	// sessions start with the Studio's own newest.
	Restore string `json:"restore,omitempty"`
}

// StudioMount is a bucket, or a prefix of one, that a Studio has as a folder.
type StudioMount struct {
	Name string `json:"name"` // of the folder below DataFolder
	URI  string `json:"uri"`  // s3://bucket/prefix
}

// Limits and defaults of Studios.
const (
	MaxStudioName          = 80   // characters
	MaxStudioDescription   = 2048 // characters
	MaxCondaPackages       = 2048 // characters
	MaxLifespanHours       = 120
	DefaultLifespanHours   = 8
	MaxIdleMinutes         = 24 * 60
	MinIdleMinutes         = 5
	DefaultStudioPort      = 8888
	MaxStudioMounts        = 20
	WorkspaceFolder        = "/workspace"      // in a Studio's container; its files are kept
	DataFolder             = "/workspace/data" // below it are the mounts; nothing in it is kept
	LifespanWarningMinutes = 30                // before the end of its lifespan a Studio says so
	KeptCheckpoints        = 10                // how many checkpoints without a name a Studio keeps
	MaxCheckpointName      = 80                // characters
)

var (
	mountName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	mountURI   = regexp.MustCompile(`^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/=+@:,-]*)?$`)
	imageName  = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9._:/@-]{0,254}$`)
	condaMatch = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)?::)?[A-Za-z0-9_][A-Za-z0-9_.-]*([<>=!~]=?[A-Za-z0-9_.*+!,<>=|-]+){0,3}$`)
)

// Clean trims what was entered and checks it, field by field. templates are those that the portal has.
func (s *Studio) Clean(templates []StudioTemplate) error {
	s.Name, s.Description = strings.TrimSpace(s.Name), strings.TrimSpace(s.Description)
	errs := FieldErrors{}
	switch n := utf8.RuneCountInString(s.Name); {
	case n == 0:
		errs.Add("name", "Give the Studio a name.")
	case n > MaxStudioName:
		errs.Add("name", "Use at most %d characters.", MaxStudioName)
	case !plain(s.Name, ""):
		errs.Add("name", notPlain)
	}
	switch {
	case utf8.RuneCountInString(s.Description) > MaxStudioDescription:
		errs.Add("description", "Use at most %d characters.", MaxStudioDescription)
	case !plain(s.Description, "\r\n\t"):
		errs.Add("description", notPlain)
	}
	if !ValidID(s.ComputeEnvID) {
		errs.Add("computeEnvId", "Choose a compute environment.")
	}
	s.Config.clean(errs, templates)
	return errs.OrNil()
}

func (c *StudioConfig) clean(errs FieldErrors, templates []StudioTemplate) {
	c.Template, c.Image = strings.TrimSpace(c.Template), strings.TrimSpace(c.Image)
	t, known := FindTemplate(templates, c.Template)
	switch {
	case c.Template != "" && !known:
		errs.Add("template", "This portal has no template %q. Choose another.", c.Template)
	case c.Template != "":
		c.Image, c.Port = "", 0
	case c.Image == "":
		errs.Add("image", "Choose a template, or name a container image.")
	case !imageName.MatchString(c.Image):
		errs.Add("image", "This is not the name of a container image, such as docker.io/library/name:tag.")
	}
	if c.Port < 0 || c.Port > 65535 {
		errs.Add("port", "A port is a number from 1 to 65535.")
	}
	if c.LifespanHours < 0 || c.LifespanHours > MaxLifespanHours {
		errs.Add("lifespanHours", "Enter hours from 1 to %d.", MaxLifespanHours)
	}
	if c.IdleMinutes != 0 && (c.IdleMinutes < MinIdleMinutes || c.IdleMinutes > MaxIdleMinutes) {
		errs.Add("idleMinutes", "Enter minutes from %d to %d, or leave this empty.", MinIdleMinutes, MaxIdleMinutes)
	}
	if c.Restore != "" && !ValidID(c.Restore) {
		errs.Add("restore", "There is no such checkpoint.")
	}
	checkEnvironment(errs, "environment", c.Environment)
	for _, e := range c.Environment {
		if strings.HasPrefix(e.Name, "WHERRY_") || strings.Contains(t.Environment[e.Name], "${TOKEN}") {
			errs.Add("environment", "%s is set by Wherry itself and cannot be changed.", e.Name)
		}
	}
	c.cleanConda(errs)
	c.cleanMounts(errs)
}

// cleanConda wants names of packages, with a version and a channel if need be, because they become arguments of a command: no
// options, files or addresses.
func (c *StudioConfig) cleanConda(errs FieldErrors) {
	c.CondaPackages = strings.TrimSpace(strings.ReplaceAll(c.CondaPackages, "\r\n", "\n"))
	if utf8.RuneCountInString(c.CondaPackages) > MaxCondaPackages {
		errs.Add("condaPackages", "Use at most %d characters.", MaxCondaPackages)
		return
	}
	for i, p := range strings.Fields(c.CondaPackages) {
		if !condaMatch.MatchString(p) {
			errs.Add("condaPackages", "Package %d, %q, is not the name of a package, such as samtools or bioconda::samtools=1.21.", i+1, p)
			return
		}
	}
}

func (c *StudioConfig) cleanMounts(errs FieldErrors) {
	if len(c.Mounts) > MaxStudioMounts {
		errs.Add("mounts", "A Studio has at most %d mounts.", MaxStudioMounts)
	}
	var names []string
	for i, m := range c.Mounts {
		m.Name, m.URI = strings.TrimSpace(m.Name), strings.TrimSpace(m.URI)
		switch {
		case !mountURI.MatchString(m.URI) || strings.Contains(m.URI, ".."):
			errs.Add("mounts", "Line %d: %q is not a bucket or a folder of one, such as s3://bucket/folder.", i+1, m.URI)
		case !mountName.MatchString(m.Name):
			errs.Add("mounts", "Line %d: %q is no name for a folder. Use letters, digits, dots, dashes and underscores.", i+1, m.Name)
		case slices.Contains(names, m.Name):
			errs.Add("mounts", "Line %d: there are two mounts of the name %q.", i+1, m.Name)
		}
		names, c.Mounts[i] = append(names, m.Name), m
	}
}

// ParseMounts reads mounts as people write them: one a line, the name and an equals sign before the address, or the address
// alone, which is named by its last part.
func ParseMounts(text string) (list []StudioMount) {
	for _, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, uri, named := strings.Cut(line, "=")
		if !named || strings.HasPrefix(line, "s3://") {
			uri = line
			parts := strings.Split(strings.Trim(strings.TrimPrefix(line, "s3://"), "/"), "/")
			name = parts[len(parts)-1]
		}
		list = append(list, StudioMount{Name: strings.TrimSpace(name), URI: strings.TrimSpace(uri)})
	}
	return list
}

// FormatMounts is the reverse of ParseMounts.
func FormatMounts(list []StudioMount) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%s=%s\n", m.Name, m.URI)
	}
	return b.String()
}

// State is where the Studio stands: where its newest session does.
func (s Studio) State() StudioState {
	if s.Session == nil {
		return StudioStopped
	}
	return s.Session.State
}

// CleanFor checks the Studio with the environment it goes to, after Clean, and leaves out what means nothing there.
func (s *Studio) CleanFor(env ComputeEnv, templates []StudioTemplate) error {
	errs := FieldErrors{}
	if env.Status != ComputeEnvAvailable {
		errs.Add("computeEnvId", "The compute environment %q is %s and takes no work. %s", env.Name, env.Status, env.Message)
	}
	if env.InCloud() {
		return errs.OrNil()
	}
	s.Config.Spot = false
	if t, _ := FindTemplate(templates, s.Config.Template); s.Config.Template == "" {
		errs.Add("image", "The compute environment %q has no containers, which a custom image needs. Choose one in a cloud, or a template that runs as a process.", env.Name)
	} else if !t.OnHost() {
		errs.Add("template", "%s needs a container, and the compute environment %q has none. Choose one in a cloud, or another template.", t.Name, env.Name)
	}
	if len(s.Config.Mounts) > 0 {
		errs.Add("mounts", "The compute environment %q has no account from which buckets could be mounted. Choose one in a cloud, or leave this empty.", env.Name)
	}
	return errs.OrNil()
}

// MayLook tells whether a member may see the Studio's settings, logs and checkpoints. Of somebody else's private Studio
// everybody sees that it is there, whose it is, and how it stands.
func (s Studio) MayLook(m Member) bool {
	return m.Can(ViewStudios) && (!s.Private || s.UserID == m.User.ID)
}

// MayConnect tells whether a member may open the Studio: who may connect to Studios, and for a private one added it.
func (s Studio) MayConnect(m Member) bool {
	return m.Can(ConnectToStudios) && (!s.Private || s.UserID == m.User.ID)
}

// MayStop tells whether a member may stop the Studio. Of a private one, who added it and those who manage the workspace's
// machines may.
func (s Studio) MayStop(m Member) bool {
	if s.Private && s.UserID != m.User.ID {
		return m.Can(ManageLimits)
	}
	return m.Can(EditStudios)
}

// MayDelete tells whether a member may delete the Studio: who may stop it. So a private one whose owner has left the workspace
// does not stay for ever.
func (s Studio) MayDelete(m Member) bool { return s.MayStop(m) }

// MayEdit tells whether a member may change and start the Studio, and change what it kept.
func (s Studio) MayEdit(m Member) bool {
	return m.Can(EditStudios) && (!s.Private || s.UserID == m.User.ID)
}
