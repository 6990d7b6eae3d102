package db

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"wherry/platform"
)

// sealer encrypts with AES-256-GCM under one key. A sealed value is "v1.KEY.TEXT": the key's id, and nonce and ciphertext in
// base64.
type sealer struct {
	aead  cipher.AEAD
	keyID string
}

const sealVersion = "v1"

// errSealed is for a value that another key sealed, or that was changed or moved since.
var errSealed = platform.Errorf(platform.CodeConflict, "The secret cannot be opened with the key file of this data folder. Whoever operates the portal restores the key file that belongs to the database; or enter the secret again.")

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead, keyID(key)}, nil
}

// keyID names a key without telling anything of it.
func keyID(key []byte) string {
	id := sha256.Sum256(append([]byte("wherry key id "), key...))
	return hex.EncodeToString(id[:4])
}

// seal encrypts a secret for one place, such as "credentials/ID/secret_key": copied to another place it does not open.
// Nothing is sealed as nothing.
func (s *sealer) seal(place string, secret platform.Secret) string {
	if secret.IsZero() {
		return ""
	}
	text := s.aead.Seal(nil, nil, []byte(secret.Reveal()), []byte(place))
	return strings.Join([]string{sealVersion, s.keyID, base64.RawStdEncoding.EncodeToString(text)}, ".")
}

// open is the opposite of seal.
func (s *sealer) open(place, sealed string) (platform.Secret, error) {
	id, text, err := splitSealed(place, sealed)
	if err != nil || id != s.keyID {
		return platform.Secret{}, fmt.Errorf("%s: %w", place, errSealed)
	}
	plain, err := s.aead.Open(nil, nil, text, []byte(place))
	if err != nil {
		return platform.Secret{}, fmt.Errorf("%s: %w", place, errSealed)
	}
	return platform.NewSecret(string(plain)), nil
}

// splitSealed reads the key's id, and nonce with ciphertext, out of a sealed value.
func splitSealed(place, sealed string) (keyID string, text []byte, err error) {
	parts := strings.SplitN(sealed, ".", 3)
	if len(parts) != 3 || parts[0] != sealVersion {
		return "", nil, fmt.Errorf("%s: %w", place, errSealed)
	}
	if text, err = base64.RawStdEncoding.DecodeString(parts[2]); err != nil {
		return "", nil, fmt.Errorf("%s: %w", place, errSealed)
	}
	return parts[1], text, nil
}
