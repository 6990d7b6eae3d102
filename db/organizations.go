package db

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"wherry/platform"
)

// organizationMemberQuery reads users as organizations see them, those who were disabled too.
const organizationMemberQuery = `SELECT ` + userColumns + `, o.id, o.name, o.full_name, om.role FROM organization_members om
	JOIN users ON users.id = om.user_id JOIN organizations o ON o.id = om.organization_id WHERE `

func scanOrganizationMember(s scanner) (m platform.OrganizationMember, err error) {
	o := &m.Organization
	err = s.Scan(append(userFields(&m.User), &o.ID, &o.Name, &o.FullName, &m.Role)...)
	return m, err
}

// OrganizationMember reads a user as the named organization sees them; CodeNotFound for one who is no member or was disabled, so that
// names of other organizations are not given away.
func (d *DB) OrganizationMember(ctx context.Context, userID int64, organization string) (platform.OrganizationMember, error) {
	m, err := scanOrganizationMember(d.read.QueryRowContext(ctx, organizationMemberQuery+`users.disabled_at = 0 AND om.user_id = ? AND o.name = ?`, userID, organization))
	if errors.Is(err, sql.ErrNoRows) {
		err = platform.Errorf(platform.CodeNotFound, "There is no such organization, or you are not a member of it. Its owners can invite you.")
	}
	return m, err
}

// OrganizationsOf lists the organizations that a user is a member of, by name.
func (d *DB) OrganizationsOf(ctx context.Context, userID int64) ([]platform.Organization, error) {
	return all(ctx, d.read, scanOrganization, `SELECT o.id, o.name, o.full_name FROM organizations o
		JOIN organization_members om ON om.organization_id = o.id WHERE om.user_id = ? ORDER BY o.name`, userID)
}

func scanOrganization(s scanner) (o platform.Organization, err error) {
	err = s.Scan(&o.ID, &o.Name, &o.FullName)
	return o, err
}

// OrganizationMembers lists the members of an organization by name, those who were disabled too.
func (d *DB) OrganizationMembers(ctx context.Context, orgID int64, part platform.ListPart) ([]platform.OrganizationMember, error) {
	return all(ctx, d.read, scanOrganizationMember, organizationMemberQuery+`o.id = ?1 AND `+matchesUser+`
		ORDER BY users.user_name COLLATE NOCASE LIMIT ?3 OFFSET ?4`, orgID, part.Text, part.Limit, part.Offset)
}

// matchesUser narrows to users with a text, the second parameter, in their name or e-mail address.
const matchesUser = `(?2 = '' OR instr(lower(users.user_name), lower(?2)) > 0 OR instr(users.email, lower(?2)) > 0)`

// Organizations lists all organizations by name.
func (d *DB) Organizations(ctx context.Context) ([]platform.Organization, error) {
	return all(ctx, d.read, scanOrganization, `SELECT id, name, full_name FROM organizations ORDER BY name`)
}

// AddOrganization adds an organization and makes the user with that login, a user name or e-mail address, its owner. A name that
// is taken and a login that nobody has are platform.FieldErrors.
func (d *DB) AddOrganization(ctx context.Context, o *platform.Organization, owner string) error {
	return d.inTx(ctx, func(t *tx) error {
		user, err := t.userByLogin(ctx, "owner", owner)
		if err != nil {
			return err
		}
		err = t.QueryRowContext(ctx, `INSERT INTO organizations (name, full_name, created_at) VALUES (?, ?, ?) RETURNING id`, o.Name, o.FullName, millis(t.now)).Scan(&o.ID)
		if isUnique(err, "organizations.name") {
			return platform.FieldErrors{"name": "There is an organization of this name already."}
		}
		if err != nil {
			return err
		}
		t.audit(audited{action: "organization.create", orgID: o.ID, id: o.ID, name: o.Name, after: map[string]any{"fullName": o.FullName, "owner": user.UserName}})
		return t.setOrganizationRole(ctx, o.ID, user, platform.OrgOwner)
	})
}

