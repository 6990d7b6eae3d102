package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"wherry/platform"
)

// checkpointReports tells the portal of checkpoints, in order, also when it is away while they are saved.
type checkpointReports struct {
	portal *portal
	log    *slog.Logger
	forget func([]platform.CheckpointRef) // removes what the portal does not want any more
	wake   chan struct{}

	mu   sync.Mutex
	all  []platform.CheckpointReport
	told int // how many of all the portal has taken
	over bool
}

func newCheckpointReports(p *portal, log *slog.Logger, forget func([]platform.CheckpointRef)) *checkpointReports {
	return &checkpointReports{portal: p, log: log, forget: forget, wake: make(chan struct{}, 1)}
}

// add adds one that is in the work directory.
func (c *checkpointReports) add(r platform.CheckpointReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, r)
	wake(c.wake)
}

// list has all that were added.
func (c *checkpointReports) list() []platform.CheckpointReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// finish lets run return once all is told.
func (c *checkpointReports) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	wake(c.wake)
}

func (c *checkpointReports) waiting() (batch []platform.CheckpointReport, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch = c.all[c.told:]
	return slices.Clone(batch[:min(len(batch), platform.MaxCheckpointReports)]), c.over
}

// run tells of what is added until finish.
func (c *checkpointReports) run(ctx context.Context) error {
	for {
		batch, over := c.waiting()
		if len(batch) > 0 {
			var ack platform.CheckpointAck
			err := c.portal.call(ctx, http.MethodPost, "/agent/checkpoints", batch, &ack)
			if refused := new(refusal); err != nil && !errors.As(err, &refused) {
				return err
			} else if err != nil {
				c.log.Warn("the portal does not take checkpoints", "error", err) // and later ones may be others
			}
			c.mu.Lock()
			c.told += len(batch)
			c.mu.Unlock()
			c.forget(ack.Forget)
			continue
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
	}
}

// keepReports writes all checkpoints down in the work directory: for a portal that does not hear of them.
func (s *studio) keepReports() {
	text, err := json.Marshal(s.reports.list())
	if err == nil {
		err = s.store.Put(s.keeping.all, s.kept(platform.KeptCheckpointList), bytes.NewReader(text))
	}
	if err != nil {
		s.Log.Warn("the list of checkpoints could not be kept", "error", err)
	}
}
