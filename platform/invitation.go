package platform

import (
	"strings"
	"time"
)

// InvitationLifetime is how long an invitation can be accepted.
const InvitationLifetime = 7 * 24 * time.Hour

// Invitation lets one person into an organization, or into one of its workspaces as a collaborator. It is accepted once, by
// whoever has its link; the portal keeps only the hash of the token in it.
type Invitation struct {
	ID           string
	Organization Organization
	OrgRole      OrgRole // owner or member; empty: a collaborator, of the workspace alone
	TeamID       int64   // 0: no team
	TeamName     string
	WorkspaceID  int64 // 0: no workspace
	Workspace    string
	Role         Role   // in the workspace; empty: none
	Email        string // lower case; empty: whoever has the link
	InvitedBy    User
	Created      time.Time
	Expires      time.Time
	Mailed       time.Time // zero: it was not sent
	MailError    string    // why it was not
}

// Clean trims what was entered and checks it, field by field.
func (i *Invitation) Clean() error {
	i.Email = strings.ToLower(strings.TrimSpace(i.Email))
	errs := FieldErrors{}
	if i.Email != "" {
		if err := CheckEmail(i.Email); err != nil {
			errs.Add("email", "%s", err.Error())
		}
	}
	switch i.OrgRole {
	case OrgOwner, OrgMember:
	case "":
		if i.WorkspaceID == 0 {
			errs.Add("workspace", "Choose the workspace in which the collaborator is to work.")
		}
		if i.TeamID != 0 {
			errs.Add("team", "Teams are for members of the organization. A collaborator gets a role in a workspace.")
		}
	default:
		errs.Add("orgRole", "Choose owner, member or collaborator.")
	}
	if i.WorkspaceID == 0 {
		i.Role = ""
	} else if !i.Role.Known() {
		errs.Add("role", "Choose a role in the workspace.")
	}
	return errs.OrNil()
}

// Fits tells whether a user may accept the invitation.
func (i Invitation) Fits(u User) bool { return i.Email == "" || i.Email == u.Email }

// NewUser is what somebody enters who gets an account.
type NewUser struct {
	Email       string
	EmailChosen bool // as platform.User has it
	UserName    string
	Password    string
}

// Clean trims what was entered and checks it, field by field.
func (u *NewUser) Clean() error {
	u.Email, u.UserName = strings.ToLower(strings.TrimSpace(u.Email)), strings.TrimSpace(u.UserName)
	errs := FieldErrors{}
	if err := CheckEmail(u.Email); err != nil {
		errs.Add("email", "%s", err.Error())
	}
	checkPlaceName(errs, "userName", u.UserName)
	if err := CheckPassword(u.Password, u.UserName, u.Email); err != nil {
		errs.Add("password", "%s", err.Error())
	}
	return errs.OrNil()
}
