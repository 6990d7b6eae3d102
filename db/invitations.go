package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wherry/platform"
)

const invitationQuery = `SELECT ` + userColumns + `, i.id, o.id, o.name, o.full_name, i.org_role, coalesce(t.id, 0), coalesce(t.name, ''), coalesce(w.id, 0), coalesce(w.name, ''),
	i.role, i.email, i.created_at, i.expires_at, i.mailed_at, i.mail_error FROM invitations i JOIN organizations o ON o.id = i.organization_id
	JOIN users ON users.id = i.invited_by LEFT JOIN teams t ON t.id = i.team_id LEFT JOIN workspaces w ON w.id = i.workspace_id WHERE `

func scanInvitation(s scanner) (i platform.Invitation, err error) {
	o := &i.Organization
	err = s.Scan(append(userFields(&i.InvitedBy), &i.ID, &o.ID, &o.Name, &o.FullName, &i.OrgRole, &i.TeamID, &i.TeamName, &i.WorkspaceID, &i.Workspace,
		&i.Role, &i.Email, timeColumn{&i.Created}, timeColumn{&i.Expires}, timeColumn{&i.Mailed}, &i.MailError)...)
	return i, err
}

// Invitations lists the open invitations of an organization, the newest first; with a workspace those alone that make collaborators
// of it.
func (d *DB) Invitations(ctx context.Context, orgID, workspaceID int64) ([]platform.Invitation, error) {
	return all(ctx, d.read, scanInvitation, invitationQuery+`o.id = ?1 AND (?2 = 0 OR (i.workspace_id = ?2 AND i.org_role = '')) AND i.expires_at > ?3 ORDER BY i.id DESC`,
		orgID, workspaceID, millis(time.Now()))
}

// Invitation reads an open invitation of an organization, and of one of its workspaces unless that is 0, as Invitations does.
func (d *DB) Invitation(ctx context.Context, orgID, workspaceID int64, id string) (platform.Invitation, error) {
	i, err := scanInvitation(d.read.QueryRowContext(ctx, invitationQuery+`o.id = ?1 AND (?2 = 0 OR (i.workspace_id = ?2 AND i.org_role = '')) AND i.id = ?3 AND i.expires_at > ?4`,
		orgID, workspaceID, id, millis(time.Now())))
	return i, notInOrganization(err, "open invitation")
}

// AddInvitation keeps an invitation under the hash of its token. Who invites must be able to give what it gives.
func (d *DB) AddInvitation(ctx context.Context, i *platform.Invitation, tokenHash string) error {
	return d.inTx(ctx, func(t *tx) error {
		if err := t.checkInvitation(ctx, *i); err != nil {
			return err
		}
		i.ID, i.Created, i.Expires = platform.NewID(), t.now.UTC(), t.now.Add(platform.InvitationLifetime).UTC()
		_, err := t.ExecContext(ctx, `INSERT INTO invitations (id, organization_id, org_role, team_id, workspace_id, role, email, token_hash, invited_by, created_at, expires_at)
			VALUES (?, ?, ?, nullif(?, 0), nullif(?, 0), ?, ?, ?, ?, ?, ?)`, i.ID, i.Organization.ID, i.OrgRole, i.TeamID, i.WorkspaceID, i.Role, i.Email,
			tokenHash, i.InvitedBy.ID, millis(i.Created), millis(i.Expires))
		t.auditInvitation("create", *i, nil, invitationFacts(*i))
		return err
	})
}

func (t *tx) auditInvitation(verb string, i platform.Invitation, before, after any) {
	a := audited{action: "invitation." + verb, orgID: i.Organization.ID, id: i.ID, name: i.Email, before: before, after: after}
	if i.OrgRole == "" {
		a.workspaceID = i.WorkspaceID
	}
	t.audit(a)
}

func invitationFacts(i platform.Invitation) map[string]any {
	return map[string]any{"email": i.Email, "orgRole": i.OrgRole, "teamId": i.TeamID, "workspaceId": i.WorkspaceID, "role": i.Role, "expires": i.Expires}
}

