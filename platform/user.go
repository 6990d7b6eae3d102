package platform

import (
	"regexp"
	"strings"
	"time"
)

// Limits of what people enter about users and places, in characters.
const (
	MaxNameLength  = 100
	MaxEmailLength = 254 // RFC 5321
)

// User is a person who can sign in.
type User struct {
	ID           int64
	UserName     string // unique, used in paths and in the API
	Email        string // unique, lower case
	EmailChosen  bool   // the user typed it, and nobody has checked that it is theirs
	PasswordHash string // argon2id in PHC form; empty for someone who signs in by link only
	Created      time.Time
	Admin        bool      // administers the portal
	Disabled     time.Time // since then nobody comes in as this user; zero: they may
}

// UserAccount is a user as who administers the portal sees them.
type UserAccount struct {
	User          User
	LastSeen      time.Time // by a session or an access token that is still kept; zero: not known
	SecondFactor  bool
	Sessions      int      // that have not ended
	Organizations []string // each with the role there
}

// Organization owns workspaces.
type Organization struct {
	ID       int64
	Name     string // unique; letters, digits, - and _
	FullName string
}

// Workspace is who shares what: every pipeline, run and compute environment belongs to one.
type Workspace struct {
	ID           int64
	Organization Organization
	Name         string // unique in the organization
	FullName     string
}

// Member is a user as one workspace sees them.
type Member struct {
	User      User
	Workspace Workspace
	Role      Role
}

// OrganizationMember is a user as one organization sees them.
type OrganizationMember struct {
	User         User
	Organization Organization
	Role         OrgRole
}

// Can tells whether the member's role includes a permission in the organization.
func (m OrganizationMember) Can(p Permission) bool { return m.Role.Can(p) }

// Require is nil where Can is true, and else the CodeForbidden that says so to people.
func (m OrganizationMember) Require(p Permission) error {
	if m.Can(p) {
		return nil
	}
	return Errorf(CodeForbidden, "Your role in this organization, %s, does not include this (%s). Ask an owner of the organization.", m.Role, p)
}

// Can tells whether the member's role includes a permission.
func (m Member) Can(p Permission) bool { return m.Role.Can(p) }

// Require is nil where Can is true, and else the CodeForbidden that says so to people.
func (m Member) Require(p Permission) error {
	if m.Can(p) {
		return nil
	}
	return Errorf(CodeForbidden, "Your role in this workspace, %s, does not include this (%s). Ask an owner or admin of the workspace for another role.", m.Role, p)
}

var (
	placeName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,38}[a-zA-Z0-9])?$`)
	emailForm = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.?[^@\s]*$`)
)

// SetUp is what the first owner enters on an empty portal.
type SetUp struct {
	Email        string
	UserName     string
	Password     string
	Organization string
	Workspace    string
}

// Clean trims what was entered and checks it, field by field; names of fields as in the form.
func (s *SetUp) Clean() error {
	s.Email = strings.ToLower(strings.TrimSpace(s.Email))
	s.UserName = strings.TrimSpace(s.UserName)
	s.Organization = strings.TrimSpace(s.Organization)
	s.Workspace = strings.TrimSpace(s.Workspace)
	errs := FieldErrors{}
	if err := CheckEmail(s.Email); err != nil {
		errs.Add("email", "%s", err.Error())
	}
	checkPlaceName(errs, "userName", s.UserName)
	checkPlaceName(errs, "organization", s.Organization)
	checkPlaceName(errs, "workspace", s.Workspace)
	if err := CheckPassword(s.Password, s.UserName, s.Email, s.Organization, s.Workspace); err != nil {
		errs.Add("password", "%s", err.Error())
	}
	return errs.OrNil()
}

func checkPlaceName(errs FieldErrors, field, name string) {
	if !placeName.MatchString(name) {
		errs.Add(field, "Use 1 to 40 letters, digits, hyphens or underscores, beginning and ending with a letter or digit.")
	}
}

// CheckEmail tells what is wrong with an e-mail address, which was trimmed and is in lower case.
func CheckEmail(email string) error {
	if !emailForm.MatchString(email) || !plain(email, "") || len(email) > MaxEmailLength {
		return Errorf(CodeInvalid, "Enter an e-mail address such as ada@example.org.")
	}
	return nil
}

// IsUserName tells whether a text has the form of a user name.
func IsUserName(s string) bool { return placeName.MatchString(s) }
