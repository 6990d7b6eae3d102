package handlers

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/platform"
	"wherry/views"
)

// NewComputeEnv shows the form for a new environment, empty or as a copy of another.
func (h *Handlers) NewComputeEnv(c echo.Context) error {
	e := platform.ComputeEnv{Platform: platform.PlatformLocal}
	if c.QueryParam("platform") == string(platform.PlatformAWSCloud) {
		e.Platform = platform.PlatformAWSCloud
		e.Config.WaveEnabled, e.Config.Fusion2Enabled, e.Config.EBSBootSize = true, true, platform.DefaultBootSize
	}
	if from := c.QueryParam("from"); from != "" {
		original, err := h.DB.ComputeEnv(c.Request().Context(), Member(c).Workspace.ID, from)
		if err != nil {
			return err
		}
		e = platform.CloneOf(original)
	}
	return h.showComputeEnvForm(c, http.StatusOK, views.FillComputeEnvForm(e))
}

// AddComputeEnv saves a new environment.
func (h *Handlers) AddComputeEnv(c echo.Context) error {
	e := platform.ComputeEnv{WorkspaceID: Member(c).Workspace.ID, Platform: platform.PlatformName(c.FormValue("platform"))}
	f := readComputeEnv(c, e)
	f.Env.Region, f.Env.CredentialsID = c.FormValue("region"), c.FormValue("credentialsId")
	f.Env.Config.InstanceProfileARN = c.FormValue("instanceProfileArn")
	f.Env.Status = platform.ComputeEnvAvailable
	if e.Platform == platform.PlatformAWSCloud {
		f.Env.Status = platform.ComputeEnvCreating
	}
	return h.saveComputeEnv(c, f, h.DB.AddComputeEnv)
}

// EditComputeEnv shows the form of an environment.
func (h *Handlers) EditComputeEnv(c echo.Context) error {
	e, err := h.editable(c)
	if err != nil {
		return err
	}
	return h.showComputeEnvForm(c, http.StatusOK, views.FillComputeEnvForm(e))
}

// UpdateComputeEnv saves a changed environment. Account, region and instance profile stay what they are.
func (h *Handlers) UpdateComputeEnv(c echo.Context) error {
	before, err := h.editable(c)
	if err != nil {
		return err
	}
	f := readComputeEnv(c, before)
	if version, err := strconv.ParseInt(c.FormValue("version"), 10, 64); err == nil {
		f.Env.Version = version // that the form was filled with, which another save may have replaced since
	}
	return h.saveComputeEnv(c, f, func(ctx context.Context, e *platform.ComputeEnv) error {
		e.Status, e.Message = e.AfterEdit(before), ""
		return h.DB.UpdateComputeEnv(ctx, *e, before.Status)
	})
}

func (h *Handlers) editable(c echo.Context) (platform.ComputeEnv, error) {
	e, err := h.computeEnvParam(c)
	if err == nil && !e.Editable() {
		err = platform.Errorf(platform.CodeConflict, "The compute environment is %s. It can be changed when that is over.", e.Status)
	}
	return e, err
}

