package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// readyLook is how often a tool is asked whether it is up, and readyPatience how long it may take to say so.
	readyLook     = 200 * time.Millisecond
	readyPatience = 5 * time.Second
)

// errPortTaken means that another program answers at the tool's port.
var errPortTaken = errors.New("another program has the tool's port")

// awaitReady waits until the tool answers. An error says that it did not in time, or that ctx is done.
func (s *studio) awaitReady(ctx context.Context, t *startedTool) error {
	if err := s.awaitPackages(ctx); err != nil {
		return err
	}
	s.say("Waiting for %s to answer, for at most %s.", s.session.Template.Name, durationText(s.ReadyLimit))
	limit := time.After(s.ReadyLimit)
	for client := newToolClient(); ; {
		if s.answers(ctx, client, t.port) {
			if !s.runner.serves(t.port) {
				return errPortTaken
			}
			s.say("%s answers.", s.session.Template.Name)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit:
			return errNotReady
		case <-time.After(readyLook):
		}
	}
}

// newToolClient asks the tool alone: it knows no proxy, and goes nowhere else.
func newToolClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: readyPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answers tells whether the tool is up: a refusal is an answer too.
func (s *studio) answers(ctx context.Context, client *http.Client, port int) bool {
	t := s.session.Template
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, cmp.Or(t.Ready, "/")), nil)
	if err != nil {
		return false
	}
	if t.Authorization != "" {
		req.Header.Set("Authorization", s.words(port, s.workspace).Replace(t.Authorization))
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode < http.StatusInternalServerError
}
