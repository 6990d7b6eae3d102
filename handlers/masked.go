package handlers

import (
	"context"
	"errors"
	"io"

	"wherry/mask"
	"wherry/platform"
)

// longestSecret is how many bytes a pipeline's secret has at most in a text, where each of its bytes may be written as several.
const longestSecret = 6 * platform.MaxSecretValue

// maskOf knows the secrets that a run was given, as far as the portal still has them. What the run's tasks wrote was written by
// them and is not masked where it lies; it is when it is shown.
func (h *Handlers) maskOf(ctx context.Context, r platform.Run) (*mask.Mask, error) {
	values, err := h.DB.RunSecretValues(ctx, r)
	if err != nil {
		return nil, err
	}
	env, err := h.DB.OpenComputeEnv(ctx, r.ComputeEnvID)
	if err != nil {
		return nil, err
	}
	return mask.New(append(values, env.AccessToken.Reveal())...), nil
}

// maskedEnd masks a text of which only what follows the first bytes is shown. They are there because a secret may begin in them.
func maskedEnd(m *mask.Mask, text []byte, before int) []byte {
	s := mask.Stream{Mask: m}
	s.Add(nil, text[:before])
	return append(s.Add(nil, text[before:]), s.End()...)
}

// maskedReader masks a text while it is read.
type maskedReader struct {
	from   io.Reader
	stream mask.Stream
	ready  []byte // masked, and not read yet
	err    error  // of from
}

// Read is io.Reader's.
func (r *maskedReader) Read(p []byte) (int, error) {
	var part [32 << 10]byte
	for len(r.ready) == 0 && r.err == nil {
		var n int
		n, r.err = r.from.Read(part[:])
		r.ready = r.stream.Add(r.ready[:0], part[:n])
		if errors.Is(r.err, io.EOF) {
			r.ready = append(r.ready, r.stream.End()...)
		}
	}
	if len(r.ready) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}
