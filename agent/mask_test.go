package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/mask"
)

func TestTraceCallsStayJSON(t *testing.T) {
	t.Parallel()
	m := mask.New("COMPLETED", "true", "tasks", `say "hi"`, "12345")
	const call = `{"tasks": [{"status":"COMPLETED","ok":true,"n":12345, "script":"echo say \"hi\"; echo COMPLETED\n","workdir":"/w/12345"}], "other" : "\u0074rue", "open": "\\"}`
	const want = `{"tasks": [{"status":"COMPLETED","ok":true,"n":12345, "script":"echo ****; echo ****\n","workdir":"/w/12345"}], "other" : "****", "open": "\\"}`
	if got := string(maskJSON(m, []byte(call))); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

func TestTheAgentsOwnLogIsMasked(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := &maskedWriter{to: &out}
	log := slog.New(slog.NewTextHandler(w, nil))
	log.Info("begun")
	w.mask.Store(mask.New("hunter 2", `quo"te`))
	log.With("with", "hunter 2").Warn("it is hunter 2", "error", fmt.Errorf(`bad quo"te`), "n", 2)
	if text := out.String(); strings.Contains(text, "hunter 2") || strings.Contains(text, "quo") || strings.Count(text, mask.Shown) != 3 || !strings.Contains(text, "n=2") {
		t.Error(text)
	}
}

func TestAGrowingLogIsCopiedMasked(t *testing.T) {
	t.Parallel()
	from, to := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "copy")
	ended, done := make(chan struct{}), make(chan error)
	go func() { done <- copyLog(from, to, mask.New("hunter2"), ended) }()
	time.Sleep(3 * copyLook) // there is no file yet
	file, err := os.Create(from)
	must(t, err)
	copied := func(want string) func() bool {
		return func() bool {
			text, err := os.ReadFile(to)
			return err == nil && string(text) == want
		}
	}
	for _, part := range []string{"one hun", "ter2\ntwo hu", "nt"} {
		_, err := file.WriteString(part)
		must(t, err)
		time.Sleep(2 * copyLook)
	}
	until(t, "what is no secret is copied", copied("one "+mask.Shown+"\ntwo "))
	_, err = file.WriteString("s\nthr")
	must(t, err)
	close(ended)
	must(t, <-done)
	if !copied("one " + mask.Shown + "\ntwo hunts\nthr")() {
		text, _ := os.ReadFile(to)
		t.Errorf("%q", text)
	}
}
