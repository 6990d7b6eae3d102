package mask

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
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
		got := New(secret).Text("before " + form + " after")
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, Shown) {
			t.Errorf("%s: %q becomes %q", name, form, got)
		}
		if rest := strings.TrimSuffix(strings.TrimPrefix(got, "before "), " after"); len(rest) > len(Shown)+len(form)/2 || strings.Contains(rest, "ss") {
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
		{"one that is in another", "abcdefgh bcde", Shown + " " + Shown, []string{"abcdefgh", "bcde"}},
		{"one that lies over another", "see abcdef.", "see " + Shown + ".", []string{"abcd", "cdef"}},
		{"one beside itself", "abcdabcd", Shown + Shown, []string{"abcd"}},
		{"one that begins another", "abcdefg abcdef", Shown + "fg " + Shown + "f", []string{"abcde", "abcdefgh"}},
		{"every line of a key", "key: AAAABBBB\nCCCC\nxy\n", "key: " + Shown + "\n" + Shown + "\nxy\n", []string{key}},
		{"a whole key in JSON", `{"k":"` + strings.Trim(inJSON(t, strings.TrimSpace(key)), `"`) + `"}`, `{"k":"` + Shown + `"}`, []string{key}},
		{"three characters", "abc", "abc", []string{"abc"}},
		{"three letters that are more bytes", "äöü", "äöü", []string{"äöü"}},
		{"four", "äöüß", Shown, []string{"äöüß"}},
		{"nothing", "text", "text", []string{"", "    ", "\n\n\n\n\n"}},
	} {
		if got := New(c.secrets...).Text(c.text); got != c.want {
			t.Errorf("%s: %q becomes %q, not %q", c.name, c.text, got, c.want)
		}
	}
}

func TestAWrappedBase64TextIsMasked(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0123456789abcdefghijklmnop", 8)
	whole := base64.StdEncoding.EncodeToString([]byte(secret))
	for _, width := range base64Widths {
		if got := New(secret).Text(strings.Join(chunks(whole, width), "\n")); len(got) > 40 {
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
		m, text := New(secrets...), randomText(random, "aab b\n", random.IntN(200))
		checkParts(t, m, []byte(text), func(left int) int { return 1 + random.IntN(min(left, 20)) })
		if t.Failed() {
			t.Fatalf("seed %d, secrets %q", seed, secrets)
		}
	}
}

// checkParts masks a text in parts, and wants what masking at once gives, and no more held back than could be a secret.
func checkParts(t *testing.T, m *Mask, text []byte, size func(left int) int) {
	t.Helper()
	want, s := m.Bytes(text), Stream{Mask: m}
	var got []byte
	for rest := text; len(rest) > 0; {
		n := size(len(rest))
		got = s.Add(got, rest[:n])
		rest = rest[n:]
		if _, open := m.at(s.held); len(s.held) > 0 && !open {
			t.Errorf("%q is held back", s.held)
		}
		if len(got) > 0 && got[len(got)-1] == '\n' && len(s.held) > 0 && s.held[0] == '\n' {
			t.Errorf("a line end is held back")
		}
	}
	if got = append(got, s.End()...); string(got) != string(want) {
		t.Errorf("%q in parts becomes %q, at once %q", text, got, want)
	}
}

func TestNoSecretIsLeftInAMaskedText(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 8))
		secrets := randomSecrets(random)
		text := randomText(random, "ab\n", 100)
		got := New(secrets...).Text(text)
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
	s := Stream{Mask: New("hunter2")}
	show := func(part string, pause bool, want string) {
		t.Helper()
		got := string(s.Add(nil, []byte(part)))
		if pause {
			got += string(s.Pause()) + string(s.Pause())
		}
		if got != want {
			t.Errorf("after %q there is %q, not %q", part, got, want)
		}
	}
	show("password? hun", true, "password? hun")
	show("ter2!", false, Shown+"!")
	show(" hun", true, " hun")
	show("dred", false, "dred")
	show(" hunter", true, " ")
	show("2", true, Shown)
	show("hu", true, "hu")
	show("nt", true, "")
	show("\n", true, "nt\n")
	show("hunte", false, "")
	if got := string(s.End()); got != "hunte" {
		t.Errorf("at the end there is %q", got)
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
			s := Stream{Mask: New(secrets[:c.n]...)}
			b.SetBytes(int64(len(text)))
			var out []byte
			for range b.N {
				for rest := text; len(rest) > 0; rest = rest[min(len(rest), 64<<10):] {
					out = s.Add(out[:0], rest[:min(len(rest), 64<<10)])
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inJSON(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	must(t, err)
	return string(quoted)
}
