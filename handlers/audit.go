package handlers

import (
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/platform"
	"wherry/views"
)

// auditPerPage is how many entries a page of the audit log shows.
const auditPerPage = 50

// OrganizationAudit shows the audit log of an organization.
func (h *Handlers) OrganizationAudit(c echo.Context) error {
	return h.showAudit(c, OrganizationMember(c).Organization.ID, "audit")
}

// PortalAudit shows the audit log of the whole portal.
func (h *Handlers) PortalAudit(c echo.Context) error { return h.showAudit(c, 0, "admin/audit") }

// OrganizationAuditEntry shows one entry of an organization's audit log.
func (h *Handlers) OrganizationAuditEntry(c echo.Context) error {
	return h.showAuditEntry(c, OrganizationMember(c).Organization.ID, "audit")
}

// PortalAuditEntry shows one entry of the portal's audit log.
func (h *Handlers) PortalAuditEntry(c echo.Context) error {
	return h.showAuditEntry(c, 0, "admin/audit")
}

// ExportOrganizationAudit sends what is filtered of an organization's audit log.
func (h *Handlers) ExportOrganizationAudit(c echo.Context) error {
	return h.exportAudit(c, OrganizationMember(c).Organization.ID)
}

// ExportPortalAudit sends what is filtered of the portal's audit log.
func (h *Handlers) ExportPortalAudit(c echo.Context) error { return h.exportAudit(c, 0) }

// auditPath is the page of the audit log; organizationID is 0 for that of the portal.
func auditPath(c echo.Context, organizationID int64) string {
	if organizationID == 0 {
		return "/admin/audit"
	}
	return "/orgs/" + OrganizationMember(c).Organization.Name + "/audit"
}

// readAuditForm reads the filter from the address. What cannot be read is in the errors, and narrows nothing.
func readAuditForm(c echo.Context, organizationID int64) (f views.AuditForm, filter db.AuditFilter, errs platform.FieldErrors) {
	typed := func(name string) string { return strings.TrimSpace(c.QueryParam(name)) }
	f = views.AuditForm{Text: typed("q"), Who: typed("who"), Action: typed("action"), Target: typed("target"), Workspace: typed("workspace"), From: typed("from"), To: typed("to")}
	errs = platform.FieldErrors{}
	filter = db.AuditFilter{OrganizationID: organizationID, Who: f.Who, Action: f.Action, Target: f.Target, Text: f.Text, Before: intParam(c, "before", 0)}
	filter.WorkspaceID, _ = strconv.ParseInt(f.Workspace, 10, 64) // nothing, or what no one offered
	filter.Since, filter.Until = readDay(errs, "from", f.From, 0), readDay(errs, "to", f.To, 24*time.Hour)
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		errs.Add("to", "This day is before the first one.")
	}
	return f, filter, errs
}

func readDay(errs platform.FieldErrors, field, text string, more time.Duration) time.Time {
	if text == "" {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		errs.Add(field, "Enter a day as year-month-day, such as 2026-11-25.")
		return time.Time{}
	}
	return day.Add(more)
}

func (h *Handlers) showAudit(c echo.Context, organizationID int64, active string) error {
	s, err := h.shell(c, "Audit log", active)
	if err != nil {
		return err
	}
	l, filter, err := h.auditList(c, organizationID)
	if err != nil {
		return err
	}
	if l.Actions, err = h.DB.AuditActions(c.Request().Context(), organizationID); err != nil {
		return err
	}
	if len(l.Errors) > 0 {
		return render(c, http.StatusUnprocessableEntity, views.AuditPage(s, l))
	}
	filter.Limit = auditPerPage + 1
	if l.Entries, err = h.DB.AuditLog(c.Request().Context(), filter); err != nil {
		return err
	}
	if len(l.Entries) > auditPerPage {
		l.Entries = l.Entries[:auditPerPage]
		l.Older = l.Entries[auditPerPage-1].Seq
	}
	return render(c, http.StatusOK, views.AuditPage(s, l))
}

// auditList is a page of the audit log without its entries, and the filter that finds them.
func (h *Handlers) auditList(c echo.Context, organizationID int64) (l views.AuditList, filter db.AuditFilter, err error) {
	l = views.AuditList{Path: auditPath(c, organizationID), Portal: organizationID == 0}
	l.Form, filter, l.Errors = readAuditForm(c, organizationID)
	l.Before = filter.Before
	places, err := h.DB.AuditPlaces(c.Request().Context(), organizationID)
	l.Workspaces, l.Orgs = places.Workspaces, places.Organizations
	return l, filter, err
}

func (h *Handlers) showAuditEntry(c echo.Context, organizationID int64, active string) error {
	seq, err := strconv.ParseInt(c.Param("seq"), 10, 64)
	if err != nil {
		return platform.Errorf(platform.CodeNotFound, "The audit log has no such entry: they have numbers.")
	}
	e, err := h.DB.AuditEntry(c.Request().Context(), organizationID, seq)
	if err != nil {
		return err
	}
	s, err := h.shell(c, e.Action, active)
	if err != nil {
		return err
	}
	l, _, err := h.auditList(c, organizationID)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.AuditEntryPage(s, l, e))
}

func (h *Handlers) exportAudit(c echo.Context, organizationID int64) error {
	export, err := NewAuditExport(c.Param("format"))
	if err != nil {
		return err
	}
	_, filter, errs := readAuditForm(c, organizationID)
	if len(errs) > 0 {
		return platform.Errorf(platform.CodeInvalid, "The days of the filter are none. Go back to the audit log and choose them again.")
	}
	return SendAudit(c, h.DB, h.Log, export, filter)
}

// SendAudit sends entries of the audit log as a file, and notes in the log that they were.
func SendAudit(c echo.Context, d *db.DB, log *slog.Logger, export AuditExport, f db.AuditFilter) error {
	ctx := c.Request().Context()
	if err := d.NoteAuditExport(ctx, f, export.Format); err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, export.ContentType)
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set(echo.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": "audit-" + time.Now().UTC().Format(time.DateOnly) + "." + export.Format}))
	c.Response().WriteHeader(http.StatusOK)
	if err := export.Write(ctx, d, f, c.Response()); err != nil {
		if ctx.Err() == nil {
			log.ErrorContext(ctx, "exporting the audit log", "error", err)
		}
		panic(http.ErrAbortHandler) // the connection breaks, so that nobody takes what has come for the whole
	}
	return nil
}
