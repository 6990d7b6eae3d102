package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
		pause = c.pauseAfter(time.Since(began))
	}
}

// pauseAfter is how long nothing is saved after a save that took so long.
func (c *checkpoints) pauseAfter(took time.Duration) time.Duration {
	return max(c.every, saveShare*took)
}

// save keeps the workspace, if anything in it has changed since it was last kept.
func (c *checkpoints) save(ctx context.Context, final bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	print, err := workspacePrint(ctx, c.workspace)
	if err != nil {
		return err
	}
	if print == c.print {
		if final {
			c.say("Nothing in the work is new, so no more of it is saved.")
		}
		return nil
	}
	id := platform.NewID()
	made, err := c.put(ctx, platform.CheckpointKey(c.studioID, id))
	if err != nil {
		return err
	}
	if n := len(made.unread); n > 0 {
		c.say("Not saved, because it could not be read: %s, such as %q.", countText(n, "file"), made.unread[0])
	}
	c.print, c.newest = print, began
	c.say("The work is saved: %s, %s, as an archive of %s.", countText(made.files, "file"), sizeText(made.bytes), sizeText(made.size))
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

// restoreTries is how often a checkpoint is read: what comes from afar may break off.
const restoreTries = 2

// restoreCheckpoint brings a checkpoint's files into an empty workspace.
func restoreCheckpoint(ctx context.Context, store Store, ref platform.CheckpointRef, workspace string) (made workspaceArchive, err error) {
	for range restoreTries {
		made, err = restoreOnce(ctx, store, ref, workspace)
		if err == nil || ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
			return made, err
		}
		if err := emptyFolder(workspace); err != nil {
			return made, err
		}
	}
	return made, err
}

func restoreOnce(ctx context.Context, store Store, ref platform.CheckpointRef, workspace string) (made workspaceArchive, err error) {
	body, err := store.Get(ctx, platform.CheckpointKey(ref.StudioID, ref.CheckpointID))
	if err != nil {
		return made, err
	}
	defer body.Close()
	defer context.AfterFunc(ctx, func() { body.Close() })()
	return unpackWorkspace(body, workspace)
}

// emptyFolder removes all that is in a folder.
func emptyFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
	}
	return err
}
