package tunnel

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// openLimit is how long opening a tunnel may take.
	openLimit = 20 * time.Second
	// bufferSize is how many bytes are read at once, and masked and written by the agent. Less would cost more system calls. The
	// portal masks nothing, so it writes a piece as it is, behind a small buffer for what is in front.
	bufferSize = largeBuffer + 64
)

// Refused is the portal's answer to a tunnel that it does not take.
type Refused struct{ Status int }

func (r *Refused) Error() string {
	return "the portal refused the tunnel: " + http.StatusText(r.Status)
}

// dialWebSocket opens a WebSocket to the portal.
func dialWebSocket(ctx context.Context, address, key string) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	}
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: openLimit, ReadBufferSize: bufferSize, WriteBufferSize: bufferSize}
	ws, resp, err := dialer.DialContext(ctx, u.String(), http.Header{"Authorization": {"Bearer " + key}})
	if err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, &Refused{resp.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	return &socket{Conn: ws.NetConn(), ws: ws}, nil
}

// acceptWebSocket takes an agent's WebSocket.
func acceptWebSocket(w http.ResponseWriter, r *http.Request) (net.Conn, error) {
	upgrader := websocket.Upgrader{HandshakeTimeout: openLimit, ReadBufferSize: bufferSize, WriteBufferSize: smallBuffer}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: ws.NetConn(), ws: ws}, nil
}

// socket is a WebSocket as a connection of bytes. Its Close ends the connection at once.
type socket struct {
	net.Conn
	ws     *websocket.Conn
	reader io.Reader // of the message that is being read
}

func (s *socket) Read(p []byte) (n int, err error) {
	for {
		if s.reader == nil {
			if _, s.reader, err = s.ws.NextReader(); err != nil {
				return 0, err
			}
		}
		n, err = s.reader.Read(p)
		if err == io.EOF {
			s.reader, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socket) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
