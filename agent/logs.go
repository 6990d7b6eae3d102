package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"wherry/platform"
)

// logLook is how often a log file is looked at: the most that a line waits here, and how much of a flood goes together.
const logLook = 40 * time.Millisecond

// shipper sends a log file to the portal as it grows, in chunks by byte offset. The file is the buffer: whatever the
// portal has not taken is still in it, however long the portal is away.
type shipper struct {
	portal *portal
	stream platform.LogStream
	path   string
	offset int64
	ended  atomic.Bool
}

func newShipper(p *portal, stream platform.LogStream, path string, offsets map[platform.LogStream]int64) *shipper {
	return &shipper{portal: p, stream: stream, path: path, offset: offsets[stream]}
}

// finish lets run return once the file as it is now was sent.
func (s *shipper) finish() { s.ended.Store(true) }

// run sends the file until finish.
func (s *shipper) run(ctx context.Context) error {
	var file *os.File
	chunk := make([]byte, platform.MaxLogChunk)
	for {
		ended := s.ended.Load() // before reading: what was written until then is read
		if file == nil {
			file, _ = os.Open(s.path) // it appears when Nextflow begins to write it
			if file != nil {
				defer file.Close()
			}
		}
		n, err := s.read(file, chunk)
		switch {
		case err != nil:
			return fmt.Errorf("reading %s: %w", s.path, err)
		case n > 0:
			// A copy, because a request that was answered early may still be read from when the next chunk is.
			if err := s.send(ctx, bytes.Clone(chunk[:n])); err != nil {
				return err
			}
			if n == len(chunk) || ended {
				continue
			}
		case ended:
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(logLook):
		}
	}
}

func (s *shipper) read(file *os.File, chunk []byte) (int, error) {
	if file == nil {
		return 0, nil
	}
	n, err := file.ReadAt(chunk, s.offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// send sends a chunk. Where the portal has more, or less, than this agent thinks, the portal is right.
func (s *shipper) send(ctx context.Context, data []byte) error {
	path := fmt.Sprintf("/agent/logs/%s?offset=%d", s.stream, s.offset)
	answer, err := s.portal.callRaw(ctx, http.MethodPost, path, "application/octet-stream", data)
	var refused *refusal
	if errors.As(err, &refused) && refused.status == http.StatusConflict {
		answer, err = refused.body, nil
	}
	if err != nil {
		return err
	}
	var ack platform.LogAck
	if err := json.Unmarshal(answer, &ack); err != nil {
		return fmt.Errorf("the portal's answer to a log chunk: %w", err)
	}
	s.offset = ack.Next
	return nil
}
