package platform

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// CredentialsMode is how credentials reach an account. The names are those of the API.
type CredentialsMode string

// The modes.
const (
	CredentialsKeys CredentialsMode = "keys" // an access key, and perhaps a role that it assumes
	CredentialsRole CredentialsMode = "role" // a role that the portal's own identity assumes
)

// CredentialsStatus tells whether credentials worked when they were last used.
type CredentialsStatus string

// The statuses, as the API names them.
const (
	CredentialsAvailable CredentialsStatus = "AVAILABLE"
	CredentialsInvalid   CredentialsStatus = "INVALID"
)

// Credentials are how Wherry reaches one AWS account.
type Credentials struct {
	ID          string
	WorkspaceID int64
	Name        string // unique in the workspace
	Mode        CredentialsMode
	AccessKey   string // the access key's id; empty in CredentialsRole
	SecretKey   Secret // zero unless it was just entered, or was read to be used
	RoleARN     string // the role to assume; empty: none
	ExternalID  string // given when the role is assumed; empty: none
	Status      CredentialsStatus
	Message     string // why they are INVALID
	Created     time.Time
	Updated     time.Time // of anything that changes whom they reach
	LastUsed    time.Time // zero: never
	Validated   time.Time // when they were last tried; zero: never
}

// Limits of credentials, in characters.
const (
	MaxCredentialsNameLength = 100 // platform-api.json
	maxRoleARNLength         = 2048
)

var (
	credentialsName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*)$`)
	// Forms from the IAM API's reference: AccessKeyId, and a role's path and name.
	accessKeyForm = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
	secretForm    = regexp.MustCompile(`^[A-Za-z0-9/+=]{16,256}$`)
	roleARNForm   = regexp.MustCompile(`^arn:aws:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
)

// IsRoleARN tells whether text has the form of the ARN of an IAM role.
func IsRoleARN(text string) bool {
	return len(text) <= maxRoleARNLength && roleARNForm.MatchString(text)
}

// Clean trims what was entered and checks it, field by field. hasSecret tells that an empty SecretKey keeps the one that
// was saved before.
func (c *Credentials) Clean(hasSecret bool) error {
	c.Name, c.RoleARN, c.AccessKey = strings.TrimSpace(c.Name), strings.TrimSpace(c.RoleARN), strings.TrimSpace(c.AccessKey)
	c.SecretKey = NewSecret(strings.TrimSpace(c.SecretKey.Reveal()))
	errs := FieldErrors{}
	switch n := utf8.RuneCountInString(c.Name); {
	case n == 0:
		errs.Add("name", "Give the credentials a name.")
	case n > MaxCredentialsNameLength:
		errs.Add("name", "Use at most %d characters.", MaxCredentialsNameLength)
	case !credentialsName.MatchString(c.Name):
		errs.Add("name", "Use letters, digits, hyphens and underscores, and begin with a letter or digit.")
	}
	switch c.Mode {
	case CredentialsKeys:
		c.checkKeys(errs, hasSecret)
	case CredentialsRole:
		c.AccessKey, c.SecretKey = "", Secret{}
		if c.RoleARN == "" {
			errs.Add("assumeRoleArn", "Enter the ARN of the role that Wherry is to assume.")
		}
	default:
		errs.Add("mode", "Choose an access key or a role.")
	}
	if c.RoleARN != "" && !IsRoleARN(c.RoleARN) {
		errs.Add("assumeRoleArn", "A role's ARN looks like arn:aws:iam::123456789012:role/Name.")
	}
	if c.RoleARN == "" {
		c.ExternalID = ""
	}
	return errs.OrNil()
}

func (c *Credentials) checkKeys(errs FieldErrors, hasSecret bool) {
	if !accessKeyForm.MatchString(c.AccessKey) {
		errs.Add("accessKey", "An access key is 16 to 128 capital letters and digits, such as AKIAIOSFODNN7EXAMPLE.")
	}
	if strings.HasPrefix(c.AccessKey, "ASIA") {
		errs.Add("accessKey", "This is a temporary key, which ends within hours. Use a user's own access key, or a role.")
	}
	switch {
	case c.SecretKey.IsZero() && !hasSecret:
		errs.Add("secretKey", "Enter the secret key that belongs to the access key.")
	case !c.SecretKey.IsZero() && !secretForm.MatchString(c.SecretKey.Reveal()):
		errs.Add("secretKey", "This is not the form of a secret key: letters, digits, / and +, 40 characters as a rule.")
	}
}

// KeyEnding is what pages show of the access key: its last four characters.
func (c Credentials) KeyEnding() string {
	if len(c.AccessKey) < 8 {
		return ""
	}
	return "…" + c.AccessKey[len(c.AccessKey)-4:]
}
