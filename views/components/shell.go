// Package components holds what pages share: the shell around every page, form fields, tables, badges and times.
package components

import "wherry/platform"

// Shell is what the frame around a page needs to know.
type Shell struct {
	Title  string // of the browser tab; for a live page it tells the state
	Active string // the entry of the navigation that is marked: "launchpad", "runs", "studios", "machines", "compute-envs", "credentials"
	CSRF   string // token for every form and htmx request

	Member     *platform.Member     // who is signed in, in which workspace; nil before sign-in
	Workspaces []platform.Workspace // where the member may go

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
