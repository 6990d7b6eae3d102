package studios

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wherry/platform"
)

func TestWhoMayConnectComesIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("shared")
	s.serve(studio, hello)
	private := s.addStudio("private")
	private.Private = true
	must(t, s.db.UpdateStudio(t.Context(), private))
	s.serve(private, hello)
	for _, role := range platform.Roles {
		b := s.signedIn(s.member(role))
		want := http.StatusOK
		if role == platform.RoleView {
			want = http.StatusForbidden
		}
		b.open(studio)
		if status, body, _ := b.get(s.at(studio, "/")); status != want || (want == http.StatusOK) != (body == "hello from the tool") {
			t.Errorf("%s: %d %s", role, status, body)
		}
		b.open(private)
		if status, body, _ := b.get(s.at(private, "/")); status != http.StatusForbidden || body == "hello from the tool" {
			t.Errorf("%s in somebody's private Studio: %d %s", role, status, body)
		}
	}
	owner := s.signedIn(s.owner.User).open(private)
	if status, _, _ := owner.get(s.at(private, "/")); status != http.StatusOK {
		t.Errorf("who added the private Studio: %d", status)
	}
	stranger := s.signedIn(s.member(platform.RoleOwner)).open(studio)
	s.exec(`DELETE FROM participants WHERE user_id = ?`, stranger.user.ID)
	if status, _, _ := stranger.get(s.at(studio, "/")); status != http.StatusForbidden {
		t.Errorf("somebody of no workspace: %d", status)
	}
}

func TestAVisitorWithoutAGrantIsSentToThePortalAndProgramsAreTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, hello)
	b := s.browser()
	status, _, h := b.get(s.at(studio, `/lab/tree/a;b?x=1;y="2"`), page)
	if want := s.studios.PortalURL + "/studios/" + studio.ID; status != http.StatusSeeOther || !strings.HasPrefix(h.Get("Location"), want+"?way=") {
		t.Errorf("a page: %d to %q, want %q", status, h.Get("Location"), want)
	}
	for name, ask := range map[string]func(*http.Request){"a script": func(*http.Request) {}, "a WebSocket": header("Upgrade", "websocket"), "a frame": func(r *http.Request) {
		page(r)
		r.Header.Set("Sec-Fetch-Dest", "iframe")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}} {
		if status, body, h := b.get(s.at(studio, "/api"), ask); status != http.StatusUnauthorized || strings.Contains(body, "<") || h.Get("Location") != "" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	// With a ticket then, the browser is where it wanted to go.
	b.user = s.owner.User
	b.hash = s.signedIn(s.owner.User).hash
	if status, _, h := b.get(b.ticket(studio)); status != http.StatusSeeOther || h.Get("Location") != `/lab/tree/a;b?x=1;y="2"` || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("with the ticket: %d, %v", status, h)
	}
}

func TestATicketOpensOneStudioOnceAndSoon(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio, other := s.addStudio("a"), s.addStudio("b")
	s.serve(studio, hello)
	s.serve(other, hello)
	b := s.signedIn(s.owner.User)
	ticket := b.ticket(studio)
	elsewhere := strings.Replace(ticket, s.studios.Origins.URL(studio.ID), s.studios.Origins.URL(other.ID), 1)
	for name, url := range map[string]string{"of another Studio": elsewhere, "that was changed": ticket[:len(ticket)-2], "that is none": s.at(studio, openPath+"?ticket=x.y"), "missing": s.at(studio, openPath)} {
		if status, _, h := b.get(url, page); status != http.StatusSeeOther || !strings.HasPrefix(h.Get("Location"), s.studios.PortalURL+"/studios/") || strings.Contains(strings.Join(h.Values("Set-Cookie"), ";"), s.studios.cookie()+"=") {
			t.Errorf("a ticket %s: %d, %v", name, status, h)
		}
	}
	ticket = b.ticket(studio)
	if status, _, h := b.get(ticket); status != http.StatusSeeOther || h.Get("Location") != "/" {
		t.Errorf("first: %d", status)
	}
	if status, _, _ := b.get(ticket); status != http.StatusUnauthorized {
		t.Errorf("again: %d", status)
	}
	late := b.ticket(studio)
	s.ahead.Store(int64(ticketLife + time.Second))
	if status, _, _ := b.get(late); status != http.StatusUnauthorized {
		t.Errorf("late: %d", status)
	}
	s.ahead.Store(0)
	before := s.studios.sign(kindTicket, grant{ID: platform.NewID(), Way: platform.HashToken("secret"), Studio: studio.ID, User: b.user.ID, Session: b.hash, Issued: s.studios.started.Add(-time.Second)})
	if status, _, _ := s.browser().get(s.at(studio, openPath+"?ticket="+before), header("Cookie", s.studios.secretCookie()+"=secret")); status != http.StatusUnauthorized {
		t.Errorf("from before the portal's start: %d", status)
	}
}

