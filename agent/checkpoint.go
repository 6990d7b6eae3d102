package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"wherry/platform"
)

const (
	// saveShare is how many times as long as a save took the agent waits before the next: saving takes a tenth of the
	// time at most.
	saveShare = 9
	// finalTries is how often the last save is tried, with saveRetry between.
	finalTries = 3
	saveRetry  = 2 * time.Second
)

// checkpoints keeps a Studio's workspace in the work directory, as archives.
type checkpoints struct {
	store     Store
	studioID  string
	workspace string
	every     time.Duration
	say       func(format string, args ...any) // to the people who read the session's log
	saved     func(platform.CheckpointReport)  // one is in the work directory

	mu     sync.Mutex // one save at a time
	print  uint64     // of the workspace as it was last saved or restored
	newest time.Time  // when this session's newest checkpoint was made; zero: it has none
}

// begin notes the workspace as it is. kept tells that this Studio has a checkpoint of it.
func (c *checkpoints) begin(ctx context.Context, kept bool) error {
	print, err := workspacePrint(ctx, c.workspace)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept {
		c.print = print
	}
	return nil
}

// run saves what has changed every so often, until working ends. saving ends a save that is under way.
func (c *checkpoints) run(working, saving context.Context) {
	pause := c.every
	for {
		select {
		case <-working.Done():
			return
		case <-time.After(pause):
		}
		began := time.Now()
		if err := c.save(saving, false); err != nil && saving.Err() == nil {
			c.say("The work could not be saved; it is tried again: %v.", err)
		}
		pause = max(c.every, saveShare*time.Since(began))
	}
}

// save keeps the workspace, if anything in it has changed since it was last kept.
func (c *checkpoints) save(ctx context.Context, final bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	print, err := workspacePrint(ctx, c.workspace)
	if err != nil || print == c.print {
		return err
	}
	id := platform.NewID()
	made, err := c.put(ctx, platform.CheckpointKey(c.studioID, id))
	if err != nil {
		return err
	}
	if n := len(made.unread); n > 0 {
		c.say("%d files could not be read and are not saved, such as %q.", n, made.unread[0])
	}
	c.print, c.newest = print, began
	c.say("The work is saved: %d files, %s, as an archive of %s.", made.files, sizeText(made.bytes), sizeText(made.size))
	c.saved(platform.CheckpointReport{ID: id, Saved: began.UTC(), Size: made.size, Files: made.files, Final: final})
	return nil
}

// put sends the archive as it is made. When it cannot be made to its end, the store has none.
func (c *checkpoints) put(ctx context.Context, key string) (made workspaceArchive, err error) {
	r, w := io.Pipe()
	defer context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		var err error
		made, err = packWorkspace(w, c.workspace)
		w.CloseWithError(err)
	}()
	err = c.store.Put(ctx, key, r)
	r.CloseWithError(errors.New("nobody reads any more"))
	<-packed
	return made, err
}

// saveLast keeps what the session leaves. It returns what people must know when that failed, or "".
func (c *checkpoints) saveLast(ctx context.Context) (failure string) {
	var err error
	for try := range finalTries {
		if try > 0 {
			c.say("The work could not be saved; it is tried again: %v.", err)
			select {
			case <-ctx.Done():
			case <-time.After(saveRetry):
			}
		}
		if err = c.save(ctx, true); err == nil {
			return ""
		}
		if ctx.Err() != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause := context.Cause(ctx); cause != nil {
		err = errors.New("there was not enough time before the machine's end")
	}
	since := "Nothing of this session could be kept; the Studio has what was kept before"
	if !c.newest.IsZero() {
		since = "What was changed after " + c.newest.UTC().Format("15:04:05 UTC on 2 January 2006") + ", when the newest checkpoint was saved, could not be kept"
	}
	return fmt.Sprintf("%s: %v.", since, err)
}

// restoreCheckpoint brings a checkpoint's files into an empty workspace.
func restoreCheckpoint(ctx context.Context, store Store, ref platform.CheckpointRef, workspace string) (made workspaceArchive, err error) {
	body, err := store.Get(ctx, platform.CheckpointKey(ref.StudioID, ref.CheckpointID))
	if err != nil {
		return made, err
	}
	defer body.Close()
	defer context.AfterFunc(ctx, func() { body.Close() })()
	return unpackWorkspace(body, workspace)
}

// forget removes archives that nobody wants any more, and returns the ids of those that are gone.
func forget(ctx context.Context, store Store, list []platform.CheckpointRef) (gone []string, err error) {
	var mu sync.Mutex
	err = each(ctx, list, func(ctx context.Context, ref platform.CheckpointRef) error {
		err := store.Delete(ctx, platform.CheckpointKey(ref.StudioID, ref.CheckpointID))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		gone = append(gone, ref.CheckpointID)
		return nil
	})
	return gone, err
}

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return cmp.Or(map[int64]string{1: "1 byte"}[n], fmt.Sprintf("%d bytes", n))
}
