package platform

import (
	"fmt"
	"time"
)

// Limits are what a workspace may use. The zero value limits nothing.
type Limits struct {
	Instances     int   // machines that may exist at once; 0: any number
	Studios       int   // Studios that may run at once; 0: any number
	LifespanHours int   // the longest that a Studio runs without being stopped; 0: as its own settings say
	MonthMicroUSD int64 // what machines may cost in a calendar month (UTC), in millionths of a US dollar; 0: any amount
}

// Bounds of limits.
const (
	MaxInstances = 10_000
	maxMonthUSD  = 10_000_000
)

// Clean checks limits, field by field.
func (l Limits) Clean() error {
	errs := FieldErrors{}
	if l.Instances < 0 || l.Instances > MaxInstances {
		errs.Add("instances", "Enter a number up to %d, or leave this empty for no limit.", MaxInstances)
	}
	if l.Studios < 0 || l.Studios > MaxInstances {
		errs.Add("studios", "Enter a number up to %d, or leave this empty for no limit.", MaxInstances)
	}
	if l.LifespanHours < 0 || l.LifespanHours > MaxLifespanHours {
		errs.Add("lifespanHours", "Enter hours from 1 to %d, or leave this empty for no limit.", MaxLifespanHours)
	}
	if l.MonthMicroUSD < 0 || l.MonthMicroUSD > maxMonthUSD*1_000_000 {
		errs.Add("monthUsd", "Enter an amount up to %d, or leave this empty for no limit.", maxMonthUSD)
	}
	return errs.OrNil()
}

// Allow tells whether a workspace that has spent so much in the month may start another machine.
func (l Limits) Allow(spentMicroUSD int64) bool {
	return l.MonthMicroUSD == 0 || spentMicroUSD < l.MonthMicroUSD
}

// Refusal says why no machine starts any more in this month.
func (l Limits) Refusal(spentMicroUSD int64, now time.Time) string {
	return fmt.Sprintf("This workspace's machines have cost $%.2f in %s, and its limit is $%.2f. An owner or admin can raise it; otherwise launches go on next month.",
		float64(spentMicroUSD)/1e6, now.UTC().Month(), float64(l.MonthMicroUSD)/1e6)
}

// Lifespan is how long a Studio runs that shall run for so many hours (0: until it is stopped), within the limit; 0: until it
// is stopped.
func (l Limits) Lifespan(hours int) int {
	if l.LifespanHours == 0 || (hours > 0 && hours < l.LifespanHours) {
		return hours
	}
	return l.LifespanHours
}

// Month is the beginning of the calendar month of a time, in UTC.
func Month(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}