func TestATicketIsForTheBrowserThatAskedForIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, hello)
	mallory, victim := s.signedIn(s.member(platform.RoleMaintain)), s.signedIn(s.owner.User)
	for what, b := range map[string]*browser{"who has been in no Studio": s.browser(), "who has": victim.open(studio)} {
		sent := mallory.ticket(studio)
		if status, _, h := b.get(sent, page); status != http.StatusSeeOther || !strings.HasPrefix(h.Get("Location"), s.studios.PortalURL) {
			t.Errorf("%s, with somebody else's ticket: %d, %v", what, status, h)
		}
		for _, c := range b.Jar.Cookies(mustURL(t, sent)) {
			if g, ok := s.studios.opened(kindGrant, c.Value); ok && g.User == mallory.user.ID {
				t.Errorf("%s is in the Studio as somebody else", what)
			}
		}
		if status, _, h := mallory.get(sent); status != http.StatusSeeOther || h.Get("Location") != "/" {
			t.Errorf("it is lost for whose it is: %d, %v", status, h)
		}
	}
	none, err := s.studios.Ticket(studio, mallory.user.ID, mallory.hash, platform.HashToken(""))
	must(t, err)
	if status, _, h := s.browser().get(none, page); status != http.StatusSeeOther || !strings.HasPrefix(h.Get("Location"), s.studios.PortalURL) {
		t.Errorf("a ticket for no secret: %d, %v", status, h)
	}
}

func mustURL(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return u
}

func TestAGrantIsForOneStudioAndCannotBeMade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio, other := s.addStudio("a"), s.addStudio("b")
	s.serve(studio, hello)
	s.serve(other, hello)
	b := s.signedIn(s.owner.User)
	g := grant{Studio: studio.ID, User: b.user.ID, Session: b.hash, Issued: time.Now()}
	forged := New(Config{Key: []byte("another key")}).sign(kindGrant, g)
	asTicket := s.studios.sign(kindTicket, g)
	good := s.studios.sign(kindGrant, g)
	ask := func(studio platform.Studio, value string) int {
		status, _, _ := s.browser().get(s.at(studio, "/"), header("Cookie", s.studios.cookie()+"="+value))
		return status
	}
	if status := ask(studio, good); status != http.StatusOK {
		t.Errorf("a good grant: %d", status)
	}
	for name, c := range map[string]struct {
		studio platform.Studio
		value  string
	}{"of another key": {studio, forged}, "that is a ticket": {studio, asTicket}, "of another Studio": {other, good}, "cut short": {studio, good[:len(good)-1]}, "empty": {studio, ""}, "nonsense": {studio, "..."}} {
		if status := ask(c.studio, c.value); status != http.StatusUnauthorized {
			t.Errorf("a grant %s: %d", name, status)
		}
		// A page can put such a cookie before the good one, with a longer path or for a wider domain.
		if status := ask(studio, c.value+"; "+s.studios.cookie()+"="+good); status != http.StatusOK {
			t.Errorf("a good grant after one %s: %d", name, status)
		}
	}
}

func TestAGrantEndsWhenUnusedAndIsRenewedByUse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, hello)
	b := s.signedIn(s.owner.User).open(studio)
	later := func(d time.Duration) { s.ahead.Store(int64(d)) }
	renewed := func(d time.Duration) bool {
		later(d)
		status, _, h := b.get(s.at(studio, "/"))
		if status != http.StatusOK {
			t.Errorf("after %s: %d", d, status)
		}
		return strings.Contains(h.Get("Set-Cookie"), s.studios.cookie())
	}
	if renewed(30 * time.Second) {
		t.Error("it was renewed at once")
	}
	if !renewed(4*time.Minute) || !renewed(8*time.Minute) {
		t.Error("it was not renewed")
	}
	later(14 * time.Minute)
	if status, _, _ := b.get(s.at(studio, "/")); status != http.StatusUnauthorized {
		t.Errorf("unused for six minutes: %d", status)
	}
}