// userByLogin finds a user who may come in; one that is not there is an error of the field.
func (t *tx) userByLogin(ctx context.Context, field, login string) (platform.User, error) {
	u, err := scanUser(t.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE (email = lower(?1) OR user_name = ?1) AND disabled_at = 0`, strings.TrimSpace(login)))
	if errors.Is(err, sql.ErrNoRows) {
		return u, platform.FieldErrors{field: "Nobody here has this user name or e-mail address. Invite them, if they are to join."}
	}
	return u, err
}

// RenameOrganization gives an organization another full name.
func (d *DB) RenameOrganization(ctx context.Context, o platform.Organization) error {
	return d.inTx(ctx, func(t *tx) error {
		was := ""
		if err := t.QueryRowContext(ctx, `SELECT full_name FROM organizations WHERE id = ?`, o.ID).Scan(&was); err != nil {
			return notInOrganization(err, "name")
		}
		t.audit(audited{action: "organization.update", orgID: o.ID, id: o.ID, name: o.Name, before: map[string]any{"fullName": was}, after: map[string]any{"fullName": o.FullName}})
		_, err := t.ExecContext(ctx, `UPDATE organizations SET full_name = ? WHERE id = ?`, o.FullName, o.ID)
		return err
	})
}

// SetOrganizationRole changes the role of a member; CodeConflict for the last owner.
func (d *DB) SetOrganizationRole(ctx context.Context, orgID, userID int64, role platform.OrgRole) error {
	return d.inTx(ctx, func(t *tx) error {
		m, err := t.organizationMember(ctx, orgID, userID)
		if err != nil || m.Role == role {
			return err
		}
		t.audit(audited{action: "member.update", orgID: orgID, kind: "user", id: userID, name: m.User.UserName, before: map[string]any{"role": m.Role}, after: map[string]any{"role": role}})
		if err := t.setOrganizationRole(ctx, orgID, m.User, role); err != nil {
			return err
		}
		return t.keepAnOwner(ctx, orgID)
	})
}

func (t *tx) setOrganizationRole(ctx context.Context, orgID int64, u platform.User, role platform.OrgRole) error {
	_, err := t.ExecContext(ctx, `INSERT INTO organization_members VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET role = excluded.role`, orgID, u.ID, role)
	if err != nil {
		return err
	}
	return t.changeMembersOf(ctx, orgID)
}

func (t *tx) organizationMember(ctx context.Context, orgID, userID int64) (platform.OrganizationMember, error) {
	m, err := scanOrganizationMember(t.QueryRowContext(ctx, organizationMemberQuery+`o.id = ? AND users.id = ?`, orgID, userID))
	return m, notInOrganization(err, "member")
}

// RemoveOrganizationMember takes a member out of an organization, its teams and its workspaces at once; CodeConflict for the last
// owner. What they added stays, their private Studios for the owners to delete.
func (d *DB) RemoveOrganizationMember(ctx context.Context, orgID, userID int64) error {
	return d.inTx(ctx, func(t *tx) error {
		m, err := t.organizationMember(ctx, orgID, userID)
		if err != nil {
			return err
		}
		for _, query := range []string{
			`DELETE FROM organization_members WHERE organization_id = ? AND user_id = ?`,
			`DELETE FROM team_members WHERE team_id IN (SELECT id FROM teams WHERE organization_id = ?) AND user_id = ?`,
			`DELETE FROM participants WHERE workspace_id IN (SELECT id FROM workspaces WHERE organization_id = ?) AND user_id = ?`,
		} {
			if _, err := t.ExecContext(ctx, query, orgID, userID); err != nil {
				return err
			}
		}
		t.audit(audited{action: "member.remove", orgID: orgID, kind: "user", id: userID, name: m.User.UserName, before: map[string]any{"role": m.Role}})
		if err := t.changeMembersOf(ctx, orgID); err != nil {
			return err
		}
		return t.keepAnOwner(ctx, orgID)
	})
}

// keepAnOwner refuses what a transaction did when nobody is left who owns the organization and may come in.
func (t *tx) keepAnOwner(ctx context.Context, orgID int64) error {
	var owners int
	var name string
	err := t.QueryRowContext(ctx, `SELECT o.name, (SELECT count(*) FROM organization_members om JOIN users ON users.id = om.user_id
		WHERE om.organization_id = o.id AND om.role = 'owner' AND users.disabled_at = 0) FROM organizations o WHERE o.id = ?`, orgID).Scan(&name, &owners)
	if err == nil && owners == 0 {
		return platform.Errorf(platform.CodeConflict, "This is the last owner of the organization %s, and it needs one. Make somebody else an owner first.", name)
	}
	return err
}

// changeMembersOf notes that pages and connections of all workspaces of an organization may have ended for somebody.
func (t *tx) changeMembersOf(ctx context.Context, orgID int64) error {
	return t.changeMembersIn(ctx, `SELECT id FROM workspaces WHERE organization_id = ?`, orgID)
}

// changeMembersIn is changeMembersOf for the workspaces that a query lists.
func (t *tx) changeMembersIn(ctx context.Context, query string, args ...any) error {
	ids, err := all(ctx, t, scanInt, query, args...)
	for _, id := range ids {
		t.change(id, "", platform.ChangeMembers)
	}
	return err
}

func scanInt(s scanner) (n int64, err error) {
	err = s.Scan(&n)
	return n, err
}

// notInOrganization is notFound for things of an organization.
func notInOrganization(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return platform.Errorf(platform.CodeNotFound, "This organization has no such %s. It may have been removed.", what)
	}
	return err
}
