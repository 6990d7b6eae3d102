package studios

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"wherry/platform"
)

const (
	// ticketLife is how long a ticket opens a Studio, once.
	ticketLife = time.Minute
	// grantLife is how long a grant holds without being used, and renewAfter how old one is when its use renews it.
	grantLife, renewAfter = 5 * time.Minute, time.Minute
	// afterStart is how long a portal that has just started takes grants up to mostAge old: it does not know which of them were
	// in use by a connection that stayed open, such as a WebSocket, and so were not renewed.
	afterStart, mostAge = 2 * time.Minute, 24 * time.Hour
)

// Kinds of what is signed. One is never taken for the other.
const (
	kindTicket = "ticket"
	kindGrant  = "grant"
)

// grant says that a member who is signed in may open a Studio. It says so for a short time, and with each use the database is
// asked whether it is still so.
type grant struct {
	ID      string    `json:"i,omitempty"` // of a ticket
	Way     string    `json:"w,omitempty"` // of a ticket: the hash of the secret of the browser that asked for it
	Studio  string    `json:"s"`
	User    int64     `json:"u"`
	Session string    `json:"h"` // the hash of the portal's sign-in session
	Issued  time.Time `json:"t"`
}

// who is the grant without what makes it differ from the same member's others.
func (g grant) who() grant { return grant{Studio: g.Studio, User: g.User, Session: g.Session} }

// sign seals a grant.
func (s *Studios) sign(kind string, g grant) string {
	payload, _ := json.Marshal(g) // a struct of strings and numbers
	return base64.RawURLEncoding.EncodeToString(payload) + "." + base64.RawURLEncoding.EncodeToString(s.mac(kind, payload))
}

// opened reads a grant that this portal has sealed. When it was, the caller has to look at.
func (s *Studios) opened(kind, text string) (g grant, ok bool) {
	first, second, _ := strings.Cut(text, ".")
	payload, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return g, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(second)
	if err != nil || !hmac.Equal(mac, s.mac(kind, payload)) {
		return g, false
	}
	return g, json.Unmarshal(payload, &g) == nil
}

func (s *Studios) mac(kind string, payload []byte) []byte {
	mac := hmac.New(sha256.New, s.signing)
	mac.Write([]byte(kind + "\x00"))
	mac.Write(payload)
	return mac.Sum(nil)
}

// signingKey derives the key of grants from the data folder's.
func signingKey(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("studio grants"))
	return mac.Sum(nil)
}

// Ticket returns the address that opens a Studio, once and within ticketLife, for a user whose sign-in session has that hash, in the
// browser whose secret has the hash way. Without that it returns where the browser gets a secret, and is sent back with its hash:
// so nobody can be brought into a Studio as somebody else, with a link from them.
func (s *Studios) Ticket(studio platform.Studio, userID int64, sessionHash, way string) (string, error) {
	if s.Origins.None() {
		return "", platform.Errorf(platform.CodeInvalid, "Studios cannot be opened yet, because this portal has no address for them. Whoever operates it sets WHERRY_STUDIOS_DOMAIN to a domain whose names all lead to the portal, or WHERRY_STUDIOS_ADDRESS where there is none.")
	}
	if way == "" {
		return s.Origins.URL(studio.ID) + openPath + "?studio=" + studio.ID, nil
	}
	ticket := s.sign(kindTicket, grant{ID: platform.NewID(), Way: way, Studio: studio.ID, User: userID, Session: sessionHash, Issued: s.now()})
	return s.Origins.URL(studio.ID) + openPath + "?ticket=" + ticket, nil
}

// useTicket takes a request's ticket, once. Those from before the portal's start are not taken, as it does not know which were used.
func (s *Studios) useTicket(r *http.Request) (grant, bool) {
	g, ok := s.opened(kindTicket, r.URL.Query().Get("ticket"))
	now := s.now()
	secret := s.browserSecret(r)
	if !ok || secret == "" || platform.HashToken(secret) != g.Way || now.Sub(g.Issued) > ticketLife || g.Issued.Before(s.started) || !s.used.first(g.ID, now) {
		return grant{}, false
	}
	return g, true
}

// secretCookie is the name of the cookie with a browser's secret.
func (s *Studios) secretCookie() string { return s.cookie() + "_way" }

// browserSecret is the secret that a browser was given; empty: none.
func (s *Studios) browserSecret(r *http.Request) string {
	cookie, err := r.Cookie(s.secretCookie())
	if err != nil {
		return ""
	}
	return cookie.Value
}

// giveSecret puts a secret into a browser that has none, and returns its hash.
func (s *Studios) giveSecret(w http.ResponseWriter, r *http.Request) (way string) {
	secret := s.browserSecret(r)
	if secret == "" {
		secret = platform.NewToken()
		http.SetCookie(w, &http.Cookie{Name: s.secretCookie(), Value: secret, Path: "/", HttpOnly: true, Secure: s.Origins.secure(), SameSite: http.SameSiteLaxMode})
	}
	return platform.HashToken(secret)
}

// usedTickets remembers tickets for as long as they could be used again.
type usedTickets struct {
	mu  sync.Mutex
	ids map[string]time.Time
}

// first tells whether a ticket was not used before, and remembers that it is now.
func (u *usedTickets) first(id string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for other, at := range u.ids {
		if now.Sub(at) > 2*ticketLife {
			delete(u.ids, other)
		}
	}
	if _, again := u.ids[id]; again {
		return false
	}
	if u.ids == nil {
		u.ids = map[string]time.Time{}
	}
	u.ids[id] = now
	return true
}

// cookie is the name of the cookie with the grant. Behind TLS its prefix binds it to this host and to HTTPS.
func (s *Studios) cookie() string {
	if s.Origins.secure() {
		return "__Host-wherry_studio"
	}
	return "wherry_studio"
}

// giveGrant puts a new grant into the browser.
func (s *Studios) giveGrant(w http.ResponseWriter, g grant) {
	g.ID, g.Way, g.Issued = "", "", s.now()
	http.SetCookie(w, &http.Cookie{Name: s.cookie(), Value: s.sign(kindGrant, g), Path: "/", HttpOnly: true, Secure: s.Origins.secure(),
		SameSite: http.SameSiteLaxMode})
}

// grantOf reads the grant for a Studio that a browser shows, or for whichever where studioID is empty; held is true while it
// holds. Without TLS a page of any Studio can add cookies of the same name, which must not shut anybody out.
func (s *Studios) grantOf(r *http.Request, studioID string) (g grant, held bool) {
	for _, cookie := range r.CookiesNamed(s.cookie()) {
		if shown, ok := s.opened(kindGrant, cookie.Value); ok && (studioID == "" || shown.Studio == studioID) {
			if g = shown; s.holds(g) {
				return g, true
			}
		}
	}
	return g, false
}

func (s *Studios) holds(g grant) bool {
	age := s.now().Sub(g.Issued)
	return age < grantLife || age < mostAge && (s.now().Sub(s.started) < afterStart || s.visits.has(g.who()))
}
