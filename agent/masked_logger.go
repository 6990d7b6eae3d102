package agent

import (
	"io"
	"sync/atomic"

	"wherry/mask"
)

// maskedWriter masks the agent's own log, which comes in whole lines. Its mask is another once the work, and with it the secrets, is
// known.
type maskedWriter struct {
	to   io.Writer
	mask atomic.Pointer[mask.Mask]
}

func (w *maskedWriter) Write(line []byte) (int, error) {
	text := line
	if m := w.mask.Load(); m != nil {
		text = m.Bytes(line)
	}
	if _, err := w.to.Write(text); err != nil {
		return 0, err
	}
	return len(line), nil
}
