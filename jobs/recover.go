package jobs

import (
	"context"

	"wherry/cloud"
	"wherry/platform"
)

// recoverAttempts is how often what an agent left is looked for, before its work ends without it.
const recoverAttempts = 6

// recover reads back what an agent left in its account or on its host for a portal that did not hear it: logs, and of
// a machine that has ended its tasks and reports or checkpoints, and its end. What the portal has already changes nothing.
func (j *Jobs) recover(ctx context.Context, w watched, ended bool) error {
	folder, workDir := w.kept()
	for {
		req := cloud.RecoverRequest{WorkID: w.m.WorkID(), Folder: folder, MachineID: w.m.ID, WorkDir: workDir, Offsets: map[platform.LogStream]int64{}, Ended: ended}
		for _, stream := range platform.LogStreams {
			size, _, err := j.DB.LogSize(ctx, w.m.WorkID(), stream)
			if err != nil {
				return err
			}
			req.Offsets[stream] = size
		}
		left, err := w.place.Recover(ctx, w.env, req)
		if err != nil {
			return err
		}
		j.Log.Info("read back what an agent left", "work", w.m.WorkID(), "machine", w.m.ID, "left", left.String())
		if err := j.keep(ctx, w, req, left); err != nil || !left.More {
			return err
		}
	}
}

// keep saves what was recovered: the end last, so that a crash before it only means to read all of it again.
func (j *Jobs) keep(ctx context.Context, w watched, req cloud.RecoverRequest, left cloud.Recovered) error {
	for stream, text := range left.Logs {
		for at := 0; at < len(text); at += platform.MaxLogChunk {
			chunk := text[at:min(len(text), at+platform.MaxLogChunk)]
			if _, err := j.DB.AppendLog(ctx, w.m, stream, req.Offsets[stream]+int64(at), chunk); err != nil && platform.ErrorCode(err) != platform.CodeConflict {
				return err
			}
		}
	}
	if left.More {
		left.End = nil // it comes again with what is left
	}
	if err := w.take(ctx, w.m, left); err != nil || left.End == nil {
		return err
	}
	if err := j.DB.AddSteps(ctx, w.m, left.End.Steps); err != nil {
		return err
	}
	return j.DB.AddEndReport(ctx, w.m, left.End.Report)
}
