package platform

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
	ManageMembers    Permission = "members:manage"
	ManageWorkspace  Permission = "workspace:manage"
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
	ManageMembers:    {RoleOwner, RoleAdmin},
	ManageWorkspace:  {RoleOwner},
}

// Known tells whether p stands in the table, or is one of the three that need no role.
func (p Permission) Known() bool {
	_, ok := permissions[p]
	return ok || p == Public || p == SignedIn || p == ByAgent
}

// InWorkspace tells whether p is asked of a member of a workspace.
func (p Permission) InWorkspace() bool {
	_, ok := permissions[p]
	return ok
}

// Can tells whether the role includes a permission in its workspace.
func (r Role) Can(p Permission) bool {
	for _, role := range permissions[p] {
		if role == r {
			return true
		}
	}
	return false
}