// checkInvitation finds what is wrong with what an invitation gives: places of another organization, or more than who invites has.
func (t *tx) checkInvitation(ctx context.Context, i platform.Invitation) error {
	if i.TeamID != 0 {
		if _, err := readTeam(ctx, t, i.Organization.ID, i.TeamID); err != nil {
			return err
		}
	}
	if i.WorkspaceID != 0 {
		var one int
		if err := t.QueryRowContext(ctx, `SELECT 1 FROM workspaces WHERE id = ? AND organization_id = ?`, i.WorkspaceID, i.Organization.ID).Scan(&one); err != nil {
			return notInOrganization(err, "workspace")
		}
	}
	ok, err := t.mayInvite(ctx, i)
	if err == nil && !ok {
		err = platform.Errorf(platform.CodeForbidden, "Your role does not let you invite with these roles. Ask an owner of the organization.")
	}
	return err
}

// mayInvite tells whether who invites may give what the invitation gives, as of now: an owner of the organization all of it, who
// manages members of a workspace a role there up to their own.
func (t *tx) mayInvite(ctx context.Context, i platform.Invitation) (bool, error) {
	var role platform.OrgRole
	err := t.QueryRowContext(ctx, `SELECT om.role FROM organization_members om JOIN users u ON u.id = om.user_id
		WHERE om.organization_id = ? AND om.user_id = ? AND u.disabled_at = 0`, i.Organization.ID, i.InvitedBy.ID).Scan(&role)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if role.Can(platform.ManageOrganization) {
		return true, nil
	}
	if i.OrgRole != "" || i.WorkspaceID == 0 {
		return false, nil
	}
	own, err := t.roleIn(ctx, i.WorkspaceID, i.InvitedBy.ID)
	return own.MayGive(i.Role), err
}

// RenewInvitation gives an invitation another token and its whole time again. The link that it had opens nothing any more. It is an
// invitation by who renews it, who sees the new link: they must be able to give what it gives, and its worth is theirs from then on.
func (d *DB) RenewInvitation(ctx context.Context, i *platform.Invitation, by platform.User, tokenHash string) error {
	return d.inTx(ctx, func(t *tx) error {
		i.InvitedBy = by
		if err := t.checkInvitation(ctx, *i); err != nil {
			return err
		}
		i.Expires, i.Mailed, i.MailError = t.now.Add(platform.InvitationLifetime).UTC(), time.Time{}, ""
		t.auditInvitation("renew", *i, nil, map[string]any{"expires": i.Expires})
		return t.exec(ctx, errNoInvitation, `UPDATE invitations SET token_hash = ?, invited_by = ?, expires_at = ?, mailed_at = 0, mail_error = '' WHERE id = ?`,
			tokenHash, by.ID, millis(i.Expires), i.ID)
	})
}

// InvitationMailed writes down that an invitation was sent by mail, or why not.
func (d *DB) InvitationMailed(ctx context.Context, i *platform.Invitation, problem string) error {
	i.Mailed, i.MailError = time.Now().UTC(), problem
	if problem != "" {
		i.Mailed = time.Time{}
	}
	return d.inTx(ctx, func(t *tx) error {
		t.auditInvitation("mail", *i, nil, map[string]any{"sent": problem == ""})
		_, err := t.ExecContext(ctx, `UPDATE invitations SET mailed_at = ?, mail_error = ? WHERE id = ?`, millis(i.Mailed), i.MailError, i.ID)
		return err
	})
}

// DeleteInvitation takes an invitation back; who does so must be able to give what it gives.
func (d *DB) DeleteInvitation(ctx context.Context, i platform.Invitation, by platform.User) error {
	return d.inTx(ctx, func(t *tx) error {
		asked := i
		asked.InvitedBy = by
		if err := t.checkInvitation(ctx, asked); err != nil {
			return err
		}
		t.auditInvitation("delete", i, invitationFacts(i), nil)
		return t.exec(ctx, errNoInvitation, `DELETE FROM invitations WHERE id = ?`, i.ID)
	})
}

