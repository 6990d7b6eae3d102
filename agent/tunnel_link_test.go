package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"wherry/platform"
	"wherry/tunnel"
)

// takeTunnels lets a portal take tunnels, each of which it gives to a test.
func (p *fakePortal) takeTunnels() <-chan *tunnel.Tunnel {
	taken := make(chan *tunnel.Tunnel, 100)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tunnel = func(w http.ResponseWriter, r *http.Request) {
		t, err := tunnel.Accept(w, r)
		if err != nil {
			p.t.Errorf("the tunnel: %v", err)
			return
		}
		taken <- t
		<-t.Done()
	}
	return taken
}

// throughTunnel asks the tool something through a tunnel.
func throughTunnel(t *testing.T, tun *tunnel.Tunnel, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return tun.Open(ctx) }}}
	resp, err := client.Get("http://studio" + path)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}

func TestTheToolIsReachedThroughATunnelThatComesBack(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	p := newFakePortal(t, s)
	taken := p.takeTunnels()
	_, ended := p.startStudio(nil)
	first := <-taken
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) && p.has(platform.StepTunnel) })
	contains(t, "the answer", throughTunnel(t, first, "/env"), "WHERRY_STUDIO_NAME=my studio")
	for range 3 { // as often as the portal is started again
		first.Close()
		began := time.Now()
		first = <-taken
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the tunnel was back after %s", took)
		}
		contains(t, "the answer", throughTunnel(t, first, "/env"), "WHERRY_STUDIO_NAME=my studio")
	}
	close(p.cancel)
	must(t, finish(t, ended))
	select {
	case <-first.Done():
	case <-time.After(15 * time.Second):
		t.Error("the tunnel is still open")
	}
	if end := p.ended(); end == nil || !end.Cancelled {
		t.Errorf("%+v", end)
	}
}

func TestATunnelThatThePortalWantsNoMoreEndsTheSession(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, studioSpec(t, ""))
	p.tunnel = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }
	_, ended := p.startStudio(nil)
	if err := finish(t, ended); !errors.Is(err, ErrOver) {
		t.Errorf("%v", err)
	}
}

func TestTheTunnelLeadsNowhereBeforeTheToolAnswers(t *testing.T) {
	t.Parallel()
	s := &studio{}
	if conn, err := s.dialTool(t.Context()); err == nil || conn != nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%v, %v", conn, err)
	}
}
