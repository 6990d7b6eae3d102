package platform

import (
	"fmt"
	"log/slog"
	"unique"
)

// Secret is text that must not be shown: it prints, marshals and logs as dots. Reveal gives what it holds. Equal secrets
// are ==, and the zero Secret is the empty one.
//
// The text stands behind a handle. fmt does not ask a value how it wants to be printed when it complains about a verb that
// does not fit, such as %d of a pointer to what holds the secret: then it prints an address.
type Secret struct{ text unique.Handle[string] }

const hidden = "••••"

// NewSecret makes a secret of text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return s == Secret{} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.text.Value()
}

// String hides the secret.
func (s Secret) String() string { return hidden }

// Format hides the secret from every verb of fmt, %x and %#v too.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText hides the secret from JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