func TestAGrantThatAnOpenConnectionHeldOutlivesTheStartOfThePortal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, echoes)
	b := s.signedIn(s.owner.User)
	ask := func(age time.Duration) int {
		old := s.studios.sign(kindGrant, grant{Studio: studio.ID, User: b.user.ID, Session: b.hash, Issued: s.studios.now().Add(-age)})
		status, _, _ := s.browser().get(s.at(studio, "/"), header("Cookie", s.studios.cookie()+"="+old))
		return status
	}
	const taken = http.StatusBadRequest // the tool's answer
	if status := ask(time.Hour); status != taken {
		t.Errorf("just after the start: %d", status)
	}
	if status := ask(mostAge + time.Minute); status != http.StatusUnauthorized {
		t.Errorf("a very old one: %d", status)
	}
	s.ahead.Store(int64(afterStart + time.Second))
	if status := ask(time.Hour); status != http.StatusUnauthorized {
		t.Errorf("later: %d", status)
	}
	b.open(studio)
	c, _ := b.webSocket(studio)
	say(t, c, "x")
	if status := ask(time.Hour); status != taken {
		t.Errorf("while a WebSocket is open: %d", status)
	}
}

// webSocket opens a WebSocket to a Studio.
func (b *browser) webSocket(studio platform.Studio, with ...func(http.Header)) (*websocket.Conn, int) {
	b.t.Helper()
	h := http.Header{"Origin": {b.site.studios.Origins.URL(studio.ID)}}
	for _, f := range with {
		f(h)
	}
	h.Set("Cookie", b.cookies(studio))
	dialer := websocket.Dialer{NetDialContext: b.Transport.(*http.Transport).DialContext}
	c, resp, err := dialer.DialContext(b.t.Context(), "ws"+strings.TrimPrefix(b.site.at(studio, "/ws"), "http"), h)
	if err != nil && resp == nil {
		b.t.Fatal(err)
	}
	if c != nil {
		b.t.Cleanup(func() { c.Close() })
	}
	return c, resp.StatusCode
}

// cookies are those that the browser has on a Studio's origin.
func (b *browser) cookies(studio platform.Studio) string {
	r, err := http.NewRequest(http.MethodGet, b.site.at(studio, "/"), nil)
	must(b.t, err)
	for _, c := range b.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	return r.Header.Get("Cookie")
}

// echoes is a tool with a WebSocket that says what it hears.
var echoes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, text, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, text) != nil {
			return
		}
	}
})

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	must(t, c.WriteMessage(websocket.TextMessage, []byte(text)))
	_, got, err := c.ReadMessage()
	if err != nil || string(got) != text {
		t.Fatalf("%q came back, %v", got, err)
	}
}

func TestWhoLosesAccessIsCutOffWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(s *site, b *browser, studio platform.Studio){
		"the member is removed": func(s *site, b *browser, _ platform.Studio) {
			s.exec(`DELETE FROM participants WHERE user_id = ?`, b.user.ID)
		},
		"the role is lowered": func(s *site, b *browser, _ platform.Studio) {
			s.exec(`UPDATE participants SET role = 'view' WHERE user_id = ?`, b.user.ID)
		},
		"the member signs out": func(s *site, b *browser, _ platform.Studio) { must(s.t, s.db.EndSession(s.t.Context(), b.hash)) },
		"the member is disabled": func(s *site, b *browser, _ platform.Studio) {
			s.exec(`UPDATE users SET disabled_at = 1 WHERE id = ?`, b.user.ID)
		},
		"the Studio is made private": func(s *site, _ *browser, studio platform.Studio) {
			studio.Private = true
			must(s.t, s.db.UpdateStudio(s.t.Context(), studio))
		},
		"the Studio stops": func(s *site, _ *browser, studio platform.Studio) {
			must(s.t, s.db.MoveStudioSession(s.t.Context(), studio.Session.ID, platform.StudioRunning, platform.StudioEnd{State: platform.StudioStopping}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			studio := s.addStudio("a")
			streaming := make(chan struct{})
			s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ws" {
					echoes(w, r)
					return
				}
				// A download that the browser does not read.
				close(streaming)
				piece := make([]byte, 1<<20)
				for {
					if _, err := w.Write(piece); err != nil {
						return
					}
				}
			}))
			b := s.signedIn(s.member(platform.RoleConnect)).open(studio)
			stays := s.signedIn(s.owner.User).open(studio)
			c, _ := b.webSocket(studio)
			say(t, c, "hello")
			other, _ := stays.webSocket(studio)
			say(t, other, "hello")
			resp, err := b.Get(s.at(studio, "/download"))
			must(t, err)
			defer resp.Body.Close()
			<-streaming
			began := time.Now()
			lose(s, b, studio)
			if _, _, err := c.ReadMessage(); err == nil {
				t.Error("the WebSocket said something")
			}
			soon(t, "the end of every request of the member", func() bool { return !s.studios.visits.has(grant{Studio: studio.ID, User: b.user.ID, Session: b.hash}) })
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			if name != "the Studio stops" {
				say(t, other, "still here")
			}
		})
	}
}

