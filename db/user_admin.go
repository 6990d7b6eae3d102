package db

import (
	"context"
	"strings"
	"time"

	"wherry/platform"
)

// addUser makes a user, who is in no organization and no workspace. An address or a user name that is taken is a platform.FieldErrors
// of no field, which does not tell which of the two it is.
func (t *tx) addUser(ctx context.Context, in platform.NewUser, passwordHash string) (u platform.User, err error) {
	u = platform.User{UserName: in.UserName, Email: in.Email, EmailChosen: in.EmailChosen, PasswordHash: passwordHash, Created: t.now.UTC()}
	err = t.QueryRowContext(ctx, `INSERT INTO users (user_name, email, password_hash, created_at, password_at, email_chosen) VALUES (?1, ?2, ?3, ?4, iif(?3 = '', 0, ?4), ?5) RETURNING id`,
		u.UserName, u.Email, passwordHash, millis(t.now), u.EmailChosen).Scan(&u.ID)
	if isUnique(err, "users.email") || isUnique(err, "users.user_name") {
		return u, platform.FieldErrors{"": "No account can be made with this e-mail address and user name. If you have an account, sign in instead; or choose another user name."}
	}
	t.audit(audited{action: "user.create", id: u.ID, name: u.UserName, after: map[string]any{"userName": u.UserName, "email": u.Email}})
	return u, err
}

// UserAccounts lists the users of the portal, by name.
func (d *DB) UserAccounts(ctx context.Context, part platform.ListPart) ([]platform.UserAccount, error) {
	return all(ctx, d.read, func(s scanner) (a platform.UserAccount, err error) {
		organizations := ""
		err = s.Scan(append(userFields(&a.User), timeColumn{&a.LastSeen}, &a.SecondFactor, &a.Sessions, &organizations)...)
		if organizations != "" {
			a.Organizations = strings.Split(organizations, ",")
		}
		return a, err
	}, `SELECT `+userColumns+`,
		max(coalesce((SELECT max(seen_at) FROM sessions WHERE user_id = users.id), 0), coalesce((SELECT max(last_used_at) FROM access_tokens WHERE user_id = users.id), 0)),
		EXISTS (SELECT 1 FROM second_factors f WHERE f.id = users.id AND f.confirmed_at > 0),
		(SELECT count(*) FROM sessions WHERE user_id = users.id AND expires_at > ?1),
		coalesce((SELECT group_concat(o.name || ' (' || om.role || ')') FROM organization_members om JOIN organizations o ON o.id = om.organization_id WHERE om.user_id = users.id), '')
		FROM users WHERE `+matchesUser+` ORDER BY users.user_name COLLATE NOCASE LIMIT ?3 OFFSET ?4`, millis(time.Now()), part.Text, part.Limit, part.Offset)
}

// forUser runs f on a user within a transaction; CodeNotFound when there is none.
func (d *DB) forUser(ctx context.Context, id int64, f func(*tx, platform.User) error) error {
	return d.inTx(ctx, func(t *tx) error {
		u, err := userByID(ctx, t, id)
		if err != nil {
			return userNotFound(err)
		}
		return f(t, u)
	})
}

func userNotFound(err error) error {
	if platform.ErrorCode(notFound(err, "user")) == platform.CodeNotFound {
		return platform.Errorf(platform.CodeNotFound, "This portal has no such user.")
	}
	return err
}

// DisableUser keeps a user out from now on: sessions end, and access tokens open nothing. CodeConflict for the last administrator,
// and the last owner of an organization.
func (d *DB) DisableUser(ctx context.Context, id int64) error {
	return d.forUser(ctx, id, func(t *tx, u platform.User) error {
		if !u.Disabled.IsZero() {
			return nil
		}
		t.audit(audited{action: "user.disable", id: id, name: u.UserName})
		if _, err := t.ExecContext(ctx, `UPDATE users SET disabled_at = ? WHERE id = ?`, millis(t.now), id); err != nil {
			return err
		}
		if err := t.endSessionsOf(ctx, id); err != nil {
			return err
		}
		if err := t.keepAnAdministrator(ctx); err != nil {
			return err
		}
		owned, err := all(ctx, t, scanInt, `SELECT organization_id FROM organization_members WHERE user_id = ? AND role = 'owner'`, id)
		for _, orgID := range owned {
			if err := t.keepAnOwner(ctx, orgID); err != nil {
				return err
			}
		}
		return err
	})
}

// EnableUser lets a user in again, who has to sign in anew.
func (d *DB) EnableUser(ctx context.Context, id int64) error {
	return d.forUser(ctx, id, func(t *tx, u platform.User) error {
		if u.Disabled.IsZero() {
			return nil
		}
		t.audit(audited{action: "user.enable", id: id, name: u.UserName})
		_, err := t.ExecContext(ctx, `UPDATE users SET disabled_at = 0 WHERE id = ?`, id)
		return err
	})
}

// SetAdministrator makes a user an administrator of the portal, or ends that; CodeConflict for the last one.
func (d *DB) SetAdministrator(ctx context.Context, id int64, admin bool) error {
	return d.forUser(ctx, id, func(t *tx, u platform.User) error {
		if u.Admin == admin {
			return nil
		}
		t.audit(audited{action: "user.update", id: id, name: u.UserName, before: map[string]any{"admin": u.Admin}, after: map[string]any{"admin": admin}})
		if _, err := t.ExecContext(ctx, `UPDATE users SET admin = ? WHERE id = ?`, admin, id); err != nil {
			return err
		}
		return t.keepAnAdministrator(ctx)
	})
}

// keepAnAdministrator refuses what a transaction did when nobody is left who administers the portal and may come in.
func (t *tx) keepAnAdministrator(ctx context.Context) error {
	var admins int
	err := t.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE admin = 1 AND disabled_at = 0`).Scan(&admins)
	if err == nil && admins == 0 {
		return platform.Errorf(platform.CodeConflict, "This is the last administrator of the portal, and it needs one. Make somebody else an administrator first.")
	}
	return err
}

// EndSessionsOf ends all sessions of a user, and what hangs on them: open pages, and connections to Studios.
func (d *DB) EndSessionsOf(ctx context.Context, id int64) error {
	return d.forUser(ctx, id, func(t *tx, u platform.User) error {
		t.audit(audited{action: "user.end-sessions", id: id, name: u.UserName})
		return t.endSessionsOf(ctx, id)
	})
}

func (t *tx) endSessionsOf(ctx context.Context, userID int64) error {
	if _, err := t.endOtherSessions(ctx, userID, ""); err != nil {
		return err
	}
	return t.changeMembersIn(ctx, `SELECT workspace_id FROM workspace_roles WHERE user_id = ?`, userID)
}

// ResetSecondFactor takes a user's second factor and recovery codes away, for one who has lost them, and ends their sessions.
func (d *DB) ResetSecondFactor(ctx context.Context, id int64) error {
	return d.forUser(ctx, id, func(t *tx, u platform.User) error {
		if _, err := t.deleteSecondFactor(ctx, id); err != nil {
			return err
		}
		t.audit(audited{action: "user.reset-second-factor", id: id, name: u.UserName})
		return t.endSessionsOf(ctx, id)
	})
}
