package db

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"wherry/platform"
)

// TestLogsAgreeWithAPlainText appends random chunks, with repeats and overlaps, and compares every kind of window with the
// same window on the plain text.
func TestLogsAgreeWithAPlainText(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			f := newFixture(t)
			_, m := f.addRun("a")
			var text []byte
			for range 60 {
				chunk := randomLog(random)
				back := random.IntN(min(len(text), 50) + 1)
				again := append(slices.Clone(text[len(text)-back:]), chunk...)
				next, err := f.AppendLog(t.Context(), m, platform.LogOutput, int64(len(text)-back), again)
				text = append(text, chunk...)
				if err != nil || next != int64(len(text)) {
					t.Fatalf("next is %d, %v; want %d", next, err, len(text))
				}
			}
			if next, err := f.AppendLog(t.Context(), m, platform.LogOutput, int64(len(text)+1), []byte("x")); platform.ErrorCode(err) != platform.CodeConflict || next != int64(len(text)) {
				t.Errorf("a gap: %d, %v", next, err)
			}
			var whole bytes.Buffer
			must(t, f.CopyLog(t.Context(), &whole, m.RunID, platform.LogOutput))
			if whole.String() != string(text) {
				t.Fatal("the whole log differs")
			}
			checkWindows(t, f, m.RunID, string(text), random)
		})
	}
}

// randomLog is a piece of a log: lines of all lengths, empty ones, long ones, and ends in the middle of a line.
func randomLog(random *rand.Rand) []byte {
	var b bytes.Buffer
	for range random.IntN(8) {
		b.WriteString(strings.Repeat("ab c", random.IntN(6)))
		if random.IntN(30) == 0 {
			b.WriteString(strings.Repeat("long ", 5000))
		}
		if random.IntN(4) > 0 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func checkWindows(t *testing.T, f *fixture, runID, text string, random *rand.Rand) {
	t.Helper()
	want := strings.Split(text, "\n")
	partial := want[len(want)-1] != ""
	if !partial {
		want = want[:len(want)-1]
	}
	for i := range want {
		want[i] = showLine([]byte(want[i]))
	}
	for range 40 {
		first, count := random.IntN(len(want)+2), random.IntN(20)+1
		got, err := f.LogLines(t.Context(), runID, platform.LogOutput, int64(first), count)
		must(t, err)
		from := min(first, len(want))
		to := min(from+count, len(want))
		if !slices.Equal(got.Lines, want[from:to]) || got.Total != int64(len(want)) || got.Size != int64(len(text)) {
			t.Fatalf("%d lines from %d: %q of %d, want %q of %d", count, first, got.Lines, got.Total, want[from:to], len(want))
		}
		if got.Partial != (partial && to == len(want) && to > from) {
			t.Fatalf("%d lines from %d of %d: partial is %v", count, first, len(want), got.Partial)
		}
	}
	end, err := f.LogLines(t.Context(), runID, platform.LogOutput, -7, 100)
	must(t, err)
	if !slices.Equal(end.Lines, want[max(0, len(want)-7):]) {
		t.Errorf("the last 7: %q", end.Lines)
	}
	var matches []int64
	for i, line := range strings.Split(text, "\n") {
		if strings.Contains(line, "cab") {
			matches = append(matches, int64(i))
		}
	}
	found, more, err := f.SearchLog(t.Context(), runID, platform.LogOutput, "CAB", 1000)
	if err != nil || more || !slices.Equal(found, matches) {
		t.Errorf("found %v, want %v, %v", found, matches, err)
	}
}

func TestLinesAreFitToBeShown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	text := "dos\r\nbad \xff byte\ncut \xc3"
	next, err := f.AppendLog(t.Context(), m, platform.LogNextflow, 0, []byte(text))
	must(t, err)
	_, err = f.AppendLog(t.Context(), m, platform.LogNextflow, next, []byte("\xa9 in two\n"))
	must(t, err)
	w, err := f.LogLines(t.Context(), m.RunID, platform.LogNextflow, 0, 10)
	if err != nil || !slices.Equal(w.Lines, []string{"dos", "bad \uFFFD byte", "cut é in two"}) {
		t.Errorf("%q, %v", w.Lines, err)
	}
	if w, err := f.LogLines(t.Context(), m.RunID, platform.LogOutput, -5, 10); err != nil || len(w.Lines) != 0 || w.Lines == nil {
		t.Errorf("an empty log: %+v, %v", w, err)
	}
}

func TestALogThatTricklesInIsNotARowALine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	var next int64
	var err error
	for i := range 500 {
		next, err = f.AppendLog(t.Context(), m, platform.LogOutput, next, fmt.Appendf(nil, "line %d\n", i))
		must(t, err)
	}
	var rows int
	must(t, f.read.QueryRow(`SELECT count(*) FROM log_chunks`).Scan(&rows))
	if rows > 3 {
		t.Errorf("%d rows", rows)
	}
}
