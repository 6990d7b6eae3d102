package handlers

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"wherry/db"
	"wherry/platform"
)

// AuditExport writes entries of the audit log in a format.
type AuditExport struct {
	Format      string // csv or json
	ContentType string
	write       func(ctx context.Context, d *db.DB, f db.AuditFilter, w io.Writer) error
}

// NewAuditExport returns the export in a format; CodeInvalid for one that there is not.
func NewAuditExport(format string) (AuditExport, error) {
	switch format {
	case "csv":
		return AuditExport{format, "text/csv; charset=utf-8", writeAuditCSV}, nil
	case "json":
		return AuditExport{format, "application/json", writeAuditJSON}, nil
	}
	return AuditExport{}, platform.Errorf(platform.CodeInvalid, "The audit log is exported as csv or json, and not as %q.", platform.Shorten(format, 20))
}

// Write writes every entry of the filter, the newest first, while it reads on.
func (x AuditExport) Write(ctx context.Context, d *db.DB, f db.AuditFilter, w io.Writer) error {
	return x.write(ctx, d, f, w)
}

var auditCSVHead = []string{"seq", "time", "actor", "userId", "userName", "token", "address", "userAgent", "request", "organizationId", "workspaceId",
	"action", "targetKind", "targetId", "targetName", "before", "after", "hash"}

func writeAuditCSV(ctx context.Context, d *db.DB, f db.AuditFilter, w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(auditCSVHead); err != nil {
		return err
	}
	err := d.ExportAudit(ctx, f, func(e platform.AuditEntry) error {
		row := []string{strconv.FormatInt(e.Seq, 10), auditTime(e.At), string(e.Kind), number(e.UserID), e.UserName, e.Token, e.Address, e.UserAgent, e.Request,
			number(e.OrganizationID), number(e.WorkspaceID), e.Action, e.TargetKind, e.TargetID, e.TargetName, e.Before, e.After, e.Hash}
		for i := range row {
			row[i] = harmless(row[i])
		}
		return out.Write(row)
	})
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
}

// harmless is a cell that no spreadsheet takes for a formula: one that begins like one gets an apostrophe before it (OWASP, CSV injection).
func harmless(cell string) string {
	if cell == "" {
		return cell
	}
	switch cell[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n':
		return "'" + cell
	}
	return cell
}

func auditTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// auditJSON is an entry in an export.
type auditJSON struct {
	Seq            int64           `json:"seq"`
	Time           string          `json:"time"`
	Actor          auditActor      `json:"actor"`
	OrganizationID int64           `json:"organizationId,omitempty"`
	WorkspaceID    int64           `json:"workspaceId,omitempty"`
	Action         string          `json:"action"`
	Target         auditTarget     `json:"target"`
	Before         json.RawMessage `json:"before,omitempty"`
	After          json.RawMessage `json:"after,omitempty"`
	Hash           string          `json:"hash"`
}

type auditActor struct {
	Kind      platform.ActorKind `json:"kind"`
	UserID    int64              `json:"userId,omitempty"`
	UserName  string             `json:"userName,omitempty"`
	Token     string             `json:"token,omitempty"`
	Address   string             `json:"address,omitempty"`
	UserAgent string             `json:"userAgent,omitempty"`
	Request   string             `json:"request,omitempty"`
}

type auditTarget struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// writeAuditJSON writes an array; one that was cut short has no end.
func writeAuditJSON(ctx context.Context, d *db.DB, f db.AuditFilter, w io.Writer) error {
	between := "[\n"
	err := d.ExportAudit(ctx, f, func(e platform.AuditEntry) error {
		text, err := json.Marshal(auditJSON{e.Seq, auditTime(e.At), auditActor{e.Kind, e.UserID, e.UserName, e.Token, e.Address, e.UserAgent, e.Request},
			e.OrganizationID, e.WorkspaceID, e.Action, auditTarget{e.TargetKind, e.TargetID, e.TargetName}, json.RawMessage(e.Before), json.RawMessage(e.After), e.Hash})
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, between+string(text))
		between = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	if between == "[\n" {
		_, err = io.WriteString(w, "[]\n")
	} else {
		_, err = io.WriteString(w, "\n]\n")
	}
	return err
}
