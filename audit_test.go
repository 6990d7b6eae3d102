package main

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"log/slog"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// heard is a log that several may write at once.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// TestTheAuditLogIsCheckedBesideAServingPortal goes the whole way: a portal in use, its log with the head, the commands, and somebody who
// cuts the end off.
func TestTheAuditLogIsCheckedBesideAServingPortal(t *testing.T) {
	t.Parallel()
	var log heard
	s := settings{data: t.TempDir(), log: slog.New(slog.NewTextHandler(&log, nil))}
	p, stop := serving(t, s)
	send(t, p.url+"/set-up", url.Values{"email": {"ada@example.org"}, "userName": {"ada"}, "password": {"a long enough password"}, "organization": {"lab"}, "workspace": {"rivers"}})
	creds := platform.Credentials{WorkspaceID: 1, Name: "account", Mode: "keys", AccessKey: "AKIA", SecretKey: platform.NewSecret("canary-secret")}
	must(t, p.db.AddCredentials(t.Context(), &creds))
	_, err := p.useCredentials(platform.WithPurpose(t.Context(), "machine 1"), creds.ID)
	must(t, err)

	args := []string{"--data", s.data}
	var out bytes.Buffer
	must(t, verifyAudit(asOperator(t.Context()), args, &out))
	if !strings.Contains(out.String(), "are as they were written") {
		t.Errorf("verify says %q", out.String())
	}
	var table bytes.Buffer
	must(t, exportAudit(asOperator(t.Context()), append(args, "--since", time.Now().UTC().Format(time.DateOnly), "--organization", "lab"), &table))
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) < 4 || strings.Contains(table.String(), "canary-secret") {
		t.Errorf("the CSV is %q, %v", rows, err)
	}
	out.Reset()
	must(t, exportAudit(asOperator(t.Context()), append(args, "--format", "json"), &out))
	var entries []struct {
		Action string
		Actor  struct{ Kind, UserName string }
		After  map[string]any
	}
	must(t, json.Unmarshal(out.Bytes(), &entries))
	if entries[0].Action != "audit.export" || entries[0].Actor.Kind != "operator" || entries[0].Actor.UserName == "" || entries[2].Action != "credentials.use" || entries[2].After["for"] != "machine 1" {
		t.Errorf("the newest entries are %+v", entries[:3])
	}

	stop()
	heads := regexp.MustCompile(`head=(\d+:[0-9a-f]{64})`).FindAllStringSubmatch(log.String(), -1)
	if len(heads) == 0 {
		t.Fatalf("the portal's log does not have the head of the audit log: %s", log.String())
	}
	head := heads[len(heads)-1][1]
	must(t, verifyAudit(t.Context(), append(args, "--since", head), &out))
	cutOff(t, s.data)
	must(t, verifyAudit(t.Context(), args, &out)) // what is left is whole
	if err := verifyAudit(t.Context(), append(args, "--since", head), &out); err == nil || !strings.Contains(err.Error(), "the log ends with") {
		t.Errorf("the end was cut off, and verify says %v", err)
	}
}

// cutOff takes the newest entry away, as somebody with the file can.
func cutOff(t *testing.T, data string) {
	t.Helper()
	conn, err := sql.Open("sqlite", filepath.Join(data, db.FileName))
	must(t, err)
	defer conn.Close()
	for _, query := range []string{`DROP TRIGGER audit_is_kept`, `DELETE FROM audit_log WHERE seq = (SELECT max(seq) FROM audit_log)`} {
		_, err := conn.ExecContext(t.Context(), query)
		must(t, err)
	}
}

func TestAnUnknownAuditCommandIsNamed(t *testing.T) {
	t.Parallel()
	if err := auditCommand(t.Context(), []string{"burn"}); err == nil || !strings.Contains(err.Error(), "audit burn") {
		t.Errorf("it says %v", err)
	}
	if _, err := db.ParseAuditHead("7"); err == nil {
		t.Error("a number alone is taken for a head")
	}
}

func TestTheRetentionOfTheAuditLogIsNinetyDaysAtLeast(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"0": 0, "90d": 90 * 24 * time.Hour, "8760h": 365 * 24 * time.Hour} {
		if got, err := readAuditRetention(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"89d", "1h", "-90d", "long", "d", ""} {
		if got, err := readAuditRetention(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

func TestSettingsThatChangeAreInTheAuditLogWithoutSecrets(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), t.TempDir())
	must(t, err)
	defer d.Close()
	s := settings{url: "https://one.example.org", metricsToken: platform.NewSecret("canary-token")}
	must(t, d.ServedWith(t.Context(), s.shown()))
	must(t, d.ServedWith(t.Context(), s.shown()))
	s.url = "https://two.example.org"
	must(t, d.ServedWith(t.Context(), s.shown()))
	found, err := d.AuditLog(t.Context(), db.AuditFilter{})
	must(t, err)
	if len(found) != 2 || found[0].Action != "portal.settings" || found[0].Before != `{"url":"https://one.example.org"}` || found[0].After != `{"url":"https://two.example.org"}` {
		t.Errorf("the entries are %+v", found)
	}
	if strings.Contains(found[1].After, "canary") {
		t.Errorf("a secret is in %s", found[1].After)
	}
}