func TestAPageOfAnotherOriginCannotUseAGrant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio, other := s.addStudio("a"), s.addStudio("b")
	reached := make(chan string, 100)
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached <- r.Method + r.URL.Path }))
	b := s.signedIn(s.owner.User).open(studio)
	for name, ask := range map[string]func(*http.Request){
		"another Studio's fetch":   header("Origin", s.studios.Origins.URL(other.ID)),
		"the portal's":             header("Origin", s.studios.PortalURL),
		"a sandboxed frame's":      header("Origin", "null"),
		"another Studio's picture": header("Sec-Fetch-Site", "same-site"),
		"another site's script":    header("Sec-Fetch-Site", "cross-site"),
		"another Studio's frame": func(r *http.Request) {
			page(r)
			r.Header.Set("Sec-Fetch-Dest", "iframe")
			r.Header.Set("Sec-Fetch-Site", "same-site")
		},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if status, _, h := b.do(method, s.at(studio, "/"), nil, ask); status != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s of %s: %d", method, name, status)
			}
		}
	}
	if _, status := b.webSocket(studio, func(h http.Header) { h.Set("Origin", s.studios.Origins.URL(other.ID)) }); status != http.StatusForbidden {
		t.Errorf("another Studio's WebSocket: %d", status)
	}
	if status, _, _ := b.do(http.MethodPost, s.at(studio, "/"), nil, page, header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://elsewhere.example")); status != http.StatusForbidden {
		t.Errorf("another site's form: %d", status)
	}
	if len(reached) > 0 {
		t.Errorf("the tool got %s", <-reached)
	}
	if status, _, _ := b.get(s.at(studio, "/"), page, header("Sec-Fetch-Site", "cross-site")); status != http.StatusOK {
		t.Errorf("a link from elsewhere: %d", status)
	}
	for name, own := range map[string]func(*http.Request){"a script": header("Origin", s.studios.Origins.URL(studio.ID)), "a form without a referrer": func(r *http.Request) {
		r.Header.Set("Origin", "null")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}, "a program": func(*http.Request) {}} {
		if status, _, _ := b.do(http.MethodPost, s.at(studio, "/"), nil, own); status != http.StatusOK {
			t.Errorf("%s of its own: %d", name, status)
		}
	}
}

func TestWhoIsConnectedIsKnown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, echoes)
	if got := s.studios.Connections(studio.ID); len(got) != 0 {
		t.Errorf("at first: %v", got)
	}
	b := s.signedIn(s.owner.User).open(studio)
	c, _ := b.webSocket(studio)
	say(t, c, "x")
	guest := s.signedIn(s.member(platform.RoleConnect)).open(studio)
	guest.get(s.at(studio, "/"))
	got := s.studios.Connections(studio.ID)
	if len(got) != 2 || got[0].UserName != "ada" || got[1].UserName != guest.user.UserName || time.Since(got[0].Since) > time.Minute {
		t.Errorf("two: %v", got)
	}
	later := time.Now().Add(gone + 10*time.Second)
	if got := s.studios.visits.connected(studio.ID, later); len(got) != 1 || got[0].UserName != "ada" {
		t.Errorf("later: %v", got)
	}
	session, err := s.db.StudioSession(t.Context(), studio.Session.ID)
	if err != nil || time.Since(session.Active) > time.Minute {
		t.Errorf("active %s, %v", session.Active, err)
	}
}

// TestUseOfAStudioKeepsASignInAlive, and an open page in which nobody does anything does not.
func TestUseOfAStudioKeepsASignInAlive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, http.HandlerFunc(echoes))
	b := s.signedIn(s.member(platform.RoleConnect)).open(studio)
	c, _ := b.webSocket(studio)
	say(t, c, "hello")
	long := time.Now().Add(-time.Hour).UnixMilli()
	age := func() time.Duration {
		session, err := s.db.LookAtSession(t.Context(), b.hash, time.Now())
		must(t, err)
		return time.Since(session.Seen)
	}
	s.exec(`UPDATE sessions SET seen_at = ? WHERE token_hash = ?`, long, b.hash)
	s.studios.look() // as it does every second
	if age() < time.Minute {
		t.Error("an open page keeps it alive")
	}
	b.get(s.at(studio, "/page"), page)
	if age() > time.Minute {
		t.Error("a request does not keep it alive")
	}
}
