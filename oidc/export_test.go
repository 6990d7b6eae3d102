package oidc

import "time"

// RetryAfter is for tests.
const RetryAfter = retryAfter

// SetClock gives a client another clock.
func (c *Client) SetClock(now func() time.Time) { c.now = now }
