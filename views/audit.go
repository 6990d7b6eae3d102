package views

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"wherry/platform"
)

// AuditForm is what the form of the audit log shows: what was typed.
type AuditForm struct {
	Text, Who, Action, Target, Workspace, From, To string
}

// AuditList is what a page of the audit log shows.
type AuditList struct {
	Path       string // of the page
	Portal     bool   // it is the log of the whole portal, and not of one organization
	Form       AuditForm
	Errors     platform.FieldErrors
	Entries    []platform.AuditEntry
	Actions    []string         // to choose from
	Workspaces map[int64]string // those that there still are
	Orgs       map[int64]string
	Before     int64 // the page begins below this number; 0: with the newest
	Older      int64 // the next page begins below this number; 0: there is none
}

func (l AuditList) filtered() bool { return l.Form != AuditForm{} || l.Before != 0 }

// query is the filter as an address has it, with a page's beginning.
func (l AuditList) query(before int64) string {
	q := url.Values{}
	for name, value := range map[string]string{"q": l.Form.Text, "who": l.Form.Who, "action": l.Form.Action, "target": l.Form.Target,
		"workspace": l.Form.Workspace, "from": l.Form.From, "to": l.Form.To} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if before != 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// workspaceIDs are in the order of their names.
func (l AuditList) workspaceIDs() []int64 {
	ids := slices.Collect(maps.Keys(l.Workspaces))
	slices.SortFunc(ids, func(a, b int64) int { return strings.Compare(l.Workspaces[a], l.Workspaces[b]) })
	return ids
}

// place names where an entry belongs.
func (l AuditList) place(e platform.AuditEntry) string {
	switch {
	case l.Workspaces[e.WorkspaceID] != "":
		return l.Workspaces[e.WorkspaceID]
	case e.WorkspaceID != 0:
		return fmt.Sprintf("workspace %d, deleted", e.WorkspaceID)
	case l.Orgs[e.OrganizationID] != "":
		return l.Orgs[e.OrganizationID]
	case e.OrganizationID != 0:
		return fmt.Sprintf("organization %d, deleted", e.OrganizationID)
	}
	return "the portal"
}

// auditWho names who did something.
func auditWho(a platform.Actor) string {
	switch a.Kind {
	case platform.ActorUser:
		return a.UserName
	case platform.ActorAgent:
		return "the agent of machine " + a.UserName
	case platform.ActorOperator:
		return a.UserName + " on the host"
	case platform.ActorPortal:
		return "the portal itself"
	}
	return "a visitor"
}

// auditHow tells by what means.
func auditHow(a platform.Actor) string {
	switch {
	case a.Token != "":
		return "by the access token " + a.Token
	case a.Kind == platform.ActorOperator:
		return "by a command"
	case a.Kind == platform.ActorUser:
		return "in a browser"
	}
	return ""
}

// auditTarget names on what something was done.
func auditTarget(e platform.AuditEntry) string {
	if e.TargetName != "" {
		return e.TargetKind + " " + e.TargetName
	}
	return strings.TrimSpace(e.TargetKind + " " + e.TargetID)
}

// auditLink leads to the target, where there is a page that finds it by its id; else it is empty.
func auditLink(e platform.AuditEntry) string {
	switch e.TargetKind {
	case "run":
		return "/runs/" + url.PathEscape(e.TargetID)
	case "studio":
		return "/studios/" + url.PathEscape(e.TargetID)
	}
	return ""
}

// auditField is one thing of both sides of an entry.
type auditField struct{ name, before, after string }

// auditFields sets both sides beside each other, what is in objects by "object.name".
func auditFields(e platform.AuditEntry) (list []auditField) {
	before, after := flat(e.Before), flat(e.After)
	names := map[string]bool{}
	for _, side := range []map[string]string{before, after} {
		for name := range side {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, auditField{name, before[name], after[name]})
	}
	return list
}

func flat(text string) map[string]string {
	out := map[string]string{}
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) == nil {
		flatten(out, "", object)
	}
	return out
}

func flatten(out map[string]string, prefix string, object map[string]any) {
	for name, value := range object {
		switch v := value.(type) {
		case map[string]any:
			flatten(out, prefix+name+".", v)
		case string:
			out[prefix+name] = v
		default:
			text, _ := json.Marshal(v) // it was JSON a moment ago
			out[prefix+name] = string(text)
		}
	}
}
