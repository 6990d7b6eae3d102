package agent

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSecretsAreMaskedInEveryFormInWhichProgramsPrintThem(t *testing.T) {
	t.Parallel()
	const secret = `p"ä/ss&wörd 1'`
	quoted, err := json.Marshal(secret)
	must(t, err)
	for name, form := range map[string]string{
		"as it is":               secret,
		"JSON":                   string(quoted),
		"ASCII JSON":             `"p\"\u00e4/ss&w\u00f6rd 1'"`,
		"an address":             url.QueryEscape(secret),
		"a path":                 url.PathEscape(secret),
		"HTML":                   `p&quot;ä/ss&amp;wörd 1&#39;`,
		"a shell's trace":        `'p"ä/ss&wörd 1'\'''`,
		"base64":                 base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 of a line":       base64.StdEncoding.EncodeToString([]byte(secret + "\n")),
		"base64 for addresses":   base64.URLEncoding.EncodeToString([]byte(secret)),
		"the base64 of a header": base64.StdEncoding.EncodeToString([]byte("me:" + secret + ".")),
	} {
		got := newMask(secret).text("before " + form + " after")
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, masked) {
			t.Errorf("%s: %q becomes %q", name, form, got)
		}
		if rest := strings.TrimSuffix(strings.TrimPrefix(got, "before "), " after"); len(rest) > len(masked)+len(form)/2 || strings.Contains(rest, "ss") {
			t.Errorf("%s: %q becomes %q", name, form, got)
		}
	}
}

func TestWhatIsMasked(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN KEY-----\r\nAAAABBBB\nxy\n  CCCC\n-----END KEY-----\n"
	for _, c := range []struct {
		name, text, want string
		secrets          []string
	}{
		{"one that is in another", "abcdefgh bcde", masked + " " + masked, []string{"abcdefgh", "bcde"}},
		{"one that lies over another", "see abcdef.", "see " + masked + ".", []string{"abcd", "cdef"}},
		{"one beside itself", "abcdabcd", masked + masked, []string{"abcd"}},
		{"one that begins another", "abcdefg abcdef", masked + "fg " + masked + "f", []string{"abcde", "abcdefgh"}},
		{"every line of a key", "key: AAAABBBB\nCCCC\nxy\n", "key: " + masked + "\n" + masked + "\nxy\n", []string{key}},
		{"a whole key in JSON", `{"k":"` + strings.Trim(string(mustJSON(strings.TrimSpace(key))), `"`) + `"}`, `{"k":"` + masked + `"}`, []string{key}},
		{"three characters", "abc", "abc", []string{"abc"}},
		{"three letters that are more bytes", "äöü", "äöü", []string{"äöü"}},
		{"four", "äöüß", masked, []string{"äöüß"}},
		{"nothing", "text", "text", []string{"", "    ", "\n\n\n\n\n"}},
	} {
		if got := newMask(c.secrets...).text(c.text); got != c.want {
			t.Errorf("%s: %q becomes %q, not %q", c.name, c.text, got, c.want)
		}
	}
}

func TestAWrappedBase64TextIsMasked(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0123456789abcdefghijklmnop", 8)
	whole := base64.StdEncoding.EncodeToString([]byte(secret))
	for _, width := range base64Widths {
		if got := newMask(secret).text(strings.Join(chunks(whole, width), "\n")); len(got) > 40 {
			t.Errorf("lines of %d: %q", width, got)
		}
	}
}

// randomSecrets are secrets of few letters, so that they begin and repeat one another, and texts are full of them.
func randomSecrets(random *rand.Rand) (list []string) {
	for range 1 + random.IntN(5) {
		list = append(list, randomText(random, "ab\n", 4+random.IntN(12)))
	}
	return list
}

func randomText(random *rand.Rand, letters string, n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
}

func TestMaskingInPartsIsMaskingAtOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 7))
		secrets := randomSecrets(random)
		m, text := newMask(secrets...), randomText(random, "aab b\n", random.IntN(200))
		checkParts(t, m, []byte(text), func(left int) int { return 1 + random.IntN(min(left, 20)) })
		if t.Failed() {
			t.Fatalf("seed %d, secrets %q", seed, secrets)
		}
	}
}

// checkParts masks a text in parts, and wants what masking at once gives, and no more held back than could be a secret.
func checkParts(t *testing.T, m *mask, text []byte, size func(left int) int) {
	t.Helper()
	want, s := m.bytes(text), maskStream{mask: m}
	var got []byte
	for rest := text; len(rest) > 0; {
		n := size(len(rest))
		got = s.add(got, rest[:n])
		rest = rest[n:]
		if _, open := m.at(s.held); len(s.held) > 0 && !open {
			t.Errorf("%q is held back", s.held)
		}
		if len(got) > 0 && got[len(got)-1] == '\n' && len(s.held) > 0 && s.held[0] == '\n' {
			t.Errorf("a line end is held back")
		}
	}
	if got = append(got, s.end()...); string(got) != string(want) {
		t.Errorf("%q in parts becomes %q, at once %q", text, got, want)
	}
}

