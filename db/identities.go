package db

import (
	"context"
	"fmt"
	"slices"
	"time"

	"wherry/platform"
)

// UserByIdentity finds the user whose identity at a provider it is.
func (d *DB) UserByIdentity(ctx context.Context, issuer, subject string) (platform.User, error) {
	u, err := scanUser(d.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM identities i JOIN users ON users.id = i.user_id
		WHERE i.issuer = ? AND i.subject = ?`, issuer, subject))
	return u, notFound(err, "identity")
}

// Identities lists who a user is at providers.
func (d *DB) Identities(ctx context.Context, userID int64) ([]platform.Identity, error) {
	return all(ctx, d.read, func(s scanner) (i platform.Identity, err error) {
		err = s.Scan(&i.Issuer, &i.Subject, &i.UserID, timeColumn{&i.Created})
		return i, err
	}, `SELECT issuer, subject, user_id, created_at FROM identities WHERE user_id = ? ORDER BY created_at`, userID)
}

// LinkIdentity lets a user sign in by an identity at a provider from now on. One that is somebody else's is a conflict.
func (d *DB) LinkIdentity(ctx context.Context, i platform.Identity) error {
	return d.inTx(ctx, func(t *tx) error { return t.linkIdentity(ctx, i) })
}

func (t *tx) linkIdentity(ctx context.Context, i platform.Identity) error {
	_, err := t.ExecContext(ctx, `INSERT INTO identities (issuer, subject, user_id, created_at) VALUES (?, ?, ?, ?)`, i.Issuer, i.Subject, i.UserID, millis(t.now))
	if isUnique(err, "identities.subject") {
		return platform.Errorf(platform.CodeConflict, "This identity at the provider belongs to a user of this portal already. Unlink it there first.")
	}
	if err != nil {
		return err
	}
	return t.auditUser(ctx, "user.link-identity", i.UserID, nil, map[string]any{"issuer": i.Issuer, "subject": i.Subject})
}

// UnlinkIdentities takes a user's identities at a provider away.
func (d *DB) UnlinkIdentities(ctx context.Context, userID int64, issuer string) error {
	return d.inTx(ctx, func(t *tx) error {
		subjects, err := all(ctx, t, scanString, `DELETE FROM identities WHERE user_id = ? AND issuer = ? RETURNING subject`, userID, issuer)
		if err != nil {
			return err
		}
		for _, subject := range subjects {
			if err := t.auditUser(ctx, "user.unlink-identity", userID, map[string]any{"issuer": issuer, "subject": subject}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// InvitationIsOpenFor tells whether somebody with that e-mail address is invited.
func (d *DB) InvitationIsOpenFor(ctx context.Context, email string) (open bool, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM invitations WHERE lower(email) = ? AND expires_at > ?)`, email, millis(time.Now())).Scan(&open)
	return open, err
}

// AddUserByIdentity makes a user without a password of somebody whom a provider knows. Where the name is taken, a number is added.
func (d *DB) AddUserByIdentity(ctx context.Context, i platform.Identity, name, email string) (u platform.User, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		if name, err = t.freeUserName(ctx, name); err != nil {
			return err
		}
		u, err = t.addUser(ctx, platform.NewUser{UserName: name, Email: email}, "")
		if platform.ErrorCode(err) == platform.CodeInvalid { // the name is free
			return platform.Errorf(platform.CodeConflict, "Another user of this portal has this e-mail address.")
		}
		if err != nil {
			return err
		}
		i.UserID = u.ID
		if err := t.linkIdentity(ctx, i); err != nil {
			return err
		}
		return t.acceptInvitations(ctx, u)
	})
	return u, err
}

