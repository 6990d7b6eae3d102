package platform

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIDsMadeInOneMillisecondKeepTheirOrder(t *testing.T) {
	t.Parallel()
	m, now := new(idMaker), time.Now()
	var made []string
	folded := map[string]bool{}
	for range 10_000 {
		made = append(made, m.newAt(now))
		folded[strings.ToLower(made[len(made)-1])] = true
	}
	if len(folded) < 9_990 {
		t.Errorf("without their case, %d of 10000 ids are the same as others", 10_000-len(folded))
	}
	if !slices.IsSorted(made) || len(slices.Compact(made)) != 10_000 {
		t.Errorf("ids of one millisecond are out of order, or made twice")
	}
	if first, second := new(idMaker).newAt(now), new(idMaker).newAt(now); first == second {
		t.Errorf("two processes make the same id %s", first)
	}
}
