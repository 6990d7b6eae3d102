package studios

import (
	"net/http"
	"net/url"
	"strings"
)

// ours tells whether a cookie of that name is the portal's.
func ours(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, prefix := range []string{"__host-", "__secure-", "__http-", "__host-http-"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name = rest
		}
	}
	return strings.HasPrefix(name, "wherry")
}

// keepToolCookies takes the portal's cookies out of a request. The others stay as they were written.
func keepToolCookies(h http.Header) {
	var kept []string
	for _, line := range h.Values("Cookie") {
		for _, c := range strings.Split(line, ";") {
			if name, _, _ := strings.Cut(c, "="); strings.TrimSpace(c) != "" && !ours(name) {
				kept = append(kept, strings.TrimSpace(c))
			}
		}
	}
	h.Del("Cookie")
	if len(kept) > 0 {
		h.Set("Cookie", strings.Join(kept, "; "))
	}
}

// notForTools are headers with which an answer would reach beyond the Studio's own origin, end the member's grant, see the
// tickets that come to it, or give orders to a reverse proxy before the portal, such as to answer with a file of its host.
var notForTools = []string{"Clear-Site-Data", "Strict-Transport-Security", "Public-Key-Pins", "Public-Key-Pins-Report-Only", "Alt-Svc", "Expect-CT",
	"Service-Worker-Allowed", "X-Accel-Redirect", "X-Accel-Expires", "X-Sendfile", "X-Lighttpd-Send-File", "X-Reproxy-Url"}

// cleanAnswer takes out of a tool's answer what it has no say in.
func cleanAnswer(resp *http.Response) error {
	for _, name := range notForTools {
		resp.Header.Del(name)
	}
	set := resp.Header.Values("Set-Cookie")
	resp.Header.Del("Set-Cookie")
	for _, c := range set {
		if toolMaySet(c) {
			resp.Header.Add("Set-Cookie", c)
		}
	}
	if t, ok := resp.Request.Context().Value(targetKey{}).(target); ok {
		ownScheme(resp.Header, t)
	}
	return nil
}

// toolMaySet tells whether a Set-Cookie stays on the Studio's origin, and is not one of the portal's.
func toolMaySet(c string) bool {
	parts := strings.Split(c, ";")
	name, _, _ := strings.Cut(parts[0], "=")
	if ours(name) || strings.TrimSpace(name) == "" { // one without a name is sent as its value alone, which could look like ours
		return false
	}
	for _, attribute := range parts[1:] {
		if key, _, _ := strings.Cut(attribute, "="); strings.EqualFold(strings.TrimSpace(key), "domain") {
			return false
		}
	}
	return true
}

// ownScheme makes redirects to the Studio's own host lead to it the way people reach it: a tool does not know of TLS before it.
func ownScheme(h http.Header, t target) {
	u, err := url.Parse(h.Get("Location"))
	if err == nil && strings.EqualFold(u.Host, t.host) && u.Scheme == "http" {
		u.Scheme = t.scheme
		h.Set("Location", u.String())
	}
}
