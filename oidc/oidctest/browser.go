package oidctest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Browser follows a sign-in as a browser without JavaScript does. It keeps cookies.
type Browser struct {
	t      testing.TB
	client *http.Client
	back   string
}

// NewBrowser makes a browser that stops before it would go to an address that begins with back: the portal's.
func NewBrowser(t testing.TB, back string) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, back: back}
	b.client = &http.Client{Jar: jar, CheckRedirect: func(next *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(next.URL.String(), back) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

var (
	formAction = regexp.MustCompile(` method="post" action="([^"]+)"`)
	abortLink  = regexp.MustCompile(` href="([^"]+/abort)"`)
)

// SignIn goes to the address that the portal sends a browser to, signs in there, and returns the address to which the provider
// sends it back. Who is signed in there already is not asked again.
func (b *Browser) SignIn(authURL string, user User) *url.URL {
	b.t.Helper()
	return b.through(authURL, func(page []byte, at *url.URL) (*http.Response, error) {
		return b.client.PostForm(b.link(formAction, page, at), url.Values{"login": {user.Login}, "password": {user.Password}})
	})
}

// Cancel goes there and chooses not to sign in.
func (b *Browser) Cancel(authURL string) *url.URL {
	b.t.Helper()
	return b.through(authURL, func(page []byte, at *url.URL) (*http.Response, error) {
		return b.client.Get(b.link(abortLink, page, at))
	})
}

// through opens the provider's page, does something there if there is one, and returns where that leads.
func (b *Browser) through(authURL string, do func(page []byte, at *url.URL) (*http.Response, error)) *url.URL {
	b.t.Helper()
	answer, err := b.client.Get(authURL)
	for step := 0; err == nil; step++ {
		page, readErr := io.ReadAll(answer.Body)
		answer.Body.Close()
		if to, _ := answer.Location(); to != nil && strings.HasPrefix(to.String(), b.back) {
			return to
		}
		if readErr != nil || answer.StatusCode != http.StatusOK || step > 0 {
			b.t.Fatalf("%s answers %s, %v:\n%s", answer.Request.URL, answer.Status, readErr, bytes.TrimSpace(page))
		}
		answer, err = do(page, answer.Request.URL)
	}
	b.t.Fatal(err)
	return nil
}

// link finds an address in a page.
func (b *Browser) link(pattern *regexp.Regexp, page []byte, at *url.URL) string {
	b.t.Helper()
	found := pattern.FindSubmatch(page)
	if found == nil {
		b.t.Fatalf("%s has no %s:\n%s", at, pattern, page)
	}
	to, err := at.Parse(string(found[1]))
	if err != nil {
		b.t.Fatal(err)
	}
	return to.String()
}

// Refused goes there and demands that the provider sends it back at once.
func (b *Browser) Refused(authURL string) *url.URL {
	b.t.Helper()
	return b.through(authURL, func(page []byte, at *url.URL) (*http.Response, error) {
		return nil, fmt.Errorf("%s asks for something:\n%s", at, page)
	})
}
