package platform

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of pipeline secrets. MaxSecretNameLength is the API's.
const (
	MaxSecretNameLength = 100     // characters
	MaxSecretValue      = 8 << 10 // bytes
	MaxLaunchSecrets    = 100     // that one run is given, of each kind
)

// secretNameForm is the API's and Nextflow's rule for the name of a secret.
var secretNameForm = regexp.MustCompile(`^[a-zA-Z_][0-9A-Za-z_]*$`)

// SecretsOwner is whose pipeline secrets are meant: a workspace's, or a user's own. One of both is 0.
type SecretsOwner struct {
	WorkspaceID int64
	UserID      int64
}

// Field is the field of a launch that names secrets of such an owner.
func (o SecretsOwner) Field() string {
	if o.UserID != 0 {
		return "userSecrets"
	}
	return "workspaceSecrets"
}

// PipelineSecret is a value that pipelines use by its name (Nextflow's directive "secret"), and that nobody sees again once it is
// saved. Its id is a number, as in the API.
type PipelineSecret struct {
	ID       int64
	Owner    SecretsOwner
	Name     string // unique with its owner, and never changed
	Value    Secret // only where it is saved or handed out
	Created  time.Time
	Updated  time.Time // the value is from then
	LastUsed time.Time // it was given to a run then; zero: never
}

// Clean checks what was entered, field by field.
func (s *PipelineSecret) Clean() error {
	s.Name = strings.TrimSpace(s.Name)
	errs := FieldErrors{}
	if !secretNameForm.MatchString(s.Name) || len(s.Name) > MaxSecretNameLength {
		errs.Add("name", "Use letters, digits and underscores, not beginning with a digit; at most %d.", MaxSecretNameLength)
	}
	value := strings.ReplaceAll(s.Value.Reveal(), "\r\n", "\n") // browsers send CRLF
	s.Value = NewSecret(value)
	switch {
	case strings.TrimSpace(value) == "":
		errs.Add("value", "Enter the value. It is not shown again, so it cannot be kept from before.")
	case len(value) > MaxSecretValue:
		errs.Add("value", "The value has %d bytes; at most %d are taken. Keep what is larger in a file that the pipeline may read.", len(value), MaxSecretValue)
	case strings.ContainsRune(value, 0):
		errs.Add("value", "The value holds a NUL character, which no variable may.")
	}
	return errs.OrNil()
}

// checkSecretNames checks the names of the secrets that a launch chooses.
func checkSecretNames(errs FieldErrors, field string, names []string) {
	if len(names) > MaxLaunchSecrets {
		errs.Add(field, "Choose at most %d secrets.", MaxLaunchSecrets)
	}
	for _, name := range names {
		if !secretNameForm.MatchString(name) || len(name) > MaxSecretNameLength {
			errs.Add(field, "%q is not the name of a secret.", Shorten(name, MaxSecretNameLength))
		}
	}
}

// distinct sorts names and leaves out those that are there twice; nothing chosen is nil.
func distinct(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
