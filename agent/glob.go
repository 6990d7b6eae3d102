package agent

import (
	"regexp"
	"strings"
)

// globPattern turns a pattern of tower.yml into an expression over slash-separated paths. It means what Java's "glob:**/"
// and the pattern mean (java.nio.file.FileSystem.getPathMatcher), as Nextflow's nf-tower plugin reads it.
func globPattern(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`^(?s:.*/)`)
	group, class := 0, false
	runes := []rune(strings.TrimPrefix(pattern, "/"))
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case class:
			if r == '!' && runes[i-1] == '[' {
				r = '^'
			} else if r == '\\' || r == '[' {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
			class = r != ']'
		case r == '\\' && i+1 < len(runes):
			i++
			b.WriteString(regexp.QuoteMeta(string(runes[i])))
		case r == '*' && i+1 < len(runes) && runes[i+1] == '*':
			i++
			b.WriteString(`(?s:.*)`)
		case r == '*':
			b.WriteString(`[^/]*`)
		case r == '?':
			b.WriteString(`[^/]`)
		case r == '[':
			class = true
			b.WriteByte('[')
		case r == '{':
			group++
			b.WriteString(`(?:`)
		case r == '}' && group > 0:
			group--
			b.WriteByte(')')
		case r == ',' && group > 0:
			b.WriteByte('|')
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.Compile(b.String() + "$")
}
