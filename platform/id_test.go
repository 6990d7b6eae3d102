package platform

import (
	"slices"
	"testing"
	"time"
)

func TestIDsMadeInOneMillisecondKeepTheirOrder(t *testing.T) {
	t.Parallel()
	m, now := new(idMaker), time.Now()
	var made []string
	for range 10_000 {
		made = append(made, m.newAt(now))
	}
	if !slices.IsSorted(made) || len(slices.Compact(made)) != 10_000 {
		t.Errorf("ids of one millisecond are out of order, or made twice")
	}
	if first, second := new(idMaker).newAt(now), new(idMaker).newAt(now); first == second {
		t.Errorf("two processes make the same id %s", first)
	}
}
