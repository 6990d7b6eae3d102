package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dangerous are what the program does without, and the few files that have a reason to use it.
var dangerous = map[string]struct {
	pattern *regexp.Regexp
	allowed []string
}{
	"memory without bounds":      {regexp.MustCompile(`"unsafe"|import "C"|go:linkname`), nil},
	"a broken cipher or hash":    {regexp.MustCompile(`"crypto/(md5|des|rc4|dsa|sha1)"|NewCFB|NewOFB|NewCBC|EncryptPKCS1v15`), nil},
	"certificates unchecked":     {regexp.MustCompile(`InsecureSkipVerify`), nil},
	"an old version of TLS":      {regexp.MustCompile(`tls\.VersionTLS1[01]|tls\.VersionSSL30`), nil},
	"debugging over HTTP":        {regexp.MustCompile(`net/http/pprof|"expvar"`), nil},
	"objects of any type":        {regexp.MustCompile(`"encoding/gob"`), nil},
	"HTML beside templ":          {regexp.MustCompile(`"html/template"|templ\.Raw\(|ComponentScript`), nil},
	"templates of text":          {regexp.MustCompile(`"text/template"`), []string{"cloud/aws/boot.go", "cloud/aws/image/image.go"}},
	"a reader of XML":            {regexp.MustCompile(`"encoding/xml"`), []string{"cloud/aws/sandbox/"}},
	"chance that can be guessed": {regexp.MustCompile(`"math/rand(/v2)?"`), []string{"jobs/jobs.go", "db/insist.go", "agent/portal.go", "platform/run_name.go"}}, // waits, and names of runs
}

// TestNothingDangerousIsUsed finds what a review would object to, in the program's own code.
func TestNothingDangerousIsUsed(t *testing.T) {
	t.Parallel()
	for _, file := range goFiles(t) {
		text := read(t, file)
		for what, d := range dangerous {
			found := d.pattern.FindString(text)
			if found != "" && !slices.ContainsFunc(d.allowed, func(path string) bool { return strings.HasPrefix(file, path) }) {
				t.Errorf("%s has %s: %s", file, what, found)
			}
		}
	}
}

// TestScriptsOfPagesWriteTextAlone holds the scripts of pages to what cannot make code of a text, and keeps data out of browsers: the one
// thing that is stored there is whether pages are dark.
func TestScriptsOfPagesWriteTextAlone(t *testing.T) {
	t.Parallel()
	makesCode := regexp.MustCompile(`\b(innerHTML|outerHTML|insertAdjacentHTML|eval|Function|document\.write|setHTMLUnsafe|createContextualFragment)\b`)
	stores := regexp.MustCompile(`\b(localStorage|sessionStorage|indexedDB|document\.cookie|caches|postMessage|serviceWorker)\b`)
	files, err := filepath.Glob("static/*.js")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := makesCode.Find(text); found != nil {
			t.Errorf("%s has %s", file, found)
		}
		if found := stores.Find(text); found != nil && file != "static/theme.js" {
			t.Errorf("%s has %s", file, found)
		}
	}
}
