package db

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"wherry/platform"
)

// What happened to something, for tx.audit.
type audited struct {
	action      string // "thing.verb"
	workspaceID int64  // its organization is found by it
	orgID       int64  // only where there is no workspace
	kind        string // of the target; empty: the thing in action
	id          any    // of the target
	name        string
	// before and after marshal to JSON objects; nil: there was nothing. What is the same in both is left out. No secrets:
	// a platform.Secret shows as dots.
	before, after any
}

// audit notes for the audit log what this transaction changes. Who does it says the transaction's context.
func (t *tx) audit(a audited) { t.audits = append(t.audits, a) }

// auditText is what an entry says, in the order in which the hash covers it.
type auditText struct {
	Seq, At                                                 int64
	ActorKind                                               platform.ActorKind
	UserID                                                  int64
	UserName, Token, Address, UserAgent, Request            string
	OrganizationID, WorkspaceID                             int64
	Action, TargetKind, TargetID, TargetName, Before, After string
}

// hash is the entry's own, over that of the entry before.
func (e auditText) hash(previous string) (string, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte("wherry audit "+previous+"\n"), text...))
	return hex.EncodeToString(sum[:]), nil
}

// auditMAC is over an entry's hash, by a key that only who has the master key knows: whoever can write the database alone can
// make a chain of hashes anew, but not this.
func auditMAC(key []byte, hash string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("wherry audit entry " + hash))
	return hex.EncodeToString(m.Sum(nil))
}

// writeAudit writes what the transaction noted, in its order, behind the newest entry. It is the last before the commit.
func (d *DB) writeAudit(ctx context.Context, t *tx) error {
	if len(t.audits) == 0 {
		return nil
	}
	keyID, key, err := d.auditKey(ctx, t)
	if err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	seq, previous, err := auditHead(ctx, t)
	if err != nil {
		return err
	}
	for _, a := range t.audits {
		seq++
		e, err := t.auditText(ctx, seq, a)
		if err != nil {
			return fmt.Errorf("writing the audit log: %w", err)
		}
		if previous, err = e.hash(previous); err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT INTO audit_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.Seq, e.At, e.ActorKind, e.UserID,
			e.UserName, e.Token, e.Address, e.UserAgent, e.Request, e.OrganizationID, e.WorkspaceID, e.Action, e.TargetKind, e.TargetID,
			e.TargetName, e.Before, e.After, previous, keyID, auditMAC(key, previous))
		if err != nil {
			return fmt.Errorf("writing the audit log: %w", err)
		}
	}
	return nil
}

// auditHead is the number and the hash of the newest entry; of an empty log those of the last that was taken away.
func auditHead(ctx context.Context, q queryer) (seq int64, hash string, err error) {
	err = q.QueryRowContext(ctx, `SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1`).Scan(&seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		err = q.QueryRowContext(ctx, `SELECT seq, hash FROM audit_start`).Scan(&seq, &hash)
	}
	return seq, hash, err
}

// maxAuditText bounds each side of an entry, and what browsers say of themselves, in bytes.
const (
	maxAuditText  = 64 << 10
	maxAuditAgent = 300
)

// auditLine is what somebody else said of itself, as an entry keeps it.
func auditLine(text string) string {
	return platform.Shorten(strings.ToValidUTF8(text, "\ufffd"), maxAuditAgent)
}

func (t *tx) auditText(ctx context.Context, seq int64, a audited) (e auditText, err error) {
	who := platform.ActorOf(ctx)
	e = auditText{Seq: seq, At: millis(t.now), ActorKind: who.Kind, UserID: who.UserID, UserName: who.UserName, Token: who.Token, Address: who.Address,
		UserAgent: auditLine(who.UserAgent), Request: auditLine(who.Request), OrganizationID: a.orgID, WorkspaceID: a.workspaceID,
		Action: a.action, TargetKind: a.kind, TargetName: a.name}
	if e.TargetKind == "" {
		e.TargetKind, _, _ = strings.Cut(a.action, ".")
	}
	if a.id != nil {
		e.TargetID = fmt.Sprint(a.id)
	}
	if a.workspaceID != 0 {
		err := t.QueryRowContext(ctx, `SELECT organization_id FROM workspaces WHERE id = ?`, a.workspaceID).Scan(&e.OrganizationID)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return e, err
		}
	}
	e.Before, e.After, err = auditSides(a.before, a.after)
	return e, err
}

// auditKey is the key in use for macs, made when the first entry is written. It is never taken out of the ring.
func (d *DB) auditKey(ctx context.Context, t *tx) (id string, key []byte, err error) {
	id, err = newestKey(ctx, t, purposeAudit)
	if errors.Is(err, sql.ErrNoRows) {
		return d.makeAuditKey(ctx, t)
	}
	if err != nil {
		return "", nil, err
	}
	key, err = d.dataKey(ctx, t, purposeAudit, id)
	return id, key, err
}

// makeAuditKey puts the key for macs into the ring, sealed by the master key of which the database knows: this process may have
// been started with one that was replaced meanwhile.
func (d *DB) makeAuditKey(ctx context.Context, t *tx) (id string, key []byte, err error) {
	master := d.masterKey()
	var known bool
	if err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM master_keys WHERE id = ?)`, master.ID).Scan(&known); err != nil {
		return "", nil, err
	}
	if !known {
		if master, err = d.readMasterAgain(); err != nil {
			return "", nil, err
		}
	}
	key = newKey()
	return keyID(key), key, t.addDataKey(ctx, master, purposeAudit, key)
}
