package db

import (
	"context"
	"database/sql"
	"errors"

	"wherry/platform"
)

// Participants lists who is in a workspace, by name or by a team or as owners of the organization, with what they are by each.
func (d *DB) Participants(ctx context.Context, w platform.Workspace, part platform.ListPart) ([]platform.Participant, error) {
	list, err := all(ctx, d.read, func(s scanner) (p platform.Participant, err error) {
		err = s.Scan(append(userFields(&p.User), &p.Role, &p.Own, &p.OrgRole)...)
		return p, err
	}, `SELECT `+userColumns+`, r.role, coalesce(own.role, ''), coalesce(om.role, 'collaborator')
		FROM workspace_roles wr JOIN users ON users.id = wr.user_id JOIN role_ranks r ON r.rank = wr.rank
		LEFT JOIN participants own ON own.workspace_id = wr.workspace_id AND own.user_id = wr.user_id
		LEFT JOIN organization_members om ON om.organization_id = ?5 AND om.user_id = wr.user_id
		WHERE wr.workspace_id = ?1 AND `+matchesUser+` ORDER BY users.user_name COLLATE NOCASE LIMIT ?3 OFFSET ?4`,
		w.ID, part.Text, part.Limit, part.Offset, w.Organization.ID)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Teams, err = d.teamRoles(ctx, w.ID, list[i].User.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

const teamRoleQuery = `SELECT t.id, t.organization_id, t.name, t.description, (SELECT count(*) FROM team_members tm WHERE tm.team_id = t.id), p.role
	FROM team_participants p JOIN teams t ON t.id = p.team_id WHERE p.workspace_id = ? `

func scanTeamRole(s scanner) (r platform.TeamRole, err error) {
	t := &r.Team
	err = s.Scan(&t.ID, &t.OrganizationID, &t.Name, &t.Description, &t.Members, &r.Role)
	return r, err
}

// teamRoles lists the teams by which a user is in a workspace.
func (d *DB) teamRoles(ctx context.Context, workspaceID, userID int64) ([]platform.TeamRole, error) {
	return all(ctx, d.read, scanTeamRole, teamRoleQuery+`AND t.id IN (SELECT team_id FROM team_members WHERE user_id = ?) ORDER BY t.name`, workspaceID, userID)
}

// TeamParticipants lists the teams that are in a workspace, by name.
func (d *DB) TeamParticipants(ctx context.Context, workspaceID int64) ([]platform.TeamRole, error) {
	return all(ctx, d.read, scanTeamRole, teamRoleQuery+`ORDER BY t.name`, workspaceID)
}

// SetParticipant gives somebody who is in the workspace of by, in whatever way, a role by name. by must hold that role at least, and
// that which they have by name already.
func (d *DB) SetParticipant(ctx context.Context, by platform.Member, userID int64, role platform.Role) error {
	return d.inTx(ctx, func(t *tx) error {
		u, err := scanUser(t.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users JOIN workspace_roles wr ON wr.user_id = users.id
			WHERE wr.workspace_id = ? AND users.id = ?`, by.Workspace.ID, userID))
		if err != nil {
			return notFound(err, "participant")
		}
		return t.setParticipant(ctx, by, u, role)
	})
}

// AddParticipant is SetParticipant for anybody who is known here, by user name or e-mail address: one who is no member of the
// organization is a collaborator. platform.FieldErrors of the field "login" for somebody who is not
// known, or who has a role by name already.
func (d *DB) AddParticipant(ctx context.Context, by platform.Member, login string, role platform.Role) (u platform.User, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		if u, err = t.userByLogin(ctx, "login", login); err != nil {
			return err
		}
		was, err := t.ownRole(ctx, by.Workspace.ID, u.ID)
		if err == nil && was != "" {
			return platform.FieldErrors{"login": u.UserName + " is in this workspace already. Change the role in the list."}
		}
		if err != nil {
			return err
		}
		return t.setParticipant(ctx, by, u, role)
	})
	return u, err
}

// ownRole is a user's role by name; empty for none.
func (t *tx) ownRole(ctx context.Context, workspaceID, userID int64) (role platform.Role, err error) {
	err = t.QueryRowContext(ctx, `SELECT role FROM participants WHERE workspace_id = ? AND user_id = ?`, workspaceID, userID).Scan(&role)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return role, err
}

// roleIn is a user's role in a workspace by all that they are; empty for somebody who is not in it, or was disabled.
func (t *tx) roleIn(ctx context.Context, workspaceID, userID int64) (role platform.Role, err error) {
	err = t.QueryRowContext(ctx, `SELECT r.role FROM workspace_roles wr JOIN role_ranks r ON r.rank = wr.rank JOIN users u ON u.id = wr.user_id
		WHERE wr.workspace_id = ? AND wr.user_id = ? AND u.disabled_at = 0`, workspaceID, userID).Scan(&role)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return role, err
}

// mayGive refuses to give or take roles above one's own, which is asked for in the transaction: it may have changed since the page
// was shown.
func (t *tx) mayGive(ctx context.Context, by platform.Member, roles ...platform.Role) error {
	own, err := t.roleIn(ctx, by.Workspace.ID, by.User.ID)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if role != "" && !own.MayGive(role) {
			return platform.Errorf(platform.CodeForbidden, "Your role in this workspace is %s: you cannot give or take the role %s. Ask an owner of the workspace.", own, role)
		}
	}
	return nil
}

func (t *tx) setParticipant(ctx context.Context, by platform.Member, u platform.User, role platform.Role) error {
	w := by.Workspace
	was, err := t.ownRole(ctx, w.ID, u.ID)
	if err == nil {
		err = role.Check()
	}
	if err != nil {
		return err
	}
	if err := t.mayGive(ctx, by, was, role); err != nil {
		return err
	}
	return t.putParticipant(ctx, w.ID, u, was, role)
}

// putParticipant gives a user a role by name in the place of the one that they had; empty is none.
func (t *tx) putParticipant(ctx context.Context, workspaceID int64, u platform.User, was, role platform.Role) error {
	t.auditParticipant(workspaceID, u, was, role)
	t.change(workspaceID, "", platform.ChangeMembers)
	_, err := t.ExecContext(ctx, `INSERT INTO participants VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET role = excluded.role`, workspaceID, u.ID, role)
	return err
}

// auditParticipant notes another role of a user; empty is none.
func (t *tx) auditParticipant(workspaceID int64, u platform.User, was, is platform.Role) {
	a := audited{action: "participant.update", workspaceID: workspaceID, kind: "user", id: u.ID, name: u.UserName}
	a.action, a.before, a.after = participantChange(was, is)
	t.audit(a)
}

func participantChange(was, is platform.Role) (action string, before, after any) {
	switch {
	case was == "":
		return "participant.add", nil, map[string]any{"role": is}
	case is == "":
		return "participant.remove", map[string]any{"role": was}, nil
	}
	return "participant.update", map[string]any{"role": was}, map[string]any{"role": is}
}

// RemoveParticipant takes the role by name from a user. Roles by teams stay.
func (d *DB) RemoveParticipant(ctx context.Context, by platform.Member, userID int64) error {
	return d.inTx(ctx, func(t *tx) error {
		was, err := t.ownRole(ctx, by.Workspace.ID, userID)
		if err != nil {
			return err
		}
		if was == "" {
			return platform.Errorf(platform.CodeNotFound, "This user has no role by name in this workspace. It may have been taken meanwhile.")
		}
		if err := t.mayGive(ctx, by, was); err != nil {
			return err
		}
		return t.removeParticipant(ctx, by.Workspace.ID, userID, was)
	})
}

func (t *tx) removeParticipant(ctx context.Context, workspaceID, userID int64, was platform.Role) error {
	u, err := userByID(ctx, t, userID)
	if err != nil {
		return err
	}
	t.auditParticipant(workspaceID, u, was, "")
	t.change(workspaceID, "", platform.ChangeMembers)
	_, err = t.ExecContext(ctx, `DELETE FROM participants WHERE workspace_id = ? AND user_id = ?`, workspaceID, userID)
	return err
}

// LeaveWorkspace takes away the member's own role by name. CodeConflict says by what else they would stay in the workspace.
func (d *DB) LeaveWorkspace(ctx context.Context, m platform.Member) error {
	return d.inTx(ctx, func(t *tx) error {
		was, err := t.ownRole(ctx, m.Workspace.ID, m.User.ID)
		if err != nil {
			return err
		}
		if was != "" {
			if err := t.removeParticipant(ctx, m.Workspace.ID, m.User.ID, was); err != nil {
				return err
			}
		}
		if still, err := t.roleIn(ctx, m.Workspace.ID, m.User.ID); err != nil || still == "" {
			return err
		}
		return platform.Errorf(platform.CodeConflict, "You are in this workspace by a team, or as an owner of the organization, and would stay in it. An owner of the organization can take you out of the team.")
	})
}

// SetTeamParticipant gives a team of the organization a role in the workspace of by, as SetParticipant does.
func (d *DB) SetTeamParticipant(ctx context.Context, by platform.Member, teamID int64, role platform.Role) error {
	return d.inTx(ctx, func(t *tx) error {
		team, was, err := t.teamParticipant(ctx, by.Workspace, teamID)
		if err == nil {
			err = role.Check()
		}
		if err != nil {
			return err
		}
		if err := t.mayGive(ctx, by, was, role); err != nil {
			return err
		}
		t.auditTeamParticipant(by.Workspace.ID, team, was, role)
		_, err = t.ExecContext(ctx, `INSERT INTO team_participants VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET role = excluded.role`, by.Workspace.ID, teamID, role)
		return err
	})
}

// RemoveTeamParticipant takes a team out of a workspace.
func (d *DB) RemoveTeamParticipant(ctx context.Context, by platform.Member, teamID int64) error {
	return d.inTx(ctx, func(t *tx) error {
		team, was, err := t.teamParticipant(ctx, by.Workspace, teamID)
		if err != nil {
			return err
		}
		if was == "" {
			return platform.Errorf(platform.CodeNotFound, "This team is not in this workspace. It may have been taken out meanwhile.")
		}
		if err := t.mayGive(ctx, by, was); err != nil {
			return err
		}
		t.auditTeamParticipant(by.Workspace.ID, team, was, "")
		_, err = t.ExecContext(ctx, `DELETE FROM team_participants WHERE workspace_id = ? AND team_id = ?`, by.Workspace.ID, teamID)
		return err
	})
}

// teamParticipant reads a team of the workspace's organization, and its role in the workspace; empty for none.
func (t *tx) teamParticipant(ctx context.Context, w platform.Workspace, teamID int64) (team platform.Team, role platform.Role, err error) {
	if team, err = readTeam(ctx, t, w.Organization.ID, teamID); err != nil {
		return team, "", err
	}
	err = t.QueryRowContext(ctx, `SELECT role FROM team_participants WHERE workspace_id = ? AND team_id = ?`, w.ID, teamID).Scan(&role)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return team, role, err
}

func (t *tx) auditTeamParticipant(workspaceID int64, team platform.Team, was, is platform.Role) {
	a := audited{workspaceID: workspaceID, kind: "team", id: team.ID, name: team.Name}
	a.action, a.before, a.after = participantChange(was, is)
	t.audit(a)
	t.change(workspaceID, "", platform.ChangeMembers)
}
