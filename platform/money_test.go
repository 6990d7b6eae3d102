package platform

import (
	"testing"
	"time"
)

func TestMoneyIsWrittenAsPeopleReadIt(t *testing.T) {
	t.Parallel()
	for m, want := range map[Money]string{
		0: "$0.00", 1: "under $0.0001", 99: "under $0.0001", 100: "$0.0001", 12_345: "$0.0123", 12_350: "$0.0124", 107_000: "$0.107", 750_000: "$0.75", 900_000: "$0.90", 10_000: "$0.01",
		999_949: "$0.9999", 999_950: "$1.00", 1_128_000: "$1.13", 1_994_999: "$1.99", 1_995_000: "$2.00",
		98_320_000: "$98.32", 1_234_567_890: "$1,234.57", 1_000_000_000_000: "$1,000,000.00", 1_000_005_000_000: "$1,000,005.00", -12_345: "-$0.0123",
	} {
		if got := m.String(); got != want {
			t.Errorf("%d millionths are written %q, want %q", int64(m), got, want)
		}
	}
	if got := USD(0.126); got != 126_000 || got.USD() != 0.126 {
		t.Errorf("0.126 dollars are %d millionths and %v dollars", got, got.USD())
	}
}

func TestPriceIsWrittenWithItsDoubt(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]Price{"$1.13 an hour": {Hour: 1_128_000}, "about $0.058 an hour": {57_960, true}, "price unknown": {}} {
		if got := p.String(); got != want {
			t.Errorf("%+v is written %q, want %q", p, got, want)
		}
	}
}

func TestCostIsBilledBySecondFromAMinuteOn(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 31, 23, 30, 0, 0, time.UTC)
	hour := Price{Hour: 3_600_000} // a second costs 1000 millionths
	after := func(d time.Duration) time.Time { return start.Add(d) }
	for name, c := range map[string]struct {
		use  InstanceUse
		now  time.Time
		want Money
	}{
		"never launched":                       {InstanceUse{Price: hour}, after(time.Hour), 0},
		"launched in the future":               {InstanceUse{Price: hour, Launched: after(time.Minute)}, start, 0},
		"price unknown":                        {InstanceUse{Launched: start}, after(time.Hour), 0},
		"just launched":                        {InstanceUse{Price: hour, Launched: start}, start, 60_000},
		"a minute":                             {InstanceUse{Price: hour, Launched: start}, after(time.Minute), 60_000},
		"a part of a second more":              {InstanceUse{Price: hour, Launched: start}, after(time.Minute + time.Millisecond), 61_000},
		"an hour":                              {InstanceUse{Price: hour, Launched: start}, after(time.Hour), 3_600_000},
		"gone after ten minutes":               {InstanceUse{Price: hour, Launched: start, Gone: after(10 * time.Minute)}, after(48 * time.Hour), 600_000},
		"gone at once":                         {InstanceUse{Price: hour, Launched: start, Gone: after(time.Second)}, after(48 * time.Hour), 60_000},
		"gone before its launch":               {InstanceUse{Price: hour, Launched: start, Gone: after(-time.Second)}, after(48 * time.Hour), 60_000},
		"asked for a time before its end":      {InstanceUse{Price: hour, Launched: start, Gone: after(time.Hour)}, after(2 * time.Minute), 120_000},
		"Spot taken back in the first hour":    {InstanceUse{Price: hour, Launched: start, Gone: after(time.Hour - 1), Spot: true, Interrupted: true}, after(48 * time.Hour), 0},
		"Spot taken back after the first hour": {InstanceUse{Price: hour, Launched: start, Gone: after(time.Hour), Spot: true, Interrupted: true}, after(48 * time.Hour), 3_600_000},
		"Spot that ended by itself":            {InstanceUse{Price: hour, Launched: start, Gone: after(30 * time.Minute), Spot: true}, after(48 * time.Hour), 1_800_000},
		"half a millionth rounds up":           {InstanceUse{Price: Price{Hour: 30}, Launched: start}, start, 1},
		"a year of the dearest":                {InstanceUse{Price: Price{Hour: 10_000 * dollar}, Launched: start}, start.AddDate(1, 0, 0), 87_600_000 * dollar},
	} {
		if got := c.use.Cost(c.now); got != c.want {
			t.Errorf("%s: %d millionths, want %d", name, got, c.want)
		}
	}
}

func TestCostOfMonthsAddsUp(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 31, 23, 59, 50, 0, time.UTC)
	april, may := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	use := InstanceUse{Price: Price{Hour: 3_600_000}, Launched: start, Gone: start.Add(100 * time.Second)}
	march := use.CostWithin(april.AddDate(0, -1, 0), april)
	if march != 60_000 || use.CostWithin(april, may) != 40_000 || use.Cost(may) != 100_000 {
		t.Errorf("March %d, April %d, together %d", march, use.CostWithin(april, may), use.Cost(may))
	}
	if got := use.CostWithin(may, april); got != 0 {
		t.Errorf("a month that ends before it begins costs %d", got)
	}
}
