package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/platform"
)

// audits is a database with some entries: those of setting it up.
func audits(t *testing.T) *DB {
	t.Helper()
	d, err := Open(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(func() { d.Close() })
	for i := range 5 {
		must(t, d.note(t.Context(), fmt.Sprintf("thing.add%d", i)))
	}
	return d
}

func (d *DB) note(ctx context.Context, action string) error {
	return d.inTx(ctx, func(t *tx) error {
		t.audit(audited{action: action, id: 7, name: "x", before: fields{"a": 1}, after: fields{"a": 2}})
		return nil
	})
}

// tamper changes the audit log behind the portal's back, as somebody with the file could, who drops the triggers first.
func (d *DB) tamper(t *testing.T, query string, args ...any) {
	t.Helper()
	for _, trigger := range []string{"audit_is_not_changed", "audit_is_kept", "audit_is_appended"} {
		_, err := d.write.ExecContext(t.Context(), `DROP TRIGGER IF EXISTS `+trigger)
		must(t, err)
	}
	_, err := d.write.ExecContext(t.Context(), query, args...)
	must(t, err)
}

func TestAnEntrySaysWhatDiffersAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, before, after string
		was, is             any
	}{
		{name: "new", is: fields{"a": 1}, after: `{"a":1}`},
		{name: "gone", was: fields{"a": 1}, before: `{"a":1}`},
		{name: "changed", was: fields{"a": 1, "b": "x"}, is: fields{"a": 2, "b": "x"}, before: `{"a":1}`, after: `{"a":2}`},
		{name: "nothing differs", was: fields{"a": 1}, is: fields{"a": 1}, before: `{}`, after: `{}`},
		{name: "neither", before: "", after: ""},
		{name: "one side more", was: fields{"a": 1}, is: fields{"a": 1, "b": nil}, before: `{}`, after: `{"b":null}`},
		{name: "within", was: fields{"c": fields{"x": 1, "y": 2}}, is: fields{"c": fields{"x": 1, "y": 3}}, before: `{"c":{"y":2}}`, after: `{"c":{"y":3}}`},
		{name: "lists are whole", was: fields{"l": []int{1, 2}}, is: fields{"l": []int{1, 3}}, before: `{"l":[1,2]}`, after: `{"l":[1,3]}`},
		{name: "secrets", is: fields{"s": platform.NewSecret("canary")}, after: `{"s":"••••"}`},
		{name: "too large", is: fields{"s": strings.Repeat("x", maxAuditText)}, after: `{"tooLarge":65544}`},
	} {
		before, after, err := auditSides(c.was, c.is)
		if err != nil || before != c.before || after != c.after {
			t.Errorf("%s: %s | %s | %v, not %s | %s", c.name, before, after, err, c.before, c.after)
		}
	}
}

func TestValuesOfVariablesAreNotInTheAuditLog(t *testing.T) {
	t.Parallel()
	mark := func(value string) string {
		f, err := computeEnvFields(platform.ComputeEnv{Config: platform.ComputeEnvConfig{Environment: []platform.Env{{Name: "PASSWORD", Value: value, Head: true}}}})
		must(t, err)
		return toJSON(f)
	}
	one, other := mark("canary-1"), mark("canary-2")
	if strings.Contains(one, "canary") || !strings.Contains(one, "PASSWORD") || one == other || one != mark("canary-1") {
		t.Errorf("the variable shows as %s, and with another value as %s", one, other)
	}
}

