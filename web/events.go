package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

const (
	// changePause is how long changes are gathered after some were sent, so that a busy run does not make pages flicker.
	changePause = 200 * time.Millisecond
	// logPause is the same for log lines.
	logPause = 40 * time.Millisecond
	// keepAlive keeps proxies from closing a quiet stream, and finds browsers that are gone.
	keepAlive = 15 * time.Second
	// logBatch is how many lines one event carries at most.
	logBatch = 500
	// writeLimit is how long a browser may take to read what was sent.
	writeLimit = 20 * time.Second
)

// position is what a stream's event id says: all changes up to Change, and all whole log lines before Line, were sent.
type position struct{ Change, Line int64 }

func (p position) String() string { return fmt.Sprintf("%d-%d", p.Change, p.Line) }

// parsePosition reads an event id; what is none is false.
func parsePosition(s string) (p position, ok bool) {
	change, line, _ := strings.Cut(s, "-")
	var err error
	if p.Change, err = strconv.ParseInt(change, 10, 64); err != nil || p.Change < 0 {
		return p, false
	}
	if p.Line, err = strconv.ParseInt(line, 10, 64); err != nil || p.Line < 0 { // a negative one would count from the end
		p.Line = 0
	}
	return p, true
}

// stream is one open page that follows its workspace, or one run or Studio and one of its logs.
type stream struct {
	*Server
	c      echo.Context
	client *client
	at     position
	workID string             // whose log: the run, or a session of the Studio
	log    platform.LogStream // empty: no log

	changesSent, logSent time.Time
}

// events streams what changes, as server-sent events:
//
//	change  {"run": "…", "studio": "…", "kind": "run|tasks|machine|studio|pipelines|compute-envs|members"}
//	log     {"stream": "…", "first": 0, "lines": […], "total": 1, "partial": false}
//	reset   too much was missed: load the page again
//
// The id of each is the position after it. ?after= or Last-Event-ID tells where to go on, ?run= or ?studio= narrows to one, &log=
// and &line= add its log from a line on (of a Studio that of the &work= session), and ?once=1 ends the stream when nothing more
// is new.
func (s *Server) events(c echo.Context) error {
	st := &stream{Server: s, c: c}
	var ok bool
	if st.at, ok = parsePosition(c.Request().Header.Get("Last-Event-ID")); !ok {
		st.at, _ = parsePosition(c.QueryParam("after"))
		if line, err := strconv.ParseInt(c.QueryParam("line"), 10, 64); err == nil && line >= 0 {
			st.at.Line = line
		}
	}
	of, err := st.narrow()
	if err != nil {
		return err
	}
	var leave func()
	st.client, leave = s.Hub.join(handlers.Member(c).Workspace.ID, of)
	defer leave()
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	return st.follow(c.QueryParam("once") != "")
}

// narrow reads which run or Studio the page follows, "" for all, and which log, as far as the member may see it.
func (st *stream) narrow() (of string, err error) {
	ctx, member := st.c.Request().Context(), handlers.Member(st.c)
	log := platform.LogStream(st.c.QueryParam("log"))
	if runID := st.c.QueryParam("run"); runID != "" {
		if log.Known() {
			st.workID, st.log = runID, log
		}
		_, err := st.DB.Run(ctx, member.Workspace.ID, runID)
		return runID, err
	}
	studioID := st.c.QueryParam("studio")
	if studioID == "" {
		return "", nil
	}
	studio, err := st.DB.Studio(ctx, member.Workspace.ID, studioID)
	if err != nil || log != platform.LogOutput || !studio.MayLook(member) {
		return studioID, err
	}
	session, err := st.DB.StudioSession(ctx, st.c.QueryParam("work"))
	if err == nil && session.StudioID == studio.ID {
		st.workID, st.log = session.ID, log
	}
	return studioID, err
}

