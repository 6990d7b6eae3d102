package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// pair is both ends of a tunnel to a port.
type pair struct {
	t      *testing.T
	tunnel *Tunnel
	portal *httptest.Server
	stop   context.CancelFunc // of the agent's end
	served chan error         // what Serve returned
}

func to(port string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", port)
	}
}

func newPair(t *testing.T, dial func(context.Context) (net.Conn, error)) *pair {
	t.Helper()
	p := &pair{t: t, served: make(chan error, 1)}
	tunnels := make(chan *Tunnel, 1)
	p.portal = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		tunnel, err := Accept(w, r)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		tunnels <- tunnel
		<-tunnel.Done()
	}))
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	opened := make(chan struct{})
	go func() { p.served <- Serve(ctx, p.portal.URL, "key", dial, func() { close(opened) }) }()
	p.tunnel = <-tunnels
	<-opened
	t.Cleanup(func() {
		stop()
		p.tunnel.Close()
		p.portal.Close()
	})
	return p
}

// listen makes a port that hands each connection to serve.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func echo(c net.Conn) {
	_, _ = io.Copy(c, c)
	_ = c.(*net.TCPConn).CloseWrite()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pair) open() net.Conn {
	p.t.Helper()
	c, err := p.tunnel.Open(p.t.Context())
	must(p.t, err)
	return c
}

// soon fails the test unless something becomes true.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

// ends fails the test unless a channel is closed or told.
func ends[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatal("not within 20 s: " + what)
	}
	return v
}

func TestWhatIsSentComesBackWholeOnManyStreamsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t, to(listen(t, echo)))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c, err := p.tunnel.Open(t.Context())
			if err != nil {
				t.Errorf("stream %d: %v", i, err)
				return
			}
			defer c.Close()
			sent := make([]byte, 100_000+i)
			rand.Read(sent)
			go func() {
				_, _ = c.Write(sent)
				_ = c.(*conn).CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d bytes of %d came back, %v", i, len(got), len(sent), err)
			}
		})
	}
	wg.Wait()
}

func TestLargeBodiesGoBothWaysThroughHTTP(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	tool := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != size {
			t.Errorf("the tool got %d bytes, %v", n, err)
		}
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	defer tool.Close()
	p := newPair(t, to(tool.Listener.Addr().String()))
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.tunnel.Open(ctx) }}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://tool/", "application/octet-stream", io.LimitReader(zeros{}, size))
	must(t, err)
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size {
		t.Errorf("%d bytes came, %v", n, err)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestStreamsThatNobodyReadsStopNoOthers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	port := listen(t, func(c net.Conn) {
		kind := make([]byte, 1)
		if _, err := io.ReadFull(c, kind); err != nil {
			return
		}
		if kind[0] == 'e' {
			echo(c)
			return
		}
		go func() { _, _ = io.Copy(c, zeros{}) }()
		<-release
	})
	defer close(release)
	p := newPair(t, to(port))
	const stalled = 40
	var stopped sync.WaitGroup
	var open []net.Conn
	for range stalled {
		c := p.open()
		_, err := c.Write([]byte("s"))
		must(t, err)
		stopped.Go(func() { _, _ = io.Copy(c, zeros{}) }) // stops in the middle, in both directions
		open = append(open, c)
	}
	defer stopped.Wait()
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	time.Sleep(300 * time.Millisecond) // let the windows fill; the test holds too, and says less, if they do not
	c := p.open()
	defer c.Close()
	_, err := c.Write([]byte("e"))
	must(t, err)
	sent := make([]byte, 4*streamWindow)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*conn).CloseWrite()
	}()
	type result struct {
		n   int64
		err error
	}
	got := make(chan result, 1)
	go func() {
		n, err := io.Copy(io.Discard, c)
		got <- result{n, err}
	}()
	if r := ends(t, "the stream beside stalled ones", got); r.err != nil || r.n != int64(len(sent)) {
		t.Errorf("%d bytes of %d came back, %v", r.n, len(sent), r.err)
	}
}

func TestAnAnswerThatEndsWithItsConnectionComesWhole(t *testing.T) {
	t.Parallel()
	answer := bytes.Repeat([]byte("answer "), 100_000)
	p := newPair(t, to(listen(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 1)) // reads no more
		_, _ = c.Write(answer)
	})))
	c := p.open()
	defer c.Close()
	_, err := c.Write([]byte("?"))
	must(t, err)
	time.Sleep(100 * time.Millisecond) // the end has come before it is read
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("%d bytes of %d, %v", len(got), len(answer), err)
	}
}

func TestABrokenConnectionIsNoEnd(t *testing.T) {
	t.Parallel()
	p := newPair(t, to(listen(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_, _ = c.Write([]byte("half an ans"))
		_ = c.(*net.TCPConn).SetLinger(0) // its close is a reset
	})))
	c := p.open()
	defer c.Close()
	_, err := c.Write([]byte("??")) // one of them stays unread
	must(t, err)
	if got, err := io.ReadAll(c); err == nil {
		t.Errorf("%q was read to its end", got)
	}
}