func TestAnUntouchedAuditLogIsVerified(t *testing.T) {
	t.Parallel()
	d := audits(t)
	middle, err := d.AuditHead(t.Context())
	must(t, err)
	must(t, d.note(t.Context(), "thing.more"))
	found, err := d.VerifyAudit(t.Context(), middle)
	if err != nil || found.Count != 6 || found.First != 1 || found.Head.Seq != 6 {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestTamperingWithTheAuditLogIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper func(*testing.T, *DB)
		wrong  string
	}{
		"a changed field":     {func(t *testing.T, d *DB) { d.tamper(t, `UPDATE audit_log SET user_name = 'eve' WHERE seq = 3`) }, "entry 3 "},
		"a changed mac":       {func(t *testing.T, d *DB) { d.tamper(t, `UPDATE audit_log SET mac = 'x' WHERE seq = 3`) }, "entry 3 "},
		"a changed last one":  {func(t *testing.T, d *DB) { d.tamper(t, `UPDATE audit_log SET after = '{}' WHERE seq = 5`) }, "entry 5 "},
		"one taken out":       {func(t *testing.T, d *DB) { d.tamper(t, `DELETE FROM audit_log WHERE seq = 3`) }, "entry 3 is missing"},
		"the first taken out": {func(t *testing.T, d *DB) { d.tamper(t, `DELETE FROM audit_log WHERE seq = 1`) }, "entry 1 is missing"},
		"the beginning taken out as if by age": {func(t *testing.T, d *DB) {
			d.tamper(t, `UPDATE audit_start SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)`)
			d.tamper(t, `DELETE FROM audit_log WHERE seq <= 2`)
		}, "entries up to 2 are missing"},
		"the end cut off": {func(t *testing.T, d *DB) { d.tamper(t, `DELETE FROM audit_log WHERE seq >= 4`) }, "entry 4 is missing: the log ends with 3"},
		"everything gone": {func(t *testing.T, d *DB) { d.tamper(t, `DELETE FROM audit_log`) }, "every entry is missing"},
		"two swapped": {func(t *testing.T, d *DB) {
			d.tamper(t, `UPDATE audit_log SET seq = seq + 100 WHERE seq IN (2, 3)`)
			d.tamper(t, `UPDATE audit_log SET seq = 105 - seq WHERE seq > 100`)
		}, "entry 2 "},
		"a chain made anew without the key":  {func(t *testing.T, d *DB) { d.rehash(t, "") }, "entry 1 "},
		"a chain made anew with another key": {func(t *testing.T, d *DB) { d.rehash(t, "0badc0de") }, "entry 1 was not proven"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := audits(t)
			head, err := d.AuditHead(t.Context())
			must(t, err)
			c.tamper(t, d)
			if _, err := d.VerifyAudit(t.Context(), head); err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("the verdict is %v, and should name %q", err, c.wrong)
			}
		})
	}
}

// rehash makes the chain anew from a first entry that was changed, as somebody can who has the database and not the master key.
func (d *DB) rehash(t *testing.T, keyID string) {
	t.Helper()
	d.tamper(t, `UPDATE audit_log SET user_name = 'eve' WHERE seq = 1`)
	entries, err := d.AuditLog(t.Context(), AuditFilter{})
	must(t, err)
	previous := ""
	for i := len(entries) - 1; i >= 0; i-- {
		previous, err = textOf(entries[i]).hash(previous)
		must(t, err)
		d.tamper(t, `UPDATE audit_log SET hash = ?1, mac = iif(?2 = '', mac, ?3), key_id = iif(?2 = '', key_id, ?2) WHERE seq = ?4`,
			previous, keyID, auditMAC([]byte("eve's"), previous), entries[i].Seq)
	}
}

func TestAHeadThatWasKeptTellsOfALogWrittenAnew(t *testing.T) {
	t.Parallel()
	d := audits(t)
	_, err := d.VerifyAudit(t.Context(), AuditHead{Seq: 3, Hash: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), "entry 3 is another") {
		t.Errorf("the verdict is %v", err)
	}
}

func TestSQLDoesNotChangeTheAuditLog(t *testing.T) {
	t.Parallel()
	d := audits(t)
	for _, query := range []string{
		`UPDATE audit_log SET user_name = 'eve' WHERE seq = 2`, `DELETE FROM audit_log WHERE seq = 2`, `DELETE FROM audit_log`,
		`REPLACE INTO audit_log SELECT seq, at, actor_kind, user_id, 'eve', token, address, user_agent, request, organization_id, workspace_id, action,
			target_kind, target_id, target_name, before, after, hash, key_id, mac FROM audit_log WHERE seq = 2`,
		`INSERT INTO audit_log SELECT 9, at, actor_kind, user_id, 'eve', token, address, user_agent, request, organization_id, workspace_id, action,
			target_kind, target_id, target_name, before, after, hash, key_id, mac FROM audit_log WHERE seq = 2`,
	} {
		if _, err := d.write.ExecContext(t.Context(), query); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", query, err)
		}
	}
	_, err := d.VerifyAudit(t.Context(), AuditHead{})
	must(t, err)
}

func TestManyWriteTheAuditLogAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var processes []*DB // with a connection each, as processes have
	for range 3 {
		d, err := Open(t.Context(), dir)
		must(t, err)
		defer d.Close()
		processes = append(processes, d)
	}
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			if err := processes[i%3].insist(t.Context(), func(t *tx) error {
				t.audit(audited{action: "thing.one"})
				t.audit(audited{action: "thing.two"})
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	found, err := processes[0].VerifyAudit(t.Context(), AuditHead{})
	if err != nil || found.Count != 60 {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestWhatIsRolledBackLeavesNoEntryAndNoGap(t *testing.T) {
	t.Parallel()
	d := audits(t)
	err := d.inTx(t.Context(), func(t *tx) error {
		t.audit(audited{action: "thing.never"})
		return context.Canceled
	})
	if err == nil {
		t.Fatal("the transaction was committed")
	}
	must(t, d.note(t.Context(), "thing.after"))
	found, err := d.VerifyAudit(t.Context(), AuditHead{})
	if err != nil || found.Count != 6 {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestOldEntriesAreTakenAwayAndTheRestIsVerified(t *testing.T) {
	t.Parallel()
	d := audits(t)
	d.age(t, 3, 100*24*time.Hour)
	head, err := d.AuditHead(t.Context())
	must(t, err)
	must(t, d.RetainAudit(t.Context(), 0))
	must(t, d.RetainAudit(t.Context(), 101*24*time.Hour))
	if found, err := d.VerifyAudit(t.Context(), AuditHead{}); err != nil || found.Count != 5 {
		t.Fatalf("what is not too old was taken away: %+v, %v", found, err)
	}
	must(t, d.RetainAudit(t.Context(), time.Hour)) // 90 days at least
	found, err := d.VerifyAudit(t.Context(), head)
	if err != nil || found.First != 4 || found.Count != 3 {
		t.Errorf("found %+v, %v", found, err)
	}
	newest, err := d.AuditLog(t.Context(), AuditFilter{Limit: 1})
	if err != nil || newest[0].Action != "audit.retention" || !strings.Contains(newest[0].After, `"upTo":3`) {
		t.Errorf("the newest entry is %+v, %v", newest, err)
	}
	must(t, d.RetainAudit(t.Context(), MinAuditRetention))
	if again, err := d.VerifyAudit(t.Context(), AuditHead{}); err != nil || again.Head != found.Head {
		t.Errorf("a second retention left an entry: %+v, %v", again, err)
	}
}

// age makes entries up to a number older, and the chain anew with the key, as if they had been written then.
func (d *DB) age(t *testing.T, upTo int64, by time.Duration) {
	t.Helper()
	for _, trigger := range []string{"audit_is_not_changed"} {
		_, err := d.write.ExecContext(t.Context(), `DROP TRIGGER `+trigger)
		must(t, err)
	}
	_, err := d.write.ExecContext(t.Context(), `UPDATE audit_log SET at = at - ? WHERE seq <= ?`, by.Milliseconds(), upTo)
	must(t, err)
	must(t, d.inTx(t.Context(), func(tx *tx) error {
		_, key, err := d.auditKey(t.Context(), tx)
		must(t, err)
		entries, err := all(t.Context(), tx, scanAudit, `SELECT `+auditColumns+` FROM audit_log a ORDER BY seq`)
		must(t, err)
		previous := ""
		for _, e := range entries {
			previous, err = textOf(e).hash(previous)
			must(t, err)
			_, err = tx.ExecContext(t.Context(), `UPDATE audit_log SET hash = ?, mac = ? WHERE seq = ?`, previous, auditMAC(key, previous), e.Seq)
			must(t, err)
		}
		return nil
	}))
}

func TestTheAuditLogIsProvenOverAReplacedMasterKeyWhileAPortalServes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serving, err := Open(t.Context(), dir)
	must(t, err)
	defer serving.Close()
	other, err := Open(t.Context(), dir)
	must(t, err)
	defer other.Close()
	_, done, err := other.ReplaceMasterKey(t.Context(), dir+"/next.key") // before the first entry
	if err != nil || !done {
		t.Fatal(done, err)
	}
	must(t, serving.note(t.Context(), "thing.later"))
	_, err = other.RotateKeys(t.Context())
	must(t, err)
	fresh, err := Open(t.Context(), dir)
	must(t, err)
	defer fresh.Close()
	for _, d := range []*DB{serving, other, fresh} {
		if found, err := d.VerifyAudit(t.Context(), AuditHead{}); err != nil || found.Count < 3 {
			t.Errorf("found %+v, %v", found, err)
		}
	}
}

func TestEntriesWhoseKeyWasGivenUpAreToldAsSuch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := Open(t.Context(), dir)
	must(t, err)
	must(t, d.note(t.Context(), "thing.before"))
	must(t, d.Close())
	must(t, os.Remove(filepath.Join(dir, KeyName)))
	must(t, LoseSecrets(t.Context(), dir))
	d, err = Open(t.Context(), dir)
	must(t, err)
	defer d.Close()
	must(t, d.note(t.Context(), "thing.after"))
	found, err := d.VerifyAudit(t.Context(), AuditHead{})
	if err != nil || found.Count != 3 || len(found.Lost) != 1 || !strings.Contains(found.Lost[0], "entries 1 to 1") {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestARestoredDatabaseSaysSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := Open(t.Context(), dir)
	must(t, err)
	must(t, d.note(t.Context(), "thing.before"))
	_, err = Backup(t.Context(), dir, dir+"/copy.db")
	must(t, err)
	must(t, d.WriteAuditNotes(t.Context()))
	if newest, err := d.AuditLog(t.Context(), AuditFilter{Limit: 1}); err != nil || newest[0].Action != "portal.backup" {
		t.Errorf("the newest entry is %+v, %v", newest, err)
	}
	must(t, d.Close())
	to := folderWithKey(t, dir)
	ctx := platform.WithActor(t.Context(), platform.Actor{Kind: platform.ActorOperator, UserName: "grace"})
	_, err = Restore(ctx, dir+"/copy.db", to, KeySource{})
	must(t, err)
	restored, err := Open(t.Context(), to)
	must(t, err)
	defer restored.Close()
	newest, err := restored.AuditLog(t.Context(), AuditFilter{Limit: 1})
	if err != nil || newest[0].Action != "portal.restore" || newest[0].UserName != "grace" || !strings.Contains(newest[0].After, "copy.db") {
		t.Errorf("the newest entry is %+v, %v", newest, err)
	}
	_, err = restored.VerifyAudit(t.Context(), AuditHead{})
	must(t, err)
}

func TestCredentialsInUseAreToldOnceAnHourForEachPurpose(t *testing.T) {
	t.Parallel()
	d := audits(t)
	creds := platform.Credentials{ID: "c", Name: "n"}
	uses := func(want int) {
		t.Helper()
		found, err := d.AuditLog(t.Context(), AuditFilter{Action: "credentials.use"})
		if err != nil || len(found) != want {
			t.Fatalf("%d entries, %v, not %d", len(found), err, want)
		}
	}
	use := func(kind platform.ActorKind, purpose string) {
		t.Helper()
		ctx := platform.WithPurpose(platform.WithActor(t.Context(), platform.Actor{Kind: kind}), purpose)
		must(t, d.CredentialsUsed(ctx, creds))
	}
	for range 3 {
		use(platform.ActorPortal, "machine 1")
	}
	uses(1)
	use(platform.ActorPortal, "machine 2")
	uses(2)
	use(platform.ActorUser, "machine 2")
	uses(3)
	d.tamper(t, `UPDATE audit_log SET at = at - 3600001`)
	use(platform.ActorPortal, "machine 1")
	uses(4)
}

func TestAPageOfTheAuditLogReadsAsManyEntriesAsItShows(t *testing.T) {
	t.Parallel()
	d := audits(t)
	for _, f := range []AuditFilter{{Limit: 50}, {Limit: 50, Before: 1000}, {Limit: 50, OrganizationID: 3}, {Limit: 50, OrganizationID: 3, Before: 1000, WorkspaceID: 4}} {
		query, args := f.query()
		plan, err := all(t.Context(), d.read.DB, func(s scanner) (line string, err error) {
			var a, b, c int
			return line, s.Scan(&a, &b, &c, &line)
		}, `EXPLAIN QUERY PLAN `+query, args...)
		must(t, err)
		text := strings.Join(plan, "\n")
		if strings.Contains(text, "TEMP B-TREE") || (f.OrganizationID != 0 && !strings.Contains(text, "SEARCH")) {
			t.Errorf("%+v sorts or goes through everything: %s", f, text)
		}
	}
	query := `SELECT EXISTS (SELECT 1 FROM audit_log WHERE target_id = 'c' AND at > 5 AND action = 'credentials.use')`
	plan, err := all(t.Context(), d.read.DB, func(s scanner) (line string, err error) {
		var a, b, c int
		return line, s.Scan(&a, &b, &c, &line)
	}, `EXPLAIN QUERY PLAN `+query)
	if err != nil || !strings.Contains(strings.Join(plan, "\n"), "audit_by_target") {
		t.Errorf("whether credentials were used lately is looked up by %q, %v", plan, err)
	}
}
