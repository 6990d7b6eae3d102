package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"wherry/platform"
	"wherry/tunnel"
)

const (
	// tunnelPause is how long after its end a tunnel is opened again, at first; it grows to tunnelMaxPause.
	tunnelPause    = 50 * time.Millisecond
	tunnelMaxPause = time.Second
)

// errNoTool means that the tool does not answer yet, or no more.
var errNoTool = errors.New("the tool does not answer")

// keepTunnel keeps a tunnel to the portal open until ctx is done. A portal that wants nothing more of the machine says so
// here, too.
func (s *studio) keepTunnel(ctx context.Context, give context.CancelCauseFunc) {
	opened, said := time.Time{}, false
	for pause := tunnelPause; ctx.Err() == nil; pause = min(2*pause, tunnelMaxPause) {
		err := tunnel.Serve(ctx, s.portal.url+"/agent/tunnel", s.portal.key, s.dialTool, func() {
			opened = time.Now()
			s.steps.add(platform.StepTunnel, opened, "")
			s.Log.Info("the tunnel is open")
		})
		var refused *tunnel.Refused
		if errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusGone) {
			give(ErrOver)
			return
		}
		if !opened.IsZero() { // it was good: the portal is probably starting again
			opened, pause, said = time.Time{}, tunnelPause, false
		}
		if ctx.Err() == nil && !said {
			said = true
			s.Log.Info("the tunnel is not open; it is opened again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// dialTool makes a connection to the tool, and to nothing else: not to who has its port before or after it.
func (s *studio) dialTool(ctx context.Context) (net.Conn, error) {
	port := s.port.Load()
	if port == 0 {
		return nil, errNoTool
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
}
