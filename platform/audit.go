package platform

import (
	"context"
	"time"
)

// ActorKind says what kind of somebody does something.
type ActorKind string

// The kinds of actor.
const (
	ActorUser     ActorKind = "user"     // who is signed in, or has an access token
	ActorAgent    ActorKind = "agent"    // of a machine
	ActorPortal   ActorKind = "portal"   // its loops
	ActorOperator ActorKind = "operator" // whoever runs a command on the portal's host
	ActorNobody   ActorKind = "nobody"   // a visitor who is not known (yet)
)

// Actor is who does something, as the audit log tells it.
type Actor struct {
	Kind      ActorKind
	UserID    int64  // 0: no user
	UserName  string // of an agent its machine, of an operator the user of the host
	Token     string // the name of the access token; empty: by the browser
	Address   string // from where
	UserAgent string
	Request   string // id of the request, as in the portal's own log
}

type actorKey struct{}

// WithActor says who does what is done with ctx.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf is who does what is done with ctx: the portal itself, where nobody else was named.
func ActorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Actor{Kind: ActorPortal}
}

// AuditEntry is one line of the audit log: who did what, on what, from where and when, and what was before and after.
type AuditEntry struct {
	Seq int64 // gapless, from 1
	At  time.Time
	Actor
	OrganizationID int64 // 0: it is about the portal, or about a user alone
	WorkspaceID    int64 // 0: it is about no workspace
	// Action is "thing.verb", such as "credentials.update".
	Action     string
	TargetKind string // the thing: "credentials", "run", …
	TargetID   string
	TargetName string
	// Before and After are JSON objects in the API's names, of an update only what differs; empty: there was nothing. Secrets
	// are never in them.
	Before, After string
	Hash          string // SHA-256 over the hash of the entry before and this entry, hexadecimal
}
