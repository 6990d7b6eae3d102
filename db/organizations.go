package db

import (
	"context"

	"wherry/platform"
)

// organizationMemberQuery reads users as organizations see them. Somebody who was disabled is in none.
const organizationMemberQuery = `SELECT ` + userColumns + `, o.id, o.name, o.full_name, om.role FROM organization_members om
	JOIN users ON users.id = om.user_id JOIN organizations o ON o.id = om.organization_id WHERE users.disabled_at = 0`

func scanOrganizationMember(s scanner) (m platform.OrganizationMember, err error) {
	o := &m.Organization
	err = s.Scan(append(userFields(&m.User), &o.ID, &o.Name, &o.FullName, &m.Role)...)
	return m, err
}

// OrganizationMember reads a user as the named organization sees them; CodeNotFound for one who is no member, so that names of
// other organizations are not given away.
func (d *DB) OrganizationMember(ctx context.Context, userID int64, organization string) (platform.OrganizationMember, error) {
	m, err := scanOrganizationMember(d.read.QueryRowContext(ctx, organizationMemberQuery+` AND om.user_id = ? AND o.name = ?`, userID, organization))
	return m, notFound(err, "page")
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
