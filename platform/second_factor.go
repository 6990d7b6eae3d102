package platform

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"
)

// SecondFactor is what a user proves beside their password: time-based one-time passwords (RFC 6238).
type SecondFactor struct {
	UserID    int64
	Secret    Secret    // in base32, as apps take it
	Confirmed time.Time // zero: it was shown, and the user has not yet entered a code
	Codes     int       // recovery codes that are left
}

// RecoveryCodeCount is how many recovery codes a user gets.
const RecoveryCodeCount = 10

// NewRecoveryCodes returns codes that count once each in place of a second factor: 80 bits, in groups to be read and typed.
func NewRecoveryCodes() []string {
	list := make([]string, RecoveryCodeCount)
	for i := range list {
		b := make([]byte, 10)
		rand.Read(b) // never fails (crypto/rand, Go 1.24)
		text := strings.ToLower(base32.StdEncoding.EncodeToString(b))
		list[i] = text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
	}
	return list
}

// HashRecoveryCode is what is kept of a recovery code, however it was typed.
func HashRecoveryCode(code string) string {
	return HashToken(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(code)))
}
