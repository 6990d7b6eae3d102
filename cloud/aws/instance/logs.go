package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"wherry/cloud/aws/logevent"
	"wherry/platform"
)

// Limits of PutLogEvents (CloudWatch Logs API reference), and of the patience with it.
const (
	maxBatchBytes  = 1 << 20
	eventOverhead  = 26
	maxBatchEvents = 10_000
	// sendEvery is how long lines wait for others to go with.
	sendEvery = time.Second
	// endLimit is how long the last lines are tried for when the log has ended.
	endLimit = 20 * time.Second
	// giveUpAfter is how long CloudWatch may fail before the log does without it.
	giveUpAfter = 10 * time.Minute
	maxPause    = 30 * time.Second
)

// logStream sends one log.
type logStream struct {
	client        *cloudwatchlogs.Client
	group, stream string
	path          string
	offset        int64
	made          bool
}

// StreamLog sends a log file to the environment's log group. Without a group it does nothing.
func (i *Instance) StreamLog(ctx context.Context, spec platform.Spec, stream platform.LogStream, file string, ended <-chan struct{}) error {
	if spec.Cloud.LogGroup == "" {
		return nil
	}
	config, err := i.config(ctx, spec)
	if err != nil {
		return err
	}
	l := &logStream{client: cloudwatchlogs.NewFromConfig(config), group: spec.Cloud.LogGroup, stream: logevent.Stream(spec.WorkID(), stream), path: file}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-ended:
			time.AfterFunc(endLimit, cancel)
		case <-ctx.Done():
		}
	}()
	return l.follow(ctx, ended)
}

// follow sends what comes, and repeats what failed with growing pauses.
func (l *logStream) follow(ctx context.Context, ended <-chan struct{}) error {
	failing, pause := time.Time{}, sendEvery
	for {
		over := isClosed(ended) // before reading: what was written until then is read
		more, err := l.send(ctx, over)
		switch {
		case err == nil && more:
			failing, pause = time.Time{}, sendEvery
			continue
		case err == nil && over:
			return nil
		case err == nil:
			failing, pause = time.Time{}, sendEvery
		case ctx.Err() != nil || refused(err):
			return fmt.Errorf("CloudWatch Logs does not have %s from byte %d on: %w", l.stream, l.offset, err)
		case failing.IsZero():
			failing = time.Now()
		case time.Since(failing) > giveUpAfter:
			return fmt.Errorf("CloudWatch Logs does not have %s from byte %d on, after %s of failures: %w", l.stream, l.offset, giveUpAfter, err)
		default:
			pause = min(2*pause, maxPause)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-whenOpen(ended, over):
		case <-time.After(pause):
		}
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// whenOpen is ch, or nothing once it is known to be closed.
func whenOpen(ch <-chan struct{}, closed bool) <-chan struct{} {
	if closed {
		return nil
	}
	return ch
}

// refused tells whether repeating a call is of no use.
func refused(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (api.ErrorCode() == "AccessDeniedException" || api.ErrorCode() == "UnrecognizedClientException")
}

// send sends one batch of what is new; more tells that there may be another. An unfinished last line waits until it is
// finished, too long for one event, or the log's last.
func (l *logStream) send(ctx context.Context, over bool) (more bool, err error) {
	text, err := l.read()
	if err != nil {
		return false, err
	}
	full := len(text) == maxBatchBytes
	if !over {
		text = finished(text)
	}
	batch := l.batch(text)
	if len(batch) == 0 {
		return false, nil
	}
	if err := l.put(ctx, batch); err != nil {
		return false, err
	}
	sent := 0
	for _, e := range logevent.Split(l.offset, text)[:len(batch)] {
		sent += len(e.Text)
	}
	l.offset += int64(sent)
	return full || sent < len(text), nil
}

func (l *logStream) read() ([]byte, error) {
	file, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it appears when Nextflow begins to write it
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text := make([]byte, maxBatchBytes)
	n, err := file.ReadAt(text, l.offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return text[:n], err
}

// finished cuts off an unfinished last line, unless it fills events of its own.
func finished(text []byte) []byte {
	end := bytes.LastIndexByte(text, '\n') + 1
	rest := (len(text) - end) / logevent.MaxText * logevent.MaxText
	return text[:end+rest]
}

// batch makes as many events of a text as one call may have.
func (l *logStream) batch(text []byte) (batch []types.InputLogEvent) {
	size, now := 0, time.Now().UnixMilli()
	for _, e := range logevent.Split(l.offset, text) {
		message := logevent.Encode(e)
		if size += len(message) + eventOverhead; size > maxBatchBytes || len(batch) == maxBatchEvents {
			break
		}
		batch = append(batch, types.InputLogEvent{Message: &message, Timestamp: &now})
	}
	return batch
}

// put sends a batch, and makes the stream, and the group, where they are missing.
func (l *logStream) put(ctx context.Context, batch []types.InputLogEvent) error {
	if !l.made {
		if err := l.makeStream(ctx); err != nil {
			return err
		}
	}
	_, err := l.client.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: &l.group, LogStreamName: &l.stream, LogEvents: batch})
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		l.made = false // someone removed it; the next try makes it again
	}
	return err
}

func (l *logStream) makeStream(ctx context.Context) error {
	input := &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &l.group, LogStreamName: &l.stream}
	_, err := l.client.CreateLogStream(ctx, input)
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		_, err = l.client.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: awssdk.String(l.group)})
		if err == nil || isThere(err) {
			_, err = l.client.CreateLogStream(ctx, input)
		}
	}
	l.made = err == nil || isThere(err)
	if l.made {
		return nil
	}
	return err
}

func isThere(err error) bool {
	var there *types.ResourceAlreadyExistsException
	return errors.As(err, &there)
}
