package studios

import (
	"net/http"
	"strings"
	"testing"

	"wherry/platform"
)

func TestEachStudioHasOneNameThatDNSTakes(t *testing.T) {
	t.Parallel()
	for range 1000 {
		id := platform.NewID()
		l := label(id)
		if back, ok := studioOf(l); !ok || back != id || len(l) > 63 || l != strings.ToLower(l) || strings.Trim(l, "0123456789abcdefghijklmnopqrstuv") != "" {
			t.Fatalf("%s is %s, and that is %s", id, l, back)
		}
	}
	l := label("AbCdEfGhIjKlMn")
	last := l[len(l)-1]
	for _, wrong := range []string{"", "www", strings.ToUpper(l), l + "0", l[1:], l[:len(l)-1] + string(last+1), "ü" + l} {
		if id, ok := studioOf(wrong); ok {
			t.Errorf("%q is %s", wrong, id)
		}
	}
}

func TestHostsOfStudiosAreKnownHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	id := platform.NewID()
	name := label(id) + ".studios.example.org"
	o := NewOrigins("https://wherry.example.org:8443", "Studios.Example.org", "")
	if got := o.URL(id); got != "https://"+name+":8443" {
		t.Errorf("the URL is %s", got)
	}
	for host, want := range map[string]struct {
		id   string
		ours bool
	}{
		name: {id, true}, name + ":8443": {id, true}, name + ":1": {id, true}, strings.ToUpper(name): {id, true},
		name + ".": {"", true}, name + ".:8443": {"", true}, name + "..": {"", true}, "www.studios.example.org": {"", true}, "studios.example.org": {"", true},
		"x." + name: {"", true}, "user@" + name: {"", true}, "STUDIOS.example.org.": {"", true}, "." + name: {"", true},
		"wherry.example.org": {"", false}, "": {"", false}, "[::1]:80": {"", false}, "[" + name + "]": {id, true}, "studios.example.org.evil.org": {"", false},
		"notstudios.example.org": {"", false}, "127.0.0.1:80": {"", false},
	} {
		if gotID, ours := o.find(host); gotID != want.id || ours != want.ours {
			t.Errorf("%q: %q, %v; want %q, %v", host, gotID, ours, want.id, want.ours)
		}
	}
}

func TestThePortalsOwnNameIsNoStudios(t *testing.T) {
	t.Parallel()
	id := platform.NewID()
	for _, domain := range []string{"wherry.example.org", "example.org"} {
		o := NewOrigins("https://Wherry.example.org:8443", domain, "")
		for _, host := range []string{"wherry.example.org", "WHERRY.example.org:8443"} {
			if got, ours := o.find(host); got != "" || ours {
				t.Errorf("with Studios below %s, %s is taken for theirs", domain, host)
			}
		}
		if got, ours := o.find(label(id) + "." + domain); got != id || !ours {
			t.Errorf("below %s: %q, %v", domain, got, ours)
		}
	}
}

func TestWhereStudiosAreFollowsFromTheSettings(t *testing.T) {
	t.Parallel()
	id := platform.NewID()
	for _, c := range []struct{ portal, domain, shared, want string }{
		{"http://127.0.0.1:8080", "", "", "http://" + label(id) + ".studios.localhost:8080"},
		{"http://localhost:8080", "", "", "http://" + label(id) + ".studios.localhost:8080"},
		{"http://[::1]:8080", "", "", "http://" + label(id) + ".studios.localhost:8080"},
		{"https://wherry.example.org", "", "", ""},
		{"https://wherry.example.org", "s.example.net", "", "https://" + label(id) + ".s.example.net"},
		{"https://wherry.example.org", "", "https://wherry.example.org:8443", "https://wherry.example.org:8443"},
		{"http://127.0.0.1:8080", "", "http://127.0.0.1:8081", "http://127.0.0.1:8081"},
		// As browsers write them in Origin.
		{"https://Wherry.example.org:443", "s.example.net", "", "https://" + label(id) + ".s.example.net"},
		{"http://wherry.example.org:80", "s.example.net", "", "http://" + label(id) + ".s.example.net"},
		{"http://wherry.example.org:443", "s.example.net", "", "http://" + label(id) + ".s.example.net:443"},
		{"http://wherry.example.org", "", "https://Studios.example.org:443", "https://studios.example.org"},
	} {
		if got := NewOrigins(c.portal, c.domain, c.shared).URL(id); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	none := New(Config{Origins: NewOrigins("https://wherry.example.org", "", ""), PortalURL: "https://wherry.example.org"})
	_, err := none.Ticket(platform.Studio{ID: id}, 1, "h", "")
	if platform.ErrorCode(err) != platform.CodeInvalid || !strings.Contains(err.Error(), "WHERRY_STUDIOS_DOMAIN") {
		t.Errorf("without an address: %v", err)
	}
	if none.URL(id) != "https://wherry.example.org/studios/"+id {
		t.Errorf("its URL is %s", none.URL(id))
	}
}

func TestThePortalNeverSeesTheStudiosHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, hello)
	b := s.signedIn(s.owner.User).open(studio)
	for _, host := range []string{"www.studios.localhost", "studios.localhost", label(platform.NewID()) + "x.studios.localhost:80", strings.Replace(s.studios.Origins.Host(studio.ID), ":", ".:", 1)} {
		if status, body, _ := b.get(s.URL+"/", page, header("Host", host)); status != http.StatusNotFound || body == "the portal" {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
	if status, body, _ := b.get(s.URL+"/", header("X-Forwarded-Host", s.studios.Origins.Host(studio.ID))); status != http.StatusOK || body != "the portal" {
		t.Errorf("X-Forwarded-Host: %d %s", status, body)
	}
}

func TestOneOriginForAllStudiosIsInOneStudioAtATime(t *testing.T) {
	t.Parallel()
	s, shared := sharedSite(t)
	one, two := s.addStudio("one"), s.addStudio("two")
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(text + " at " + r.Host)) })
	}
	s.serve(one, says("one"))
	s.serve(two, says("two"))
	b := s.signedIn(s.owner.User)
	if status, _, h := b.get(shared+"/", page); status != http.StatusSeeOther || h.Get("Location") != s.studios.PortalURL+"/" {
		t.Errorf("without a grant: %d to %s", status, h.Get("Location"))
	}
	for _, c := range []struct {
		studio platform.Studio
		says   string
		clears bool
	}{{one, "one", true}, {one, "one", false}, {two, "two", true}, {one, "one", true}} {
		status, _, h := b.get(b.ticket(c.studio))
		if status != http.StatusSeeOther || (h.Get("Clear-Site-Data") != "") != c.clears || strings.Contains(h.Get("Clear-Site-Data"), "cookies") {
			t.Errorf("opening %s: %d, %q", c.says, status, h.Get("Clear-Site-Data"))
		}
		if status, body, _ := b.get(shared + "/"); status != http.StatusOK || body != c.says+" at "+strings.TrimPrefix(shared, "http://") {
			t.Errorf("%s: %d %s", c.says, status, body)
		}
	}
	if status, body, _ := b.get(shared+"/worker.js", header("Service-Worker", "script")); status != http.StatusForbidden || contains(body, "one at") {
		t.Errorf("a service worker, which would be one for all Studios: %d %s", status, body)
	}
	if status, _, _ := b.get(shared+"/", header("Host", "elsewhere.example")); status != http.StatusNotFound {
		t.Errorf("another host: %d", status)
	}
}
