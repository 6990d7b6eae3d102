package handlers

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNobodyIsPushedOutOfTheirSignIn by others who only begin theirs.
func TestNobodyIsPushedOutOfTheirSignIn(t *testing.T) {
	t.Parallel()
	var s startedSignIns
	now := time.Now()
	s.put("proved", startedSignIn{began: now.Add(-9 * time.Minute), userID: 1})
	s.put("first", startedSignIn{began: now.Add(-8 * time.Minute)})
	for i := range maxStarted {
		s.put(fmt.Sprint(i), startedSignIn{began: now.Add(-time.Minute).Add(time.Duration(i))})
	}
	for token, want := range map[string]bool{"proved": true, "first": false, "0": false, fmt.Sprint(maxStarted - 1): true} {
		if _, ok := s.get(token); ok != want {
			t.Errorf("%s is there: %v, want %v", token, ok, want)
		}
	}
	if len(s.list) > maxStarted {
		t.Errorf("%d are kept", len(s.list))
	}
}

// TestWhatStrangersTypeIsKeptShort: it stays in memory for a quarter of an hour.
func TestWhatStrangersTypeIsKeptShort(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("a", 60_000)
	if got := localPath(long); got != "/" {
		t.Errorf("%d bytes of where to go are kept", len(got))
	}
	if got := loginKey(long); len(got) > 100 {
		t.Errorf("%d bytes of a login are kept", len(got))
	}
	if loginKey("Ada") != loginKey("ada") {
		t.Error("a login in capitals is counted for itself")
	}
}
