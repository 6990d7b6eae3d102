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

// NewRecoveryCodes returns codes that count once each in place of a second factor, in groups to be read and typed. They have 120 bits: from 112
// on a plain hash is enough to keep (NIST SP 800-63B-4, 3.1.2.2).
func NewRecoveryCodes() []string {
	list := make([]string, RecoveryCodeCount)
	for i := range list {
		b := make([]byte, 15)
		rand.Read(b) // never fails (crypto/rand, Go 1.24)
		text := strings.ToLower(base32.StdEncoding.EncodeToString(b))
		list[i] = strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
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
