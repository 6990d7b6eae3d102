package platform

import (
	"strings"
	"testing"
)

func TestPasswordsAreRefusedForTheirLengthAndForBeingGuessedFirst(t *testing.T) {
	t.Parallel()
	about := []string{"ada-lovelace", "a.lovelace@example.org", "rowing-club"}
	for password, want := range map[string]string{
		"":                       "at least 15",
		"fourteen chars":         "at least 15",
		"rowing on the yare":     "",
		"fifteen letters":        "",
		"ünïcödé wörds äre fine": "",
		"日本語の合言葉は十五文字以上でよい":                "",
		strings.Repeat("heron otter ", 21): "",
		strings.Repeat("heron otter ", 22): "at most 256",
		"1234567890123456":                 "sequence",
		"ILOVEYOUILOVEYOU":                 "tried first",
		"passwordpassword":                 "tried first",
		"abcabcabcabcabcabc":               "tried first",
		"aaaaaaaaaaaaaaaaa":                "tried first",
		"abcdefghijklmnopq":                "sequence",
		"qwertyuiopasdfghj":                "sequence",
		"abababaabbabaabab":                "sequence",
		"98765432109876543":                "sequence",
		"Ada-Lovelace-2026!":               "others know",
		"wherrywherry-2026":                "others know",
		"rowing-club wherry":               "others know",
		"my rowing-club is muddy tonight":  "",
	} {
		err := CheckPassword(password, about...)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", password, err, want)
		}
	}
}

// TestEveryCommonPasswordIsRefused, however long it is and in capitals too.
func TestEveryCommonPasswordIsRefused(t *testing.T) {
	t.Parallel()
	if n := len(commonPasswords()); n < 19_000 {
		t.Fatalf("the list has %d", n)
	}
	for password := range commonPasswords() {
		for _, p := range []string{password, strings.ToUpper(password)} {
			if err := CheckPassword(p); err == nil {
				t.Errorf("%q is taken", p)
			}
		}
	}
}

func TestOnePasswordIsOneHoweverAKeyboardWritesIt(t *testing.T) {
	t.Parallel()
	if a, b := NormalizePassword("Brücke über die Ouse"), NormalizePassword("Bru\u0308cke u\u0308ber die Ouse"); a != b {
		t.Errorf("%q and %q", a, b)
	}
}
