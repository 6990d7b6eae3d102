package db

import (
	"context"

	"wherry/platform"
)

const memberQuery = `SELECT ` + userColumns + `, w.id, w.name, w.full_name, o.id, o.name, o.full_name, p.role
	FROM participants p JOIN users ON users.id = p.user_id JOIN workspaces w ON w.id = p.workspace_id
	JOIN organizations o ON o.id = w.organization_id WHERE p.user_id = ?`

func scanMember(s scanner) (m platform.Member, err error) {
	u, w := &m.User, &m.Workspace
	err = s.Scan(&u.ID, &u.UserName, &u.Email, &u.PasswordHash, timeColumn{&u.Created},
		&w.ID, &w.Name, &w.FullName, &w.Organization.ID, &w.Organization.Name, &w.Organization.FullName, &m.Role)
	return m, err
}

// Memberships lists the workspaces of a user with their role in each, by name.
func (d *DB) Memberships(ctx context.Context, userID int64) ([]platform.Member, error) {
	return all(ctx, d.read, scanMember, memberQuery+` ORDER BY o.name, w.name`, userID)
}

// Member reads a user as the named workspace sees them; CodeNotFound for one who is not in it, so that names of other
// workspaces are not given away.
func (d *DB) Member(ctx context.Context, userID int64, organization, workspace string) (platform.Member, error) {
	m, err := scanMember(d.read.QueryRowContext(ctx, memberQuery+` AND o.name = ? AND w.name = ?`, userID, organization, workspace))
	return m, notFound(err, "page")
}
