package platform

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// idAlphabet is in ASCII order, so that ids sort by the time they were made.
const idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// IDLength is the length of every string id in characters.
const IDLength = 14

// NewID returns a short, URL-safe id: seven characters of time in milliseconds and seven of chance. Ids of one process sort
// in the order in which they were made, and so do those of others made in different milliseconds.
func NewID() string { return ids.newAt(time.Now()) }

// idMaker remembers its newest id: another in the same millisecond is the next one after it.
type idMaker struct {
	mu     sync.Mutex
	ms     int64
	newest [IDLength]byte
}

var ids idMaker

func (m *idMaker) newAt(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ms := now.UnixMilli(); ms != m.ms || !m.next() {
		m.ms, m.newest = ms, randomID(ms)
	}
	return string(m.newest[:])
}

// next counts in the first characters of chance and takes new ones after them, so that ids differ without their case, too; false
// when there is none after the newest.
func (m *idMaker) next() bool {
	for i := idTime + idCount - 1; i >= idTime; i-- {
		if at := strings.IndexByte(idAlphabet, m.newest[i]) + 1; at < len(idAlphabet) {
			m.newest[i] = idAlphabet[at]
			chance(m.newest[idTime+idCount:])
			return true
		}
		m.newest[i] = idAlphabet[0]
	}
	return false
}

// An id has idTime characters of time and then chance, with the first idCount of which ids of one millisecond are counted.
const idTime, idCount = 7, 3

func randomID(ms int64) (id [IDLength]byte) {
	for i := idTime - 1; i >= 0; i-- {
		id[i] = idAlphabet[ms%62]
		ms /= 62
	}
	chance(id[idTime:])
	id[idTime] = idAlphabet[strings.IndexByte(idAlphabet, id[idTime])/2] // leaves room to count
	return id
}

func chance(to []byte) {
	random := rand.Text() // 26 characters of base32: 130 bits, of which at most 35 and more are used
	for i := range to {
		// Two base32 characters make one base62 character nearly evenly; ids need chance, not secrecy.
		pair := int(random[2*i])*32 + int(random[2*i+1])
		to[i] = idAlphabet[pair%62]
	}
}

// ValidID tells whether s has the form of an id, so that a path parameter can be refused before it reaches the database.
func ValidID(s string) bool {
	if len(s) != IDLength {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// NewToken returns a secret of 256 bits in URL-safe base64, for claims, keys, sessions and sign-in links.
func NewToken() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b)
}

// HashToken returns what the database keeps of a token made by NewToken: its SHA-256 in hex. Tokens are random, so a fast
// hash without salt gives nothing away.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
