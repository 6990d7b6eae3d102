package agent

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMask wants that no line of a secret is left in a masked text, and that a text masked in parts is the text masked at once.
func FuzzMask(f *testing.F) {
	f.Add("hunter2", "a\nlonger one\n", "it is hunter2, or hunter", []byte{3, 1, 200})
	f.Add("abcd", "cdef", "abcdef abcdcdef", []byte{1})
	f.Add("aaaa", "aaaaaaa", "aaaaaaaaaaaaaaaa", []byte{4, 3})
	f.Add("**** ****", "*******", "************", []byte{2})
	f.Fuzz(func(t *testing.T, one, other, text string, sizes []byte) {
		m := newMask(one, other)
		next := 0
		checkParts(t, m, []byte(text), func(left int) int {
			if len(sizes) == 0 {
				return left
			}
			next++
			return max(1, min(left, int(sizes[next%len(sizes)])))
		})
		got := m.text(text)
		for _, secret := range []string{one, other} {
			for line := range strings.Lines(secret) {
				line = strings.TrimSpace(line)
				// What a mask brings into a text with asterisks may be a secret of asterisks.
				if utf8.RuneCountInString(line) >= minMasked && !strings.Contains(line, "*") && strings.Contains(got, line) {
					t.Errorf("%q is left of %q: %q", line, text, got)
				}
			}
		}
		if strings.Count(got, "\n") != strings.Count(text, "\n") {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

// FuzzMaskJSON wants trace calls to stay JSON, with the same fields.
func FuzzMaskJSON(f *testing.F) {
	f.Add("hunter2", []byte(`{"a":"hunter2","hunter2":["\u0068unter2",1,true,null],"b\"":{"status":"hunter2"}}`))
	f.Add("true", []byte(` [ "\\" , true, "true\"" ] `))
	f.Add("\\\"a:", []byte(`{"\\\"":"x\\\"a:"}`))
	f.Fuzz(func(t *testing.T, secret string, text []byte) {
		if !json.Valid(text) {
			return
		}
		got := newMask(secret).json(text)
		var before, after any
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%s with %q becomes %s: %v", text, secret, got, err)
		}
		if err := json.Unmarshal(text, &before); err == nil {
			sameShape(t, before, after)
		}
	})
}

func sameShape(t *testing.T, before, after any) {
	t.Helper()
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		if len(a) != len(b) {
			t.Fatalf("%v becomes %v", before, after)
		}
		for name := range b {
			sameShape(t, b[name], a[name])
		}
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			t.Fatalf("%v becomes %v", before, after)
		}
		for i := range b {
			sameShape(t, b[i], a[i])
		}
	case string:
		if _, ok := after.(string); !ok {
			t.Fatalf("%v becomes %v", before, after)
		}
	default:
		if before != after {
			t.Fatalf("%v becomes %v", before, after)
		}
	}
}
