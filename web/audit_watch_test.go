package web

import (
	"context"
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"wherry/db"
)

// auditWatch fails the test of a site when somebody's request changed the database and left no entry in the audit log: no form can
// be forgotten that any test uses.
type auditWatch struct {
	*site
	http.Handler
	conn *sql.DB    // sees by its data_version that another connection changed something
	one  sync.Mutex // requests that change something come one after the other
}

// withoutEntry are addresses of agents, whose news are nobody's change.
var withoutEntry = []string{"/agent/", "/api/trace/"}

func (s *site) watchAudit(h http.Handler) http.Handler {
	conn, err := sql.Open("sqlite", filepath.Join(s.data, db.FileName)+"?mode=ro")
	must(s.t, err)
	conn.SetMaxOpenConns(1)
	s.t.Cleanup(func() { conn.Close() })
	return &auditWatch{site: s, Handler: h, conn: conn}
}

func (a *auditWatch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || startsWithAny(r.URL.Path, withoutEntry) {
		a.Handler.ServeHTTP(w, r)
		return
	}
	a.one.Lock()
	defer a.one.Unlock()
	version, head := a.look()
	a.Handler.ServeHTTP(w, r)
	if is, same := a.look(); version != "" && is != version && same == head {
		a.t.Errorf("%s %s changed the database and left no entry in the audit log", r.Method, r.URL.Path)
	}
}

// look is the version of the database and the head of its audit log; nothing while the test ends.
func (a *auditWatch) look() (version, head string) {
	at, err := a.db.AuditHead(context.Background())
	if err == nil {
		err = a.conn.QueryRow(`PRAGMA data_version`).Scan(&version)
	}
	if err != nil {
		return "", ""
	}
	return version, at.String()
}

func startsWithAny(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}
