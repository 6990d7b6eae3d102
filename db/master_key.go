package db

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"wherry/platform"
)

// KeyLength is the length of the master key in bytes.
const KeyLength = 32

// KeySource is where the master key is. The zero KeySource is the file KeyName in the data folder.
type KeySource struct {
	Value platform.Secret // the key itself, in hex: WHERRY_KEY
	File  string          // another file that holds it: WHERRY_KEY_FILE
}

// ErrNoKey says that the master key is not where it should be.
var ErrNoKey = errors.New("the master key is missing")

// MasterKey seals the data keys in the database, and is itself never there.
type MasterKey struct {
	ID    string // names it, and tells nothing of it
	Where string // the file or variable that it comes from
	file  string // empty: no file
	bytes []byte
	seals *sealer
}

// Find reads the master key. Where it is neither here nor there the error is ErrNoKey; where it is in two places it is an error
// too, because nobody could say then which one counts.
func (s KeySource) Find(dir string) (MasterKey, error) {
	own := filepath.Join(dir, KeyName)
	_, err := os.Stat(own)
	switch there := err == nil; {
	case !s.Value.IsZero() && s.File != "":
		return MasterKey{}, errors.New("WHERRY_KEY and WHERRY_KEY_FILE are both set: set the one that holds the key, and not the other")
	case there && s.File != "" && !sameFile(own, s.File):
		return MasterKey{}, fmt.Errorf("there are two master keys, %s and that of WHERRY_KEY_FILE (%s): take away the one that is not in use", own, s.File)
	case there && !s.Value.IsZero():
		return MasterKey{}, fmt.Errorf("there are two master keys, %s and that of WHERRY_KEY: take away the one that is not in use", own)
	case !s.Value.IsZero():
		return parseMasterKey(s.Value.Reveal(), "WHERRY_KEY", "")
	case s.File != "":
		return readMasterKey(s.File)
	}
	return readMasterKey(own)
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

func readMasterKey(path string) (MasterKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return MasterKey{}, fmt.Errorf("%w: there is no file %s", ErrNoKey, path)
	}
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading the key file: %w", err)
	}
	return parseMasterKey(string(text), "the key file "+path, path)
}

func parseMasterKey(text, where, file string) (MasterKey, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != KeyLength {
		return MasterKey{}, fmt.Errorf("%s is damaged: it must hold %d bytes in hex; restore it from where you keep a copy", where, KeyLength)
	}
	derived, err := hkdf.Key(sha256.New, key, nil, "wherry data keys", KeyLength)
	if err != nil {
		return MasterKey{}, err
	}
	seals, err := newSealer(derived)
	return MasterKey{ID: seals.keyID, Where: where, file: file, bytes: key, seals: seals}, err
}

// firstDataKey is the key with which versions without a ring of keys sealed: it was derived from the master key.
func (m MasterKey) firstDataKey() ([]byte, error) {
	return hkdf.Key(sha256.New, m.bytes, nil, "wherry sealed values "+sealVersion, KeyLength)
}

// makeMasterKey writes a new key, unless another process is quicker: then that one's is read. It has the key on the disk before
// it gets its name, so that neither a crash nor a power cut leaves half a key.
func makeMasterKey(path string) (MasterKey, error) {
	part, err := writeKeyPart(path, newKey())
	if err != nil {
		return MasterKey{}, err
	}
	defer os.Remove(part)
	if err := os.Link(part, path); err != nil && !errors.Is(err, os.ErrExist) {
		return MasterKey{}, fmt.Errorf("writing the key file: %w", err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return MasterKey{}, err
	}
	return readMasterKey(path)
}

// replaceKeyFile puts another key into a key file: it holds the old one or the new one, whatever happens.
func replaceKeyFile(path string, key []byte) error {
	part, err := writeKeyPart(path, key)
	if err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return errors.Join(fmt.Errorf("writing the key file: %w", err), os.Remove(part))
	}
	return syncFolder(filepath.Dir(path))
}

func writeKeyPart(path string, key []byte) (part string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*") // for its owner alone
	if err != nil {
		return "", fmt.Errorf("writing the key file: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("writing the key file: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func newKey() []byte {
	key := make([]byte, KeyLength)
	rand.Read(key)
	return key
}
