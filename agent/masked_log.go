package agent

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"wherry/mask"
)

const (
	// maskPause is how long nothing comes before what may be a secret's beginning is shown, as far as mask.Stream.Pause does.
	maskPause = 200 * time.Millisecond
	// fullPatience is how long a write to a full disk is tried again.
	fullPatience = 2 * time.Second
	// drainLimit is how long what holds on to a pipe may go on to write into it.
	drainLimit = 2 * time.Second
)

// maskedLog is a log as it may be read: what is written to its file is masked before. So all that reads the file sees the same
// bytes, however often, and offsets in it are those that the portal counts.
type maskedLog struct {
	mask *mask.Mask
	mu   sync.Mutex
	file *os.File
}

func openMaskedLog(path string, flags int, m *mask.Mask) (*maskedLog, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flags, 0o600)
	return &maskedLog{mask: m, file: file}, err
}

func (l *maskedLog) Close() error { return l.file.Close() }

// size is how long the log is, in bytes.
func (l *maskedLog) size() (int64, error) {
	info, err := l.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// say writes a text that is whole. It waits for nothing.
func (l *maskedLog) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.WriteString(l.mask.Text(text)) // a full disk is told otherwise
}

// write writes what is masked already. A disk that is full for long loses it, as it would be lost if its program wrote it.
func (l *maskedLog) write(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for began := time.Now(); len(text) > 0 && time.Since(began) < fullPatience; {
		n, err := l.file.Write(text)
		if text = text[n:]; err != nil {
			time.Sleep(maskPause)
		}
	}
}

// outputPipe takes what programs print.
type outputPipe struct {
	log         *maskedLog
	read, write *os.File
	ending      atomic.Bool
	done        chan struct{} // closed when all is in the log
}

// pipe makes a pipe into the log. Its end write is for programs; whoever made it closes that end by drain.
func (l *maskedLog) pipe() (*outputPipe, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &outputPipe{log: l, read: read, write: write, done: make(chan struct{})}
	go p.copy()
	return p, nil
}

// drain returns when all that the programs printed is in the log. One that still holds on to the pipe is not waited for.
func (p *outputPipe) drain() {
	p.write.Close()
	p.ending.Store(true)
	<-p.done
}

func (p *outputPipe) copy() {
	defer close(p.done)
	defer p.read.Close()
	stream := mask.Stream{Mask: p.log.mask}
	chunk, out := make([]byte, 64<<10), []byte(nil)
	var since time.Time // since when the pipe is to be empty
	for {
		ending := p.ending.Load() // before reading: what was written until then is read
		if ending && since.IsZero() {
			since = time.Now()
		}
		_ = p.read.SetReadDeadline(time.Now().Add(maskPause)) // pipes have deadlines
		n, err := p.read.Read(chunk)
		out = stream.Add(out[:0], chunk[:n])
		p.log.write(out)
		switch paused := errors.Is(err, os.ErrDeadlineExceeded); {
		case err != nil && !paused, ending && (paused || time.Since(since) > drainLimit):
			p.log.write(stream.End())
			return
		case paused:
			p.log.write(stream.Pause())
		}
	}
}

// copyLook is how often a file that is copied into a masked log is read.
const copyLook = logLook / 2

// copyLog copies a log that something else writes, as it grows, until ended is closed and all is copied. The copy appears when the
// log does.
func copyLog(from, to string, m *mask.Mask, ended <-chan struct{}) error {
	var file *os.File
	var log *maskedLog
	stream, looks := mask.Stream{Mask: m}, 0
	chunk, out := make([]byte, 256<<10), []byte(nil)
	for {
		over := isClosed(ended) // before reading: what was written until then is read
		if file == nil {
			var err error
			if file, err = os.Open(from); err == nil {
				defer file.Close()
				if log, err = openMaskedLog(to, os.O_TRUNC, m); err != nil {
					return err
				}
				defer log.Close()
			}
		}
		n := 0
		if file != nil {
			var err error
			if n, err = file.Read(chunk); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			out = stream.Add(out[:0], chunk[:n])
			log.write(out)
		}
		switch {
		case n > 0:
			looks = 0
			continue
		case over && log != nil:
			log.write(stream.End())
			return nil
		case over:
			return nil
		}
		if looks++; log != nil && time.Duration(looks)*copyLook >= maskPause {
			log.write(stream.Pause())
		}
		select {
		case <-ended:
		case <-time.After(copyLook):
		}
	}
}

// isClosed tells whether a channel that only ever is closed is.
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
