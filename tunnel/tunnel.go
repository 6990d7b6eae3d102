// Package tunnel carries connections from the portal to one port of a machine, through one connection that the machine's
// agent opened. Both ends are here.
//
// The agent's connection is a WebSocket, because every reverse proxy lets those through. In it runs HTTP/2, turned around: the
// portal is the client, the agent is the server, and each connection to the port is a CONNECT request of its own. HTTP/2 brings
// what streams need: a window for each, so that one that nobody reads stops nobody else; an end for each direction; a reset for
// what broke; pings; and a limit for how many there are.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// MaxStreams is how many connections a tunnel carries at once.
	MaxStreams = 512
	// streamWindow is how many bytes may be on the way in one direction of a stream: with 100 ms between portal and machine,
	// it allows 10 MiB a second.
	streamWindow = 1 << 20
	// maxFrame is the largest piece of a stream. Each stream of the portal has a buffer of this size while it is open.
	maxFrame = largeBuffer
	// maxHeader is how many bytes the machine's end may say when it takes a connection, which is nothing but that it does.
	maxHeader = 4 << 10
	// quietLimit is how long an end hears nothing before it pings, and pingLimit how long it waits for the answer: a peer that is
	// gone without a word is noticed after both.
	quietLimit, pingLimit = 10 * time.Second, 10 * time.Second
)

var (
	// ErrClosed says that the tunnel has ended.
	ErrClosed = errors.New("the tunnel to the machine is closed")
	// ErrNotListening says that the machine is there, and nothing takes connections at its port.
	ErrNotListening = errors.New("nothing listens on the machine's port")
	// ErrBusy says that the tunnel carries as many connections as it can.
	ErrBusy = fmt.Errorf("the tunnel carries %d connections already", MaxStreams)
)

// settings of HTTP/2 that both ends have.
func settings() *http.HTTP2Config {
	return &http.HTTP2Config{MaxConcurrentStreams: MaxStreams, MaxReadFrameSize: maxFrame, MaxReceiveBufferPerStream: streamWindow,
		// Room for every stream's window, so that no number of streams that nobody reads takes the others' room.
		MaxReceiveBufferPerConnection: MaxStreams * streamWindow, SendPingTimeout: quietLimit, PingTimeout: pingLimit}
}

// onlyHTTP2 begins with HTTP/2 at once: both ends know each other.
func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true) // what encrypts is the WebSocket's connection
	return p
}

// Tunnel is the portal's end.
type Tunnel struct {
	client *http.ClientConn
	places chan struct{} // of streams, one token each
	ctx    context.Context
	end    context.CancelFunc
	close  func() error
}

// Accept takes the tunnel that a request opens. After an error it has answered the request.
func Accept(w http.ResponseWriter, r *http.Request) (*Tunnel, error) {
	conn, err := acceptWebSocket(w, r)
	if err != nil {
		return nil, err
	}
	t := &Tunnel{places: make(chan struct{}, MaxStreams)}
	t.ctx, t.end = context.WithCancel(context.Background())
	t.close = sync.OnceValue(conn.Close)
	transport := &http.Transport{Protocols: onlyHTTP2(), HTTP2: settings(), DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	if t.client, err = transport.NewClientConn(r.Context(), "http", net.JoinHostPort(machine, "80")); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.client.SetStateHook(func(c *http.ClientConn) {
		if c.Err() != nil {
			t.end()
		}
	})
	context.AfterFunc(t.ctx, func() { _ = t.Close() })
	return t, nil
}

// machine stands for the machine's port in the requests of a tunnel, which has only this one.
const machine = "machine"

// Open makes a connection to the machine's port. It waits until the port has taken it, or ctx is done; the connection then
// outlives ctx. Its Close may lose what was written just before, so CloseWrite first where that matters; deadlines it has none.
func (t *Tunnel) Open(ctx context.Context) (net.Conn, error) {
	select {
	case t.places <- struct{}{}:
	case <-t.ctx.Done():
		return nil, ErrClosed
	default:
		return nil, ErrBusy
	}
	streamCtx, reset := context.WithCancel(t.ctx)
	body, send := io.Pipe()
	c := &conn{send: send, close: sync.OnceFunc(func() {
		reset()
		send.Close()
		<-t.places
	})}
	stop := context.AfterFunc(ctx, reset)
	resp, err := t.client.RoundTrip((&http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "http", Host: machine},
		Header: http.Header{}, Body: body, ContentLength: -1}).WithContext(streamCtx))
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = ErrNotListening
	}
	if err == nil && !stop() {
		resp.Body.Close()
		err = ctx.Err()
	}
	if err != nil {
		c.close()
		return nil, t.explain(ctx, err)
	}
	c.receive = resp.Body
	return c, nil
}

// explain tells why a connection was not made.
func (t *Tunnel) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrNotListening):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case t.ctx.Err() != nil || t.client.Err() != nil:
		return ErrClosed
	}
	return fmt.Errorf("opening a connection through the tunnel: %w", err)
}

// Done is closed when the tunnel has ended.
func (t *Tunnel) Done() <-chan struct{} { return t.ctx.Done() }

// Close ends the tunnel and every connection in it.
func (t *Tunnel) Close() error {
	t.end()
	if t.client != nil {
		_ = t.client.Close() // closing the connection below says what there is to say
	}
	return t.close()
}
