package oidc

import (
	"encoding/json"
	"net/mail"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzClaims reads what a provider may say of a person: whatever it is, what is made of it is bounded and can be shown.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{`{"groups":["a","b"],"email":"ada@example.org","name":"Ada"}`, `{"groups":"a"}`, `{"groups":[1]}`, `{"groups":{"a":"b"}}`, `{"groups":null}`,
		`{"email":"Ada <a@b.c>"}`, `{"email":"a@b\r\nBcc: c@d"}`, `{"name":"a\u0000\u202e\ud800"}`, `{"email_verified":"true","email":"\"a b\"@c.d"}`, `[]`, `{"groups":["\u2028"]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		said := claims{}
		if json.Unmarshal(text, &said) != nil {
			return
		}
		groups, err := said.groups("groups")
		if err != nil && groups != nil || len(groups) > maxGroups {
			t.Errorf("%d groups, %v", len(groups), err)
		}
		for _, group := range groups {
			shown(t, group, maxGroup)
		}
		shown(t, said.text("name"), maxName)
		if email := said.email(); email != "" {
			shown(t, email, maxEmail)
			if parsed, err := mail.ParseAddress(email); err != nil || parsed.Address != email {
				t.Errorf("%q is not one address: %v, %v", email, parsed, err)
			}
		}
	})
}

// shown demands a text of at most limit bytes that can be printed.
func shown(t *testing.T, text string, limit int) {
	t.Helper()
	if len(text) > limit || !utf8.ValidString(text) {
		t.Errorf("%q has %d bytes", text, len(text))
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			t.Errorf("%q has %U", text, r)
		}
	}
}
