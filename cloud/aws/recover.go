package aws

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"wherry/cloud"
	"wherry/platform"
)

// Recover reads what the agent kept in the work directory and, where that lacks a log, what it streamed to CloudWatch. An agent
// keeps its files when it ends; until then, and when it had no time for it, CloudWatch has more.
func (a *AWS) Recover(ctx context.Context, env platform.ComputeEnv, req cloud.RecoverRequest) (cloud.Recovered, error) {
	var got cloud.Recovered
	var err error
	if req.Ended {
		if got, err = a.recoverKept(ctx, env, req); err != nil {
			return got, err
		}
	}
	if got.Logs == nil {
		got.Logs = map[platform.LogStream][]byte{}
	}
	if got.End != nil {
		return got, nil // it kept everything
	}
	for _, stream := range platform.LogStreams {
		text, more, err := a.streamed(ctx, env, req.WorkID, stream, req.Offsets[stream])
		if err != nil {
			return got, err
		}
		if len(text) > len(got.Logs[stream]) {
			got.Logs[stream] = text
		}
		got.More = got.More || more
	}
	return got, nil
}

func (a *AWS) recoverKept(ctx context.Context, env platform.ComputeEnv, req cloud.RecoverRequest) (cloud.Recovered, error) {
	return cloud.ReadKept(func(name string, offset int64) (io.ReadCloser, error) {
		bucket, key, err := keyIn(req.WorkDir, req.Folder+"/"+name)
		if err != nil {
			return nil, err
		}
		get, err := a.getter(ctx, env, bucket, key)
		if err != nil {
			return nil, err
		}
		out, err := get(ctx, offset)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fs.ErrNotExist
		}
		if err != nil {
			return nil, err
		}
		return out.Body, nil
	}, req)
}