// readComputeEnv reads the form over e. What cannot be read at all is in the form's Errors already.
func readComputeEnv(c echo.Context, e platform.ComputeEnv) views.ComputeEnvForm {
	f := views.ComputeEnvForm{Environment: c.FormValue("environment"), TaskEnvironment: c.FormValue("taskEnvironment"), Labels: c.FormValue("resourceLabels"),
		Subnets: c.FormValue("subnetIds"), Groups: c.FormValue("securityGroups"), Buckets: c.FormValue("allowBuckets"), BootSize: c.FormValue("ebsBootSize"),
		WarmInstances: c.FormValue("warmInstances"), WarmMinutes: c.FormValue("warmMinutes"),
		Errors: platform.FieldErrors{}}
	profile := e.Config.InstanceProfileARN
	e.Name, e.WorkDir = c.FormValue("name"), c.FormValue("workDir")
	e.Config = platform.ComputeEnvConfig{NextflowConfig: c.FormValue("nextflowConfig"), PreRunScript: c.FormValue("preRunScript"), PostRunScript: c.FormValue("postRunScript")}
	head := readVariables(f.Errors, "environment", f.Environment)
	e.Config.SetEnvironment(head, readVariables(f.Errors, "taskEnvironment", f.TaskEnvironment))
	if e.Platform == platform.PlatformAWSCloud {
		e.Config.AWSCloud = readAWSCloud(c, f)
		e.Config.InstanceProfileARN = profile
		e.AccessToken = platform.NewSecret(c.FormValue("accessToken"))
		e.HasAccessToken = e.HasAccessToken && c.FormValue("removeAccessToken") == ""
	}
	e.LabelIDs = readLabels(c)
	f.Env = e
	return f
}

func readVariables(errs platform.FieldErrors, field, text string) []platform.Env {
	env, err := platform.ParseEnvironment(text)
	if err != nil {
		errs.Add(field, "%s", err.Error())
	}
	return env
}

func readAWSCloud(c echo.Context, f views.ComputeEnvForm) platform.AWSCloud {
	on := func(name string) bool { return c.FormValue(name) != "" }
	a := platform.AWSCloud{WaveEnabled: on("waveEnabled"), Fusion2Enabled: on("fusion2Enabled"), AllowBuckets: listed(f.Buckets),
		InstanceType: c.FormValue("instanceType"), ARM64Enabled: on("arm64Enabled"), GPUEnabled: on("gpuEnabled"), ImageID: c.FormValue("imageId"),
		EC2KeyPair: c.FormValue("ec2KeyPair"), VPCID: c.FormValue("vpcId"), SubnetIDs: listed(f.Subnets), SecurityGroups: listed(f.Groups),
		EBSEncrypted: on("ebsEncrypted"), EBSKMSKeyID: c.FormValue("ebsKmsKeyId"), LogGroup: c.FormValue("logGroup"),
		Spot: on("spot"), KeepForResume: on("keepForResume"), NextflowVersion: c.FormValue("nextflowVersion"),
		WarmInstances: readNumber(f.Errors, "warmInstances", f.WarmInstances, "Enter a number of instances."),
		WarmMinutes:   readNumber(f.Errors, "warmMinutes", f.WarmMinutes, "Enter a number of minutes."),
		EBSBootSize:   readNumber(f.Errors, "ebsBootSize", f.BootSize, "Enter a number of GiB.")}
	var err error
	if a.ResourceLabels, err = platform.ParseLabels(f.Labels); err != nil {
		f.Errors.Add("resourceLabels", "%s", err.Error())
	}
	return a
}

// readNumber reads a number; nothing is 0, and what is no number is an error at its field.
func readNumber(errs platform.FieldErrors, field, text, hint string) int {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		errs.Add(field, "%s", hint)
	}
	return n
}

// listed splits what people list: one a line, or with commas or spaces between.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' || r == '\t' })
}

// saveComputeEnv checks the form, asks the platform whether it can work, and saves it. A platform far away is asked while
// the browser waits elsewhere.
func (h *Handlers) saveComputeEnv(c echo.Context, f views.ComputeEnvForm, save func(context.Context, *platform.ComputeEnv) error) error {
	errs, err := fieldErrors(f.Env.Clean())
	if err != nil {
		return err
	}
	maps.Copy(f.Errors, errs)
	if err := h.checkCredentialsOf(c, f); err != nil {
		return err
	}
	if len(f.Errors) > 0 {
		return h.answerSaved(c, f)
	}
	unchecked := c.FormValue("unchecked") != ""
	token := h.Pending.start(c.Request().Context(), Member(c).User.ID, func(ctx context.Context) any {
		return h.checkAndSave(ctx, f, unchecked, save)
	})
	if f.Env.Platform == platform.PlatformLocal || !isHTMX(c) {
		answer, done, _ := h.Pending.wait(c.Request().Context(), Member(c).User.ID, token, askLimit)
		if !done {
			return c.Request().Context().Err()
		}
		return h.answerSaved(c, answer.(views.ComputeEnvForm))
	}
	return h.answerPending(c, token)
}

