package platform

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// MaxParamsDepth is how deep lists and mappings of parameters may stand in each other.
const MaxParamsDepth = 50

// ParseParams reads a run's parameters, a mapping in YAML or JSON (which is YAML too). Empty text is no parameters. Its
// errors are sentences for people, with line and column. What it returns is sure to be written as JSON; decimal numbers
// are json.Number, so that 1.0 stays 1.0 and no digit is lost.
func ParseParams(text string) (map[string]any, error) {
	if len(text) > MaxLaunchText {
		return nil, Errorf(CodeInvalid, "This is %d KiB; at most %d KiB are taken.", len(text)>>10, MaxLaunchText>>10)
	}
	value, err := readParams(text)
	if err != nil {
		return nil, err
	}
	if value, err = cleanParam(value, 0); err != nil {
		return nil, err
	}
	switch params := value.(type) {
	case nil: // nothing, or only comments
		return nil, nil
	case map[string]any:
		return params, nil
	}
	return nil, Errorf(CodeInvalid, "Parameters are a mapping of names to values, such as “reads: /data/*.fastq”.")
}

func readParams(text string) (value any, err error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil, nil
	}
	if strings.HasPrefix(trimmed, "{") && json.Valid([]byte(text)) {
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		err := decoder.Decode(&value)
		return value, err
	}
	if err := checkYAML(lexer.Tokenize(text)); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return nil, Errorf(CodeInvalid, "This is neither YAML nor JSON: %s", firstLine(yaml.FormatError(err, false, false)))
	}
	return value, nil
}

// otherBools are words that Nextflow's own YAML (1.1) takes for true or false, and YAML 1.2 for text. A “no” that means
// yes, because a text that is not empty counts as true, is worse than a question.
var otherBools = []string{"yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"}

// checkYAML refuses, before it is parsed, what would take the parser gigabytes to read (a few hundred bytes of aliases
// within aliases; 100 KiB of lists within lists), and what would silently mean something else than was meant.
func checkYAML(tokens token.Tokens) error {
	brackets, entries, line, directive, begun := 0, 0, 0, 0, false
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType:
			entries++ // several on one line stand in each other
		case token.AliasType:
			return Errorf(CodeInvalid, "Line %d: a value that begins with * is an alias in YAML, and aliases are not taken here. Put the value in quotes, or write it out where it is used.", line)
		case token.DocumentHeaderType:
			if begun {
				return Errorf(CodeInvalid, "Line %d: a second document begins here. Write all parameters in one.", line)
			}
		case token.DirectiveType:
			directive = line
		}
		begun = begun || t.Type != token.CommentType && line != directive
		if brackets > MaxParamsDepth || entries > MaxParamsDepth {
			return tooDeep()
		}
		if isOtherBool(t) {
			return Errorf(CodeInvalid, "Line %d: write true or false instead of %s, or put it in quotes if it is meant as text.", line, t.Value)
		}
	}
	return nil
}

func isOtherBool(t *token.Token) bool {
	isKey := t.Next != nil && t.Next.Type == token.MappingValueType
	isTagged := t.Prev != nil && t.Prev.Type == token.TagType
	return t.Type == token.StringType && !isKey && !isTagged && slices.Contains(otherBools, t.Value)
}

func tooDeep() error {
	return Errorf(CodeInvalid, "Lists and mappings stand in each other more than %d deep.", MaxParamsDepth)
}

// cleanParam refuses what JSON cannot say, and keeps a decimal number one that would be written as a whole number.
func cleanParam(value any, depth int) (_ any, err error) {
	if depth > MaxParamsDepth {
		return nil, tooDeep()
	}
	switch v := value.(type) {
	case map[string]any:
		for name := range v {
			if v[name], err = cleanParam(v[name], depth+1); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = cleanParam(v[i], depth+1); err != nil {
				return nil, err
			}
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, Errorf(CodeInvalid, "Numbers that are infinite or not a number (.inf, .nan) cannot be given to Nextflow.")
		}
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return json.Number(strconv.FormatFloat(v, 'f', 1, 64)), nil
		}
	}
	return value, nil
}

// ParamsJSON returns the parameters as the JSON file that Nextflow's -params-file takes.
func ParamsJSON(text string) ([]byte, error) {
	params, err := ParseParams(text)
	if err != nil {
		return nil, err
	}
	if params == nil {
		params = map[string]any{}
	}
	out, err := json.MarshalIndent(params, "", "  ")
	if err != nil {
		return nil, Errorf(CodeInvalid, "These parameters cannot be written as JSON: %v", err)
	}
	return out, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
