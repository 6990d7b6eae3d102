package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/handlers"
	"wherry/platform"
)

// How many entries one answer has: the reference's limits are not written down, so these are ours.
const (
	auditPage    = 25
	maxAuditPage = 100
)

// AuditLogs lists entries of the audit log, the newest first (ListAuditLogsV2 of platform-api.json).
func (a *API) AuditLogs(c echo.Context) error {
	f, err := readAuditQuery(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	entries, err := a.DB.AuditLog(ctx, f)
	if err != nil {
		return err
	}
	places, err := a.DB.AuditPlaces(ctx, 0)
	if err != nil {
		return err
	}
	out := map[string]any{}
	if len(entries) == f.Limit {
		entries = entries[:f.Limit-1]
		out["nextPageToken"] = strconv.FormatInt(entries[len(entries)-1].Seq, 10)
	}
	logs := make([]map[string]any, 0, len(entries))
	for _, e := range entries {
		logs = append(logs, describeAudit(e, places, withState(c)))
	}
	out["auditLogs"] = logs
	return c.JSON(http.StatusOK, out)
}

// AuditLog describes one entry (DescribeAuditLogV2).
func (a *API) AuditLog(c echo.Context) error {
	seq, err := strconv.ParseInt(c.Param("auditLogId"), 10, 64)
	if err != nil {
		return platform.Errorf(platform.CodeNotFound, "There is no such entry: they have numbers.")
	}
	e, err := a.DB.AuditEntry(c.Request().Context(), 0, seq)
	if err != nil {
		return err
	}
	places, err := a.DB.AuditPlaces(c.Request().Context(), 0)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, describeAudit(e, places, withState(c)))
}

// ExportAuditLogs sends the entries as CSV (ExportAuditLogsV2Csv), in Wherry's own columns.
func (a *API) ExportAuditLogs(c echo.Context) error {
	f, err := readAuditQuery(c)
	if err != nil {
		return err
	}
	f.Limit, f.Before = 0, 0
	export, err := handlers.NewAuditExport("csv")
	if err != nil {
		return err
	}
	return handlers.SendAudit(c, a.DB, a.Log, export, f)
}

// readAuditQuery reads the parameters of the list. It asks for one entry more than is shown.
func readAuditQuery(c echo.Context) (f db.AuditFilter, err error) {
	f.Limit = auditPage + 1
	if text := c.QueryParam("max"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return f, platform.Errorf(platform.CodeInvalid, "max is a number from 1 to %d.", maxAuditPage)
		}
		f.Limit = min(n, maxAuditPage) + 1
	}
	if token := c.QueryParam("nextPageToken"); token != "" {
		if f.Before, err = strconv.ParseInt(token, 10, 64); err != nil || f.Before < 1 {
			return f, platform.Errorf(platform.CodeInvalid, "nextPageToken is not one that an answer had.")
		}
	}
	if f.Since, err = readTime(c, "timestampAfterOrEqual"); err != nil {
		return f, err
	}
	until, err := readTime(c, "timestampBeforeOrEqual")
	if !until.IsZero() {
		f.Until = until.Add(time.Millisecond) // what is at that time counts
	}
	return f, err
}

func readTime(c echo.Context, name string) (time.Time, error) {
	text := c.QueryParam(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, platform.Errorf(platform.CodeInvalid, "%s is a time such as 2026-11-25T08:00:00Z.", name)
	}
	return at, nil
}

func withState(c echo.Context) bool { return strings.Contains(c.QueryParam("attributes"), "state") }

func describeAudit(e platform.AuditEntry, places db.AuditPlaces, state bool) map[string]any {
	actor := map[string]any{"type": "system", "userName": e.UserName}
	if e.Kind == platform.ActorUser {
		actor["type"], actor["userId"] = "user", e.UserID
	}
	target := map[string]any{"id": e.TargetID, "name": e.TargetName, "type": auditTypes.of(e.TargetKind), "context": auditContext(e)}
	if e.OrganizationID != 0 {
		target["organization"] = map[string]any{"id": e.OrganizationID, "name": places.Organizations[e.OrganizationID]}
	}
	if e.WorkspaceID != 0 {
		_, name, _ := strings.Cut(places.Workspaces[e.WorkspaceID], "/")
		target["workspace"] = map[string]any{"id": e.WorkspaceID, "name": name}
	}
	if state {
		target["state"] = auditState(e)
	}
	return map[string]any{"id": strconv.FormatInt(e.Seq, 10), "timestamp": e.At.UTC().Format(time.RFC3339Nano), "event": auditEvents.of(e.Action), "actor": actor,
		"client": map[string]any{"ip": e.Address, "userAgent": e.UserAgent}, "correlationId": e.Request, "target": target}
}

func auditContext(e platform.AuditEntry) string {
	switch {
	case e.WorkspaceID != 0:
		return "Workspace"
	case e.OrganizationID != 0:
		return "Organization"
	case e.TargetKind == "user":
		return "User"
	}
	return "System"
}

// auditState is what was before and after. What differs is in it, and not the whole thing.
func auditState(e platform.AuditEntry) map[string]any {
	out := map[string]any{}
	status := func(text, name string) string {
		if text == "" {
			return "UNAPPLICABLE"
		}
		out[name] = json.RawMessage(text)
		return "RECORDED"
	}
	out["metadata"] = map[string]any{"contentRequested": true, "preStateStatus": status(e.Before, "previousState"), "postStateStatus": status(e.After, "newState")}
	return out
}

// names are the reference's names for ours.
type names map[string]string

// of is the reference's name, or ours where it has none.
func (n names) of(ours string) string {
	if theirs := n[ours]; theirs != "" {
		return theirs
	}
	return strings.NewReplacer(".", "_", "-", "_").Replace(ours)
}

var auditTypes = names{"compute-env": "compute_env", "run": "workflow", "studio": "data_studio", "pipeline-secret": "pipeline_secret", "access-token": "access_token", "group": "idp_group"}

var auditEvents = names{
	"run.launch": "workflow_launched", "run.relaunch": "workflow_launched",
	"compute-env.add": "compute_environment_created", "compute-env.update": "compute_environment_updated", "compute-env.delete": "compute_environment_deleted",
	"compute-env.primary": "compute_environment_made_primary",
	"credentials.add":     "credentials_created", "credentials.update": "credentials_updated", "credentials.delete": "credentials_deleted",
	"pipeline.add": "pipeline_created", "pipeline.update": "pipeline_updated", "pipeline.delete": "pipeline_deleted",
	"studio.add": "studio_session_created", "studio.update": "studio_session_updated", "studio.delete": "studio_session_deleted", "studio.start": "studio_session_started",
	"studio.stop": "studio_session_stopped", "studio.connect": "studio_session_connected", "studio.extend": "studio_session_lifespan_extended",
	"access-token.create": "access_token_created", "access-token.revoke": "access_token_deleted",
	"user.create": "user_created", "user.update": "user_updated", "user.delete": "user_deleted", "user.sign-in": "user_sign_in", "user.enable": "user_enabled", "user.disable": "user_disabled",
	"organization.create": "organization_created", "organization.update": "organization_updated", "organization.delete": "organization_deleted",
	"workspace.create": "workspace_created", "workspace.update": "workspace_updated", "workspace.delete": "workspace_deleted",
	"member.add": "member_added", "member.remove": "member_removed", "member.update": "member_role_updated",
	"team.create": "team_created", "team.update": "team_updated", "team.delete": "team_deleted", "team.add-member": "team_member_added", "team.remove-member": "team_member_removed",
	"group.create": "idp_group_created", "group.delete": "idp_group_deleted",
}
