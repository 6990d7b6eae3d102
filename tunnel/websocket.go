package tunnel

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// openLimit is how long opening a tunnel may take.
const openLimit = 20 * time.Second

// Refused is the portal's answer to a tunnel that it does not take.
type Refused struct{ Status int }

func (r *Refused) Error() string {
	return "the portal refused the tunnel: " + http.StatusText(r.Status)
}

// dialWebSocket opens a WebSocket to the portal.
func dialWebSocket(ctx context.Context, url, key string) (net.Conn, error) {
	opening, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	ws, resp, err := websocket.Dial(opening, url, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, &Refused{resp.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	return newSocket(ws), nil
}

// acceptWebSocket takes an agent's WebSocket.
func acceptWebSocket(w http.ResponseWriter, r *http.Request) (net.Conn, error) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil, err
	}
	return newSocket(ws), nil
}

// socket is a WebSocket as a connection of bytes.
type socket struct {
	net.Conn
	ws *websocket.Conn
}

func newSocket(ws *websocket.Conn) net.Conn {
	return &socket{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}
}

// Close ends the connection at once. The library's own way asks the other end first, which may be gone.
func (s *socket) Close() error { return s.ws.CloseNow() }
