package db

import (
	"cmp"
	"context"
	"crypto/hmac"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wherry/platform"
)

// AuditHead is the number and the hash of an entry of the audit log. Whoever keeps one elsewhere can tell later whether all that
// was before it is there still, and as it was.
type AuditHead struct {
	Seq  int64
	Hash string
}

// String is the head as VerifyAudit takes it: SEQ:HASH.
func (h AuditHead) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// AuditHead reads the newest entry's number and hash.
func (d *DB) AuditHead(ctx context.Context) (h AuditHead, err error) {
	h.Seq, h.Hash, err = auditHead(ctx, d.read)
	return h, err
}

// AuditCheck is what a look at the whole audit log came to.
type AuditCheck struct {
	Count, First int64
	Head         AuditHead
	Lost         []string // what can be proven no more, because its keys were given up (LoseSecrets), in words
}

// auditProof goes along the chain.
type auditProof struct {
	AuditCheck
	start, since AuditHead
	seenSince    bool
	keys         map[string][]byte   // nil: missing
	unproven     map[string]unproven // by the missing key
	lost         map[string]int64    // keys that were given up, by the entry that says so
	retained     AuditHead           // what the newest entry of a retention says that was taken away last
}

// unproven are entries whose key is missing.
type unproven struct{ first, last, count int64 }

// VerifyAudit goes through the whole audit log, as it is at one moment, and returns an error that names the first entry that is
// not as it was written: numbers without a gap, each hash over the one before, each mac by a key that only the master key opens,
// and a beginning that a retention has put into the log. With since the log must hold that entry, too: otherwise it was cut off.
func (d *DB) VerifyAudit(ctx context.Context, since AuditHead) (AuditCheck, error) {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return AuditCheck{}, err
	}
	defer tx.Rollback()
	p := auditProof{since: since, keys: map[string][]byte{}, unproven: map[string]unproven{}, lost: map[string]int64{}}
	if err := tx.QueryRowContext(ctx, `SELECT seq, hash FROM audit_start`).Scan(&p.start.Seq, &p.start.Hash); err != nil {
		return p.AuditCheck, fmt.Errorf("reading where the audit log begins: %w", err)
	}
	if err := d.openAuditKeys(ctx, tx, p.keys); err != nil {
		return p.AuditCheck, err
	}
	p.Head, p.First, p.seenSince = p.start, p.start.Seq+1, since == AuditHead{} || since == p.start
	rows, err := tx.QueryContext(ctx, `SELECT `+auditColumns+`, a.key_id, a.mac FROM audit_log a ORDER BY a.seq`)
	if err != nil {
		return p.AuditCheck, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := p.next(rows); err != nil {
			return p.AuditCheck, err
		}
	}
	if err := rows.Err(); err != nil {
		return p.AuditCheck, err
	}
	return p.AuditCheck, p.end()
}

// openAuditKeys opens the keys of macs that are in the ring.
func (d *DB) openAuditKeys(ctx context.Context, q queryer, keys map[string][]byte) error {
	ids, err := all(ctx, q, scanString, `SELECT id FROM data_keys WHERE purpose = ?`, purposeAudit)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if keys[id], err = d.dataKey(ctx, q, purposeAudit, id); err != nil {
			return fmt.Errorf("the key %s of the audit log does not open: %w", id, err)
		}
	}
	return nil
}