var errNoInvitation = platform.Errorf(platform.CodeGone, "This invitation was accepted already, was taken back, or is too old. Ask whoever invited you for a new one.")

// OpenInvitation finds the invitation of a link's token; CodeGone for one that opens nothing any more.
func (d *DB) OpenInvitation(ctx context.Context, tokenHash string) (platform.Invitation, error) {
	return openInvitation(ctx, d.read, tokenHash, time.Now())
}

func openInvitation(ctx context.Context, q queryer, tokenHash string, now time.Time) (platform.Invitation, error) {
	i, err := scanInvitation(q.QueryRowContext(ctx, invitationQuery+`i.token_hash = ? AND i.expires_at > ?`, tokenHash, millis(now)))
	if errors.Is(err, sql.ErrNoRows) {
		err = errNoInvitation
	}
	return i, err
}

// AcceptInvitation uses up an invitation for a user. CodeGone when it opens nothing any more, or who invited may not invite any more;
// CodeForbidden when it is for another address.
func (d *DB) AcceptInvitation(ctx context.Context, tokenHash string, user platform.User) (i platform.Invitation, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		i, err = t.acceptInvitation(ctx, tokenHash, user)
		return err
	})
	return i, err
}

// JoinByInvitation makes a new user and uses up an invitation for them, as AcceptInvitation does. An address or a user name that is taken is a
// platform.FieldErrors of no field, which does not tell which of the two it is.
func (d *DB) JoinByInvitation(ctx context.Context, tokenHash string, in platform.NewUser, passwordHash string) (u platform.User, i platform.Invitation, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		if u, err = t.addUser(ctx, in, passwordHash); err != nil {
			return err
		}
		i, err = t.acceptInvitation(ctx, tokenHash, u)
		return err
	})
	return u, i, err
}

func (t *tx) acceptInvitation(ctx context.Context, tokenHash string, user platform.User) (i platform.Invitation, err error) {
	if i, err = openInvitation(ctx, t, tokenHash, t.now); err != nil {
		return i, err
	}
	if !i.Fits(user) {
		return i, platform.Errorf(platform.CodeForbidden, "This invitation is for another e-mail address than that of your account.")
	}
	if ok, err := t.mayInvite(ctx, i); err != nil || !ok {
		return i, errors.Join(err, errNoInvitation)
	}
	t.auditInvitation("accept", i, nil, map[string]any{"userName": user.UserName})
	if err := t.exec(ctx, errNoInvitation, `DELETE FROM invitations WHERE id = ?`, i.ID); err != nil {
		return i, err
	}
	return i, t.enter(ctx, i, user)
}

// enter gives a user what an invitation gives. It never takes away: who is more than that already, stays it.
func (t *tx) enter(ctx context.Context, i platform.Invitation, user platform.User) error {
	if i.OrgRole != "" {
		m, err := t.organizationMember(ctx, i.Organization.ID, user.ID)
		if err != nil && platform.ErrorCode(err) != platform.CodeNotFound {
			return err
		}
		if err != nil || (m.Role != i.OrgRole && i.OrgRole == platform.OrgOwner) {
			t.audit(audited{action: "member.add", orgID: i.Organization.ID, kind: "user", id: user.ID, name: user.UserName, after: map[string]any{"role": i.OrgRole}})
			if err := t.setOrganizationRole(ctx, i.Organization.ID, user, i.OrgRole); err != nil {
				return err
			}
		}
	}
	if i.TeamID != 0 {
		if err := t.joinTeam(ctx, platform.Team{ID: i.TeamID, OrganizationID: i.Organization.ID, Name: i.TeamName}, user); err != nil {
			return err
		}
	}
	if i.WorkspaceID == 0 {
		return nil
	}
	was, err := t.ownRole(ctx, i.WorkspaceID, user.ID)
	if err != nil || (was != "" && !i.Role.Above(was)) {
		return err
	}
	return t.putParticipant(ctx, i.WorkspaceID, user, was, i.Role)
}
