package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"sync"

	"wherry/platform"
)

// removeParts removes what a session of this Studio left half written when its agent was killed. There is no other session,
// and this one has not begun to save.
func (s *studio) removeParts() {
	folder, ok := s.store.(folderStore)
	if !ok {
		return // in other stores, what is half written is nothing
	}
	if err := folder.removeParts(path.Dir(platform.CheckpointKey(s.session.StudioID, ""))); err != nil {
		s.Log.Warn("what is left of a checkpoint could not be removed", "error", err)
	}
}

// removeUnwanted removes the archives that the portal wants removed, and tells which are gone. What fails is asked for
// again.
func (s *studio) removeUnwanted(ctx context.Context, list []platform.CheckpointRef) {
	if len(list) == 0 {
		return
	}
	gone, err := removeCheckpoints(ctx, s.store, list)
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("checkpoints could not be removed; it is tried again later", "error", err)
	}
	if len(gone) == 0 {
		return
	}
	if err := s.portal.call(ctx, http.MethodPost, "/agent/checkpoints/removed", gone, nil); err != nil {
		s.Log.Warn("the portal was not told which checkpoints are removed", "error", err)
		return
	}
	s.Log.Info("checkpoints are removed", "count", len(gone))
}

// removeCheckpoints removes archives that nobody wants any more, and returns the ids of those that are gone.
func removeCheckpoints(ctx context.Context, store Store, list []platform.CheckpointRef) (gone []string, err error) {
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