func TestClosingAStreamClosesThePort(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 2)
	p := newPair(t, to(listen(t, func(c net.Conn) {
		if kind := make([]byte, 1); true {
			_, _ = io.ReadFull(c, kind)
			if kind[0] == 'w' {
				_, err := io.Copy(c, zeros{}) // it is writing, and is not read
				closed <- err
				return
			}
		}
		_, err := io.Copy(io.Discard, c)
		closed <- err
	})))
	for _, kind := range []string{"w", "r"} {
		c := p.open()
		_, err := c.Write([]byte(kind))
		must(t, err)
		time.Sleep(50 * time.Millisecond)
		must(t, c.Close())
		ends(t, "the port of "+kind, closed)
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a closed connection is read")
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("a closed connection is written")
		}
	}
}

func TestAPortThatNobodyListensOnIsToldApart(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(context.Context) (net.Conn, error) { return nil, errors.New("refused") })
	if c, err := p.tunnel.Open(t.Context()); !errors.Is(err, ErrNotListening) {
		t.Errorf("%v, %v", c, err)
	}
}

func TestOpeningWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	dialing := make(chan struct{})
	undone := make(chan struct{})
	p := newPair(t, func(ctx context.Context) (net.Conn, error) {
		close(dialing)
		<-ctx.Done()
		close(undone)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-dialing
		cancel()
	}()
	if c, err := p.tunnel.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", c, err)
	}
	ends(t, "the agent's dialing", undone)
}

func TestThereAreOnlySoManyStreams(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		return near, nil
	})
	var open []net.Conn
	for range MaxStreams {
		open = append(open, p.open())
	}
	if _, err := p.tunnel.Open(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	must(t, open[0].Close())
	c, err := p.tunnel.Open(t.Context())
	must(t, err)
	for _, c := range append(open[1:], c) {
		c.Close()
	}
}

func TestTheEndOfEitherEndEndsTheOther(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(p *pair){
		"the agent stops":     func(p *pair) { p.stop() },
		"the portal closes":   func(p *pair) { p.tunnel.Close() },
		"the connection goes": func(p *pair) { p.portal.CloseClientConnections(); p.tunnel.close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			closed := make(chan struct{})
			p := newPair(t, to(listen(t, func(c net.Conn) {
				_, _ = io.Copy(io.Discard, c)
				close(closed)
			})))
			c := p.open()
			kill(p)
			ends(t, "the portal's end", p.tunnel.Done())
			if err := ends(t, "the agent's end", p.served); !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
				t.Errorf("Serve: %v", err)
			}
			ends(t, "the port's connection", closed)
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the stream goes on")
			}
			if _, err := p.tunnel.Open(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("opening then: %v", err)
			}
			c.Close()
		})
	}
}

func TestARefusedTunnelSaysWithWhich(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusGone, http.StatusBadRequest, http.StatusServiceUnavailable, http.StatusOK} {
		portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		err := Serve(t.Context(), portal.URL, "key", nil, func() { t.Error("it was opened") })
		var refused *Refused
		if !errors.As(err, &refused) || refused.Status != status {
			t.Errorf("%d: %v", status, err)
		}
		portal.Close()
		if err := Serve(t.Context(), portal.URL, "key", nil, nil); err == nil || errors.As(err, &refused) && refused == nil {
			t.Errorf("a portal that is away: %v", err)
		}
	}
}

func TestARequestThatIsNoWebSocketIsAnswered(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	if _, err := Accept(w, httptest.NewRequest(http.MethodGet, "/", nil)); err == nil || w.Code != http.StatusBadRequest {
		t.Errorf("%d, %v", w.Code, err)
	}
}

// TestGarbageEndsATunnel plays ends that speak something else.
func TestAMachineThatTalksMuchBeforeAConnectionIsNotListenedTo(t *testing.T) {
	t.Parallel()
	tunnels := make(chan *Tunnel, 1)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnel, err := Accept(w, r)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		tunnels <- tunnel
		<-tunnel.Done()
	}))
	defer portal.Close()
	conn, err := dialWebSocket(t.Context(), portal.URL, "key")
	must(t, err)
	server := &http.Server{Protocols: onlyHTTP2(), HTTP2: settings(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 1000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}
	ended := make(chan struct{})
	defer close(ended)
	defer conn.Close()
	go func() { _ = server.Serve(&single{conn: conn, ended: ended}) }()
	tunnel := <-tunnels
	defer tunnel.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if c, err := tunnel.Open(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("1 MB of headers were taken: %v, %v", c, err)
	}
}

