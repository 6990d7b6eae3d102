package binaries

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"testing"
)

// maxSize is the most that an agent may have: it is fetched by every machine before anything else can begin.
const maxSize = 12_000_000

func TestAgentsAreSmallAndForTheirArchitecture(t *testing.T) {
	t.Parallel()
	if _, _, ok := Get("amd64"); !ok {
		t.Skip("this was built without agents; `make build` makes them, and `make test` does it first")
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		gz, digest, ok := Get(arch)
		if !ok {
			t.Errorf("there is no agent for %s", arch)
			continue
		}
		r, err := gzip.NewReader(bytes.NewReader(gz))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) >= maxSize {
			t.Errorf("the agent for %s has %d bytes, and may have %d", arch, len(text), maxSize)
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != digest {
			t.Errorf("the digest of the agent for %s is %s", arch, digest)
		}
		file, err := elf.NewFile(bytes.NewReader(text))
		if err != nil || file.Machine != machine || file.Section(".symtab") != nil {
			t.Errorf("the agent for %s is not a stripped binary for it: %v", arch, err)
		}
		t.Logf("%s: %.1f MB, %.1f MB compressed", arch, float64(len(text))/1e6, float64(len(gz))/1e6)
	}
}

func TestThereIsNoAgentForAnythingElse(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"", "386", "../binaries.go"} {
		if _, _, ok := Get(arch); ok {
			t.Errorf("there is an agent for %q", arch)
		}
	}
}