// acceptInvitations gives a new user, whose e-mail address is verified, all that they are invited to by it.
func (t *tx) acceptInvitations(ctx context.Context, u platform.User) error {
	open, err := all(ctx, t, scanString, `SELECT token_hash FROM invitations WHERE lower(email) = ? AND expires_at > ? ORDER BY created_at`, u.Email, millis(t.now))
	if err != nil {
		return err
	}
	for _, tokenHash := range open {
		// Who invited may not invite any more.
		if _, err := t.acceptInvitation(ctx, tokenHash, u); err != nil && platform.ErrorCode(err) != platform.CodeGone {
			return err
		}
	}
	return nil
}

func (t *tx) freeUserName(ctx context.Context, wish string) (string, error) {
	for n, name := 2, wish; ; n++ {
		var taken bool
		if err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE user_name = ?)`, name).Scan(&taken); err != nil || !taken {
			return name, err
		}
		name = fmt.Sprintf("%s-%d", wish, n)
	}
}

// groupTeam is a team in which a user is, or is to be, by a group of the provider.
type groupTeam struct {
	id, orgID   int64
	name, group string
}

func scanGroupTeam(s scanner) (g groupTeam, err error) {
	err = s.Scan(&g.id, &g.orgID, &g.name, &g.group)
	return g, err
}

// FollowGroups puts a user into the teams of their groups at the provider, and takes them out of those in which another group had
// put them. Who is in a team by hand stays there.
func (d *DB) FollowGroups(ctx context.Context, user platform.User, groups []string) error {
	return d.inTx(ctx, func(t *tx) error {
		mapped, err := all(ctx, t, scanGroupTeam, `SELECT t.id, t.organization_id, t.name, g.name FROM idp_groups g JOIN teams t ON t.id = g.team_id AND t.organization_id = g.organization_id`)
		if err != nil {
			return err
		}
		wanted := map[int64]groupTeam{}
		for _, g := range mapped {
			if slices.Contains(groups, g.group) {
				wanted[g.id] = g
			}
		}
		current, err := all(ctx, t, scanGroupTeam, `SELECT t.id, t.organization_id, t.name, '' FROM team_members m JOIN teams t ON t.id = m.team_id WHERE m.user_id = ? AND m.from_group = 1`, user.ID)
		if err != nil {
			return err
		}
		for _, g := range current {
			if _, stays := wanted[g.id]; stays {
				continue
			}
			if err := t.leaveGroupTeam(ctx, user, g); err != nil {
				return err
			}
		}
		for _, g := range wanted {
			if err := t.joinGroupTeam(ctx, user, g); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) leaveGroupTeam(ctx context.Context, user platform.User, g groupTeam) error {
	if _, err := t.ExecContext(ctx, `DELETE FROM team_members WHERE team_id = ? AND user_id = ? AND from_group = 1`, g.id, user.ID); err != nil {
		return err
	}
	t.audit(audited{action: "team.remove-member", orgID: g.orgID, id: g.id, name: g.name, before: map[string]any{"userName": user.UserName, "fromGroup": true}})
	return t.changeMembersByTeam(ctx, g.id)
}

func (t *tx) joinGroupTeam(ctx context.Context, user platform.User, g groupTeam) error {
	joined, err := t.changed(ctx, `INSERT INTO organization_members VALUES (?, ?, 'member') ON CONFLICT DO NOTHING`, g.orgID, user.ID)
	if err != nil {
		return err
	}
	if joined {
		t.audit(audited{action: "member.add", orgID: g.orgID, kind: "user", id: user.ID, name: user.UserName, after: map[string]any{"role": platform.OrgMember, "group": g.group}})
	}
	if joined, err = t.changed(ctx, `INSERT INTO team_members (team_id, user_id, from_group) VALUES (?, ?, 1) ON CONFLICT DO NOTHING`, g.id, user.ID); err != nil || !joined {
		return err
	}
	t.audit(audited{action: "team.add-member", orgID: g.orgID, id: g.id, name: g.name, after: map[string]any{"userName": user.UserName, "group": g.group}})
	return t.changeMembersByTeam(ctx, g.id)
}
