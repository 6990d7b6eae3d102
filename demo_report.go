package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"wherry/platform"
)

// demoReport is what --once prints.
type demoReport struct {
	Run        string            `json:"run"`
	Name       string            `json:"name"`
	State      platform.RunState `json:"state"`
	Error      string            `json:"error,omitempty"`
	Tasks      int               `json:"tasks"`
	Timeline   []demoStep        `json:"timeline"`
	LeftBehind []string          `json:"leftBehind"`
	Data       string            `json:"data,omitempty"` // kept only when something went wrong
}

type demoStep struct {
	Step    string    `json:"step"`
	At      time.Time `json:"at"`
	SinceMS int64     `json:"sinceMs"` // milliseconds since the wish
}

// report waits for the end of the run and of its machine, and prints both.
func (d *demo) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	run, machine, err := d.waitForEnd(ctx)
	if err != nil {
		return err
	}
	r := demoReport{Run: run.ID, Name: run.Name, State: run.State, Error: run.ErrorMessage, Tasks: run.Progress.Done(), LeftBehind: []string{}}
	steps, err := d.db.Steps(ctx, machine.ID)
	if err != nil {
		return err
	}
	for _, s := range steps {
		r.Timeline = append(r.Timeline, demoStep{s.Name, s.At, s.At.Sub(machine.Created).Milliseconds()})
	}
	left, err := d.clouds[d.env.Platform].List(ctx, d.env)
	if err != nil {
		return err
	}
	for _, i := range left {
		r.LeftBehind = append(r.LeftBehind, i.InstanceID)
	}
	good := run.State == platform.RunSucceeded && len(left) == 0
	if !good {
		r.Data = d.data
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil || good {
		return err
	}
	return fmt.Errorf("the run %s ended as %s and left %d instances behind", run.Name, run.State, len(left))
}

func (d *demo) waitForEnd(ctx context.Context) (platform.Run, platform.Machine, error) {
	for {
		run, err := d.db.AnyRun(ctx, d.run.ID)
		if err != nil {
			return run, platform.Machine{}, err
		}
		machine, err := d.db.MachineOfRun(ctx, run.ID)
		if err != nil || (run.State.Ended() && machine.State == platform.MachineTerminated) {
			return run, machine, err
		}
		select {
		case <-ctx.Done():
			return run, machine, fmt.Errorf("the run %s is still %s and its machine %s: %w", run.Name, run.State, machine.State, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
