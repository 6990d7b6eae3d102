package views

import (
	"time"

	"wherry/platform"
	"wherry/views/components"
)

// timelineStep is a step of a launch timeline as it is drawn: on a line that is 100 wide from the wish to the last step.
type timelineStep struct {
	Name    string
	Agent   bool
	Note    string
	At      time.Time
	After   string // since the wish
	X       string
	Width   string
	Ongoing bool
}

// bad tells whether the step is one that nobody wanted.
func (s timelineStep) bad() bool {
	return s.Name == platform.StepInterrupted || s.Name == string(platform.MachineFailed)
}

// timeline places steps on a line. A step reaches to the next one of its kind; the last one of a living machine to now.
// The agent's clock may differ from the portal's: what lies outside is drawn at the edge.
func timeline(m platform.Machine, steps []platform.Step, now time.Time) []timelineStep {
	if len(steps) == 0 {
		return nil
	}
	begin, end := m.Created, steps[len(steps)-1].At
	living := m.State.Living()
	if living && now.After(end) {
		end = now
	}
	whole := max(end.Sub(begin).Seconds(), 0.001)
	place := func(t time.Time) float64 { return min(100, max(0, 100*t.Sub(begin).Seconds()/whole)) }
	list := make([]timelineStep, len(steps))
	for i, s := range steps {
		until, last := end, true
		for _, later := range steps[i+1:] {
			if later.Agent == s.Agent {
				until, last = later.At, false
				break
			}
		}
		over := last && (s.Agent || s.Name == string(platform.MachineTerminated))
		x := place(s.At)
		width := place(until) - x
		if over {
			width = 0
		}
		list[i] = timelineStep{Name: s.Name, Agent: s.Agent, Note: s.Note, At: s.At, After: components.Duration(s.At.Sub(begin)),
			X: svgNumber(min(x, 99)), Width: svgNumber(max(width, 1)), Ongoing: living && last && !over}
	}
	return list
}