func TestGarbageEndsATunnel(t *testing.T) {
	t.Parallel()
	for name, garbage := range map[string]string{"text": strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100), "a huge frame": "\xff\xff\xff\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 1000),
		"zeros": strings.Repeat("\x00", 10_000)} {
		t.Run("from the agent: "+name, func(t *testing.T) {
			t.Parallel()
			tunnels := make(chan *Tunnel, 1)
			portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tunnel, err := Accept(w, r)
				if err != nil {
					t.Error(err)
					return
				}
				tunnels <- tunnel
				<-tunnel.Done()
			}))
			defer portal.Close()
			ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(portal.URL, "http"), nil)
			must(t, err)
			defer ws.Close()
			_ = ws.WriteMessage(websocket.BinaryMessage, []byte(garbage)) // the portal may have had enough before its end
			ends(t, "the portal's end", (<-tunnels).Done())
		})
		t.Run("from the portal: "+name, func(t *testing.T) {
			t.Parallel()
			portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer ws.Close()
				_ = ws.WriteMessage(websocket.BinaryMessage, []byte(garbage))
				_, _ = io.Copy(io.Discard, ws.NetConn())
			}))
			defer portal.Close()
			served := make(chan error, 1)
			go func() { served <- Serve(t.Context(), portal.URL, "key", nil, func() {}) }()
			if err := ends(t, "the agent's end", served); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// TestNothingIsLeftBehind counts goroutines that are in this package or in HTTP/2, so it does not run beside other tests.
func TestNothingIsLeftBehind(t *testing.T) {
	p := newPair(t, to(listen(t, echo)))
	var open []net.Conn
	for i := range 100 {
		c := p.open()
		_, err := fmt.Fprint(c, "hello")
		must(t, err)
		_, err = io.ReadFull(c, make([]byte, 5))
		must(t, err)
		if i%2 == 0 {
			c.Close()
		} else {
			open = append(open, c)
		}
	}
	p.tunnel.Close()
	ends(t, "the agent's end", p.served)
	p.portal.Close()
	for _, c := range open {
		c.Close()
	}
	var stacks string
	defer func() {
		if t.Failed() {
			t.Log(stacks)
		}
	}()
	soon(t, "the end of every goroutine", func() bool {
		buffer := make([]byte, 4<<20)
		stacks = string(buffer[:runtime.Stack(buffer, true)])
		mine := strings.Count(stacks, "tunnel.Test") + strings.Count(stacks, "tunnel.listen") + strings.Count(stacks, "tunnel.ends")
		return strings.Count(stacks, "http2") == 0 && strings.Count(stacks, "websocket") == 0 && strings.Count(stacks, "wherry/tunnel.(") == 0 && mine > 0
	})
}

// TestAPeerThatIsGoneWithoutAWordIsNoticed freezes the connection between the ends, so that neither hears of anything.
func TestAPeerThatIsGoneWithoutAWordIsNoticed(t *testing.T) {
	t.Parallel()
	tunnels := make(chan *Tunnel, 1)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnel, err := Accept(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		tunnels <- tunnel
		<-tunnel.Done()
	}))
	defer portal.Close()
	freeze := make(chan struct{})
	between := listen(t, func(near net.Conn) {
		far, err := net.Dial("tcp", portal.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		forward := func(to, from net.Conn) {
			buffer := make([]byte, 4096)
			for {
				n, err := from.Read(buffer)
				select {
				case <-freeze:
					<-t.Context().Done()
					return
				default:
				}
				if err != nil {
					return
				}
				_, _ = to.Write(buffer[:n])
			}
		}
		go forward(near, far)
		forward(far, near)
	})
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), "http://"+between, "key", nil, func() {}) }()
	tunnel := <-tunnels
	close(freeze)
	began := time.Now()
	for _, end := range []<-chan struct{}{tunnel.Done(), done(served)} {
		select {
		case <-end:
		case <-time.After(2 * time.Minute):
			t.Fatal("nobody noticed")
		}
	}
	if took := time.Since(began); took < quietLimit {
		t.Errorf("it was given up after %s", took)
	}
}

// TestAPortalThatIsGoneBeforeTheTunnelBeginsIsNoticed has a portal that takes the WebSocket and says nothing in it.
func TestAPortalThatIsGoneBeforeTheTunnelBeginsIsNoticed(t *testing.T) {
	t.Parallel()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var upgrader websocket.Upgrader
		if _, err := upgrader.Upgrade(w, r, nil); err != nil {
			t.Error(err)
			return
		}
		<-t.Context().Done()
	}))
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), portal.URL, "key", nil, func() {}) }()
	select {
	case err := <-served:
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("nobody noticed")
	}
}

// done is closed when ch has told something.
func done(ch <-chan error) <-chan struct{} {
	d := make(chan struct{})
	go func() {
		<-ch
		close(d)
	}()
	return d
}
