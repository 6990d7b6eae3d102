// Package studios lets people into Studios: each has an origin of its own, on which a member with a grant is joined with the
// Studio's tool through the tunnel of its agent.
//
// The way of a visit: the portal's page sends the browser to the Studio's origin with a ticket (Ticket), which becomes a cookie
// there (grant.go). Each request asks the database whether its member may still be here (access.go), and then goes through the
// tunnel (tunnels.go, forward.go). What stays open is asked for again every second (watch.go).
package studios

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"wherry/db"
	"wherry/platform"
)

// DefaultMaxUpload is how many bytes a request to a Studio may send, unless the operator says otherwise.
const DefaultMaxUpload = 20 << 30

// Config is what the Studios' origins need of the portal.
type Config struct {
	DB        *db.DB
	Log       *slog.Logger
	Origins   Origins
	PortalURL string
	Key       []byte                        // of the data folder; grants are signed with a key from it
	Token     func(sessionID string) string // with which the portal comes to a session's tool
	Templates []platform.StudioTemplate
	MaxUpload int64 // bytes of a request; 0: DefaultMaxUpload
}

// Studios answers on the Studios' own origins.
type Studios struct {
	Config
	signing []byte
	started time.Time
	now     func() time.Time
	used    usedTickets
	tunnels tunnels
	visits  visits

	mu       sync.Mutex
	watching bool
}

// New makes what answers on the Studios' origins.
func New(c Config) *Studios {
	if c.MaxUpload == 0 {
		c.MaxUpload = DefaultMaxUpload
	}
	return &Studios{Config: c, signing: signingKey(c.Key), started: time.Now(), now: time.Now}
}

// URL is where people open a Studio: its own origin, or, where there is none, its page in the portal.
func (s *Studios) URL(studioID string) string {
	if url := s.Origins.URL(studioID); url != "" {
		return url
	}
	return s.portalPage(studioID)
}

// portalPage is the address in the portal that leads whoever may connect back to a Studio, with a new grant.
func (s *Studios) portalPage(studioID string) string { return s.PortalURL + "/studios/" + studioID }

// Known tells whether a name is that of a Studio that exists, so that certificates are asked for no others.
func (s *Studios) Known(ctx context.Context, name string) (bool, error) {
	id, ours := s.Origins.find(name)
	if !ours || id == "" {
		return false, nil
	}
	_, err := s.DB.AnyStudio(ctx, id)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// Connections lists who has a Studio open now.
func (s *Studios) Connections(studioID string) []platform.StudioConnection {
	return s.visits.connected(studioID, s.now())
}

// Close ends every tunnel and every request under way, so that agents and browsers look for the next portal at once.
func (s *Studios) Close() {
	s.tunnels.close()
	for _, list := range s.visits.open() {
		for _, v := range list {
			v.stop("The portal stops.")
		}
	}
}

// Beside takes requests to names in the Studios' domain, and leaves all others to the portal.
func (s *Studios) Beside(portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ours := s.Origins.find(r.Host)
		switch {
		case !ours:
			portal.ServeHTTP(w, r)
		case id == "":
			s.refuse(w, r, noSuchStudio)
		default:
			s.serve(w, r, id)
		}
	})
}

// Shared is the one origin for all Studios, where they have no names of their own: the grant says which Studio is meant.
func (s *Studios) Shared() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.Origins.isShared(r.Host) {
			s.refuse(w, r, noSuchStudio)
			return
		}
		g, _ := s.grantOf(r, "")
		s.serve(w, r, g.Studio)
	})
}

// Paths that are the portal's on every Studio's origin, and never reach a tool.
const (
	ownPaths  = "/.wherry/"
	openPath  = ownPaths + "open"
	stylePath = ownPaths + "static/"
)

