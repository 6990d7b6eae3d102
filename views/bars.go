package views

import (
	"strconv"

	"wherry/platform"
)

// bar is a part of a stacked bar that is 100 wide.
type bar struct{ Class, X, Width string }

// counts is what a stacked bar shows.
type counts struct{ succeeded, cached, failed, running, waiting int }

func progressBars(p platform.Progress) []bar {
	return counts{p.Succeeded, p.Cached + p.Stored, p.Failed + p.Aborted, p.Running, p.Pending + p.Submitted}.bars()
}

func processBars(p platform.ProcessProgress) []bar {
	return counts{p.Succeeded, p.Cached + p.Stored, p.Failed + p.Aborted, p.Running, p.Pending + p.Submitted}.bars()
}

// bars stacks the counts; a share of none is left out.
func (c counts) bars() []bar {
	total := c.succeeded + c.cached + c.failed + c.running + c.waiting
	var list []bar
	x := 0.0
	for _, part := range []struct {
		class string
		count int
	}{{"bar-good", c.succeeded}, {"bar-cached", c.cached}, {"bar-bad", c.failed}, {"bar-run", c.running}, {"bar-wait", c.waiting}} {
		if part.count == 0 {
			continue
		}
		width := 100 * float64(part.count) / float64(total)
		list = append(list, bar{part.class, svgNumber(x), svgNumber(width)})
		x += width
	}
	return list
}

func svgNumber(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
