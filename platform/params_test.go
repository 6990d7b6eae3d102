package platform

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParametersAreYAMLOrJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "{}",
		" \n ":                             "{}",
		"# nothing yet":                    "{}",
		"null":                             "{}",
		"reads: '/x/*.fq'\nn: 3\nok: true": `{"n":3,"ok":true,"reads":"/x/*.fq"}`,
		"reads: /x/*.fq":                   `{"reads":"/x/*.fq"}`,
		`{"a": {"b": [1, 2.5, null]}}`:     `{"a":{"b":[1,2.5,null]}}`,
		"{\n\t\"a\": 1\n}":                 `{"a":1}`,
		"a: {b: [1, 2.5, null]}":           `{"a":{"b":[1,2.5,null]}}`,
		"---\na: 1\n...\n":                 `{"a":1}`,
		"%YAML 1.2\n---\na: 1":             `{"a":1}`,
		"a: |\n  one\n  two\n":             `{"a":"one\ntwo\n"}`,
		"2: x\na: {true: y}":               `{"2":"x","a":{"true":"y"}}`, // names are text
		"day: 2026-11-24\nat: 12:30:45":    `{"at":"12:30:45","day":"2026-11-24"}`,
		"<<: {a: 1}\nb: 2":                 `{"a":1,"b":2}`,
	} {
		checkParams(t, text, want)
	}
}

func TestNumbersStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a: 12345678901234":              `{"a":12345678901234}`,
		"a: 18446744073709551615":        `{"a":18446744073709551615}`,
		"a: -9223372036854775808":        `{"a":-9223372036854775808}`,
		`{"a": 9007199254740993}`:        `{"a":9007199254740993}`, // no float64
		`{"a": 12345678901234567890123}`: `{"a":12345678901234567890123}`,
		"a: 1.0":                         `{"a":1.0}`,
		`{"a": 1.0}`:                     `{"a":1.0}`,
		"a: 0.05":                        `{"a":0.05}`,
		"a: -2.50":                       `{"a":-2.5}`,
		"a: 1.5e300":                     `{"a":1.5e+300}`,
		"a: '1'":                         `{"a":"1"}`,
		"a: !!str 1":                     `{"a":"1"}`,
	} {
		checkParams(t, text, want)
	}
}

func checkParams(t *testing.T, text, want string) {
	t.Helper()
	got, err := ParamsJSON(text)
	if err != nil {
		t.Errorf("%q: %v", text, err)
		return
	}
	var params map[string]json.RawMessage // keeps every digit
	if err := json.Unmarshal(got, &params); err != nil {
		t.Errorf("%q: %s: %v", text, got, err)
	}
	if compact := strings.Join(strings.Fields(string(got)), ""); compact != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%q: %s, want %s", text, compact, want)
	}
}

func TestParametersThatWouldMeanSomethingElseAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a: 1\nb: [2\n":                      "[2:4]", // line and column
		"a: b: c":                            "[1:4]",
		"a: 'x":                              "[1:4]",
		"a: 1\n\tb: 2":                       "[2:1]",
		`{"a": 1`:                            "neither YAML nor JSON",
		`{"a": 1} {"b": 2}`:                  "neither YAML nor JSON",
		"a: 1\na: 2":                         "already defined",
		"a: .nan":                            "cannot be given",
		"a: [1, {b: -.inf}]":                 "cannot be given",
		"a: 1\n---\nb: 2":                    "Line 2",
		"---\n---\na: 1":                     "second document",
		"a: 1\nreads: *.fastq":               "Line 2",
		"a: &x 1\nb: *x":                     "alias",
		"a: 1\nskip: no":                     "true or false instead of no",
		"a: [Yes]":                           "true or false instead of Yes",
		"a:\n  - 1\n  - off":                 "Line 3",
		"- a\n- b":                           "a mapping",
		"text":                               "a mapping",
		"? [a, b]\n: c":                      "invalid key",
		strings.Repeat("#", MaxLaunchText+1): "at most 100 KiB",
	} {
		_, err := ParseParams(text)
		if ErrorCode(err) != CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want an error with %q", text, err, want)
		}
	}
	for _, text := range []string{"a: 'no'", "a: \"yes\"", "a: !!str on", "off: 1", "a: no way", "a: |\n  no\n", "a: n", "# no"} {
		if _, err := ParseParams(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestYAMLThatGrowsIsRefusedQuickly gives texts of at most 100 KiB that a parser may need gigabytes or minutes for.
func TestYAMLThatGrowsIsRefusedQuickly(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for i := 'b'; i <= 'k'; i++ {
		bomb += string(i) + ": &" + string(i) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(i-1)+", ", 9), ", ") + "]\n"
	}
	var stairs strings.Builder
	for i := 0; stairs.Len() < MaxLaunchText-1000; i++ {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, text := range map[string]string{
		"aliases":         bomb,
		"lists":           "a:\n  " + strings.Repeat("- ", MaxLaunchText/2-10),
		"complex keys":    strings.Repeat("? ", MaxLaunchText/2),
		"open brackets":   "a: " + strings.Repeat("[", MaxLaunchText-3),
		"brackets":        "a: " + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000),
		"braces":          strings.Repeat("{a: ", MaxLaunchText/4),
		"JSON":            strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_000),
		"indented blocks": stairs.String(),
		"tags":            "a: " + strings.Repeat("!!str ", MaxLaunchText/6-1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan error, 1)
			go func() {
				_, err := ParamsJSON(text)
				done <- err
			}()
			select {
			case err := <-done:
				if ErrorCode(err) != CodeInvalid {
					t.Errorf("it is taken: %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it is still being read")
			}
		})
	}
}

func TestParametersMayStandInEachOther(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", MaxParamsDepth-1) + strings.Repeat("]", MaxParamsDepth-1)
	for _, text := range []string{"a: " + deep, `{"a": ` + deep + `}`} {
		if _, err := ParamsJSON(text); err != nil {
			t.Errorf("%d deep: %v", MaxParamsDepth, err)
		}
	}
}

// FuzzParameters looks for a text that makes the parser panic, or that is taken and cannot be written as JSON.
func FuzzParameters(f *testing.F) {
	for _, text := range []string{"a: 1", "{a: [1, 2]}", "- x", "a: |\n x", "? a\n: b", "a: !!int x", "%YAML 1.2\n---\na: 'b'\n...", "\xff: \"\\x41\"", "<<: {a: 1}", "a: .inf"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		params, err := ParseParams(text)
		if err != nil {
			if ErrorCode(err) != CodeInvalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if _, err := json.Marshal(params); err != nil {
			t.Errorf("%q cannot be written: %v", text, err)
		}
	})
}
