package db

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"wherry/platform"
)

const auditColumns = `a.seq, a.at, a.actor_kind, a.user_id, a.user_name, a.token, a.address, a.user_agent, a.request, a.organization_id, a.workspace_id,
	a.action, a.target_kind, a.target_id, a.target_name, a.before, a.after, a.hash`

// auditFields are where the auditColumns go.
func auditFields(e *platform.AuditEntry) []any {
	return []any{&e.Seq, timeColumn{&e.At}, &e.Kind, &e.UserID, &e.UserName, &e.Token, &e.Address, &e.UserAgent, &e.Request, &e.OrganizationID, &e.WorkspaceID,
		&e.Action, &e.TargetKind, &e.TargetID, &e.TargetName, &e.Before, &e.After, &e.Hash}
}

func scanAudit(s scanner) (e platform.AuditEntry, err error) {
	err = s.Scan(auditFields(&e)...)
	return e, err
}

// AuditFilter narrows the audit log. What is zero narrows nothing.
type AuditFilter struct {
	OrganizationID int64
	WorkspaceID    int64
	Who            string // a user's name, or the kind of an actor
	Action         string // "credentials.update", or "credentials" for whatever happened to some
	Target         string // a target's id, or a part of its name
	Text           string // in whatever an entry says
	Since          time.Time
	Until          time.Time // before then
	Before         int64     // numbers below this one
	Limit          int       // 0: all
}

// where is the filter as SQL. Everything is looked up along the numbers, downwards from f.Before, which both of the table's own index and
// that of organizations give: how many entries there are does not matter for a page.
func (f AuditFilter) where() (string, []any) {
	where, args := []string{"1"}, []any{}
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if f.Before > 0 {
		add("a.seq < ?", f.Before)
	}
	if f.OrganizationID != 0 {
		add("a.organization_id = ?", f.OrganizationID)
	}
	if f.WorkspaceID != 0 {
		add("a.workspace_id = ?", f.WorkspaceID)
	}
	if f.Who != "" {
		add("(a.user_name = ? COLLATE NOCASE OR a.actor_kind = ?)", f.Who, f.Who)
	}
	if f.Action != "" {
		add("(a.action = ? OR a.target_kind = ?)", f.Action, f.Action)
	}
	if f.Target != "" {
		add("(a.target_id = ? OR instr(lower(a.target_name), lower(?)) > 0)", f.Target, f.Target)
	}
	if f.Text != "" {
		add("instr(lower(a.user_name || char(10) || a.token || char(10) || a.address || char(10) || a.action || char(10) || a.target_id || char(10) || a.target_name || char(10) || a.before || char(10) || a.after), lower(?)) > 0", f.Text)
	}
	if !f.Since.IsZero() {
		add("a.at >= ?", millis(f.Since))
	}
	if !f.Until.IsZero() {
		add("a.at < ?", millis(f.Until))
	}
	return strings.Join(where, " AND "), args
}

func (f AuditFilter) query() (string, []any) {
	where, args := f.where()
	from := "audit_log a"
	if f.OrganizationID != 0 {
		from += " INDEXED BY audit_by_organization"
	}
	limit := f.Limit
	if limit == 0 {
		limit = -1
	}
	return `SELECT ` + auditColumns + ` FROM ` + from + ` WHERE ` + where + ` ORDER BY a.seq DESC LIMIT ?`, append(args, limit)
}

// AuditLog lists entries of the audit log, the newest first.
func (d *DB) AuditLog(ctx context.Context, f AuditFilter) ([]platform.AuditEntry, error) {
	query, args := f.query()
	return all(ctx, d.read.DB, scanAudit, query, args...)
}

// AuditEntry reads one entry; organizationID is 0 for one of whatever organization.
func (d *DB) AuditEntry(ctx context.Context, organizationID, seq int64) (platform.AuditEntry, error) {
	e, err := scanAudit(d.read.QueryRowContext(ctx, `SELECT `+auditColumns+` FROM audit_log a WHERE a.seq = ?1 AND (?2 = 0 OR a.organization_id = ?2)`, seq, organizationID))
	if errors.Is(err, sql.ErrNoRows) {
		err = platform.Errorf(platform.CodeNotFound, "The audit log has no such entry here. It may be older than entries are kept.")
	}
	return e, err
}

// exportBatch is how many entries an export reads at once: no reader holds the write-ahead log while a slow browser reads.
const exportBatch = 1000

// ExportAudit gives every entry of the filter to each, the newest first, and stops at the first error.
func (d *DB) ExportAudit(ctx context.Context, f AuditFilter, each func(platform.AuditEntry) error) error {
	left := f.Limit
	for {
		f.Limit = exportBatch
		if left > 0 {
			f.Limit = min(left, exportBatch)
		}
		entries, err := d.AuditLog(ctx, f)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := each(e); err != nil {
				return err
			}
			f.Before = e.Seq
		}
		if left -= len(entries); len(entries) < f.Limit || left == 0 {
			return nil
		}
	}
}

// NoteAuditExport notes that entries of the audit log leave the portal, and which.
func (d *DB) NoteAuditExport(ctx context.Context, f AuditFilter, format string) error {
	return d.inTx(ctx, func(t *tx) error {
		is := fields{"format": format}
		for name, value := range map[string]string{"who": f.Who, "action": f.Action, "target": f.Target, "text": f.Text} {
			if value != "" {
				is[name] = value
			}
		}
		for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
			if !at.IsZero() {
				is[name] = at.UTC()
			}
		}
		t.audit(audited{action: "audit.export", orgID: f.OrganizationID, workspaceID: f.WorkspaceID, after: is})
		return nil
	})
}

// AuditActions lists what the newest entries are about, for choosing one.
func (d *DB) AuditActions(ctx context.Context, organizationID int64) ([]string, error) {
	f := AuditFilter{OrganizationID: organizationID, Limit: 5000}
	query, args := f.query()
	return all(ctx, d.read.DB, scanString, `SELECT DISTINCT action FROM (`+query+`) ORDER BY action`, args...)
}

// OrganizationID finds an organization by its name.
func (d *DB) OrganizationID(ctx context.Context, name string) (id int64, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT id FROM organizations WHERE name = ?`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = platform.Errorf(platform.CodeNotFound, "There is no such organization.")
	}
	return id, err
}

// AuditPlaces names organizations and workspaces, of which entries have the ids.
type AuditPlaces struct{ Organizations, Workspaces map[int64]string }

// AuditPlaces reads the names of those that there still are; organizationID is 0 for all.
func (d *DB) AuditPlaces(ctx context.Context, organizationID int64) (p AuditPlaces, err error) {
	if p.Organizations, err = d.names(ctx, `SELECT id, name FROM organizations WHERE ?1 = 0 OR id = ?1`, organizationID); err != nil {
		return p, err
	}
	p.Workspaces, err = d.names(ctx, `SELECT w.id, o.name || '/' || w.name FROM workspaces w JOIN organizations o ON o.id = w.organization_id
		WHERE ?1 = 0 OR o.id = ?1`, organizationID)
	return p, err
}

func (d *DB) names(ctx context.Context, query string, organizationID int64) (map[int64]string, error) {
	type named struct {
		id   int64
		name string
	}
	list, err := all(ctx, d.read, func(s scanner) (n named, err error) {
		err = s.Scan(&n.id, &n.name)
		return n, err
	}, query, organizationID)
	names := make(map[int64]string, len(list))
	for _, n := range list {
		names[n.id] = n.name
	}
	return names, err
}
