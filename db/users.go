package db

import (
	"context"
	"strings"
	"time"

	"wherry/platform"
)

const userColumns = `users.id, users.user_name, users.email, users.password_hash, users.created_at, users.admin, users.disabled_at, users.email_chosen`

func scanUser(s scanner) (u platform.User, err error) {
	err = s.Scan(userFields(&u)...)
	return u, err
}

// userFields are where the userColumns go.
func userFields(u *platform.User) []any {
	return []any{&u.ID, &u.UserName, &u.Email, &u.PasswordHash, timeColumn{&u.Created}, &u.Admin, timeColumn{&u.Disabled}, &u.EmailChosen}
}

// UserCount tells how many users there are; with none the portal shows its set-up page.
func (d *DB) UserCount(ctx context.Context) (n int, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT count(*) FROM users`).Scan(&n)
	return n, err
}

// UserByID reads a user.
func (d *DB) UserByID(ctx context.Context, id int64) (platform.User, error) {
	u, err := userByID(ctx, d.read, id)
	return u, notFound(err, "user")
}

func userByID(ctx context.Context, q queryer, id int64) (platform.User, error) {
	return scanUser(q.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE id = ?`, id))
}

// UserByLogin finds a user by e-mail address or user name.
func (d *DB) UserByLogin(ctx context.Context, login string) (platform.User, error) {
	login = strings.TrimSpace(login)
	u, err := scanUser(d.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE email = ? OR user_name = ?`,
		strings.ToLower(login), login))
	return u, notFound(err, "user")
}

// SetUp makes the first user, as owner of the first organization and workspace. It answers CodeConflict once there is a
// user. passwordHash is the argon2id hash of s.Password.
func (d *DB) SetUp(ctx context.Context, s platform.SetUp, passwordHash string) (m platform.Member, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		var users int
		if err := t.QueryRowContext(ctx, `SELECT count(*) FROM users`).Scan(&users); err != nil {
			return err
		}
		if users > 0 {
			return platform.Errorf(platform.CodeConflict, "This portal has been set up already. Sign in instead.")
		}
		m = platform.Member{Role: platform.RoleOwner,
			User:      platform.User{UserName: s.UserName, Email: s.Email, PasswordHash: passwordHash, Created: t.now.UTC(), Admin: true},
			Workspace: platform.Workspace{Name: s.Workspace, FullName: s.Workspace, Organization: platform.Organization{Name: s.Organization, FullName: s.Organization}}}
		if err := t.insertFirstMember(ctx, &m); err != nil {
			return err
		}
		t.audit(audited{action: "portal.set-up", workspaceID: m.Workspace.ID, kind: "user", id: m.User.ID, name: m.User.UserName, after: map[string]any{
			"userName": m.User.UserName, "email": m.User.Email, "organization": m.Workspace.Organization.Name, "workspace": m.Workspace.Name}})
		return nil
	})
	return m, err
}

func (t *tx) insertFirstMember(ctx context.Context, m *platform.Member) error {
	w := &m.Workspace
	for _, insert := range []struct {
		id    *int64
		query string
		args  []any
	}{
		{&m.User.ID, `INSERT INTO users (user_name, email, password_hash, created_at, password_at, admin) VALUES (?1, ?2, ?3, ?4, ?4, 1) RETURNING id`,
			[]any{m.User.UserName, m.User.Email, m.User.PasswordHash, millis(t.now)}},
		{&w.Organization.ID, `INSERT INTO organizations (name, full_name, created_at) VALUES (?, ?, ?) RETURNING id`,
			[]any{w.Organization.Name, w.Organization.FullName, millis(t.now)}},
	} {
		if err := t.QueryRowContext(ctx, insert.query, insert.args...).Scan(insert.id); err != nil {
			return err
		}
	}
	if _, err := t.ExecContext(ctx, `INSERT INTO organization_members VALUES (?, ?, 'owner')`, w.Organization.ID, m.User.ID); err != nil {
		return err
	}
	err := t.QueryRowContext(ctx, `INSERT INTO workspaces (organization_id, name, full_name, created_at) VALUES (?, ?, ?, ?) RETURNING id`,
		w.Organization.ID, w.Name, w.FullName, millis(t.now)).Scan(&w.ID)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `INSERT INTO participants VALUES (?, ?, ?)`, w.ID, m.User.ID, m.Role)
	return err
}

// auditUser notes what happened to a user, and is about no organization.
func (t *tx) auditUser(ctx context.Context, action string, userID int64, before, after any) error {
	var name string
	if err := t.QueryRowContext(ctx, `SELECT user_name FROM users WHERE id = ?`, userID).Scan(&name); err != nil {
		return notFound(err, "user")
	}
	t.audit(audited{action: action, kind: "user", id: userID, name: name, before: before, after: after})
	return nil
}

// SetPassword gives a user another password, by its argon2id hash, and ends all their sessions but the one with the id keep.
func (d *DB) SetPassword(ctx context.Context, userID int64, hash, keep string) error {
	return d.inTx(ctx, func(t *tx) error {
		if _, err := t.ExecContext(ctx, `UPDATE users SET password_hash = ?, password_at = ? WHERE id = ?`, hash, millis(t.now), userID); err != nil {
			return err
		}
		if err := t.auditUser(ctx, "user.set-password", userID, nil, map[string]any{"secretChanged": true}); err != nil {
			return err
		}
		_, err := t.endOtherSessions(ctx, userID, keep)
		return err
	})
}

// SetEmail gives a user another e-mail address, which they chose themselves.
func (d *DB) SetEmail(ctx context.Context, userID int64, email string) error {
	return d.inTx(ctx, func(t *tx) error {
		var before string
		if err := t.QueryRowContext(ctx, `SELECT email FROM users WHERE id = ?`, userID).Scan(&before); err != nil {
			return notFound(err, "user")
		}
		_, err := t.ExecContext(ctx, `UPDATE users SET email = ?, email_chosen = 1 WHERE id = ?`, email, userID)
		if isUnique(err, "users.email") {
			return platform.FieldErrors{"email": "Another user of this portal has this e-mail address."}
		}
		if err != nil {
			return err
		}
		return t.auditUser(ctx, "user.update", userID, map[string]any{"email": before}, map[string]any{"email": email})
	})
}

// SignInFailed writes down that somebody was not let in: who was tried, and why not.
func (d *DB) SignInFailed(ctx context.Context, user platform.User, login, why string) error {
	return d.inTx(ctx, func(t *tx) error {
		a := audited{action: "user.sign-in-failed", kind: "user", name: login, after: map[string]any{"reason": why}}
		if user.ID != 0 {
			a.id, a.name = user.ID, user.UserName
		}
		t.audit(a)
		return nil
	})
}

// AddSignInLink keeps the hash of a token that signs the user in once, until expires.
func (d *DB) AddSignInLink(ctx context.Context, userID int64, tokenHash string, expires time.Time) error {
	return d.inTx(ctx, func(t *tx) error {
		if _, err := t.ExecContext(ctx, `INSERT INTO sign_in_links VALUES (?, ?, ?)`, tokenHash, userID, millis(expires)); err != nil {
			return err
		}
		return t.auditUser(ctx, "user.add-sign-in-link", userID, nil, map[string]any{"expires": expires.UTC()})
	})
}

// UseSignInLink takes a sign-in link away and returns whose it was; CodeNotFound when it was used or is too old.
func (d *DB) UseSignInLink(ctx context.Context, tokenHash string) (u platform.User, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		var id int64
		err := t.QueryRowContext(ctx, `DELETE FROM sign_in_links WHERE token_hash = ? AND expires_at > ? RETURNING user_id`,
			tokenHash, millis(t.now)).Scan(&id)
		if err == nil {
			u, err = scanUser(t.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE id = ? AND disabled_at = 0`, id))
		}
		if err == nil {
			t.audit(audited{action: "user.use-sign-in-link", kind: "user", id: u.ID, name: u.UserName})
		}
		return notFound(err, "sign-in link")
	})
	return u, err
}
