package studios

import (
	"encoding/base32"
	"net"
	"net/url"
	"strings"

	"wherry/platform"
)

// LocalDomain is where Studios are when the portal is used on its own host alone: browsers take every name below localhost for
// this host.
const LocalDomain = "studios.localhost"

// Origins are the addresses at which people open Studios: one for each, so that no page of a Studio can read what belongs to the
// portal or to another Studio.
type Origins struct {
	scheme, port string // of the portal's own address
	portal       string // its host, which is no Studio's
	domain       string // each Studio has a name below it; empty: they share one address
	shared       *url.URL
}

// NewOrigins knows the addresses from the operator's settings: the portal's URL, the domain below which each Studio has a name,
// and else the URL that all Studios share. Without both, a portal that is used on its own host has them below LocalDomain, and
// any other has none.
func NewOrigins(portalURL, domain, shared string) Origins {
	o := Origins{domain: strings.ToLower(strings.Trim(domain, "."))}
	portal, err := url.Parse(portalURL)
	if err != nil {
		return o
	}
	asBrowsersWrite(portal)
	o.scheme, o.port, o.portal = portal.Scheme, portal.Port(), portal.Hostname()
	switch {
	case o.domain != "":
	case shared != "":
		if u, err := url.Parse(shared); err == nil {
			asBrowsersWrite(u)
			o.shared = u
		}
	case ownHost(portal.Hostname()):
		o.domain = LocalDomain
	}
	return o
}

// asBrowsersWrite makes an address what browsers send as Origin, with which it is compared: without capitals and the usual port.
func asBrowsersWrite(u *url.URL) {
	u.Host = strings.ToLower(u.Host)
	if usual := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; usual != "" {
		u.Host = strings.TrimSuffix(u.Host, usual)
	}
}

// ownHost tells whether a name means another host everywhere else.
func ownHost(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || (ip != nil && ip.IsLoopback())
}

// None tells whether Studios have no address, so that they cannot be opened.
func (o Origins) None() bool { return o.domain == "" && o.shared == nil }

// secure tells whether browsers reach Studios by https.
func (o Origins) secure() bool {
	if o.shared != nil {
		return o.shared.Scheme == "https"
	}
	return o.scheme == "https"
}

// URL is where a Studio is opened, without a path; empty when there is no such place.
func (o Origins) URL(studioID string) string {
	switch {
	case o.shared != nil:
		return o.shared.Scheme + "://" + o.shared.Host
	case o.domain != "":
		return o.scheme + "://" + o.Host(studioID)
	}
	return ""
}

// Host is the host, with its port if it has one, of a Studio's address.
func (o Origins) Host(studioID string) string {
	if o.shared != nil {
		return o.shared.Host
	}
	host := label(studioID) + "." + o.domain
	if o.port != "" {
		host += ":" + o.port
	}
	return host
}

// find tells which Studio a request's Host header means. ours is true for every name in the Studios' domain, also where it is
// no Studio's: such a request is not the portal's.
func (o Origins) find(host string) (studioID string, ours bool) {
	if o.domain == "" {
		return "", false
	}
	name := strings.ToLower(hostname(host))
	if name == o.portal { // its names may be below the Studios' domain, or theirs below its own
		return "", false
	}
	trimmed := strings.TrimRight(name, ".")
	if trimmed == o.domain {
		return "", true
	}
	first, ours := strings.CutSuffix(trimmed, "."+o.domain)
	if !ours || trimmed != name { // a browser takes a name with a dot at its end for another
		return "", ours
	}
	id, _ := studioOf(first)
	return id, true
}

// At is the address of the Studio that a host names, without a path; empty: it names none.
func (o Origins) At(host string) string {
	if id, ours := o.find(host); ours && id != "" {
		return o.URL(id)
	}
	return ""
}

// isShared tells whether a request's Host header means the address that Studios share.
func (o Origins) isShared(host string) bool {
	return o.shared != nil && strings.EqualFold(hostname(host), o.shared.Hostname())
}

// hostname is a Host header without its port and without the brackets of an IPv6 address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// labels writes ids, in which case counts, as names in DNS, in which it does not.
var labels = base32.HexEncoding.WithPadding(base32.NoPadding)

func label(studioID string) string { return strings.ToLower(labels.EncodeToString([]byte(studioID))) }

// studioOf is the reverse of label. There is one label for an id, so that there is one origin for a Studio.
func studioOf(l string) (studioID string, ok bool) {
	id, err := labels.DecodeString(strings.ToUpper(l))
	if err != nil || !platform.ValidID(string(id)) || label(string(id)) != l {
		return "", false
	}
	return string(id), true
}
