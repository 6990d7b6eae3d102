// Package components holds what pages share: the shell around every page, form fields, tables, badges and times.
package components

import "wherry/platform"

// Shell is what the frame around a page needs to know.
type Shell struct {
	Title  string // of the browser tab; for a live page it tells the state
	Active string // the entry of the navigation that is marked: "launchpad", "runs", "studios", "machines", "compute-envs", "credentials", or one of more
	CSRF   string // token for every form and htmx request

	User       *platform.User       // who is signed in; nil: nobody
	Member     *platform.Member     // the same in the workspace whose page it is; nil on pages of no workspace
	Workspaces []platform.Workspace // where the user may go
	// Organization is the one whose page it is, if any; Organizations are those that the user is a member of.
	Organization  *platform.OrganizationMember
	Organizations []platform.Organization

	// Live pages follow the journal of changes from LastChange on; LiveRun narrows it to one run, LiveStudio to one Studio.
	Live       bool
	LastChange int64
	LiveRun    string
	LiveStudio string

	Notice string // one sentence about what was just done
}

// Base is the path of the member's workspace, "/orgs/O/workspaces/W", under which all its pages lie.
func (s Shell) Base() string {
	if s.Member == nil {
		return ""
	}
	return WorkspacePath(s.Member.Workspace)
}

// entry is one of a menu.
type entry struct {
	name, label string
	permission  platform.Permission
}

// moreEntries are the pages of a workspace that are not looked at daily.
var moreEntries = []entry{
	{"participants", "Participants", platform.ViewMembers},
	{"secrets", "Secrets", platform.ViewSecrets},
	{"labels", "Labels", platform.ViewLabels},
	{"limits", "Limits", platform.ManageLimits},
	{"settings", "Settings", platform.ManageWorkspace},
}

// more lists the entries that the member may see.
func (s Shell) more() (list []entry) {
	for _, e := range moreEntries {
		if s.Member.Can(e.permission) {
			list = append(list, e)
		}
	}
	return list
}

// organizationEntries are the pages of an organization.
var organizationEntries = []entry{
	{"", "Workspaces", platform.ViewOrganization},
	{"members", "Members", platform.ViewOrganization},
	{"teams", "Teams", platform.ViewOrganization},
	{"invitations", "Invitations", platform.ManageOrganization},
	{"audit", "Audit log", platform.ViewAudit},
}

// organizationPages lists the entries that the member of the organization may see.
func (s Shell) organizationPages() (list []entry) {
	for _, e := range organizationEntries {
		if s.Organization.Can(e.permission) {
			list = append(list, e)
		}
	}
	return list
}

// path is where an entry of an organization leads.
func (e entry) path(o platform.Organization) string {
	if e.name == "" {
		return OrganizationPath(o)
	}
	return OrganizationPath(o) + "/" + e.name
}

// moreActive is the label of the page in the menu that is open; empty: it is another page.
func (s Shell) moreActive() string {
	for _, e := range moreEntries {
		if e.name == s.Active {
			return e.label
		}
	}
	return ""
}

// OrganizationPath is the path of an organization's page, under which all its pages lie.
func OrganizationPath(o platform.Organization) string { return "/orgs/" + o.Name }

// WorkspacePath is the path under which all pages of a workspace lie. Names of organizations and workspaces need no
// escaping (platform.SetUp).
func WorkspacePath(w platform.Workspace) string {
	return "/orgs/" + w.Organization.Name + "/workspaces/" + w.Name
}

// eventsURL is where the page hears of changes; "" for a page that is not live.
func (s Shell) eventsURL() string {
	switch {
	case !s.Live:
		return ""
	case s.LiveRun != "":
		return s.Base() + "/events?run=" + s.LiveRun
	case s.LiveStudio != "":
		return s.Base() + "/events?studio=" + s.LiveStudio
	}
	return s.Base() + "/events"
}
