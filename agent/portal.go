package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"wherry/platform"
)

// ErrOver means that the portal wants nothing more of this machine.
var ErrOver = errors.New("the portal wants nothing more of this machine")

// errNoWork means that the portal has no work for this machine yet.
var errNoWork = errors.New("the portal has no work for this machine yet")

// refusal is an answer that will be the same however often the request is repeated.
type refusal struct {
	status  int
	message string
	body    []byte
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the portal answered %d: %s", r.status, r.message)
}

const (
	maxPause = 2 * time.Second
	// requestLimit is how long a request may take beyond what a long poll waits.
	requestLimit = 30 * time.Second
)

// portal speaks to the portal, with patience: a portal that is restarting is waited for.
type portal struct {
	url, key  string
	http      *http.Client
	heardFile string

	mu    sync.Mutex
	heard time.Time // when the portal last answered
}

func newPortal(cfg Config) *portal {
	return &portal{url: cfg.PortalURL, key: platform.NewToken(), http: &http.Client{CheckRedirect: stay}, heardFile: cfg.HeardFile, heard: time.Now()}
}

// stay keeps what an agent says, with its key, at the address that the machine was given.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// lastHeard is when the portal last answered.
func (p *portal) lastHeard() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}

func (p *portal) nowHeard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.heardFile != "" && now.Sub(p.heard) > time.Second {
		if err := os.Chtimes(p.heardFile, now, now); errors.Is(err, os.ErrNotExist) {
			_ = os.WriteFile(p.heardFile, nil, 0o600) // without it the machine ends early, which is the safe side
		}
	}
	p.heard = now
}

// call sends a request until the portal takes or refuses it, or ctx is done. out may be nil.
func (p *portal) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := p.callRaw(ctx, method, path, "application/json", body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// callRaw is call with bodies as they are.
func (p *portal) callRaw(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		answer, err := p.once(ctx, method, path, contentType, body)
		var refused *refusal
		if err == nil || errors.Is(err, ErrOver) || errors.Is(err, errNoWork) || errors.As(err, &refused) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// once sends a request once.
func (p *portal) once(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, platform.MaxSyncWait+requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	return answer, p.judge(resp.StatusCode, answer)
}

// judge sorts answers into taken, refused, over, and worth repeating.
func (p *portal) judge(status int, answer []byte) error {
	switch {
	case status == http.StatusAccepted:
		p.nowHeard()
		return errNoWork
	case status < 300:
		p.nowHeard()
		return nil
	case status == http.StatusUnauthorized || status == http.StatusGone:
		return ErrOver
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return fmt.Errorf("the portal answered %d", status)
	}
	p.nowHeard()
	var said struct{ Message string }
	_ = json.Unmarshal(answer, &said) // without a message the status has to do
	return &refusal{status, said.Message, answer}
}

// claimPause is how long after an answer of no work the work is claimed again. The portal waits too before it says so.
const claimPause = 500 * time.Millisecond

// claim gets the machine's work. Where there is none yet, idle is called once and the claim goes on, for hours if need be.
func (p *portal) claim(ctx context.Context, cfg Config, idle func()) (spec platform.Spec, err error) {
	req := platform.ClaimRequest{MachineID: cfg.MachineID, InstanceID: cfg.InstanceID, ClaimToken: cfg.ClaimToken, Key: p.key, Version: cfg.Version}
	for {
		err = p.call(ctx, http.MethodPost, "/agent/claim", req, &spec)
		if !errors.Is(err, errNoWork) {
			return spec, err
		}
		idle()
		select {
		case <-ctx.Done():
			return spec, context.Cause(ctx)
		case <-time.After(claimPause):
		}
	}
}

// giveUp tells the portal why a machine that never got its work ends; it is said once, for what it is worth.
func (p *portal) giveUp(ctx context.Context, cfg Config, why string) error {
	body, err := json.Marshal(platform.BootReport{Failure: why})
	if err != nil {
		return err
	}
	p.key = cfg.ClaimToken
	_, err = p.once(ctx, http.MethodPost, "/agent/boot/"+cfg.MachineID, "application/json", body)
	return err
}
