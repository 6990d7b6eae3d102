package studios

import (
	"context"
	"errors"
	"slices"

	"wherry/platform"
)

// Why somebody with a grant does not come in.
var (
	errSignedOut  = errors.New("signed out")
	errMayNot     = errors.New("may not connect")
	errNoStudio   = errors.New("no such Studio")
	errNotRunning = errors.New("not running")
)

// check asks the database whether a grant still says what is so: its sign-in session is there, its user is a member who may
// connect, and the Studio runs. The Studio comes with errNotRunning too. A request to a Studio is a use of the sign-in session, and
// keeps it alive (use); that a page is open is none.
func (s *Studios) check(ctx context.Context, g grant, use bool) (studio platform.Studio, m platform.Member, err error) {
	look := s.DB.LookAtSession
	if use {
		look = s.DB.Session
	}
	session, err := look(ctx, g.Session, s.now())
	switch {
	case platform.ErrorCode(err) == platform.CodeNotFound, err == nil && session.UserID != g.User:
		return studio, m, errSignedOut
	case err != nil:
		return studio, m, err
	}
	studio, err = s.DB.AnyStudio(ctx, g.Studio)
	switch {
	case platform.ErrorCode(err) == platform.CodeNotFound:
		return studio, m, errNoStudio
	case err != nil:
		return studio, m, err
	}
	members, err := s.DB.Memberships(ctx, g.User)
	if err != nil {
		return studio, m, err
	}
	i := slices.IndexFunc(members, func(m platform.Member) bool { return m.Workspace.ID == studio.WorkspaceID })
	if i < 0 || !studio.MayConnect(members[i]) {
		return platform.Studio{}, m, errMayNot
	}
	if studio.Session == nil || !studio.Session.Connectable() {
		return studio, members[i], errNotRunning
	}
	return studio, members[i], nil
}

// over tells whether an error of check means that access has ended, and not that it could not be asked for.
func over(err error) bool {
	return errors.Is(err, errSignedOut) || errors.Is(err, errMayNot) || errors.Is(err, errNoStudio) || errors.Is(err, errNotRunning)
}
