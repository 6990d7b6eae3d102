package agent

import (
	"fmt"
	"time"
)

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return countText(n, "byte")
}

// countText is a number of things for people.
func countText[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// durationText is a time limit for people.
func durationText(d time.Duration) string {
	for _, unit := range []struct {
		name string
		long time.Duration
	}{{"minute", time.Minute}, {"second", time.Second}} {
		if d >= unit.long && d%unit.long == 0 {
			return countText(int64(d/unit.long), unit.name)
		}
	}
	return d.String()
}
