// Package mask puts stars in the place of secrets in texts that people see.
package mask

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// Shown stands where a secret was.
	Shown = "****"
	// minMasked is how many characters a secret, or a line of one, has at least: what is shorter stands in every text by chance.
	minMasked = 4
)

// Mask knows secrets in the forms in which programs print them, and puts Shown in their place. It does not change once it is made.
type Mask struct {
	first    [1 << 16 / 64]uint64         // a bit for each pair of bytes that a pattern begins with
	shorts   map[string]bool              // the beginnings of patterns that are shorter than a key
	patterns map[[minMasked]byte][]string // by their beginning, the longest first
}

// New makes a mask of secrets. Those that are too short are left out.
func New(secrets ...string) *Mask {
	m := &Mask{shorts: map[string]bool{}, patterns: map[[minMasked]byte][]string{}}
	for _, secret := range secrets {
		for _, form := range formsOf(secret) {
			m.add(form)
		}
	}
	return m
}

func (m *Mask) add(pattern string) {
	key := [minMasked]byte([]byte(pattern))
	list := m.patterns[key]
	if slices.Contains(list, pattern) {
		return
	}
	i := 0
	for i < len(list) && len(list[i]) > len(pattern) {
		i++
	}
	m.patterns[key] = slices.Insert(list, i, pattern)
	pair := uint16(key[0])<<8 | uint16(key[1])
	m.first[pair/64] |= 1 << (pair % 64)
	for n := 1; n < minMasked; n++ {
		m.shorts[pattern[:n]] = true
	}
}

// begins tells whether a pattern begins with a pair of bytes. It is asked for every byte of every log.
func (m *Mask) begins(a, b byte) bool {
	pair := uint16(a)<<8 | uint16(b)
	return m.first[pair/64]&(1<<(pair%64)) != 0
}

// at returns how long the longest pattern is that text begins with, 0 for none, and whether more text could make a longer one.
func (m *Mask) at(text []byte) (length int, open bool) {
	if len(text) < minMasked {
		return 0, m.shorts[string(text)]
	}
	for _, pattern := range m.patterns[[minMasked]byte(text)] {
		if len(pattern) <= len(text) {
			if string(text[:len(pattern)]) == pattern {
				return len(pattern), open
			}
		} else if pattern[:len(text)] == string(text) {
			open = true
		}
	}
	return 0, open
}

// Bytes masks a text that is whole.
func (m *Mask) Bytes(text []byte) []byte {
	s := Stream{Mask: m}
	return append(s.Add(nil, text), s.End()...)
}

// Text masks a text that is whole.
func (m *Mask) Text(text string) string { return string(m.Bytes([]byte(text))) }

// formsOf are a secret, and each line of it, as they stand in texts. None of them has a line end in it.
func formsOf(secret string) (forms []string) {
	if utf8.RuneCountInString(strings.TrimSpace(secret)) < minMasked {
		return nil
	}
	for _, text := range []string{secret, inTask.Replace(secret)} {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); utf8.RuneCountInString(line) >= minMasked {
				forms = append(append(forms, line), escaped(line)...)
			}
		}
		whole := strings.TrimSpace(text)
		forms = slices.Concat(forms, escaped(whole), base64Forms(text), base64Forms(whole)) // escaped, its short lines are in one with others
	}
	return slices.DeleteFunc(forms, func(f string) bool { return len(f) < minMasked || strings.Contains(f, "\n") })
}

// escaped are the ways in which a text stands in JSON, as Go and Groovy write it, in addresses, in HTML and in a shell's words.
func escaped(text string) []string {
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string can always be written
	inJSON := strings.TrimSuffix(strings.TrimSpace(plain.String())[1:], `"`)
	var ascii strings.Builder
	for _, r := range inJSON {
		switch {
		case r < utf8.RuneSelf:
			ascii.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&ascii, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&ascii, `\u%04x`, r)
		}
	}
	quoted, _ := json.Marshal(text)
	return []string{inJSON, ascii.String(), string(quoted[1 : len(quoted)-1]), url.QueryEscape(text), url.PathEscape(text), inHTML.Replace(text), inShell.Replace(text)}
}

var (
	inHTML  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")
	inShell = strings.NewReplacer("'", `'\''`)
	// inTask is what bash makes of a pipeline's secret where Nextflow gives it to a task: there it stands between double quotes in
	// which only $ is escaped (nextflow.util.Escape.variable, Nextflow 24.10).
	inTask = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `"`, "")
)

// Widths at which base64 is broken into lines: base64(1), and PEM (RFC 7468).
var base64Widths = []int{76, 64}

// base64Forms are a secret in base64, by itself, with a line end, and within something longer, such as a name and a password.
func base64Forms(secret string) (forms []string) {
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for _, text := range []string{secret, secret + "\n"} {
			whole := encoding.EncodeToString([]byte(text))
			forms = append(forms, whole)
			for _, width := range base64Widths {
				if len(whole) > width {
					forms = append(forms, chunks(whole, width)...)
				}
			}
		}
		forms = append(forms, within(encoding, secret)...)
	}
	return forms
}

// within are the characters of base64 that follow from the secret alone, where one or two bytes stand before it, and where anything
// stands behind it.
func within(encoding *base64.Encoding, secret string) (forms []string) {
	for before := range 3 {
		text := encoding.EncodeToString(append(make([]byte, before), secret...))
		from := []int{0, 2, 3}[before]
		to := (before + len(secret)) * 8 / 6
		if to-from >= 2*minMasked { // what is shorter stands in other base64 by chance
			forms = append(forms, text[from:to])
		}
	}
	return forms
}

// chunks are the lines of a text in base64, without a last one that is short.
func chunks(text string, width int) (list []string) {
	for len(text) > width {
		list, text = append(list, text[:width]), text[width:]
	}
	if len(text) >= 2*minMasked {
		list = append(list, text)
	}
	return list
}
