package views

import (
	"strconv"

	"wherry/platform"
)

// bar is a part of a stacked bar that is 100 wide.
type bar struct{ Class, X, Width string }

// stackedBar stacks the shares of tasks by how they are; a share of none is left out.
func stackedBar(c platform.Counts) []bar {
	var list []bar
	x := 0.0
	for _, part := range []struct {
		class string
		count int
	}{{"bar-good", c.Succeeded}, {"bar-cached", c.Cached + c.Stored}, {"bar-bad", c.Failed + c.Aborted}, {"bar-run", c.Running}, {"bar-wait", c.Waiting()}} {
		if part.count == 0 {
			continue
		}
		width := 100 * float64(part.count) / float64(c.Total())
		list = append(list, bar{part.class, svgNumber(x), svgNumber(width)})
		x += width
	}
	return list
}

func svgNumber(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
