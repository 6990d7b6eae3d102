package platform

// permissionWords say to people what each permission allows, in the order in which tables show them.
var permissionWords = []struct {
	Permission Permission
	Words      string
}{
	{ViewRuns, "See runs, their tasks, logs and reports, and machines"},
	{LaunchRuns, "Launch runs"},
	{CancelRuns, "Cancel runs, and end machines"},
	{ViewPipelines, "See pipelines"},
	{EditPipelines, "Add, change and delete pipelines"},
	{ViewStudios, "See Studios"},
	{ConnectToStudios, "Connect to Studios"},
	{EditStudios, "Add, start, stop, change and delete Studios"},
	{ViewComputeEnvs, "See compute environments"},
	{EditComputeEnvs, "Add, change and delete compute environments"},
	{ViewCredentials, "See credentials, without their secrets"},
	{EditCredentials, "Add, change and delete credentials"},
	{ViewSecrets, "See the names of pipeline secrets"},
	{EditSecrets, "Add, change and delete pipeline secrets"},
	{ViewLabels, "See labels"},
	{EditLabels, "Add, change and delete labels"},
	{ViewMembers, "See participants"},
	{ManageMembers, "Add, change and remove participants, up to one's own role"},
	{ManageLimits, "Set the limits of the workspace"},
	{ManageWorkspace, "Rename and delete the workspace"},
	{ViewOrganization, "See the organization's workspaces, members and teams"},
	{ManageOrganization, "Manage workspaces, members, teams and invitations"},
	{ViewAudit, "Read the audit log of the organization"},
}

// PermissionRow is a line of a table of permissions: what it allows, and which roles have it.
type PermissionRow struct {
	Permission Permission
	Words      string
	Roles      []string // in the order of the table's columns; empty: not this one
}

// WorkspaceTable is the table of Roles and what each may do in a workspace.
func WorkspaceTable() (rows []PermissionRow) {
	return permissionTable(Permission.InWorkspace, Roles, Role.Can)
}

// OrgRoles lists the roles of members of an organization, from the most to the least.
var OrgRoles = []OrgRole{OrgOwner, OrgMember}

// OrganizationTable is the same for OrgRoles in an organization.
func OrganizationTable() []PermissionRow {
	return permissionTable(Permission.InOrganization, OrgRoles, OrgRole.Can)
}

func permissionTable[R ~string](of func(Permission) bool, roles []R, can func(R, Permission) bool) (rows []PermissionRow) {
	for _, w := range permissionWords {
		if !of(w.Permission) {
			continue
		}
		row := PermissionRow{Permission: w.Permission, Words: w.Words}
		for _, r := range roles {
			name := ""
			if can(r, w.Permission) {
				name = string(r)
			}
			row.Roles = append(row.Roles, name)
		}
		rows = append(rows, row)
	}
	return rows
}
