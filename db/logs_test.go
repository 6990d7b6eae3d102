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

// TestALongLogIsReadAtItsEnd reads windows and searches in 100,000 lines.
func TestALongLogIsReadAtItsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	const lines = 100_000
	var text bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&text, "line %d of the log\n", i)
	}
	for at := 0; at < text.Len(); {
		next, err := f.AppendLog(t.Context(), m, platform.LogOutput, int64(at), text.Bytes()[at:min(at+100_000, text.Len())])
		must(t, err)
		at = int(next)
	}
	for _, first := range []int64{0, 1, 49_999, lines - 100, lines - 1, lines, lines + 5, -1, -100, -lines, -lines - 1} {
		from := first
		if first < 0 {
			from = max(0, lines+first)
		}
		from = min(from, lines)
		w, err := f.LogLines(t.Context(), m.RunID, platform.LogOutput, first, 100)
		if err != nil || w.Total != lines || w.First != from || len(w.Lines) != int(min(100, lines-from)) || w.Partial {
			t.Errorf("from %d: %d lines from %d of %d, %v", first, len(w.Lines), w.First, w.Total, err)
			continue
		}
		for i, line := range w.Lines {
			if want := fmt.Sprintf("line %d of the log", from+int64(i)); line != want {
				t.Fatalf("from %d: %q, want %q", first, line, want)
			}
		}
	}
	found, more, err := f.SearchLog(t.Context(), m.RunID, platform.LogOutput, "LINE 9999 ", 10)
	if err != nil || more || !slices.Equal(found, []int64{9999}) {
		t.Errorf("found %v, %v, %v", found, more, err)
	}
	found, more, err = f.SearchLog(t.Context(), m.RunID, platform.LogOutput, "of the log", 10)
	if err != nil || !more || len(found) != 10 {
		t.Errorf("of too many, found %v, %v, %v", found, more, err)
	}
	found, more, err = f.SearchLog(t.Context(), m.RunID, platform.LogOutput, "9 of the log", lines/10)
	if err != nil || more || len(found) != lines/10 {
		t.Errorf("exactly as many as the limit: %d, %v, %v", len(found), more, err)
	}
}

// TestALineLongerThanAnyWindow has a line so long that no window holds it: what comes after must still be reached.
func TestALineLongerThanAnyWindow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	text := "before\n" + strings.Repeat("x", maxWindow+platform.MaxLogChunk) + "end\nafter\nunfinished"
	var next int64
	for int(next) < len(text) {
		var err error
		next, err = f.AppendLog(t.Context(), m, platform.LogOutput, next, []byte(text[next:min(int(next)+platform.MaxLogChunk, len(text))]))
		must(t, err)
	}
	var got []string
	var partial bool
	for first := int64(0); first < 4; {
		w, err := f.LogLines(t.Context(), m.RunID, platform.LogOutput, first, 100)
		if err != nil || len(w.Lines) == 0 || w.Total != 4 || w.First != first {
			t.Fatalf("from %d: %d lines of %d, %v", first, len(w.Lines), w.Total, err)
		}
		got, first, partial = append(got, w.Lines...), first+int64(len(w.Lines)), w.Partial
	}
	if got[0] != "before" || got[2] != "after" || got[3] != "unfinished" || !partial {
		t.Errorf("%.20q, partial %v", got, partial)
	}
	if long := got[1]; !strings.HasPrefix(long, strings.Repeat("x", platform.MaxLogLine)+" …") || len(long) > platform.MaxLogLine+200 {
		t.Errorf("the long line is shown with %d bytes and ends with %q", len(long), long[len(long)-60:])
	}
	found, _, err := f.SearchLog(t.Context(), m.RunID, platform.LogOutput, "after", 10)
	if err != nil || !slices.Equal(found, []int64{2}) {
		t.Errorf("after the long line, found %v, %v", found, err)
	}
}

// TestALineIsCutBetweenCharacters also for a line that has none.
func TestALineIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		line string
		kept int
	}{
		"a character in two bytes at the cut":   {strings.Repeat("x", platform.MaxLogLine-1) + "é and more", platform.MaxLogLine - 1},
		"a character in four bytes at the cut":  {strings.Repeat("x", platform.MaxLogLine-3) + "🛶 and more", platform.MaxLogLine - 3},
		"a character that ends just at the cut": {strings.Repeat("x", platform.MaxLogLine-2) + "é and more", platform.MaxLogLine},
	} {
		got, _, cut := strings.Cut(showLine([]byte(c.line)), " … ")
		if !cut || got != c.line[:c.kept] {
			t.Errorf("%s: %d bytes are kept, want %d", what, len(got), c.kept)
		}
	}
	if got := showLine([]byte(strings.Repeat("\x80", platform.MaxLogLine*2))); len(got) > 2*platform.MaxLogLine || !strings.Contains(got, "\uFFFD") {
		t.Errorf("of bytes that are no characters, %d bytes are shown", len(got))
	}
	exact := strings.Repeat("x", platform.MaxLogLine)
	if showLine([]byte(exact)) != exact || showLine([]byte(exact[1:]+"\r")) != exact[1:] {
		t.Error("a line that just fits is cut")
	}
}

// growing appends to a log while it is copied.
type growing struct {
	bytes.Buffer
	grow func()
}

func (g *growing) Write(p []byte) (int, error) {
	g.grow()
	return g.Buffer.Write(p)
}

func TestALogThatGrowsWhileItIsCopiedIsCopiedAsItWas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	var text []byte
	add := func(size int) {
		chunk := fmt.Appendf(nil, "%d %s\n", len(text), strings.Repeat("y", size))
		_, err := f.AppendLog(t.Context(), m, platform.LogOutput, int64(len(text)), chunk)
		must(t, err)
		text = append(text, chunk...)
	}
	for range 3 {
		add(20_000)
	}
	add(10) // a chunk that will grow
	want := string(text)
	copied := &growing{grow: func() {
		for range 3 {
			add(100)
		}
	}}
	must(t, f.CopyLog(t.Context(), copied, m.RunID, platform.LogOutput))
	if copied.String() != want {
		t.Errorf("%d bytes, want the %d that were there", copied.Len(), len(want))
	}
	must(t, f.CopyLog(t.Context(), copied, "nobody", platform.LogOutput))
}
