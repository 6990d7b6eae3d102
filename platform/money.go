package platform

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Money is an amount in millionths of a US dollar, so that sums are exact.
type Money int64

// dollar is one US dollar.
const dollar Money = 1_000_000

// USD makes an amount from dollars, rounded to a millionth.
func USD(dollars float64) Money { return Money(math.Round(dollars * float64(dollar))) }

// USD is the amount in dollars.
func (m Money) USD() float64 { return float64(m) / float64(dollar) }

// String writes an amount as people read it: cents from a dollar on, and down to a hundredth of a cent below that where
// there are any, because an instance may cost less than a cent.
func (m Money) String() string {
	switch {
	case m < 0:
		return "-" + (-m).String()
	case m == 0:
		return "$0.00"
	case m < 100:
		return "under $0.0001"
	case m < dollar-50: // what rounds up to a dollar is written as one
		text := fmt.Sprintf("%04d", (m+50)/100)
		return "$0." + text[:2] + strings.TrimRight(text[2:], "0")
	}
	return m.Cents()
}

// Cents writes an amount that is not negative, rounded to cents.
func (m Money) Cents() string {
	cents := (m + 5_000) / 10_000
	return fmt.Sprintf("$%s.%02d", thousands(int64(cents/100)), cents%100)
}

// thousands writes a number that is not negative with commas.
func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// Price is what an hour of an instance costs. The zero Price is one that is not known.
type Price struct {
	Hour     Money
	Estimate bool // what is paid in the end differs: a Spot price moves, and EC2 does not tell the one paid
}

// Known tells whether there is a price.
func (p Price) Known() bool { return p.Hour > 0 }

// String writes a price: "$1.13 an hour", or "about $0.51 an hour".
func (p Price) String() string {
	switch {
	case !p.Known():
		return "price unknown"
	case p.Estimate:
		return "about " + p.Hour.String() + " an hour"
	}
	return p.Hour.String() + " an hour"
}

// InstanceUse is what an instance is billed for: its time, at its price. Disks, traffic and addresses are not in it.
type InstanceUse struct {
	Price       Price
	Launched    time.Time // when it was started; zero: it never was
	Gone        time.Time // when it was first seen to be shutting down, terminated or stopped; zero: it runs
	Spot        bool
	Interrupted bool // the platform itself took a Spot instance back
}

const (
	// minimumUse is the least that EC2 bills, and it bills by the second after that:
	// https://aws.amazon.com/about-aws/whats-new/2017/10/announcing-amazon-ec2-per-second-billing/
	minimumUse = time.Minute
	// freeInterruption is how long a Spot instance must have run for EC2 to bill it although EC2 itself took it back:
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html
	freeInterruption = time.Hour
)

// Cost is what the use has cost until now. It counts from the launch, although EC2 bills only from the state running on,
// and until the instance was seen to go (the state shutting-down is not billed), so that it errs by some seconds, upwards:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
func (u InstanceUse) Cost(now time.Time) Money {
	if u.Launched.IsZero() || now.Before(u.Launched) || !u.Price.Known() {
		return 0
	}
	end := now
	if !u.Gone.IsZero() && u.Gone.Before(now) {
		end = u.Gone
	}
	used := end.Sub(u.Launched)
	if u.Spot && u.Interrupted && used < freeInterruption {
		return 0
	}
	seconds := int64(math.Ceil(max(used, minimumUse).Seconds()))
	hour := int64(time.Hour / time.Second)
	return Money((int64(u.Price.Hour)*seconds + hour/2) / hour)
}

// CostWithin is the part of the cost that falls between two moments, such as the ends of a month. Parts that follow one
// another add up to the whole.
func (u InstanceUse) CostWithin(from, to time.Time) Money {
	if !from.Before(to) {
		return 0
	}
	return u.Cost(to) - u.Cost(from)
}
