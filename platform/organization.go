package platform

import (
	"strings"
	"time"
	"unicode/utf8"
)

// maxTeamDescription is how many characters a description of a team may have.
const maxTeamDescription = 250

// MaxGroupName is how long the name of a group of the identity provider may be, in bytes.
const MaxGroupName = 256

// ListPart is which part of a long list of people or teams is asked for.
type ListPart struct {
	Text   string // in the name or e-mail address; empty: all
	Offset int
	Limit  int
}

// PartSize is how many people or teams one page shows.
const PartSize = 50

// Team is people of an organization who get roles in workspaces together.
type Team struct {
	ID             int64
	OrganizationID int64
	Name           string // unique in the organization
	Description    string
	Members        int // how many
	Created        time.Time
}

// Clean trims what was entered and checks it, field by field.
func (t *Team) Clean() error {
	t.Name, t.Description = strings.TrimSpace(t.Name), strings.TrimSpace(t.Description)
	errs := FieldErrors{}
	checkPlaceName(errs, "name", t.Name)
	if utf8.RuneCountInString(t.Description) > maxTeamDescription {
		errs.Add("description", "Use at most %d characters.", maxTeamDescription)
	}
	return errs.OrNil()
}

// TeamMember is somebody in a team.
type TeamMember struct {
	User User
	// FromGroup says that a group of the identity provider put them there, and takes them out again.
	FromGroup bool
}

// IdentityGroup is a group of the identity provider: who is in it, is in the team.
type IdentityGroup struct {
	ID             int64
	OrganizationID int64
	Name           string // as the provider tells it
	Team           Team
}

// TeamRole is a team with its role in a workspace.
type TeamRole struct {
	Team Team
	Role Role
}

// Participant is somebody who is in a workspace, and by what.
type Participant struct {
	User    User
	Role    Role       // the highest of all that follow: what counts
	Own     Role       // given to them by name; empty: none
	Teams   []TeamRole // their teams that are in the workspace
	OrgRole OrgRole    // an owner of the organization is owner of the workspace
}

// rank is how far below the highest role a role is.
func (r Role) rank() int {
	for i, role := range Roles {
		if role == r {
			return i
		}
	}
	return len(Roles)
}

// MayGive tells whether somebody with this role may give another one, or take it away: whoever manages members, up to their
// own role.
func (r Role) MayGive(other Role) bool {
	return r.Can(ManageMembers) && other.Known() && other.rank() >= r.rank()
}

// Check tells what is wrong with a role that somebody chose.
func (r Role) Check() error {
	if !r.Known() {
		return Errorf(CodeInvalid, "Choose a role first: owner, admin, maintain, launch, connect or view.")
	}
	return nil
}

// Gives lists the roles that somebody with this role may give.
func (r Role) Gives() (list []Role) {
	for _, other := range Roles {
		if r.MayGive(other) {
			list = append(list, other)
		}
	}
	return list
}

// Clean trims what was entered and checks it, field by field.
func (o *Organization) Clean() error {
	o.Name, o.FullName = strings.TrimSpace(o.Name), strings.TrimSpace(o.FullName)
	errs := FieldErrors{}
	checkPlaceName(errs, "name", o.Name)
	o.FullName = checkFullName(errs, o.FullName, o.Name)
	return errs.OrNil()
}

// Clean trims what was entered and checks it, field by field.
func (w *Workspace) Clean() error {
	w.Name, w.FullName = strings.TrimSpace(w.Name), strings.TrimSpace(w.FullName)
	errs := FieldErrors{}
	checkPlaceName(errs, "name", w.Name)
	w.FullName = checkFullName(errs, w.FullName, w.Name)
	return errs.OrNil()
}

// checkFullName returns the full name, for which the name stands in where there is none.
func checkFullName(errs FieldErrors, full, name string) string {
	if utf8.RuneCountInString(full) > MaxNameLength {
		errs.Add("fullName", "Use at most %d characters.", MaxNameLength)
	}
	if full == "" {
		return name
	}
	return full
}

// Above tells whether a role is higher than another.
func (r Role) Above(other Role) bool { return r.rank() < other.rank() }
