package db

import (
	"context"

	"wherry/platform"
)

const teamQuery = `SELECT t.id, t.organization_id, t.name, t.description, t.created_at,
	(SELECT count(*) FROM team_members tm WHERE tm.team_id = t.id) FROM teams t WHERE t.organization_id = ?1 `

func scanTeam(s scanner) (t platform.Team, err error) {
	err = s.Scan(&t.ID, &t.OrganizationID, &t.Name, &t.Description, timeColumn{&t.Created}, &t.Members)
	return t, err
}

// Teams lists the teams of an organization by name.
func (d *DB) Teams(ctx context.Context, orgID int64, part platform.ListPart) ([]platform.Team, error) {
	return all(ctx, d.read, scanTeam, teamQuery+`AND (?2 = '' OR instr(lower(t.name), lower(?2)) > 0) ORDER BY t.name LIMIT ?3 OFFSET ?4`,
		orgID, part.Text, part.Limit, part.Offset)
}

// Team reads one team of an organization.
func (d *DB) Team(ctx context.Context, orgID, id int64) (platform.Team, error) {
	return readTeam(ctx, d.read, orgID, id)
}

// TeamByName reads the team of a name.
func (d *DB) TeamByName(ctx context.Context, orgID int64, name string) (platform.Team, error) {
	team, err := scanTeam(d.read.QueryRowContext(ctx, teamQuery+`AND t.name = ?2`, orgID, name))
	return team, notInOrganization(err, "team")
}

func readTeam(ctx context.Context, q queryer, orgID, id int64) (platform.Team, error) {
	team, err := scanTeam(q.QueryRowContext(ctx, teamQuery+`AND t.id = ?2`, orgID, id))
	return team, notInOrganization(err, "team")
}

