package studios

import (
	"fmt"
	"net/http"
	"strings"

	"wherry/platform"
	"wherry/static"
	"wherry/views"
)

// problem is why a request does not come to a Studio's tool.
type problem struct {
	status int
	title  string
	words  string
}

var (
	noSuchStudio = problem{http.StatusNotFound, "There is no Studio here", "This address leads to no Studio. Open Studios from their workspace in the portal."}
	notFound     = problem{http.StatusNotFound, "Not found", "There is no page at this address."}
	otherPage    = problem{http.StatusForbidden, "Refused", "This request came from another site's page and was refused."}
	// A service worker sees what a browser sends to the folder of its script: from here it would see tickets, and on a shared
	// address all of the other Studios.
	noWorkers    = problem{http.StatusForbidden, "Refused", "Pages cannot have a service worker for this folder, because it would see how people come in. Where each Studio has an address of its own, they can have one for a folder below it."}
	noGrant      = problem{http.StatusUnauthorized, "Not connected", "Your access to this Studio has to be renewed. Load its page again."}
	mayNot       = problem{http.StatusForbidden, "You may not open this Studio", "It was deleted, or is private, or your role in its workspace does not include connecting to Studios. Ask an owner or admin of the workspace."}
	notConnected = problem{http.StatusBadGateway, "The Studio's machine is not connected", "The Studio's machine has lost its connection to the portal, or has not made it yet. It tries again by itself every few seconds, and this page with it. The Studio's page in the portal says how it is."}
	portalFailed = problem{http.StatusInternalServerError, "Something went wrong in the portal itself", "Whoever operates it finds the cause in its log."}
)

func (s *Studios) tooLarge() problem {
	return problem{http.StatusRequestEntityTooLarge, "Too large", fmt.Sprintf("A request to a Studio may send at most %d MiB. Bring larger files by way of a bucket.", s.MaxUpload>>20)}
}

// originPolicy is for the few pages of our own on a Studio's origin: they have a style, and nothing else.
const originPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// refuse answers with a problem: a page for people, words for programs. Trouble that may pass is looked at again by the page.
func (s *Studios) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	page := views.StudioOrigin{Title: p.title, Words: p.words, Portal: s.PortalURL + "/"}
	if id, ours := s.Origins.find(r.Host); ours && id != "" {
		page.Portal = s.portalPage(id)
	}
	page.Reload = p.status == http.StatusBadGateway || p.status == http.StatusServiceUnavailable || p.status == http.StatusGatewayTimeout
	s.answer(w, r, p.status, page)
}

// notRunning says where a Studio stands that cannot be opened now. Its page opens it once it can.
func (s *Studios) notRunning(w http.ResponseWriter, r *http.Request, studio platform.Studio) {
	page := views.StudioOrigin{Title: studio.Name + " " + stateTitles[studio.State()], Words: stateWords[studio.State()], Portal: s.portalPage(studio.ID),
		Reload: studio.State() == platform.StudioStarting || studio.State() == platform.StudioBuilding}
	if studio.State().Ended() && studio.Session != nil && studio.Session.Message != "" {
		page.Words = studio.Session.Message + " Start it again from the portal: it begins with the files that it kept."
	}
	s.answer(w, r, http.StatusServiceUnavailable, page)
}

var stateTitles = map[platform.StudioState]string{
	platform.StudioStarting:    "is starting",
	platform.StudioBuilding:    "is starting",
	platform.StudioRunning:     "is running", // since a moment ago
	platform.StudioStopping:    "is stopping",
	platform.StudioStopped:     "is stopped",
	platform.StudioErrored:     "ended with an error",
	platform.StudioBuildFailed: "could not be built",
}

var stateWords = map[platform.StudioState]string{
	platform.StudioStarting:    "Its machine is on its way. This page opens the Studio when its tool answers.",
	platform.StudioBuilding:    "Its packages are being installed. This page opens the Studio when its tool answers.",
	platform.StudioStopping:    "Its work is being kept. Start it again from the portal when it has stopped.",
	platform.StudioStopped:     "Start it from the portal.",
	platform.StudioErrored:     "It ended with an error. The portal says why.",
	platform.StudioBuildFailed: "Its packages could not be installed. The portal says why.",
}

func (s *Studios) answer(w http.ResponseWriter, r *http.Request, status int, page views.StudioOrigin) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", originPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	if !navigates(r) {
		http.Error(w, page.Title+". "+page.Words, status)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	page.Style = stylePath + strings.TrimPrefix(static.URL("app.css"), "/static/")
	if err := views.StudioOriginPage(page).Render(r.Context(), w); err != nil {
		s.Log.Debug("answering on a Studio's origin", "error", err)
	}
}

// style serves the portal's style to our own pages on a Studio's origin.
func (s *Studios) style(w http.ResponseWriter, r *http.Request) {
	http.StripPrefix(stylePath, static.Handler()).ServeHTTP(w, r)
}
