package views

import (
	"time"

	"wherry/platform"
	"wherry/views/components"
)

// hardwareWords tells what a machine runs on: "m5d.large in eu-west-1b, On-Demand".
func hardwareWords(h platform.Hardware) string {
	if !h.Billed() {
		return ""
	}
	text := h.InstanceType
	if where := firstNonEmpty(h.Zone, h.Region); where != "" {
		text += " in " + where
	}
	return text + ", " + market(h.Spot)
}

// market is how an instance is bought, in AWS's words.
func market(spot bool) string {
	if spot {
		return "Spot"
	}
	return "On-Demand"
}

// costWords tells what a machine has cost: "$0.0113 so far", or why that is not known; "" where machines cost nothing.
func costWords(m platform.Machine, now time.Time) string {
	use := m.Use()
	switch {
	case !m.Hardware.Billed():
		return ""
	case !use.Price.Known():
		return "price unknown"
	case m.Launched.IsZero():
		return components.Cost(0, false)
	}
	text := components.Cost(use.Cost(now), use.Price.Estimate)
	if m.Gone.IsZero() {
		text += " so far"
	}
	return text
}

// bill adds up what machines cost, and tells what is not in it.
type bill struct {
	Hour, SoFar platform.Money
	Estimate    bool
	Unknown     int // machines of which no price is known
}

func addUp(machines []platform.RunningMachine, now time.Time) (b bill) {
	for _, m := range machines {
		use := m.Use()
		switch {
		case !m.Hardware.Billed() || m.Launched.IsZero():
			continue
		case !use.Price.Known():
			b.Unknown++
			continue
		}
		b.Estimate = b.Estimate || use.Price.Estimate
		b.SoFar += use.Cost(now)
		b.Hour += use.Price.Hour
	}
	return b
}

// without tells what a sum leaves out.
func (b bill) without() string {
	if b.Unknown == 0 {
		return ""
	}
	return "without " + components.Plural(b.Unknown, "machine whose price is unknown", "machines whose price is unknown")
}
