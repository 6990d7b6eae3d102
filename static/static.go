// Package static holds what browsers load beside pages: styles, scripts and pictures, embedded in the program. Names
// carry a digest of what they name, so that browsers may keep them for ever.
package static

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
	"sync"
)

//go:embed *.css *.js *.svg vendor
var files embed.FS

var digests = sync.OnceValue(func() map[string]string {
	sums := map[string]string{}
	whole := sha256.New()
	_ = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(path)
		whole.Write(text)
		sum := sha256.Sum256(text)
		sums[path] = hex.EncodeToString(sum[:6])
		return err
	})
	// Scripts and styles import one another by plain names, so whatever changes, their address changes too.
	sums["*"] = hex.EncodeToString(whole.Sum(nil)[:6])
	return sums
})

// URL is the address of a file. It panics for one that is not there, which a test of any page finds.
func URL(name string) string {
	sums := digests()
	if _, ok := sums[name]; !ok {
		panic("there is no static file " + name)
	}
	return "/static/" + sums["*"] + "/" + name
}

// Handler serves the files, at paths without /static/.
func Handler() http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if _, ok := digests()[name]; !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		if digest == digests()["*"] {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		r.URL.Path = "/" + name
		server.ServeHTTP(w, r)
	})
}
