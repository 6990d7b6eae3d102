package platform

import "testing"

// TestRolesMayWhatTheReferenceSays holds the table against the roles that users of the reference platform know, in short.
func TestRolesMayWhatTheReferenceSays(t *testing.T) {
	t.Parallel()
	least := map[Permission]Role{ // the least role that has it; all above have it too
		EditCredentials: RoleAdmin, EditComputeEnvs: RoleAdmin, ManageMembers: RoleAdmin, ManageLimits: RoleAdmin,
		ViewCredentials: RoleMaintain, EditPipelines: RoleMaintain, EditStudios: RoleMaintain, EditSecrets: RoleMaintain, EditLabels: RoleMaintain,
		LaunchRuns: RoleLaunch, CancelRuns: RoleLaunch, ViewSecrets: RoleLaunch,
		ConnectToStudios: RoleConnect,
		ViewRuns:         RoleView, ViewPipelines: RoleView, ViewComputeEnvs: RoleView, ViewStudios: RoleView, ViewLabels: RoleView, ViewMembers: RoleView,
		ManageWorkspace: RoleOwner,
	}
	for _, p := range WorkspacePermissions() {
		want, ok := least[p]
		if !ok {
			t.Errorf("%s is in the table: who may it?", p)
		}
		has := true
		for _, role := range Roles {
			if role.Can(p) != has {
				t.Errorf("%s of %s: %t, want %t", p, role, !has, has)
			}
			has = has && role != want
		}
	}
	for _, p := range OrganizationPermissions() {
		if !OrgOwner.Can(p) || OrgMember.Can(p) != (p == ViewOrganization) || OrgCollaborator.Can(p) {
			t.Errorf("%s in an organization: owner %t, member %t, collaborator %t", p, OrgOwner.Can(p), OrgMember.Can(p), OrgCollaborator.Can(p))
		}
	}
}