// follow sends what is new until the browser or the portal goes away. An error ends the stream: the browser comes back.
func (st *stream) follow(once bool) error {
	if err := st.write("retry: 1000\n\n"); err != nil {
		return nil
	}
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	// A timer is set when something is new, and then its wake is nil until the timer has sent it: all that comes in
	// between goes out together. The first look is at once.
	wake, logs := (<-chan struct{})(nil), (<-chan struct{})(nil)
	changesAt, logsAt := time.After(0), time.After(0)
	for {
		var err error
		select {
		case <-st.c.Request().Context().Done():
			return nil
		case <-st.Hub.closing:
			return nil
		case <-wake:
			wake, changesAt = nil, time.After(time.Until(st.changesSent.Add(changePause)))
		case <-logs:
			logs, logsAt = nil, time.After(time.Until(st.logSent.Add(logPause)))
		case <-changesAt:
			wake, changesAt = st.client.wake, nil
			err = st.sendChanges()
		case <-logsAt:
			logs, logsAt = st.client.logs, nil
			err = st.sendLog()
		case <-alive.C:
			err = st.stillAllowed()
		}
		if err != nil || (once && changesAt == nil && logsAt == nil) {
			return nil
		}
	}
}

// changeEvent tells of changes, however many, of one kind to one run or Studio or to the workspace.
type changeEvent struct {
	Run    string              `json:"run,omitempty"`
	Studio string              `json:"studio,omitempty"`
	Kind   platform.ChangeKind `json:"kind"`
}

// sendChanges sends what changed since the position: one event for each run or Studio and kind. Only the last moves the position:
// whoever is cut off before it gets all of them again.
func (st *stream) sendChanges() error {
	st.changesSent = time.Now()
	changes, upTo, complete, err := st.Hub.since(st.c.Request().Context(), st.client, st.at.Change)
	if err != nil {
		return err
	}
	if !complete {
		st.at.Change = upTo
		return st.send("reset", struct{}{})
	}
	if slices.ContainsFunc(changes, func(c platform.Change) bool { return c.Kind == platform.ChangeMembers }) {
		if err := st.stillAllowed(); err != nil {
			return err
		}
	}
	var list []changeEvent
	seen := map[changeEvent]bool{}
	for _, change := range changes {
		if e := (changeEvent{change.RunID, change.StudioID, change.Kind}); !seen[e] {
			seen[e] = true
			list = append(list, e)
		}
	}
	for i, e := range list {
		if i == len(list)-1 {
			st.at.Change = upTo
		}
		if err := st.send("change", e); err != nil {
			return err
		}
	}
	st.at.Change = upTo
	return nil
}

// sendLog sends the log's lines from the position on. The position stays at an unfinished line, which is sent again when
// there is more of it.
func (st *stream) sendLog() error {
	st.logSent = time.Now()
	if st.log == "" {
		return nil
	}
	for {
		w, err := st.Hub.lines(st.c.Request().Context(), windowKey{st.client.of, st.workID, st.log, st.at.Line}, logBatch)
		if err != nil || len(w.Lines) == 0 {
			return err
		}
		st.at.Line = w.First + int64(len(w.Lines))
		if w.Partial {
			st.at.Line--
		}
		err = st.send("log", struct {
			Stream platform.LogStream `json:"stream"`
			platform.LogLines
		}{st.log, w})
		if err != nil || w.Partial || st.at.Line >= w.Total {
			return err
		}
	}
}

// stillAllowed keeps the stream alive, and ends it for someone who has been signed out or has left the workspace.
func (st *stream) stillAllowed() error {
	member, ctx := handlers.Member(st.c), st.c.Request().Context()
	cookie, err := st.c.Cookie(st.sessions.name())
	if err == nil {
		_, err = st.DB.LookAtSession(ctx, platform.HashToken(cookie.Value), time.Now())
	}
	if err == nil {
		member, err = st.DB.Member(ctx, member.User.ID, member.Workspace.Organization.Name, member.Workspace.Name)
	}
	if err == nil && st.log != "" && st.c.QueryParam("studio") != "" {
		err = st.stillLooking(member)
	}
	if err != nil {
		return errors.Join(err, st.send("signed-out", struct{}{}))
	}
	return st.write(": alive\n\n")
}

// stillLooking ends the log of a Studio that has become somebody else's private one, or was deleted.
func (st *stream) stillLooking(member platform.Member) error {
	studio, err := st.DB.Studio(st.c.Request().Context(), member.Workspace.ID, st.client.of)
	if platform.ErrorCode(err) == platform.CodeNotFound || (err == nil && !studio.MayLook(member)) {
		st.log = ""
		return nil
	}
	return err
}

func (st *stream) send(event string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return st.write(fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", st.at, event, body))
}

func (st *stream) write(text string) error {
	out := http.NewResponseController(st.c.Response())
	if err := out.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := st.c.Response().Write([]byte(text)); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_ = out.SetWriteDeadline(time.Time{}) // over HTTP/2 it ends a stream, also one on which nothing is written
	return nil
}
