package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
	"wherry/static"
)

// Route is one address and the permission that it needs.
type Route struct {
	Method     string
	Path       string
	Permission platform.Permission
	Handler    echo.HandlerFunc
}

// machineToMachine tells whether programs and not browsers use the route.
func (r Route) machineToMachine() bool {
	return strings.HasPrefix(r.Path, "/agent/") || strings.HasPrefix(r.Path, "/api/")
}

// bodyLimit is how much a request may send, in echo's notation.
func (r Route) bodyLimit() string {
	switch {
	case strings.HasPrefix(r.Path, "/agent/logs/"), r.Path == "/agent/reports", r.Path == "/agent/end":
		return maxAgentTexts
	case strings.HasPrefix(r.Path, "/agent/"):
		return maxAgentWords
	case strings.HasPrefix(r.Path, "/api/"):
		return maxTrace
	}
	return maxForm
}

// stream tells whether the route's answer has no end of its own.
func (r Route) stream() bool {
	return strings.HasSuffix(r.Path, "/events") || r.Path == "/agent/tunnel"
}

// routes lists everything that the portal answers. There is no other way in.
func (s *Server) routes() []Route {
	const org, ws = "/orgs/:organization", "/orgs/:organization/workspaces/:workspace"
	p, a := s.Pages, s.API
	return []Route{
		{http.MethodGet, "/", platform.Public, p.Home},
		{http.MethodGet, "/healthz", platform.Public, p.Health},
		{http.MethodGet, "/readyz", platform.Public, s.ready},
		{http.MethodGet, "/metrics", platform.Public, s.metrics}, // asks for its own token
		{http.MethodGet, "/static/*", platform.Public, echo.WrapHandler(http.StripPrefix("/static/", static.Handler()))},
		{http.MethodGet, "/favicon.ico", platform.Public, p.Favicon},
		{http.MethodGet, "/set-up", platform.Public, p.SetUpForm},
		{http.MethodPost, "/set-up", platform.Public, p.SetUp},
		{http.MethodGet, "/sign-in", platform.Public, p.SignInForm},
		{http.MethodPost, "/sign-in", platform.Public, p.SignIn},
		{http.MethodGet, "/sign-in/link", platform.Public, p.SignInLinkForm},
		{http.MethodPost, "/sign-in/link", platform.Public, p.SignInLink},
		{http.MethodGet, "/sign-in/second-factor", platform.Public, p.SecondFactorForm},
		{http.MethodPost, "/sign-in/second-factor", platform.Public, p.SignInSecondFactor},
		{http.MethodGet, "/sign-in/oidc", platform.Public, p.ProviderSignIn},
		{http.MethodGet, handlers.CallbackPath, platform.Public, p.ProviderCallback},
		{http.MethodPost, "/sign-out", platform.SignedIn, p.SignOut},

		{http.MethodGet, "/account", platform.SignedIn, p.Account},
		{http.MethodGet, "/account/confirm", platform.SignedIn, p.ConfirmForm},
		{http.MethodPost, "/account/confirm", platform.SignedIn, p.Confirm},
		{http.MethodGet, "/account/password", platform.SignedIn, p.PasswordForm},
		{http.MethodPost, "/account/password", platform.SignedIn, p.SetPassword},
		{http.MethodGet, "/account/email", platform.SignedIn, p.EmailForm},
		{http.MethodPost, "/account/email", platform.SignedIn, p.SetEmail},
		{http.MethodGet, "/account/second-factor", platform.SignedIn, p.SecondFactor},
		{http.MethodPost, "/account/second-factor", platform.SignedIn, p.BeginSecondFactor},
		{http.MethodGet, "/account/second-factor/set-up", platform.SignedIn, p.SetUpSecondFactor},
		{http.MethodPost, "/account/second-factor/confirm", platform.SignedIn, p.ConfirmSecondFactor},
		{http.MethodPost, "/account/second-factor/codes", platform.SignedIn, p.NewRecoveryCodes},
		{http.MethodPost, "/account/second-factor/remove", platform.SignedIn, p.RemoveSecondFactor},
		{http.MethodGet, "/account/link", platform.SignedIn, p.LinkProvider},
		{http.MethodPost, "/account/unlink", platform.SignedIn, p.UnlinkProvider},
		{http.MethodPost, "/account/sessions/revoke", platform.SignedIn, p.RevokeOtherSessions},
		{http.MethodPost, "/account/sessions/revoke-all", platform.SignedIn, p.SignOutEverywhere},
		{http.MethodPost, "/account/sessions/:session/revoke", platform.SignedIn, p.RevokeSession},
		{http.MethodGet, "/account/tokens", platform.SignedIn, p.AccessTokens},
		{http.MethodGet, "/account/tokens/new", platform.SignedIn, p.NewAccessToken},
		{http.MethodPost, "/account/tokens", platform.SignedIn, p.AddAccessToken},
		{http.MethodPost, "/account/tokens/:token/revoke", platform.SignedIn, p.RevokeAccessToken},

		{http.MethodGet, "/permissions", platform.SignedIn, p.Permissions},
		{http.MethodGet, "/invitation", platform.Public, p.Invitation},
		{http.MethodPost, "/invitation", platform.Public, p.AcceptInvitation},
		{http.MethodPost, "/invitation/account", platform.Public, p.JoinByInvitation},
		{http.MethodGet, "/runs/:run", platform.SignedIn, p.RunByID},
		{http.MethodGet, "/studios/:studio", platform.SignedIn, p.StudioByID},

		{http.MethodGet, org, platform.ViewOrganization, p.Organization},
		{http.MethodPost, org + "/name", platform.ManageOrganization, p.RenameOrganization},
		{http.MethodPost, org + "/workspaces", platform.ManageOrganization, p.AddWorkspace},
		{http.MethodPost, org + "/leave", platform.ViewOrganization, p.LeaveOrganization},
		{http.MethodGet, org + "/members", platform.ViewOrganization, p.OrganizationMembers},
		{http.MethodPost, org + "/members/:user/role", platform.ManageOrganization, p.SetOrganizationRole},
		{http.MethodPost, org + "/members/:user/remove", platform.ManageOrganization, p.RemoveOrganizationMember},
		{http.MethodGet, org + "/teams", platform.ViewOrganization, p.Teams},
		{http.MethodPost, org + "/teams", platform.ManageOrganization, p.AddTeam},
		{http.MethodGet, org + "/teams/:team", platform.ViewOrganization, p.Team},
		{http.MethodPost, org + "/teams/:team", platform.ManageOrganization, p.UpdateTeam},
		{http.MethodPost, org + "/teams/:team/delete", platform.ManageOrganization, p.DeleteTeam},
		{http.MethodPost, org + "/teams/:team/members", platform.ManageOrganization, p.AddTeamMember},
		{http.MethodPost, org + "/teams/:team/members/:user/remove", platform.ManageOrganization, p.RemoveTeamMember},
		{http.MethodPost, org + "/groups", platform.ManageOrganization, p.AddIdentityGroup},
		{http.MethodPost, org + "/groups/:group/remove", platform.ManageOrganization, p.RemoveIdentityGroup},
		{http.MethodGet, org + "/invitations", platform.ManageOrganization, p.Invitations},
		{http.MethodPost, org + "/invitations", platform.ManageOrganization, p.AddInvitation},
		{http.MethodPost, org + "/invitations/:invitation/renew", platform.ManageOrganization, p.RenewInvitation},
		{http.MethodPost, org + "/invitations/:invitation/revoke", platform.ManageOrganization, p.RevokeInvitation},

		{http.MethodGet, "/admin/users", platform.AdministerPortal, p.Users},
		{http.MethodPost, "/admin/users/:user/disable", platform.AdministerPortal, p.DisableUser},
		{http.MethodPost, "/admin/users/:user/enable", platform.AdministerPortal, p.EnableUser},
		{http.MethodPost, "/admin/users/:user/make-administrator", platform.AdministerPortal, p.MakeAdministrator},
		{http.MethodPost, "/admin/users/:user/unmake-administrator", platform.AdministerPortal, p.UnmakeAdministrator},
		{http.MethodPost, "/admin/users/:user/end-sessions", platform.AdministerPortal, p.EndUserSessions},
		{http.MethodPost, "/admin/users/:user/reset-second-factor", platform.AdministerPortal, p.ResetSecondFactor},
		{http.MethodGet, "/admin/organizations", platform.AdministerPortal, p.AdminOrganizations},
		{http.MethodPost, "/admin/organizations", platform.AdministerPortal, p.AddOrganization},

		{http.MethodGet, ws + "/participants", platform.ViewMembers, p.Participants},
		{http.MethodPost, ws + "/participants", platform.ManageMembers, p.AddParticipant},
		{http.MethodPost, ws + "/participants/leave", platform.ViewMembers, p.LeaveWorkspace},
		{http.MethodPost, ws + "/participants/teams", platform.ManageMembers, p.AddTeamParticipant},
		{http.MethodPost, ws + "/participants/teams/:team/role", platform.ManageMembers, p.SetTeamParticipant},
		{http.MethodPost, ws + "/participants/teams/:team/remove", platform.ManageMembers, p.RemoveTeamParticipant},
		{http.MethodPost, ws + "/participants/:user/role", platform.ManageMembers, p.SetParticipant},
		{http.MethodPost, ws + "/participants/:user/remove", platform.ManageMembers, p.RemoveParticipant},
		{http.MethodPost, ws + "/invitations", platform.ManageMembers, p.AddWorkspaceInvitation},
		{http.MethodPost, ws + "/invitations/:invitation/renew", platform.ManageMembers, p.RenewWorkspaceInvitation},
		{http.MethodPost, ws + "/invitations/:invitation/revoke", platform.ManageMembers, p.RevokeWorkspaceInvitation},
		{http.MethodGet, ws + "/settings", platform.ManageWorkspace, p.WorkspaceSettings},
		{http.MethodPost, ws + "/settings", platform.ManageWorkspace, p.SetWorkspaceSettings},
		{http.MethodPost, ws + "/delete", platform.ManageWorkspace, p.DeleteWorkspace},

		{http.MethodGet, ws, platform.ViewPipelines, p.Workspace},
		{http.MethodGet, ws + "/events", platform.ViewRuns, s.events},

		{http.MethodGet, ws + "/launchpad", platform.ViewPipelines, p.Launchpad},
		{http.MethodGet, ws + "/pipelines/new", platform.EditPipelines, p.NewPipeline},
		{http.MethodPost, ws + "/pipelines", platform.EditPipelines, p.AddPipeline},
		{http.MethodGet, ws + "/pipelines/:pipeline/edit", platform.EditPipelines, p.EditPipeline},
		{http.MethodPost, ws + "/pipelines/:pipeline", platform.EditPipelines, p.UpdatePipeline},
		{http.MethodPost, ws + "/pipelines/:pipeline/delete", platform.EditPipelines, p.DeletePipeline},

		{http.MethodGet, ws + "/launch", platform.LaunchRuns, p.LaunchForm},
		{http.MethodPost, ws + "/launch", platform.LaunchRuns, p.Launch},
		{http.MethodGet, ws + "/launch/name", platform.LaunchRuns, p.RunName},
		{http.MethodPost, ws + "/launch/params", platform.LaunchRuns, p.CheckParams},

		{http.MethodGet, ws + "/runs", platform.ViewRuns, p.Runs},
		{http.MethodGet, ws + "/runs/:run", platform.ViewRuns, p.Run},
		{http.MethodPost, ws + "/runs/:run/cancel", platform.CancelRuns, p.Cancel},
		{http.MethodGet, ws + "/runs/:run/tasks", platform.ViewRuns, p.Tasks},
		{http.MethodGet, ws + "/runs/:run/tasks/:task", platform.ViewRuns, p.Task},
		{http.MethodGet, ws + "/runs/:run/tasks/:task/files/:file", platform.ViewRuns, p.TaskFile},
		{http.MethodGet, ws + "/runs/:run/log/:stream", platform.ViewRuns, p.LogLines},
		{http.MethodGet, ws + "/runs/:run/log/:stream/search", platform.ViewRuns, p.SearchLog},
		{http.MethodGet, ws + "/runs/:run/log/:stream/download", platform.ViewRuns, p.DownloadLog},

		{http.MethodGet, ws + "/runs/:run/reports", platform.ViewRuns, p.Reports},
		{http.MethodGet, ws + "/runs/:run/reports/*", platform.ViewRuns, p.ReportFile},

		{http.MethodGet, ws + "/studios", platform.ViewStudios, p.Studios},
		{http.MethodGet, ws + "/studios/new", platform.EditStudios, p.NewStudio},
		{http.MethodPost, ws + "/studios", platform.EditStudios, p.AddStudio},
		{http.MethodGet, ws + "/studios/:studio", platform.ViewStudios, p.Studio},
		{http.MethodGet, ws + "/studios/:studio/connect", platform.ConnectToStudios, p.ConnectStudio},
		{http.MethodGet, ws + "/studios/:studio/edit", platform.EditStudios, p.EditStudio},
		{http.MethodPost, ws + "/studios/:studio", platform.EditStudios, p.UpdateStudio},
		{http.MethodPost, ws + "/studios/:studio/start", platform.EditStudios, p.StartStudio},
		{http.MethodPost, ws + "/studios/:studio/stop", platform.EditStudios, p.StopStudio},
		{http.MethodPost, ws + "/studios/:studio/extend", platform.EditStudios, p.ExtendStudio},
		{http.MethodPost, ws + "/studios/:studio/delete", platform.EditStudios, p.DeleteStudio},
		{http.MethodPost, ws + "/studios/:studio/checkpoints/:checkpoint/name", platform.EditStudios, p.NameCheckpoint},
		{http.MethodPost, ws + "/studios/:studio/checkpoints/:checkpoint/delete", platform.EditStudios, p.DeleteCheckpoint},
		{http.MethodGet, ws + "/studios/:studio/sessions/:session/log/:stream", platform.ViewStudios, p.StudioLogLines},
		{http.MethodGet, ws + "/studios/:studio/sessions/:session/log/:stream/search", platform.ViewStudios, p.SearchStudioLog},
		{http.MethodGet, ws + "/studios/:studio/sessions/:session/log/:stream/download", platform.ViewStudios, p.DownloadStudioLog},

		{http.MethodGet, ws + "/machines", platform.ViewRuns, p.Machines},
		{http.MethodPost, ws + "/machines/:machine/end", platform.CancelRuns, p.EndMachine},
		{http.MethodGet, ws + "/limits", platform.ManageLimits, p.LimitsForm},
		{http.MethodPost, ws + "/limits", platform.ManageLimits, p.SetLimits},

		{http.MethodGet, ws + "/compute-envs", platform.ViewComputeEnvs, p.ComputeEnvs},
		{http.MethodGet, ws + "/compute-envs/new", platform.EditComputeEnvs, p.NewComputeEnv},
		{http.MethodPost, ws + "/compute-envs", platform.EditComputeEnvs, p.AddComputeEnv},
		{http.MethodPost, ws + "/compute-envs/preview", platform.EditComputeEnvs, p.PreviewComputeEnv},
		{http.MethodGet, ws + "/compute-envs/lookup/:field", platform.EditComputeEnvs, p.Lookup},
		{http.MethodGet, ws + "/compute-envs/price", platform.EditComputeEnvs, p.WarmPrice},
		{http.MethodGet, ws + "/compute-envs/saved/:token", platform.EditComputeEnvs, p.SavedComputeEnv},
		{http.MethodGet, ws + "/compute-envs/:env", platform.ViewComputeEnvs, p.ComputeEnv},
		{http.MethodGet, ws + "/compute-envs/:env/edit", platform.EditComputeEnvs, p.EditComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env", platform.EditComputeEnvs, p.UpdateComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env/primary", platform.EditComputeEnvs, p.MakePrimary},
		{http.MethodPost, ws + "/compute-envs/:env/disable", platform.EditComputeEnvs, p.DisableComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env/enable", platform.EditComputeEnvs, p.EnableComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env/retry", platform.EditComputeEnvs, p.RetryComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env/check", platform.EditComputeEnvs, p.CheckComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env/delete", platform.EditComputeEnvs, p.DeleteComputeEnv},
		{http.MethodPost, ws + "/compute-envs/:env/forget", platform.EditComputeEnvs, p.ForgetComputeEnv},

		{http.MethodGet, ws + "/credentials", platform.ViewCredentials, p.CredentialsList},
		{http.MethodGet, ws + "/credentials/new", platform.EditCredentials, p.NewCredentials},
		{http.MethodPost, ws + "/credentials", platform.EditCredentials, p.AddCredentials},
		{http.MethodGet, ws + "/credentials/policies", platform.ViewCredentials, p.Policies},
		{http.MethodGet, ws + "/credentials/policies/:file", platform.ViewCredentials, p.PolicyFile},
		{http.MethodGet, ws + "/credentials/:credentials", platform.EditCredentials, p.ShowCredentials},
		{http.MethodPost, ws + "/credentials/:credentials", platform.EditCredentials, p.UpdateCredentials},
		{http.MethodPost, ws + "/credentials/:credentials/test", platform.EditCredentials, p.TestCredentials},
		{http.MethodGet, ws + "/credentials/:credentials/test/:token", platform.EditCredentials, p.CredentialsTestResult},
		{http.MethodGet, ws + "/credentials/:credentials/trust", platform.EditCredentials, p.TrustPolicy},
		{http.MethodGet, ws + "/credentials/:credentials/trust.json", platform.EditCredentials, p.TrustPolicyFile},
		{http.MethodPost, ws + "/credentials/:credentials/delete", platform.EditCredentials, p.DeleteCredentials},

		{http.MethodGet, "/orgs/:organization/audit", platform.ViewAudit, p.OrganizationAudit},
		{http.MethodGet, "/orgs/:organization/audit/export/:format", platform.ViewAudit, p.ExportOrganizationAudit},
		{http.MethodGet, "/orgs/:organization/audit/:seq", platform.ViewAudit, p.OrganizationAuditEntry},
		{http.MethodGet, "/admin/audit", platform.AdministerPortal, p.PortalAudit},
		{http.MethodGet, "/admin/audit/export/:format", platform.AdministerPortal, p.ExportPortalAudit},
		{http.MethodGet, "/admin/audit/:seq", platform.AdministerPortal, p.PortalAuditEntry},

		{http.MethodGet, ws + "/labels", platform.ViewLabels, p.Labels},
		{http.MethodGet, ws + "/labels/new", platform.EditLabels, p.NewLabel},
		{http.MethodPost, ws + "/labels", platform.EditLabels, p.AddLabel},
		{http.MethodGet, ws + "/labels/:label/edit", platform.EditLabels, p.EditLabel},
		{http.MethodPost, ws + "/labels/:label", platform.EditLabels, p.UpdateLabel},
		{http.MethodPost, ws + "/labels/:label/delete", platform.EditLabels, p.DeleteLabel},
		{http.MethodPost, ws + "/runs/:run/labels", platform.LaunchRuns, p.SetRunLabels},
		{http.MethodGet, ws + "/secrets", platform.ViewSecrets, p.Secrets},
		{http.MethodGet, ws + "/secrets/new", platform.EditSecrets, p.NewSecret},
		{http.MethodPost, ws + "/secrets", platform.EditSecrets, p.AddSecret},
		{http.MethodGet, ws + "/secrets/:secret/edit", platform.EditSecrets, p.EditSecret},
		{http.MethodPost, ws + "/secrets/:secret", platform.EditSecrets, p.UpdateSecret},
		{http.MethodPost, ws + "/secrets/:secret/delete", platform.EditSecrets, p.DeleteSecret},
		{http.MethodGet, "/account/secrets", platform.SignedIn, p.OwnSecrets},
		{http.MethodGet, "/account/secrets/new", platform.SignedIn, p.NewOwnSecret},
		{http.MethodPost, "/account/secrets", platform.SignedIn, p.AddOwnSecret},
		{http.MethodGet, "/account/secrets/:secret/edit", platform.SignedIn, p.EditOwnSecret},
		{http.MethodPost, "/account/secrets/:secret", platform.SignedIn, p.UpdateOwnSecret},
		{http.MethodPost, "/account/secrets/:secret/delete", platform.SignedIn, p.DeleteOwnSecret},

		{http.MethodGet, "/agent/download/:arch", platform.Public, a.Download},
		{http.MethodPost, "/agent/claim", platform.Public, a.Claim},
		{http.MethodPost, "/agent/boot/:machine", platform.Public, a.Boot},
		{http.MethodPost, "/agent/reports", platform.ByAgent, a.Reports},
		{http.MethodPost, "/agent/sync", platform.ByAgent, a.Sync},
		{http.MethodPost, "/agent/steps", platform.ByAgent, a.Steps},
		{http.MethodPost, "/agent/logs/:stream", platform.ByAgent, a.AppendLog},
		{http.MethodPost, "/agent/end", platform.ByAgent, a.End},
		{http.MethodGet, "/agent/tunnel", platform.ByAgent, s.tunnel},
		{http.MethodPost, "/agent/checkpoints", platform.ByAgent, a.Checkpoints},
		{http.MethodPost, "/agent/checkpoints/removed", platform.ByAgent, a.CheckpointsRemoved},

		{http.MethodGet, "/api/service-info", platform.Public, a.ServiceInfo},
		{http.MethodGet, "/api/user-info", platform.ByClient, a.UserInfo},
		{http.MethodGet, "/api/labels", platform.ViewLabels, a.Labels},
		{http.MethodPost, "/api/labels", platform.EditLabels, a.CreateLabel},
		{http.MethodPut, "/api/labels/:label", platform.EditLabels, a.UpdateLabel},
		{http.MethodDelete, "/api/labels/:label", platform.EditLabels, a.DeleteLabel},
		{http.MethodPost, "/api/pipelines/labels/add", platform.EditPipelines, a.AddPipelineLabels},
		{http.MethodPost, "/api/pipelines/labels/apply", platform.EditPipelines, a.ApplyPipelineLabels},
		{http.MethodPost, "/api/pipelines/labels/remove", platform.EditPipelines, a.RemovePipelineLabels},
		{http.MethodPost, "/api/workflow/labels/add", platform.LaunchRuns, a.AddWorkflowLabels},
		{http.MethodPost, "/api/workflow/labels/apply", platform.LaunchRuns, a.ApplyWorkflowLabels},
		{http.MethodPost, "/api/workflow/labels/remove", platform.LaunchRuns, a.RemoveWorkflowLabels},
		// Without a workspaceId, the client's own secrets are meant; with one, the role there is asked by the handler.
		{http.MethodGet, "/api/pipeline-secrets", platform.SignedIn, a.PipelineSecrets},
		{http.MethodPost, "/api/pipeline-secrets", platform.SignedIn, a.CreatePipelineSecret},
		{http.MethodGet, "/api/pipeline-secrets/validate", platform.SignedIn, a.ValidatePipelineSecret},
		{http.MethodGet, "/api/pipeline-secrets/:secret", platform.SignedIn, a.DescribePipelineSecret},
		{http.MethodPut, "/api/pipeline-secrets/:secret", platform.SignedIn, a.UpdatePipelineSecret},
		{http.MethodDelete, "/api/pipeline-secrets/:secret", platform.SignedIn, a.DeletePipelineSecret},
		{http.MethodGet, "/api/tokens", platform.SignedIn, a.Tokens},
		{http.MethodPost, "/api/tokens", platform.SignedIn, a.CreateToken},
		{http.MethodDelete, "/api/tokens/delete-all", platform.SignedIn, a.DeleteAllTokens},
		{http.MethodDelete, "/api/tokens/:tokenId", platform.SignedIn, a.DeleteToken},
		{http.MethodGet, "/api/admin/audit-logs-v2", platform.AdministerPortal, a.AuditLogs},
		{http.MethodGet, "/api/admin/audit-logs-v2/export-csv", platform.AdministerPortal, a.ExportAuditLogs},
		{http.MethodGet, "/api/admin/audit-logs-v2/:auditLogId", platform.AdministerPortal, a.AuditLog},
		{http.MethodPost, "/api/trace/create", platform.ByAgent, a.TraceCreate},
		{http.MethodPut, "/api/trace/:workflow/begin", platform.ByAgent, a.TraceBegin},
		{http.MethodPut, "/api/trace/:workflow/progress", platform.ByAgent, a.TraceProgress},
		{http.MethodPut, "/api/trace/:workflow/heartbeat", platform.ByAgent, a.TraceProgress},
		{http.MethodPut, "/api/trace/:workflow/complete", platform.ByAgent, a.TraceComplete},
	}
}
