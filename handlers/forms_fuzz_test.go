package handlers

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// FuzzForms reads every form from what a browser, or somebody who is none, sends. What is then taken is UTF-8, and what is not is
// refused at a field.
func FuzzForms(f *testing.F) {
	for _, body := range []string{"pipeline=nextflow-io%2Fhello&computeEnvId=x&environment=A%3Db%0D%0A&configProfiles=test,docker&timeLimit=1:30&pipelineId=7&paramsText=a%3A+1",
		"platform=aws-cloud&name=aws&workDir=s3://bucket/work&region=eu-west-1&resourceLabels=a%3Db&subnetIds=subnet-01234567%0Asubnet-01234567&ebsBootSize=x&warmInstances=-1&taskEnvironment=%3D",
		"name=studio&template=jupyter&environment=A&mounts=s3://b/c&lifespanHours=0&idleMinutes=%D9%A1&port=99999999999999999999&endless=on",
		"instances=0&monthUsd=1,000.50&studios=x&lifespanHours=1e3", "monthUsd=%240.00", "name=%ff&pipeline=/%ff&workDir=/%ff%00", "%zz=&;", "a=" + strings.Repeat("=", 300)} {
		f.Add(body)
	}
	h := &Handlers{Templates: platform.ShippedTemplates()}
	e := echo.New()
	f.Fuzz(func(t *testing.T, body string) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
		c := e.NewContext(req, httptest.NewRecorder())
		launch := readLaunch(c)
		checkForm(t, "launch", launch.Launch.Clean(), launch.Errors, launch.Launch.Pipeline, launch.Launch.PreRunScript, launch.Launch.MainScript)
		env := readComputeEnv(c, platform.ComputeEnv{Platform: platform.PlatformName(c.FormValue("platform")), CredentialsID: platform.NewID()})
		checkForm(t, "compute environment", env.Env.Clean(), env.Errors, env.Env.Name, env.Env.WorkDir, env.Env.Config.PreRunScript)
		studio := h.readStudio(c, platform.Studio{})
		checkForm(t, "studio", studio.Studio.Clean(h.Templates), studio.Errors, studio.Studio.Name, studio.Studio.Config.Image)
		limits := views.LimitsForm{Instances: c.FormValue("instances"), MonthUSD: c.FormValue("monthUsd"), Studios: c.FormValue("studios"), LifespanHours: c.FormValue("lifespanHours"), Errors: platform.FieldErrors{}}
		if l := readLimits(limits); len(limits.Errors) == 0 && (limits.Instances != "" && l.Instances == 0 || limits.MonthUSD != "" && l.MonthMicroUSD == 0) {
			t.Errorf("%q limits nothing: %+v", body, l)
		} else {
			checkForm(t, "limits", l.Clean(), limits.Errors)
		}
	})
}

// checkForm wants an error at a field, or texts that are UTF-8.
func checkForm(t *testing.T, what string, err error, read platform.FieldErrors, texts ...string) {
	t.Helper()
	var errs platform.FieldErrors
	switch {
	case err != nil && (!errors.As(err, &errs) || len(errs) == 0):
		t.Errorf("%s: %v", what, err)
	case err == nil && len(read) == 0 && !utf8.ValidString(strings.Join(texts, "")):
		t.Errorf("%s: taken is %q", what, texts)
	}
}
