// Package binaries holds the agents that go onto machines in a cloud, one for each architecture. `make build` puts them
// here; a program that was built without them has none.
package binaries

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
)

// Architectures are what agents are built for, as Go names them.
var Architectures = []string{"amd64", "arm64"}

// The folder has a file of words beside the binaries, so that there is something to embed in a fresh checkout.
//
//go:embed files
var files embed.FS

// binary is an agent: compressed, and the digest of what it is when it is not.
type binary struct {
	gz     []byte
	digest string
}

var all = sync.OnceValue(func() map[string]binary {
	found := map[string]binary{}
	for _, arch := range Architectures {
		gz, err := files.ReadFile("files/wherry-agent-linux-" + arch + ".gz")
		if err != nil {
			continue // this program was built without
		}
		digest, err := digestOf(gz)
		if err != nil {
			panic(fmt.Sprintf("the agent for %s that was built into this program is broken: %v", arch, err))
		}
		found[arch] = binary{gz, digest}
	}
	return found
})

func digestOf(gz []byte) (string, error) {
	text, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, text); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Get returns the agent for an architecture, compressed with gzip, and the SHA-256 of the uncompressed binary in
// hexadecimal. ok is false where this program was built without it.
func Get(arch string) (gz []byte, sha256hex string, ok bool) {
	b, ok := all()[arch]
	return b.gz, b.digest, ok
}
