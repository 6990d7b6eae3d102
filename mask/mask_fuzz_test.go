package mask

import (
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
		m := New(one, other)
		next := 0
		checkParts(t, m, []byte(text), func(left int) int {
			if len(sizes) == 0 {
				return left
			}
			next++
			return max(1, min(left, int(sizes[next%len(sizes)])))
		})
		got := m.Text(text)
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
