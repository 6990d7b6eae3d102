package tunnel

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// Serve is the agent's end: it opens a tunnel to the portal at url (its /agent/tunnel) with the agent's key, and joins each
// connection that comes through it with one that dial makes, until the tunnel ends or ctx is done. opened is called once the
// portal has taken the tunnel. When it returns, every joined connection is closed. It does not try again; an *Refused says that
// the portal will not take it.
func Serve(ctx context.Context, url, key string, dial func(context.Context) (net.Conn, error), opened func()) error {
	conn, err := dialWebSocket(ctx, url, key)
	if err != nil {
		return err
	}
	j := &joiner{dial: dial}
	ended := make(chan struct{})
	// Until HTTP/2 has begun nothing pings: a portal that is gone by then is noticed by the limit on its first words.
	server := &http.Server{Handler: j, Protocols: onlyHTTP2(), HTTP2: settings(), ReadHeaderTimeout: openLimit, ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(ended)
			}
		}}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	opened()
	_ = server.Serve(&single{conn: conn, ended: ended}) // ends with the connection, and says nothing of it
	<-ended
	j.wg.Wait() // no stream begins any more
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrClosed
}

// joiner joins the streams of a tunnel with connections to the port.
type joiner struct {
	dial func(context.Context) (net.Conn, error)
	wg   sync.WaitGroup // of streams
}

// ServeHTTP joins one stream. The port's end ends it, because a program that has answered and gone hears no more; the portal's
// end is told to the port, which may still be answering.
func (j *joiner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	j.wg.Add(1)
	defer j.wg.Done()
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	port, err := j.dial(r.Context())
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer port.Close()
	stop := context.AfterFunc(r.Context(), func() { port.Close() })
	defer stop()
	w.WriteHeader(http.StatusOK)
	answer := flushed{w, http.NewResponseController(w)}
	if answer.Flush() != nil {
		return
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		send(port, r.Body)
	}()
	_, err = Copy(answer, port)
	port.Close()
	r.Body.Close()
	<-sent
	if err != nil {
		panic(http.ErrAbortHandler) // resets the stream: what came is not all
	}
}

// send copies what the portal sends to the port.
func send(port net.Conn, body io.Reader) {
	if _, err := Copy(port, body); err != nil {
		port.Close()
		return
	}
	if half, ok := port.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails where the port has ended, which the other direction sees
	}
}

// flushed is an answer of which each piece is sent at once.
type flushed struct {
	http.ResponseWriter
	*http.ResponseController
}

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.Flush()
}

// single is a listener of one connection, until that has ended.
type single struct {
	conn  net.Conn
	given sync.Once
	ended <-chan struct{}
}

func (s *single) Accept() (conn net.Conn, err error) {
	s.given.Do(func() { conn = s.conn })
	if conn != nil {
		return conn, nil
	}
	<-s.ended
	return nil, net.ErrClosed
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return addr{} }
