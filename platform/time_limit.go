package platform

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MaxTimeLimit is the longest time limit of a run, in minutes: 30 days.
const MaxTimeLimit = 30 * 24 * 60

// The forms in which people write how long something may take.
var (
	minutesForm = regexp.MustCompile(`^([0-9]{1,6}) ?(?:m|min|minutes?)?$`)
	clockForm   = regexp.MustCompile(`^([0-9]{1,4}):([0-5][0-9])$`)
	hoursForm   = regexp.MustCompile(`^([0-9]{1,4}) ?(?:h|hours?)(?: ?([0-5]?[0-9]) ?(?:m|min|minutes?)?)?$`)
)

// ParseTimeLimit reads a time limit as people type it, in minutes: "90", "90 min", "1:30", "2 h" or "1 h 30 min". Nothing is 0.
func ParseTimeLimit(text string) (minutes int, err error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return 0, nil
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // digits, few of them, or nothing
		return n
	}
	if m := minutesForm.FindStringSubmatch(text); m != nil {
		minutes = number(m[1])
	} else if m := clockForm.FindStringSubmatch(text); m != nil {
		minutes = 60*number(m[1]) + number(m[2])
	} else if m := hoursForm.FindStringSubmatch(text); m != nil {
		minutes = 60*number(m[1]) + number(m[2])
	} else {
		return 0, Errorf(CodeInvalid, "Write minutes, such as 90, or hours and minutes, such as 1 h 30 min.")
	}
	if minutes < 1 || minutes > MaxTimeLimit {
		return 0, Errorf(CodeInvalid, timeLimitRange)
	}
	return minutes, nil
}

const timeLimitRange = "A time limit is between 1 minute and 30 days."

// FormatTimeLimit is the opposite of ParseTimeLimit.
func FormatTimeLimit(minutes int) string {
	switch {
	case minutes == 0:
		return ""
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes%60 == 0:
		return fmt.Sprintf("%d h", minutes/60)
	}
	return fmt.Sprintf("%d h %02d min", minutes/60, minutes%60)
}
