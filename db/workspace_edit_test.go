package db

import (
	"testing"

	"wherry/platform"
)

// TestTheIDOfADeletedWorkspaceIsNoOthers, in no other organization either.
func TestTheIDOfADeletedWorkspaceIsNoOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, before := t.Context(), int64(0)
	for _, name := range []string{"one", "two", "three"} {
		w := platform.Workspace{Organization: f.member.Workspace.Organization, Name: name, FullName: name}
		must(t, f.AddWorkspace(ctx, &w))
		if w.ID <= before {
			t.Errorf("%s has the id %d after %d was deleted", name, w.ID, before)
		}
		before = w.ID
		must(t, f.DeleteWorkspace(ctx, w))
	}
}
