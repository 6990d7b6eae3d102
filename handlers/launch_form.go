package handlers

import (
	"maps"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// readLaunch reads the fields that the launch form and the form of a saved pipeline share. What cannot be read at all is
// in the form's Errors already.
func readLaunch(c echo.Context) views.LaunchForm {
	f := views.LaunchForm{Environment: c.FormValue("environment"), Profiles: c.FormValue("configProfiles"), From: c.FormValue("from"),
		TimeLimit: c.FormValue("timeLimit"),
		Name:      c.FormValue("name"), Description: c.FormValue("description"), Errors: platform.FieldErrors{},
		Launch: platform.Launch{ComputeEnvID: c.FormValue("computeEnvId"), Pipeline: c.FormValue("pipeline"), Revision: c.FormValue("revision"),
			WorkDir: c.FormValue("workDir"), RunName: c.FormValue("runName"), ParamsText: c.FormValue("paramsText"),
			ConfigText: c.FormValue("configText"), PreRunScript: c.FormValue("preRunScript"), PostRunScript: c.FormValue("postRunScript"),
			MainScript: c.FormValue("mainScript"), PullLatest: c.FormValue("pullLatest") != "", StubRun: c.FormValue("stubRun") != "",
			Resume: c.FormValue("resume") != "", SessionID: c.FormValue("sessionId"),
			NextflowVersion: c.FormValue("nextflowVersion"), RelaunchInterrupted: c.FormValue("relaunchInterrupted") != ""}}
	f.PipelineID, _ = strconv.ParseInt(c.FormValue("pipelineId"), 10, 64) // only for the list of runs: 0 will do
	for _, p := range strings.FieldsFunc(f.Profiles, func(r rune) bool { return r == ',' || r == ' ' }) {
		f.Launch.ConfigProfiles = append(f.Launch.ConfigProfiles, p)
	}
	if form, err := c.FormParams(); err == nil { // it was read above
		f.Launch.UserSecrets, f.Launch.WorkspaceSecrets = form["userSecrets"], form["workspaceSecrets"]
	}
	f.Launch.LabelIDs = readLabels(c)
	var err error
	if f.Launch.Environment, err = platform.ParseEnvironment(f.Environment); err != nil {
		f.Errors["environment"] = err.Error()
	}
	if f.Launch.TimeLimit, err = platform.ParseTimeLimit(f.TimeLimit); err != nil {
		f.Errors["timeLimit"] = err.Error()
	}
	return f
}

// showLaunch fills a form with a launch that is known.
func showLaunch(l platform.Launch) views.LaunchForm {
	return views.LaunchForm{Launch: l, Environment: platform.FormatEnvironment(l.Environment), Profiles: strings.Join(l.ConfigProfiles, ", "),
		TimeLimit: platform.FormatTimeLimit(l.TimeLimit)}
}

// addChoices offers what a launch may choose from. The labels that a new form has are those of the thing of this kind and id.
func (h *Handlers) addChoices(c echo.Context, f *views.LaunchForm, kind platform.LabelKind, id string) (err error) {
	if err := h.addEnvs(c, f); err != nil {
		return err
	}
	if f.Labels, err = h.labelPicker(c, f.Launch.LabelIDs, kind, id); err != nil {
		return err
	}
	return h.addSecrets(c, f)
}

// addEnvs offers the workspace's environments that take runs, and chooses the first where none was.
func (h *Handlers) addEnvs(c echo.Context, f *views.LaunchForm) error {
	envs, err := h.DB.ComputeEnvs(c.Request().Context(), Member(c).Workspace.ID)
	for _, e := range envs {
		if e.Status == platform.ComputeEnvAvailable {
			f.Envs = append(f.Envs, e)
		}
	}
	f.OtherEnvs = len(envs) - len(f.Envs)
	if err == nil && f.Launch.ComputeEnvID == "" && len(f.Envs) > 0 && len(f.Errors) == 0 {
		f.Launch.ComputeEnvID = f.Envs[0].ID
	}
	return err
}

// checkLaunch checks a form's launch by itself, with its environment, and with what the platform knows. What is wrong is in f.Errors then.
func (h *Handlers) checkLaunch(c echo.Context, f *views.LaunchForm, clean func() error) (env platform.ComputeEnv, err error) {
	errs, err := fieldErrors(clean())
	if err != nil {
		return env, err
	}
	maps.Copy(f.Errors, errs)
	if problem := f.Errors["sessionId"]; problem != "" { // it has no field to stand at
		f.Errors[""] = problem + " Go to the run, and resume it from there."
		delete(f.Errors, "sessionId")
	}
	if f.Launch.ComputeEnvID == "" {
		return env, nil
	}
	env, err = h.DB.ComputeEnv(c.Request().Context(), Member(c).Workspace.ID, f.Launch.ComputeEnvID)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		f.Errors.Add("computeEnvId", "This compute environment is not there any more. Choose another.")
		return env, nil
	}
	if err != nil {
		return env, err
	}
	if errs, err = fieldErrors(f.Launch.CleanFor(env)); err != nil {
		return env, err
	}
	maps.Copy(f.Errors, errs)
	place, ok := h.Clouds[env.Platform]
	if !ok {
		f.Errors.Add("computeEnvId", "This version of Wherry does not start machines on the platform %s yet. Choose another compute environment.", env.Platform)
	}
	if ok && len(f.Errors) == 0 {
		if errs, err = fieldErrors(place.CheckLaunch(c.Request().Context(), env, f.Launch)); err != nil {
			return env, err
		}
		maps.Copy(f.Errors, errs)
	}
	return env, nil
}

// unreachable says why machines in a cloud are of no use to this portal.
const unreachable = "Machines in a cloud could not reach this portal: it has only an address that is of use on its own host. Whoever operates it sets WHERRY_AGENT_PORTAL to one that instances reach, and starts it anew."

// checkReach tells whether the machines of an environment could find their way back to this portal.
func (h *Handlers) checkReach(f *views.LaunchForm, env platform.ComputeEnv) {
	if env.InCloud() && !h.AgentURLReachable {
		f.Errors["computeEnvId"] = unreachable
	}
}
