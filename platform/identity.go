package platform

import (
	"strings"
	"time"
)

// Identity is who a user is at an OpenID provider. Issuer and subject together stay the same person.
type Identity struct {
	Issuer  string
	Subject string
	UserID  int64
	Created time.Time
}

// UserNameFrom makes a user name of what a provider calls somebody, or of their e-mail address: as much of it as a user name may have.
func UserNameFrom(name, email string) string {
	if name == "" {
		name = email
	}
	name, _, _ = strings.Cut(name, "@")
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r == '.', r == ' ', r == '+':
			return '-'
		}
		return -1
	}, name)
	name = strings.Trim(name[:min(len(name), maxMadeUserName)], "-_")
	if name == "" {
		return "user"
	}
	return name
}

// maxMadeUserName leaves room for a number behind it.
const maxMadeUserName = 34