// serve answers a request to a Studio. studioID is empty on the shared origin for who has no grant.
func (s *Studios) serve(w http.ResponseWriter, r *http.Request, studioID string) {
	clean := path.Clean("/" + r.URL.Path)
	if s.Origins.secure() {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains") // a tool has no say in it (notForTools)
	}
	switch {
	case r.Method == http.MethodConnect: // asks for a proxy, which this is not
		s.refuse(w, r, notFound)
	case fromElsewhere(r, s.Origins.URL(studioID)):
		s.refuse(w, r, otherPage)
	case r.Header.Get("Service-Worker") != "" && (path.Dir(clean) == "/" || s.Origins.shared != nil):
		s.refuse(w, r, noWorkers)
	case clean == openPath && r.Method == http.MethodGet:
		s.open(w, r, studioID)
	case strings.HasPrefix(clean, stylePath):
		s.style(w, r)
	case strings.HasPrefix(clean+"/", ownPaths):
		s.refuse(w, r, notFound)
	default:
		s.visit(w, r, studioID)
	}
}

// fromElsewhere tells whether another origin's page made the browser send this. Other Studios' origins count as the same site, so
// their cookies come along. A person may follow a link here; all else is refused.
func fromElsewhere(r *http.Request, origin string) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	switch o := r.Header.Get("Origin"); o {
	case "":
	case "null": // of a form on a page that gives no referrer away, and of frames that have no origin
		return site != "same-origin"
	default:
		return o != origin
	}
	return site != "" && site != "none" && site != "same-origin" && !navigates(r)
}

// navigates tells whether the answer becomes a page of its own in the browser.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != "" {
		return false
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" {
		return dest == "document"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// open takes a ticket, puts the grant into the browser, and sends it on to where it wanted to go.
func (s *Studios) open(w http.ResponseWriter, r *http.Request, studioID string) {
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	g, ok := s.useTicket(r)
	switch {
	case ok && s.Origins.shared != nil:
		if studioID != g.Studio { // what another Studio's pages kept must not be this one's
			h.Set("Clear-Site-Data", `"cache", "storage"`)
		}
	case !ok || g.Studio != studioID:
		if wanted := r.URL.Query().Get("studio"); s.Origins.shared != nil && platform.ValidID(wanted) {
			studioID = wanted
		}
		s.askForGrant(w, r, studioID)
		return
	}
	to := "/"
	if wanted := wantedPath(r); localPath(wanted) && studioID == g.Studio {
		to = wanted
	}
	http.SetCookie(w, &http.Cookie{Name: pathCookie, Path: "/", MaxAge: -1})
	s.giveGrant(w, g)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// pathCookie keeps where somebody wanted to go in a Studio while the portal gives them a grant.
const pathCookie = "wherry_path"

// wantedPath is where somebody wanted to go; empty: nowhere.
func wantedPath(r *http.Request) string {
	cookie, err := r.Cookie(pathCookie)
	if err != nil {
		return ""
	}
	wanted, err := url.QueryUnescape(cookie.Value) // not all that is in paths may be in cookies
	if err != nil {
		return ""
	}
	return wanted
}

// localPath tells whether a redirect to a path stays on this origin.
func localPath(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && !strings.ContainsAny(p, "\\\r\n\t") && !strings.HasPrefix(p, ownPaths)
}

// askForGrant sends a page to the portal for a grant. What a page loads by itself is told that there is none.
func (s *Studios) askForGrant(w http.ResponseWriter, r *http.Request, studioID string) {
	if !navigates(r) {
		s.refuse(w, r, noGrant)
		return
	}
	if p := r.URL.RequestURI(); localPath(p) && len(p) < 2000 {
		http.SetCookie(w, &http.Cookie{Name: pathCookie, Value: url.QueryEscape(p), Path: "/", MaxAge: 300, HttpOnly: true, Secure: s.Origins.secure(), SameSite: http.SameSiteLaxMode})
	}
	w.Header().Set("Cache-Control", "no-store")
	to := s.PortalURL + "/"
	if studioID != "" {
		to = s.portalPage(studioID) + "?way=" + s.giveSecret(w, r)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
