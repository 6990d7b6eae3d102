package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// asvsPage is the checklist of OWASP's Application Security Verification Standard 5.0.0, and asvsNumbers the numbers of its
// requirements of levels 1 and 2.
const asvsPage, asvsNumbers = "docs/asvs.md", "testdata/asvs-5.0-l2.txt"

// asvsStatuses are what may be said of a requirement, in the order of the summary's columns.
var asvsStatuses = []string{"met", "partly", "not met", "n/a"}

// asvsRow is one line of the checklist.
type asvsRow struct {
	numbers                 []string
	what, status, how, test string
}

// chapter is the first part of a requirement's number.
func chapter(number string) string { return strings.SplitN(number, ".", 2)[0] }

// asvsRows reads the tables of the checklist.
func asvsRows(t *testing.T) (rows []asvsRow) {
	t.Helper()
	number := regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
	for i, line := range strings.Split(read(t, asvsPage), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		numbers := strings.Split(cells[0], ", ")
		if !strings.HasPrefix(line, "|") || !number.MatchString(numbers[0]) {
			continue
		}
		if len(cells) != 5 {
			t.Fatalf("%s:%d has %d cells in place of 5", asvsPage, i+1, len(cells))
		}
		for _, n := range numbers {
			if !number.MatchString(n) {
				t.Errorf("%s:%d: %q is not the number of a requirement", asvsPage, i+1, n)
			}
		}
		rows = append(rows, asvsRow{numbers, cells[1], cells[2], cells[3], cells[4]})
	}
	return rows
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheSecurityChecklistHasEveryRequirement holds the checklist against the numbers of the standard: each once, and no others.
func TestTheSecurityChecklistHasEveryRequirement(t *testing.T) {
	t.Parallel()
	wanted := strings.Fields(read(t, asvsNumbers))
	if len(wanted) != 253 { // of the 345 requirements of ASVS 5.0.0 those of levels 1 (70) and 2 (183)
		t.Errorf("%s has %d numbers", asvsNumbers, len(wanted))
	}
	var listed []string
	for _, row := range asvsRows(t) {
		listed = append(listed, row.numbers...)
	}
	if !slices.Equal(listed, wanted) {
		for _, n := range wanted {
			if !slices.Contains(listed, n) {
				t.Errorf("%s does not have %s", asvsPage, n)
			}
		}
		for i, n := range listed {
			if !slices.Contains(wanted, n) || slices.Contains(listed[:i], n) {
				t.Errorf("%s has %s, which the standard has not, or has it twice", asvsPage, n)
			}
		}
		if !t.Failed() {
			t.Errorf("%s has its requirements in another order than the standard", asvsPage)
		}
	}
}

// TestTheSecurityChecklistNamesWhatShowsIt wants tests and files that exist, for every requirement that is said to be met.
func TestTheSecurityChecklistNamesWhatShowsIt(t *testing.T) {
	t.Parallel()
	tests := testFunctions(t)
	name, file := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*)`"), regexp.MustCompile("`([a-zA-Z0-9_.-]+(?:/[a-zA-Z0-9_.-]+)*)`")
	for _, row := range asvsRows(t) {
		if !slices.Contains(asvsStatuses, row.status) {
			t.Errorf("%s: the status is %q, and not one of %q", row.numbers, row.status, asvsStatuses)
		}
		if row.what == "" || row.how == "" {
			t.Errorf("%s: a cell is empty", row.numbers)
		}
		found := 0
		for _, m := range name.FindAllStringSubmatch(row.test, -1) {
			if found++; !tests[m[1]] {
				t.Errorf("%s: there is no test %s", row.numbers, m[1])
			}
		}
		_, review, _ := strings.Cut(row.test, "review:")
		for _, m := range file.FindAllStringSubmatch(review, -1) {
			if name.MatchString(m[0]) {
				continue
			}
			found++
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", row.numbers, err)
			}
		}
		if found == 0 && (row.status == "met" || row.status == "partly") {
			t.Errorf("%s is said to be %s, and nothing that shows it is named", row.numbers, row.status)
		}
	}
}

// testFunctions are the names of all tests.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && slices.Contains([]string{".tools", ".git", "bin", "data"}, path) {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range function.FindAllStringSubmatch(read(t, path), -1) {
			names[m[1]] = true
		}
		return nil
	})
	if err != nil || len(names) < 500 {
		t.Fatalf("%d tests, %v", len(names), err)
	}
	return names
}

// TestTheSummaryOfTheSecurityChecklistIsRight counts the checklist, chapter by chapter, and compares with docs/security.md, which also
// has to say of everything that is not met, or not wholly, why.
func TestTheSummaryOfTheSecurityChecklistIsRight(t *testing.T) {
	t.Parallel()
	counts, short := map[string]map[string]int{}, []string(nil)
	for _, row := range asvsRows(t) {
		for _, n := range row.numbers {
			for _, of := range []string{chapter(n), "all"} {
				if counts[of] == nil {
					counts[of] = map[string]int{}
				}
				counts[of][row.status]++
			}
			if row.status == "partly" || row.status == "not met" {
				short = append(short, n)
			}
		}
	}
	summary := read(t, "docs/security.md")
	for of, by := range counts {
		line := "| " + of + " "
		if of != "all" {
			line = "| V" + of + " "
		}
		var numbers []string
		for _, status := range asvsStatuses {
			numbers = append(numbers, fmt.Sprint(by[status]))
		}
		wanted := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(line) + `.*\| ` + strings.Join(numbers, ` \| `) + ` \|$`)
		if !wanted.MatchString(summary) {
			t.Errorf("docs/security.md has not a line %q … %s", line, strings.Join(numbers, " | "))
		}
	}
	said := map[string]bool{}
	for _, m := range regexp.MustCompile(`\*\*([0-9]+\.[0-9]+\.[0-9]+)\*\*`).FindAllStringSubmatch(summary, -1) {
		said[m[1]] = true
	}
	if listed := slices.Sorted(maps.Keys(said)); !slices.Equal(listed, slices.Sorted(slices.Values(short))) {
		t.Errorf("docs/security.md tells why these are not met: %v; they are %v", listed, slices.Sorted(slices.Values(short)))
	}
}