// AddTeam adds a team, which has no members yet.
func (d *DB) AddTeam(ctx context.Context, team *platform.Team) error {
	return d.inTx(ctx, func(t *tx) error {
		team.Created = t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO teams (organization_id, name, description, created_at) VALUES (?, ?, ?, ?) RETURNING id`,
			team.OrganizationID, team.Name, team.Description, millis(t.now)).Scan(&team.ID)
		t.audit(audited{action: "team.create", orgID: team.OrganizationID, id: team.ID, name: team.Name, after: teamFacts(*team)})
		return teamNameTaken(err)
	})
}

func teamFacts(team platform.Team) map[string]any {
	return map[string]any{"name": team.Name, "description": team.Description}
}

func teamNameTaken(err error) error {
	if isUnique(err, "teams.name") {
		return platform.FieldErrors{"name": "There is a team of this name already."}
	}
	return err
}

// UpdateTeam saves a team's name and description.
func (d *DB) UpdateTeam(ctx context.Context, team platform.Team) error {
	return d.inTx(ctx, func(t *tx) error {
		was, err := readTeam(ctx, t, team.OrganizationID, team.ID)
		if err != nil {
			return err
		}
		t.audit(audited{action: "team.update", orgID: team.OrganizationID, id: team.ID, name: team.Name, before: teamFacts(was), after: teamFacts(team)})
		_, err = t.ExecContext(ctx, `UPDATE teams SET name = ?, description = ? WHERE id = ?`, team.Name, team.Description, team.ID)
		return teamNameTaken(err)
	})
}

// DeleteTeam deletes a team. Its members lose the roles that they had by it.
func (d *DB) DeleteTeam(ctx context.Context, orgID, id int64) error {
	return d.inTx(ctx, func(t *tx) error {
		team, err := readTeam(ctx, t, orgID, id)
		if err != nil {
			return err
		}
		if err := t.changeMembersByTeam(ctx, id); err != nil {
			return err
		}
		t.audit(audited{action: "team.delete", orgID: orgID, id: id, name: team.Name, before: teamFacts(team)})
		_, err = t.ExecContext(ctx, `DELETE FROM teams WHERE id = ?`, id)
		return err
	})
}

// changeMembersByTeam notes that who is in a team may come to other workspaces now than before.
func (t *tx) changeMembersByTeam(ctx context.Context, teamID int64) error {
	return t.changeMembersIn(ctx, `SELECT workspace_id FROM team_participants WHERE team_id = ?`, teamID)
}

// TeamMembers lists who is in a team, by name.
func (d *DB) TeamMembers(ctx context.Context, teamID int64, part platform.ListPart) ([]platform.TeamMember, error) {
	return all(ctx, d.read, func(s scanner) (m platform.TeamMember, err error) {
		err = s.Scan(append(userFields(&m.User), &m.FromGroup)...)
		return m, err
	}, `SELECT `+userColumns+`, tm.from_group FROM team_members tm JOIN users ON users.id = tm.user_id
		WHERE tm.team_id = ?1 AND `+matchesUser+` ORDER BY users.user_name COLLATE NOCASE LIMIT ?3 OFFSET ?4`, teamID, part.Text, part.Limit, part.Offset)
}

// TeamWorkspaces lists the workspaces that a team is in, with its role there.
func (d *DB) TeamWorkspaces(ctx context.Context, teamID int64) ([]platform.Member, error) {
	return all(ctx, d.read, func(s scanner) (m platform.Member, err error) {
		err = s.Scan(append(workspaceFields(&m.Workspace), &m.Role)...)
		return m, err
	}, `SELECT `+workspaceColumns+`, p.role FROM team_participants p JOIN workspaces w ON w.id = p.workspace_id
		JOIN organizations o ON o.id = w.organization_id WHERE p.team_id = ? ORDER BY w.name`, teamID)
}

// AddTeamMember puts a member of the organization into a team, by user name or e-mail address; platform.FieldErrors of the field
// "login" for anybody else.
func (d *DB) AddTeamMember(ctx context.Context, team platform.Team, login string) error {
	return d.inTx(ctx, func(t *tx) error {
		user, err := t.userByLogin(ctx, "login", login)
		if err != nil {
			return err
		}
		if _, err := t.organizationMember(ctx, team.OrganizationID, user.ID); platform.ErrorCode(err) == platform.CodeNotFound {
			return platform.FieldErrors{"login": "Only members of the organization are in its teams. Invite them to the organization first."}
		} else if err != nil {
			return err
		}
		return t.joinTeam(ctx, team, user)
	})
}

// joinTeam puts a user into a team by hand, so that no group of the identity provider takes them out again.
func (t *tx) joinTeam(ctx context.Context, team platform.Team, user platform.User) error {
	t.audit(audited{action: "team.add-member", orgID: team.OrganizationID, id: team.ID, name: team.Name, after: map[string]any{"userName": user.UserName}})
	if _, err := t.ExecContext(ctx, `INSERT INTO team_members (team_id, user_id) VALUES (?, ?) ON CONFLICT DO UPDATE SET from_group = 0`, team.ID, user.ID); err != nil {
		return err
	}
	return t.changeMembersByTeam(ctx, team.ID)
}

// RemoveTeamMember takes somebody out of a team.
func (d *DB) RemoveTeamMember(ctx context.Context, team platform.Team, userID int64) error {
	return d.inTx(ctx, func(t *tx) error {
		var name string
		err := t.QueryRowContext(ctx, `DELETE FROM team_members WHERE team_id = ?1 AND user_id = ?2 RETURNING (SELECT user_name FROM users WHERE id = ?2)`, team.ID, userID).Scan(&name)
		if err != nil {
			return notInOrganization(err, "member of this team")
		}
		t.audit(audited{action: "team.remove-member", orgID: team.OrganizationID, id: team.ID, name: team.Name, before: map[string]any{"userName": name}})
		return t.changeMembersByTeam(ctx, team.ID)
	})
}

// IdentityGroups lists the groups of the identity provider that put people into teams of an organization.
func (d *DB) IdentityGroups(ctx context.Context, orgID int64) ([]platform.IdentityGroup, error) {
	return all(ctx, d.read, func(s scanner) (g platform.IdentityGroup, err error) {
		err = s.Scan(&g.ID, &g.OrganizationID, &g.Name, &g.Team.ID, &g.Team.Name)
		return g, err
	}, `SELECT g.id, g.organization_id, g.name, t.id, t.name FROM idp_groups g JOIN teams t ON t.id = g.team_id
		WHERE g.organization_id = ? ORDER BY g.name, t.name`, orgID)
}

// AddIdentityGroup puts who is in a group of the identity provider into a team, from their next sign-in on.
func (d *DB) AddIdentityGroup(ctx context.Context, g *platform.IdentityGroup) error {
	return d.inTx(ctx, func(t *tx) (err error) {
		if g.Team, err = readTeam(ctx, t, g.OrganizationID, g.Team.ID); err != nil {
			return err
		}
		err = t.QueryRowContext(ctx, `INSERT INTO idp_groups (organization_id, name, team_id) VALUES (?, ?, ?) RETURNING id`, g.OrganizationID, g.Name, g.Team.ID).Scan(&g.ID)
		if isUnique(err, "idp_groups.name") {
			return platform.FieldErrors{"group": "This group leads to this team already."}
		}
		t.audit(audited{action: "group.create", orgID: g.OrganizationID, id: g.ID, name: g.Name, after: map[string]any{"team": g.Team.Name}})
		return err
	})
}

// RemoveIdentityGroup ends that a group puts people into a team. Who is there by it leaves at their next sign-in.
func (d *DB) RemoveIdentityGroup(ctx context.Context, orgID, id int64) error {
	return d.inTx(ctx, func(t *tx) error {
		var name, team string
		err := t.QueryRowContext(ctx, `DELETE FROM idp_groups WHERE organization_id = ? AND id = ? RETURNING name, (SELECT t.name FROM teams t WHERE t.id = team_id)`, orgID, id).Scan(&name, &team)
		if err != nil {
			return notInOrganization(err, "group")
		}
		t.audit(audited{action: "group.delete", orgID: orgID, id: id, name: name, before: map[string]any{"team": team}})
		return nil
	})
}
