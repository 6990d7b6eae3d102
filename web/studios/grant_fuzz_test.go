package studios

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzGrant wants that nothing is taken for a ticket or a grant that this portal did not sign as one.
func FuzzGrant(f *testing.F) {
	s := New(Config{Key: []byte("a key of thirty-two bytes or so!")})
	signed := s.sign(kindGrant, grant{Studio: "a", User: 1, Session: "h", Issued: time.Unix(1e9, 0)})
	for _, text := range []string{signed, signed[:len(signed)-1], signed + "=", strings.Replace(signed, ".", "..", 1), ".", "", "e30.", "\xff"} {
		f.Add(text)
	}
	other := New(Config{Key: []byte("another key")})
	f.Fuzz(func(t *testing.T, text string) {
		g, ok := s.opened(kindGrant, text)
		if ok && (g.Studio != "a" || g.User != 1 || g.Session != "h") {
			t.Errorf("%q is the grant %+v", text, g)
		}
		if _, ok := s.opened(kindTicket, text); ok {
			t.Errorf("%q is taken for a ticket", text)
		}
		if _, ok := other.opened(kindGrant, text); ok {
			t.Errorf("%q is a grant of another portal", text)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", s.cookie()+"="+text+"; "+s.secretCookie()+"="+text)
		r.URL.RawQuery = "ticket=" + text
		if _, ok := s.useTicket(r); ok {
			t.Errorf("the ticket %q is used", text)
		}
		s.grantOf(r, "b")
	})
}