// checkCredentialsOf makes sure that a form's credentials are the workspace's own, before they are used to ask AWS anything.
func (h *Handlers) checkCredentialsOf(c echo.Context, f views.ComputeEnvForm) error {
	if f.Env.CredentialsID == "" {
		return nil
	}
	_, err := h.DB.Credentials(c.Request().Context(), f.Env.WorkspaceID, f.Env.CredentialsID)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		f.Errors.Add("credentialsId", "These credentials are not there any more. Choose others.")
		return nil
	}
	return err
}

// checkAndSave returns the form with what is wrong with it, or with the id of what was saved.
func (h *Handlers) checkAndSave(ctx context.Context, f views.ComputeEnvForm, unchecked bool, save func(context.Context, *platform.ComputeEnv) error) views.ComputeEnvForm {
	var err error
	if account, ok := h.Accounts[f.Env.Platform]; ok && !unchecked {
		err = account.Validate(ctx, f.Env)
		f.Unchecked = err != nil && platform.ErrorCode(err) == ""
	} else if place, ok := h.Clouds[f.Env.Platform]; ok {
		if err = place.Check(ctx, f.Env); err != nil {
			err = platform.FieldErrors{"workDir": err.Error()}
		}
	}
	if err == nil {
		err = save(ctx, &f.Env)
	}
	errs, other := fieldErrors(err)
	maps.Copy(f.Errors, errs)
	if other != nil {
		f.Errors[""] = inWords(other)
		h.Log.WarnContext(ctx, "saving a compute environment", "workspace", f.Env.WorkspaceID, "error", other)
	}
	return f
}

// SavedComputeEnv tells what became of a form that was being checked, or that it still is.
func (h *Handlers) SavedComputeEnv(c echo.Context) error { return h.answerPending(c, c.Param("token")) }

func (h *Handlers) answerPending(c echo.Context, token string) error {
	answer, done, known := h.Pending.wait(c.Request().Context(), Member(c).User.ID, token, patience)
	switch {
	case !known:
		return render(c, http.StatusOK, views.Checking("", "The portal was started anew meanwhile. Look whether the environment is in the list, and save again if it is not."))
	case !done:
		return render(c, http.StatusOK, views.Checking(base(c)+"/compute-envs/saved/"+token, ""))
	}
	return h.answerSaved(c, answer.(views.ComputeEnvForm))
}

func (h *Handlers) answerSaved(c echo.Context, f views.ComputeEnvForm) error {
	switch {
	case len(f.Errors) == 0 && f.Env.Platform == platform.PlatformLocal:
		return redirect(c, base(c)+"/compute-envs", "compute-env-saved")
	case len(f.Errors) == 0 && f.Env.Status == platform.ComputeEnvCreating:
		return redirect(c, base(c)+"/compute-envs/"+f.Env.ID, "compute-env-made")
	case len(f.Errors) == 0:
		return redirect(c, base(c)+"/compute-envs/"+f.Env.ID, "compute-env-saved")
	}
	return h.showComputeEnvForm(c, http.StatusUnprocessableEntity, f)
}

