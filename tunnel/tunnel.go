// Package tunnel carries connections from the portal to one port of a machine, through one connection that the machine's
// agent opened: a WebSocket with many streams in it. Both ends are here.
package tunnel

import (
	"context"
	"errors"
	"net"
	"net/http"
)

var errNotBuilt = errors.New("not built yet")

// Serve is the agent's end: it opens a tunnel to the portal at url (its /agent/tunnel) with the agent's key, and joins each
// connection that comes through it with one that dial makes, until the tunnel ends or ctx is done. opened is called once the
// portal has taken the tunnel. It does not try again; an *Refused says that the portal will not take it.
func Serve(ctx context.Context, url, key string, dial func(context.Context) (net.Conn, error), opened func()) error {
	return errNotBuilt
}

// Refused is the portal's answer to a tunnel that it does not take.
type Refused struct{ Status int }

func (r *Refused) Error() string { return "the portal refused the tunnel: " + http.StatusText(r.Status) }

// Tunnel is the portal's end.
type Tunnel struct{}

// Accept takes the tunnel that a request opens.
func Accept(w http.ResponseWriter, r *http.Request) (*Tunnel, error) { return nil, errNotBuilt }

// Open makes a connection to the machine's port.
func (t *Tunnel) Open(ctx context.Context) (net.Conn, error) { return nil, errNotBuilt }

// Done is closed when the tunnel has ended.
func (t *Tunnel) Done() <-chan struct{} { return nil }

// Close ends the tunnel and every connection in it.
func (t *Tunnel) Close() error { return nil }
