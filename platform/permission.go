package platform

import (
	"maps"
	"slices"
)

// Role is what a user may do in one workspace. The names are those of the API.
type Role string

// The roles, from the most to the least.
const (
	RoleOwner    Role = "owner"
	RoleAdmin    Role = "admin"
	RoleMaintain Role = "maintain"
	RoleLaunch   Role = "launch"
	RoleConnect  Role = "connect"
	RoleView     Role = "view"
)

// Roles lists every role, from the most to the least.
var Roles = []Role{RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView}

// Permission is one thing that a route lets someone do.
type Permission string

// The permissions that routes declare.
const (
	// Public needs nobody to be signed in.
	Public Permission = "public"
	// SignedIn needs a user, of whatever role.
	SignedIn Permission = "signed-in"
	// ByAgent is for the agent of one machine, by its key.
	ByAgent Permission = "by-agent"
	// ByClient is for the agent of one machine by its key, and for a user by an access token.
	ByClient Permission = "by-client"
	// AdministerPortal is for users who administer the whole portal (User.Admin).
	AdministerPortal Permission = "portal:administer"

	ViewRuns         Permission = "runs:view"
	LaunchRuns       Permission = "runs:launch"
	CancelRuns       Permission = "runs:cancel"
	ViewPipelines    Permission = "pipelines:view"
	EditPipelines    Permission = "pipelines:edit"
	ViewComputeEnvs  Permission = "compute-envs:view"
	EditComputeEnvs  Permission = "compute-envs:edit"
	ViewCredentials  Permission = "credentials:view"
	EditCredentials  Permission = "credentials:edit"
	ViewStudios      Permission = "studios:view"
	ConnectToStudios Permission = "studios:connect"
	EditStudios      Permission = "studios:edit"
	ManageLimits     Permission = "limits:manage"
	ViewSecrets      Permission = "secrets:view"
	EditSecrets      Permission = "secrets:edit"
	ViewLabels       Permission = "labels:view"
	EditLabels       Permission = "labels:edit"
	ViewMembers      Permission = "members:view"
	ManageMembers    Permission = "members:manage"
	ManageWorkspace  Permission = "workspace:manage"

	ViewOrganization   Permission = "organization:view"
	ManageOrganization Permission = "organization:manage"
	ViewAudit          Permission = "audit:view"
)

// permissions is the one table of who may do what in a workspace.
var permissions = map[Permission][]Role{
	ViewRuns:         {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView},
	LaunchRuns:       {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch},
	CancelRuns:       {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch},
	ViewPipelines:    {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView},
	EditPipelines:    {RoleOwner, RoleAdmin, RoleMaintain},
	ViewComputeEnvs:  {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView},
	EditComputeEnvs:  {RoleOwner, RoleAdmin},
	ViewCredentials:  {RoleOwner, RoleAdmin, RoleMaintain},
	EditCredentials:  {RoleOwner, RoleAdmin},
	ViewStudios:      {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView},
	EditStudios:      {RoleOwner, RoleAdmin, RoleMaintain},
	ConnectToStudios: {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect},
	ManageLimits:     {RoleOwner, RoleAdmin},
	ViewSecrets:      {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch},
	EditSecrets:      {RoleOwner, RoleAdmin, RoleMaintain},
	ViewLabels:       {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView},
	EditLabels:       {RoleOwner, RoleAdmin, RoleMaintain},
	ViewMembers:      {RoleOwner, RoleAdmin, RoleMaintain, RoleLaunch, RoleConnect, RoleView},
	ManageMembers:    {RoleOwner, RoleAdmin},
	ManageWorkspace:  {RoleOwner},
}

// organizationPermissions is the same for organizations.
var organizationPermissions = map[Permission][]OrgRole{
	ViewOrganization:   {OrgOwner, OrgMember},
	ManageOrganization: {OrgOwner},
	ViewAudit:          {OrgOwner},
}

// Known tells whether p stands in a table, or is one of those that need no role.
func (p Permission) Known() bool {
	switch p {
	case Public, SignedIn, ByAgent, ByClient, AdministerPortal:
		return true
	}
	return p.InWorkspace() || p.InOrganization()
}

// InWorkspace tells whether p is asked of a member of a workspace.
func (p Permission) InWorkspace() bool {
	_, ok := permissions[p]
	return ok
}

// InOrganization tells whether p is asked of a member of an organization.
func (p Permission) InOrganization() bool {
	_, ok := organizationPermissions[p]
	return ok
}

// WorkspacePermissions lists the permissions that are asked in a workspace, by name.
func WorkspacePermissions() []Permission { return slices.Sorted(maps.Keys(permissions)) }

// OrganizationPermissions lists the permissions that are asked in an organization, by name.
func OrganizationPermissions() []Permission {
	return slices.Sorted(maps.Keys(organizationPermissions))
}

// Can tells whether the role includes a permission in its workspace.
func (r Role) Can(p Permission) bool { return slices.Contains(permissions[p], r) }

// Known tells whether r is a role of workspaces.
func (r Role) Known() bool { return slices.Contains(Roles, r) }

// OrgRole is what a user is in an organization. The names are those of the API.
type OrgRole string

// The roles in an organization. An owner has the role of owner in each of its workspaces.
const (
	OrgOwner  OrgRole = "owner"
	OrgMember OrgRole = "member"
	// OrgCollaborator is in some of its workspaces, and no member.
	OrgCollaborator OrgRole = "collaborator"
)

// Can tells whether the role includes a permission in its organization.
func (r OrgRole) Can(p Permission) bool { return slices.Contains(organizationPermissions[p], r) }