// next looks at the entry that follows.
func (p *auditProof) next(row scanner) error {
	var e platform.AuditEntry
	var keyID, mac string
	if err := row.Scan(append(auditFields(&e), &keyID, &mac)...); err != nil {
		return err
	}
	hash, err := textOf(e).hash(p.Head.Hash)
	switch {
	case err != nil:
		return err
	case e.Seq != p.Head.Seq+1:
		return fmt.Errorf("entry %d is missing: after %d comes %d", p.Head.Seq+1, p.Head.Seq, e.Seq)
	case hash != e.Hash:
		return fmt.Errorf("entry %d (%s, %s) is not as it was written, or the one before it is not: its hash does not fit", e.Seq, e.At.Format("2006-01-02 15:04:05"), e.Action)
	}
	key := p.keys[keyID]
	if key == nil {
		u := p.unproven[keyID]
		p.unproven[keyID] = unproven{first: cmp.Or(u.first, e.Seq), last: e.Seq, count: u.count + 1}
	} else if !hmac.Equal([]byte(mac), []byte(auditMAC(key, hash))) {
		return fmt.Errorf("entry %d (%s, %s) was not written by this portal: its hash fits, but not what only the portal's key can make", e.Seq, e.At.Format("2006-01-02 15:04:05"), e.Action)
	}
	p.Count, p.Head = p.Count+1, AuditHead{e.Seq, e.Hash}
	p.seenSince = p.seenSince || p.since == p.Head
	return p.told(e, key != nil)
}

// told keeps what entries say about the log itself.
func (p *auditProof) told(e platform.AuditEntry, proven bool) error {
	switch e.Action {
	case actionLoseSecrets:
		var lost lostKeys
		if err := json.Unmarshal([]byte(e.After), &lost); err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		for _, id := range lost.Audit {
			if proven {
				p.lost[id] = e.Seq
			}
		}
	case actionRetention:
		var r retention
		if err := json.Unmarshal([]byte(e.After), &r); err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		p.retained = AuditHead{r.UpTo, r.Hash}
	}
	return nil
}

// end is the verdict about the log as a whole.
func (p *auditProof) end() error {
	for _, id := range slices.Sorted(maps.Keys(p.unproven)) {
		u := p.unproven[id]
		if p.lost[id] <= u.last {
			return fmt.Errorf("entry %d was not proven to be written by this portal, and %d more were not: the key %s by which they were is missing", u.first, u.count-1, id)
		}
		p.Lost = append(p.Lost, fmt.Sprintf("entries %d to %d: their key %s was given up with \"wherry keys lose-secrets\", as entry %d says", u.first, u.last, id, p.lost[id]))
	}
	switch {
	case p.start.Seq > 0 && p.retained != p.start:
		return fmt.Errorf("entries up to %d are missing: no entry says that the portal took them away because of their age", p.start.Seq)
	case p.Count == 0 && len(p.keys) > 0:
		return errors.New("every entry is missing: there is a key for the audit log, which is made with the first entry")
	case p.since.Seq > 0 && p.since.Seq < p.start.Seq:
		return fmt.Errorf("entry %d was taken away because of its age: give --since an entry from %d on", p.since.Seq, p.start.Seq)
	case !p.seenSince && p.since.Seq > p.Head.Seq:
		return fmt.Errorf("entry %d is missing: the log ends with %d, but --since knows entry %d", p.Head.Seq+1, p.Head.Seq, p.since.Seq)
	case !p.seenSince:
		return fmt.Errorf("entry %d is another than the one that --since knows: the log was written anew from there or from before", p.since.Seq)
	}
	return nil
}

// textOf is what the hash of an entry covers.
func textOf(e platform.AuditEntry) auditText {
	return auditText{Seq: e.Seq, At: millis(e.At), ActorKind: e.Kind, UserID: e.UserID, UserName: e.UserName, Token: e.Token, Address: e.Address,
		UserAgent: e.UserAgent, Request: e.Request, OrganizationID: e.OrganizationID, WorkspaceID: e.WorkspaceID, Action: e.Action,
		TargetKind: e.TargetKind, TargetID: e.TargetID, TargetName: e.TargetName, Before: e.Before, After: e.After}
}

// ParseAuditHead reads SEQ:HASH.
func ParseAuditHead(text string) (h AuditHead, err error) {
	seq, hash, ok := strings.Cut(strings.TrimSpace(text), ":")
	if _, err := fmt.Sscanf(seq, "%d", &h.Seq); !ok || err != nil || h.Seq < 1 || len(hash) != 64 {
		return h, fmt.Errorf("%q is no entry of the audit log: it is NUMBER:HASH, as \"wherry audit head\" prints it", text)
	}
	h.Hash = strings.ToLower(hash)
	return h, nil
}