func (h *Handlers) showComputeEnvForm(c echo.Context, status int, f views.ComputeEnvForm) error {
	s, err := h.shell(c, "Compute environment", "compute-envs")
	if err != nil {
		return err
	}
	if f.Env.InCloud() {
		if err := h.prepareToken(c, &f); err != nil {
			return err
		}
		f.Price = h.price(f.Env)
	}
	if account, ok := h.Accounts[f.Env.Platform]; ok {
		for _, r := range account.Regions() {
			f.Regions = append(f.Regions, views.Region{Name: r.Name, Place: r.Place, Published: r.Published})
		}
		if f.Credentials, err = h.DB.CredentialsList(c.Request().Context(), s.Member.Workspace.ID); err != nil {
			return err
		}
	}
	before := f.Env.ID
	if before == "" {
		before = c.QueryParam("from")
	}
	if f.Picker, err = h.labelPicker(c, f.Env.LabelIDs, platform.LabelsComputeEnv, before); err != nil {
		return err
	}
	if isHTMX(c) {
		c.Response().Header().Set("HX-Retarget", "#env-form")
		c.Response().Header().Set("HX-Reswap", "outerHTML show:window:top")
		return render(c, status, views.ComputeEnvFormBody(s, f))
	}
	return render(c, status, views.ComputeEnvFormPage(s, f))
}

// PreviewComputeEnv lists the calls that will be made for a new environment, before anything is saved.
func (h *Handlers) PreviewComputeEnv(c echo.Context) error {
	e := platform.ComputeEnv{ID: "‹its id›", WorkspaceID: Member(c).Workspace.ID, Platform: platform.PlatformAWSCloud}
	f := readComputeEnv(c, e)
	f.Env.Region, f.Env.CredentialsID, f.Env.Config.InstanceProfileARN = c.FormValue("region"), c.FormValue("credentialsId"), strings.TrimSpace(c.FormValue("instanceProfileArn"))
	errs, err := fieldErrors(f.Env.Clean())
	if err != nil {
		return err
	}
	maps.Copy(f.Errors, errs)
	for _, shown := range []string{"workDir", "allowBuckets", "resourceLabels", "instanceProfileArn", "region"} {
		if f.Errors[shown] != "" {
			return render(c, http.StatusOK, views.Preview(nil, "Correct this first: "+f.Errors[shown]))
		}
	}
	calls, err := h.Accounts[platform.PlatformAWSCloud].Plan(f.Env)
	if err != nil {
		return render(c, http.StatusOK, views.Preview(nil, inWords(err)))
	}
	return render(c, http.StatusOK, views.Preview(previewOf(calls), ""))
}

func previewOf(calls []cloud.Call) (list []views.Call) {
	for _, call := range calls {
		shown := views.Call{Action: call.Action, Makes: call.Makes, Permissions: strings.Join(call.Permissions, ", ")}
		for _, p := range call.Parameters {
			shown.Parameters = append(shown.Parameters, views.Parameter{Name: p.Name, Value: p.Value})
		}
		list = append(list, shown)
	}
	return list
}

// prepareToken keeps what was typed as a token from being shown, and tells whether one is saved.
func (h *Handlers) prepareToken(c echo.Context, f *views.ComputeEnvForm) error {
	f.Env.AccessToken = platform.Secret{}
	if f.Env.ID == "" {
		return nil
	}
	saved, err := h.DB.ComputeEnv(c.Request().Context(), Member(c).Workspace.ID, f.Env.ID) // the form may hold what was not saved
	f.Env.HasAccessToken = saved.HasAccessToken
	return err
}

func (h *Handlers) price(e platform.ComputeEnv) platform.Price {
	if h.Price == nil {
		return platform.Price{}
	}
	return h.Price(e)
}

// WarmPrice tells what an hour of a machine costs, as the form is filled in now.
func (h *Handlers) WarmPrice(c echo.Context) error {
	e := platform.ComputeEnv{Platform: platform.PlatformAWSCloud, Region: c.QueryParam("region")}
	e.Config.InstanceType, e.Config.Spot = strings.TrimSpace(c.QueryParam("instanceType")), c.QueryParam("spot") != ""
	e.Config.ARM64Enabled, e.Config.GPUEnabled = c.QueryParam("arm64Enabled") != "", c.QueryParam("gpuEnabled") != ""
	return render(c, http.StatusOK, views.WarmPrice(h.price(e), c.QueryParam("warmInstances"), c.QueryParam("warmMinutes")))
}
