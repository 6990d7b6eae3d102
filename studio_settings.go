package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"wherry/platform"
	"wherry/web/studios"
)

// studioSettings are what an operator can set about Studios.
type studioSettings struct {
	domain    string // WHERRY_STUDIOS_DOMAIN: each Studio has a name below it
	address   string // WHERRY_STUDIOS_ADDRESS: where to listen for the one origin of all Studios, where they have no names
	url       string // WHERRY_STUDIOS_URL: how browsers reach that; empty: as the portal, at the address's port
	maxUpload int64  // WHERRY_STUDIOS_MAX_UPLOAD: bytes that one request to a Studio may send
	templates []platform.StudioTemplate
}

var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$`)

// readStudioSettings reads the variables. A file of templates that is wrong is an error that names the template.
func readStudioSettings() (s studioSettings, err error) {
	s = studioSettings{domain: strings.ToLower(os.Getenv("WHERRY_STUDIOS_DOMAIN")), address: os.Getenv("WHERRY_STUDIOS_ADDRESS"),
		url: strings.TrimRight(os.Getenv("WHERRY_STUDIOS_URL"), "/"), templates: platform.ShippedTemplates()}
	if s.domain != "" && !domainName.MatchString(s.domain) {
		return s, fmt.Errorf("WHERRY_STUDIOS_DOMAIN is %q; it must be the name of a domain, such as studios.example.org", s.domain)
	}
	if s.domain != "" && s.address != "" {
		return s, fmt.Errorf("WHERRY_STUDIOS_DOMAIN and WHERRY_STUDIOS_ADDRESS are both set; set the domain alone if its names lead here, and else the address alone")
	}
	if _, _, err := net.SplitHostPort(s.address); s.address != "" && err != nil {
		return s, fmt.Errorf("WHERRY_STUDIOS_ADDRESS is %q; it must be host:port: %w", s.address, err)
	}
	if u, err := url.Parse(s.url); s.url != "" && (err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Path != "" || s.address == "") {
		return s, fmt.Errorf("WHERRY_STUDIOS_URL is %q; it must be http:// or https:// and a host, without a path, and WHERRY_STUDIOS_ADDRESS must be set too", s.url)
	}
	if s.maxUpload, err = parseBytes(envOr("WHERRY_STUDIOS_MAX_UPLOAD", strconv.Itoa(studios.DefaultMaxUpload))); err != nil {
		return s, fmt.Errorf("WHERRY_STUDIOS_MAX_UPLOAD is %q; it must be a number of bytes, or of MiB or GiB such as 20GiB", os.Getenv("WHERRY_STUDIOS_MAX_UPLOAD"))
	}
	if file := os.Getenv("WHERRY_STUDIO_TEMPLATES"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return s, fmt.Errorf("WHERRY_STUDIO_TEMPLATES: %w", err)
		}
		others, err := platform.ParseTemplates(text)
		if err != nil {
			return s, fmt.Errorf("the file %s of WHERRY_STUDIO_TEMPLATES is wrong: %w", file, err)
		}
		s.templates = platform.MergeTemplates(s.templates, others)
	}
	return s, nil
}

// origins are the addresses at which people open Studios.
func (s studioSettings) origins(portalURL string) (studios.Origins, error) {
	shared := s.url
	if s.address != "" && shared == "" {
		u, err := url.Parse(portalURL)
		if err != nil {
			return studios.Origins{}, err
		}
		_, port, err := net.SplitHostPort(s.address)
		if err != nil {
			return studios.Origins{}, err
		}
		shared = u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port)
	}
	return studios.NewOrigins(portalURL, s.domain, shared), nil
}

// parseBytes reads a number of bytes of at least 1 MiB, as "20GiB", "500MiB" or "1048576".
func parseBytes(text string) (int64, error) {
	unit := int64(1)
	for suffix, n := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = strings.TrimSpace(number), n
		}
	}
	n, err := strconv.ParseInt(text, 10, 40)
	if err == nil && (n*unit < 1<<20 || n > 1<<50/unit) {
		err = strconv.ErrRange
	}
	return n * unit, err
}
