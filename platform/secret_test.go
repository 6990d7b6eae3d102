package platform

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

var theSecret = NewSecret("row/gently+down=the~stream")

// hides fails when text gives the secret away, as it is or as a verb of fmt would write it.
func hides(t *testing.T, what, text string) {
	t.Helper()
	raw := []byte(theSecret.Reveal())
	for _, form := range []string{string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), fmt.Sprintf("% x", raw),
		fmt.Sprintf("%#x", raw), fmt.Sprint(raw), fmt.Sprintf("%U", []rune(string(raw)))} {
		if strings.Contains(text, strings.Trim(form, "[]")) {
			t.Errorf("%s gives the secret away: %s", what, text)
		}
	}
}

// holdersOfTheSecret are values that have the secret somewhere.
func holdersOfTheSecret() map[string]any {
	secret := theSecret
	type inner struct{ Key Secret }
	type outer struct {
		Inner   inner
		Pointer *inner
		Any     any
	}
	nested := outer{inner{secret}, &inner{secret}, secret}
	return map[string]any{
		"the secret":              secret,
		"a pointer":               &secret,
		"a struct":                inner{secret},
		"a pointer to a struct":   &inner{secret},
		"nested structs":          nested,
		"nested behind a pointer": &nested,
		"a slice":                 []Secret{secret},
		"a slice of anything":     []any{secret, &secret},
		"an array":                [1]Secret{secret},
		"a map's value":           map[string]Secret{"key": secret},
		"credentials":             Credentials{Name: "rivers", SecretKey: secret},
		"many credentials":        []Credentials{{SecretKey: secret}},
	}
}

func TestASecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	for what, v := range holdersOfTheSecret() {
		for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%x", "%X", "% x", "%#x", "%q", "%+q", "%#q", "%d", "%c", "%U", "%t", "%o", "%b", "%e",
			"%60s", "%-60s", "%.5s", "%.26v", "%z", "no verb"} {
			hides(t, what+" by "+verb, fmt.Sprintf(verb, v))
		}
		hides(t, what+" by Sprint", fmt.Sprint(v))
		hides(t, what+" by Sprintln", fmt.Sprintln("x", v))
	}
}

func TestASecretThatIsPrintedShowsThatItIsOne(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%x", "%q"} {
		for _, secret := range []Secret{{}, NewSecret("a"), theSecret} { // and not how long it is
			if got := fmt.Sprintf(verb, secret); got != hidden {
				t.Errorf("%s of %d bytes prints %q, want %q", verb, len(secret.Reveal()), got, hidden)
			}
		}
	}
	if got := theSecret.String(); got != hidden {
		t.Errorf("it is %q as a string", got)
	}
}

func TestASecretDoesNotGoIntoJSON(t *testing.T) {
	t.Parallel()
	for what, v := range holdersOfTheSecret() {
		text, err := json.Marshal(v)
		if err != nil || !strings.Contains(string(text), hidden) {
			t.Errorf("%s is %s, %v; want one with dots", what, text, err)
		}
		hides(t, what+" as JSON", string(text))
	}
}

func TestASecretIsNotLogged(t *testing.T) {
	t.Parallel()
	for kind, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		for what, v := range holdersOfTheSecret() {
			var out bytes.Buffer
			log := slog.New(handler(&out))
			log.With("before", v).WithGroup("group").Info("message", "key", v, slog.Group("inner", "deep", v), "error", fmt.Errorf("of %v", v))
			if !strings.Contains(out.String(), hidden) {
				t.Errorf("%s in a %s log does not show that it is a secret: %s", what, kind, out.String())
			}
			hides(t, what+" in a "+kind+" log", out.String())
		}
	}
}

func TestASecretIsNotInAnError(t *testing.T) {
	t.Parallel()
	inner := fmt.Errorf("the key %s of %+v", theSecret, Credentials{SecretKey: theSecret})
	fields := FieldErrors{}
	fields.Add("secretKey", "%q is wrong.", theSecret)
	for what, err := range map[string]error{
		"wrapped":           fmt.Errorf("outer %#v: %w", theSecret, inner),
		"joined":            errors.Join(inner, io.EOF),
		"for people":        Errorf(CodeInvalid, "The key %v (%x) is wrong.", theSecret, theSecret),
		"at a field":        fields.OrNil(),
		"wrapped at fields": fmt.Errorf("%w", fields.OrNil()),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			hides(t, "an error "+what+" by "+verb, fmt.Sprintf(verb, err))
		}
	}
}

func TestASecretIsRevealedToWhoeverAsks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "row/gently+down=the~stream", "••••"} {
		if got := NewSecret(text).Reveal(); got != text {
			t.Errorf("%q reveals %q", text, got)
		}
	}
}

func TestSecretsAreEqualAsTheirTextsAre(t *testing.T) {
	t.Parallel()
	if !(Secret{}).IsZero() || NewSecret("") != (Secret{}) {
		t.Error("the empty secret is not the zero one")
	}
	if again := NewSecret(strings.Clone(theSecret.Reveal())); again != theSecret || again.IsZero() {
		t.Error("two secrets of the same text differ")
	}
	if NewSecret("a") == NewSecret("b") {
		t.Error("two secrets of different texts are the same")
	}
}
