package platform

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// deceptive are characters that turn the direction of what is around them, so that a text looks like another (Unicode TR #36).
var deceptive = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x202a, Hi: 0x202e, Stride: 1}, {Lo: 0x2066, Hi: 0x2069, Stride: 1}}}

// plain tells whether a text is what it looks like: UTF-8 without control characters, but those in also, and without what turns
// its direction. Variables of a program cannot have a NUL, nor tags of an instance a control character.
func plain(text, also string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.Is(deceptive, r) || (unicode.IsControl(r) && !strings.ContainsRune(also, r))
	})
}

// notUTF8 is said of what no browser sends.
const notUTF8 = "This is not UTF-8 text."

const notPlain = "Leave out what cannot be seen: control characters, and those that turn the direction of text."