func TestNoSecretIsLeftInAMaskedText(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 8))
		secrets := randomSecrets(random)
		text := randomText(random, "ab\n", 100)
		got := newMask(secrets...).text(text)
		if strings.Count(got, "\n") > strings.Count(text, "\n") {
			t.Fatalf("seed %d: %q becomes %q", seed, text, got)
		}
		for _, secret := range secrets {
			for line := range strings.Lines(secret) {
				if line = strings.TrimSpace(line); len(line) >= minMasked && strings.Contains(got, line) {
					t.Fatalf("seed %d: %q is left in %q", seed, line, got)
				}
			}
		}
	}
}

func TestAPauseShowsAFewCharactersAndTheRestStaysMasked(t *testing.T) {
	t.Parallel()
	s := maskStream{mask: newMask("hunter2")}
	show := func(part string, pause bool, want string) {
		t.Helper()
		got := string(s.add(nil, []byte(part)))
		if pause {
			got += string(s.pause()) + string(s.pause())
		}
		if got != want {
			t.Errorf("after %q there is %q, not %q", part, got, want)
		}
	}
	show("password? hun", true, "password? hun")
	show("ter2!", false, masked+"!")
	show(" hun", true, " hun")
	show("dred", false, "dred")
	show(" hunter", true, " ")
	show("2", true, masked)
	show("hu", true, "hu")
	show("nt", true, "")
	show("\n", true, "nt\n")
	show("hunte", false, "")
	if got := string(s.end()); got != "hunte" {
		t.Errorf("at the end there is %q", got)
	}
}

func TestTraceCallsStayJSON(t *testing.T) {
	t.Parallel()
	m := newMask("COMPLETED", "true", "tasks", `say "hi"`, "12345")
	const call = `{"tasks": [{"status":"COMPLETED","ok":true,"n":12345, "script":"echo say \"hi\"; echo COMPLETED\n","workdir":"/w/12345"}], "other" : "\u0074rue", "open": "\\"}`
	const want = `{"tasks": [{"status":"COMPLETED","ok":true,"n":12345, "script":"echo ****; echo ****\n","workdir":"/w/12345"}], "other" : "****", "open": "\\"}`
	if got := string(m.json([]byte(call))); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

func TestTheAgentsOwnLogIsMasked(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := &maskedWriter{to: &out}
	log := slog.New(slog.NewTextHandler(w, nil))
	log.Info("begun")
	w.mask.Store(newMask("hunter 2", `quo"te`))
	log.With("with", "hunter 2").Warn("it is hunter 2", "error", fmt.Errorf(`bad quo"te`), "n", 2)
	if text := out.String(); strings.Contains(text, "hunter 2") || strings.Contains(text, "quo") || strings.Count(text, masked) != 3 || !strings.Contains(text, "n=2") {
		t.Error(text)
	}
}

func TestAGrowingLogIsCopiedMasked(t *testing.T) {
	t.Parallel()
	from, to := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "copy")
	ended, done := make(chan struct{}), make(chan error)
	go func() { done <- copyLog(from, to, newMask("hunter2"), ended) }()
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
	until(t, "what is no secret is copied", copied("one "+masked+"\ntwo "))
	_, err = file.WriteString("s\nthr")
	must(t, err)
	close(ended)
	must(t, <-done)
	if !copied("one " + masked + "\ntwo hunts\nthr")() {
		text, _ := os.ReadFile(to)
		t.Errorf("%q", text)
	}
}

func BenchmarkMask(b *testing.B) {
	var secrets []string
	for i := range 50 {
		secrets = append(secrets, fmt.Sprintf("ghp_%032x", uint64(i)*0x9e3779b97f4a7c15))
	}
	line := "Nov-25 09:00:00.000 [Task monitor] DEBUG n.processor.TaskPollingMonitor - No more task to compute -- The following are still active:\n"
	text := []byte(strings.Repeat(line, 8000))
	for _, c := range []struct {
		name string
		n    int
	}{{"2 secrets", 2}, {"50 secrets", 50}} {
		b.Run(c.name, func(b *testing.B) {
			s := maskStream{mask: newMask(secrets[:c.n]...)}
			b.SetBytes(int64(len(text)))
			var out []byte
			for range b.N {
				for rest := text; len(rest) > 0; rest = rest[min(len(rest), 64<<10):] {
					out = s.add(out[:0], rest[:min(len(rest), 64<<10)])
				}
			}
		})
	}
}
