package platform

import "time"

// Session is one signed-in browser.
type Session struct {
	ID        string // by which people and pages name it
	UserID    int64
	CSRF      string
	Created   time.Time
	Seen      time.Time // its last use, to within some minutes
	Expires   time.Time
	Confirmed time.Time // when it was last proved who is there
	Address   string    // from where it was begun
	UserAgent string
	Method    SignInMethod
	// SecondFactor tells whether its user has one.
	SecondFactor bool
}

// ConfirmedFor is how long after a proof of who is there the most sensitive things may be done without another.
const ConfirmedFor = 15 * time.Minute

// FreshlyConfirmed tells whether it was proved a short time ago who is there.
func (s Session) FreshlyConfirmed(now time.Time) bool { return now.Sub(s.Confirmed) < ConfirmedFor }

// SessionTimes are the lifetimes of sessions.
type SessionTimes struct {
	Idle  time.Duration // unused for so long, it ends
	Limit time.Duration // it ends however busy it is
}

// DefaultSessionTimes are a day's work and a week.
var DefaultSessionTimes = SessionTimes{Idle: 12 * time.Hour, Limit: 7 * 24 * time.Hour}

// Touch is how often use is written down.
func (t SessionTimes) Touch() time.Duration { return min(10*time.Minute, t.Idle/10) }
