package platform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// StudioToken is the secret of a Studio's session, with which the portal comes to its tool (StudioTemplate.Authorization). It
// follows from the portal's key, so that it is nowhere in the database, and is the same after a restart.
func StudioToken(key []byte, sessionID string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("studio token " + sessionID))
	return hex.EncodeToString(mac.Sum(nil))
}
