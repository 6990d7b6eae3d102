package main

import (
	"fmt"
	"os"
	"time"

	"wherry/platform"
)

// signInSettings are what an operator can set about how people sign in.
type signInSettings struct {
	sessions platform.SessionTimes // WHERRY_SESSION_IDLE, WHERRY_SESSION_LIMIT
}

// readSignInSettings reads the variables.
func readSignInSettings() (s signInSettings, err error) {
	if s.sessions.Idle, err = sessionTime("WHERRY_SESSION_IDLE", platform.DefaultSessionTimes.Idle); err != nil {
		return s, err
	}
	if s.sessions.Limit, err = sessionTime("WHERRY_SESSION_LIMIT", platform.DefaultSessionTimes.Limit); err != nil {
		return s, err
	}
	return s, nil
}

func sessionTime(name string, fallback time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(envOr(name, fallback.String()))
	if err != nil || d < time.Minute {
		return 0, fmt.Errorf("%s is %q; it must be a duration of a minute or more, such as 12h", name, os.Getenv(name))
	}
	return d, nil
}
