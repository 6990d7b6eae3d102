package oidc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// FlowLifetime is how long a person has to sign in at the provider.
const FlowLifetime = 10 * time.Minute

// Flow is a sign-in that has begun. It is kept for the browser that began it, and for no other: that is what makes an answer
// worth nothing elsewhere. Its fields are secrets of that browser and the portal, so it is kept sealed, or on the server, and is used once.
type Flow struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // of PKCE (RFC 7636)
	Created  time.Time `json:"created"`
}

// Format hides a flow from logs and errors.
func (Flow) Format(f fmt.State, _ rune) { fmt.Fprint(f, "••••") }

// LogValue hides a flow from logs.
func (Flow) LogValue() slog.Value { return slog.StringValue("••••") }

// Begin starts a sign-in: the browser goes to the address, and the flow is kept for its return.
func (c *Client) Begin(ctx context.Context) (authURL string, flow Flow, err error) {
	p, err := c.discover(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	flow = Flow{State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(), Created: c.now()}
	return p.exchange.AuthCodeURL(flow.State, gooidc.Nonce(flow.Nonce), oauth2.S256ChallengeOption(flow.Verifier)), flow, nil
}

// random is 256 bits that nobody guesses.
func random() string {
	bytes := make([]byte, 32)
	rand.Read(bytes) // it never fails
	return base64.RawURLEncoding.EncodeToString(bytes)
}
