package platform

import (
	"strings"
	"time"
	"unicode/utf8"
)

// AccessToken lets a program use the API as its user.
type AccessToken struct {
	ID          int64
	UserID      int64
	Name        string // unique among the user's
	Created     time.Time
	LastUsed    time.Time // to within a minute; zero: never
	LastAddress string
	Expires     time.Time // zero: never
}

// MaxAccessTokenName is how long a token's name may be, in characters, as the API has it.
const MaxAccessTokenName = 50

// AccessTokenPrefix begins every access token, so that scanners find one that was left in a file.
const AccessTokenPrefix = "wherry_"

// NewAccessToken returns the secret of a new access token.
func NewAccessToken() Secret { return NewSecret(AccessTokenPrefix + NewToken()) }

// AccessTokenDays are the lifetimes that a user can choose from, in days; 0 is for ever.
var AccessTokenDays = []int{30, 90, 365, 0}

// Clean trims what was entered and checks it.
func (t *AccessToken) Clean() error {
	t.Name = strings.TrimSpace(t.Name)
	if n := utf8.RuneCountInString(t.Name); n == 0 || n > MaxAccessTokenName {
		return FieldErrors{"name": "Give the token a name of 1 to 50 characters, such as where it is used."}
	}
	return nil
}
