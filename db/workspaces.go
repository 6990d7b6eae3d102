package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"wherry/platform"
)

// workspaceColumns are of a workspace w in its organization o.
const workspaceColumns = `w.id, w.name, w.full_name, o.id, o.name, o.full_name`

// workspaceFields are where the workspaceColumns go.
func workspaceFields(w *platform.Workspace) []any {
	return []any{&w.ID, &w.Name, &w.FullName, &w.Organization.ID, &w.Organization.Name, &w.Organization.FullName}
}

// memberQuery reads users as workspaces see them. Somebody who was disabled is in none.
const memberQuery = `SELECT ` + userColumns + `, ` + workspaceColumns + `, r.role
	FROM workspace_roles p JOIN users ON users.id = p.user_id JOIN workspaces w ON w.id = p.workspace_id
	JOIN organizations o ON o.id = w.organization_id JOIN role_ranks r ON r.rank = p.rank WHERE users.disabled_at = 0 AND p.user_id = ?`

func scanMember(s scanner) (m platform.Member, err error) {
	err = s.Scan(slices.Concat(userFields(&m.User), workspaceFields(&m.Workspace), []any{&m.Role})...)
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
	return m, noWorkspace(err)
}

// MemberOf is Member by the workspace's id.
func (d *DB) MemberOf(ctx context.Context, userID, workspaceID int64) (platform.Member, error) {
	m, err := scanMember(d.read.QueryRowContext(ctx, memberQuery+` AND w.id = ?`, userID, workspaceID))
	return m, noWorkspace(err)
}

// noWorkspace says the same of a workspace that is not there as of one that the user is not in.
func noWorkspace(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return platform.Errorf(platform.CodeNotFound, "There is no such workspace, or you are not in it. Who manages its participants can add you.")
	}
	return err
}
