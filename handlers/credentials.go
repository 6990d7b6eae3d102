package handlers

import (
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// CredentialsList lists the workspace's credentials.
func (h *Handlers) CredentialsList(c echo.Context) error {
	s, err := h.shell(c, "Credentials", "credentials")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	l := views.CredentialsList{Now: time.Now()}
	if l.Credentials, err = h.DB.CredentialsList(c.Request().Context(), s.Member.Workspace.ID); err != nil {
		return err
	}
	if c.QueryParam("part") == "list" {
		return render(c, http.StatusOK, views.CredentialsTable(s, l))
	}
	return render(c, http.StatusOK, views.CredentialsPage(s, l))
}

// NewCredentials shows the form for new credentials.
func (h *Handlers) NewCredentials(c echo.Context) error {
	return h.showCredentials(c, http.StatusOK, views.CredentialsForm{GenerateID: true, Credentials: platform.Credentials{Mode: platform.CredentialsRole}})
}

// AddCredentials saves new credentials.
func (h *Handlers) AddCredentials(c echo.Context) error {
	return h.saveCredentials(c, platform.Credentials{WorkspaceID: Member(c).Workspace.ID})
}

// ShowCredentials shows credentials with their policies, and the form to change them.
func (h *Handlers) ShowCredentials(c echo.Context) error {
	creds, err := h.credentialsParam(c)
	if err != nil {
		return err
	}
	return h.showCredentials(c, http.StatusOK, views.CredentialsForm{Credentials: creds, GenerateID: creds.ExternalID != ""})
}

// UpdateCredentials saves changed credentials.
func (h *Handlers) UpdateCredentials(c echo.Context) error {
	creds, err := h.credentialsParam(c)
	if err != nil {
		return err
	}
	return h.saveCredentials(c, creds)
}

// DeleteCredentials deletes credentials that no environment needs.
func (h *Handlers) DeleteCredentials(c echo.Context) error {
	creds, err := h.credentialsParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.DeleteCredentials(c.Request().Context(), creds.WorkspaceID, creds.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/credentials", "credentials-deleted")
}

func (h *Handlers) credentialsParam(c echo.Context) (platform.Credentials, error) {
	return h.DB.Credentials(c.Request().Context(), Member(c).Workspace.ID, c.Param("credentials"))
}

// saveCredentials reads the form over creds, checks it and saves it.
func (h *Handlers) saveCredentials(c echo.Context, creds platform.Credentials) error {
	f := views.CredentialsForm{GenerateID: c.FormValue("generateExternalId") != "", Errors: platform.FieldErrors{}}
	savedRole := creds.RoleARN
	savedKey, savedExternalID := creds.AccessKey, creds.ExternalID // an empty key: no secret is saved
	creds.Name, creds.Mode = c.FormValue("name"), platform.CredentialsMode(c.FormValue("mode"))
	creds.AccessKey, creds.SecretKey, creds.RoleARN = c.FormValue("accessKey"), platform.NewSecret(c.FormValue("secretKey")), c.FormValue("assumeRoleArn")
	h.chooseExternalID(&creds, f.GenerateID)
	errs, err := fieldErrors(creds.Clean(savedKey != "" && savedKey == strings.TrimSpace(creds.AccessKey)))
	if err != nil {
		return err
	}
	maps.Copy(f.Errors, errs)
	if err := h.checkAccountStays(c, f.Errors, savedRole, creds); err != nil {
		return err
	}
	if len(f.Errors) == 0 {
		save := h.DB.AddCredentials
		if creds.ID != "" {
			save = h.DB.UpdateCredentials
		}
		if errs, err = fieldErrors(save(c.Request().Context(), &creds)); err != nil {
			return err
		}
		maps.Copy(f.Errors, errs)
	}
	if len(f.Errors) > 0 {
		f.Credentials = creds
		f.Credentials.ExternalID = savedExternalID // one that was made just now comes to nothing
		return h.showCredentials(c, http.StatusUnprocessableEntity, f)
	}
	return redirect(c, base(c)+"/credentials/"+creds.ID, "credentials-saved")
}

// checkAccountStays refuses a role in another account while environments need the credentials: what was made for them is in
// the account of before, and would not be found again. (Of a key nobody knows the account without asking AWS.)
func (h *Handlers) checkAccountStays(c echo.Context, errs platform.FieldErrors, before string, creds platform.Credentials) error {
	was, is := platform.AccountOf(before), platform.AccountOf(creds.RoleARN)
	if was == "" || is == "" || was == is {
		return nil
	}
	envs, err := h.DB.ComputeEnvsOf(c.Request().Context(), creds.ID)
	if len(envs) > 0 {
		errs.Add("assumeRoleArn", "The compute environment %s and what was made for it are in the account %s, and this role is in %s. Add other credentials for that account.", envs[0].Name, was, is)
	}
	return err
}

// chooseExternalID gives credentials an External ID where they need one and have none, and takes it away where it was
// switched off. A role that the portal itself assumes has one always, unless the portal is set to do without.
func (h *Handlers) chooseExternalID(creds *platform.Credentials, generate bool) {
	switch {
	case creds.Mode == platform.CredentialsRole:
		generate = !h.InstanceCredentials || creds.ExternalID != ""
	case creds.RoleARN == "" || !generate:
		creds.ExternalID = ""
		return
	}
	if generate && creds.ExternalID == "" {
		creds.ExternalID = "wherry-" + platform.NewID() + platform.NewID()
	}
}

func (h *Handlers) showCredentials(c echo.Context, status int, f views.CredentialsForm) error {
	title := f.Credentials.Name
	if f.Credentials.ID == "" {
		title = "Add credentials"
	}
	s, err := h.shell(c, title, "credentials")
	if err != nil {
		return err
	}
	f.NoID, f.JumpRole, f.Now = h.InstanceCredentials, h.JumpRoleARN, time.Now()
	f.Policies = h.policies("")
	if f.Credentials.ID != "" {
		saved, err := h.credentialsParam(c) // the form may hold what was not saved
		if err != nil {
			return err
		}
		f.HasSecret = saved.Mode == platform.CredentialsKeys
		f.Credentials.Status, f.Credentials.Message = saved.Status, saved.Message
		if f.UsedBy, err = h.DB.ComputeEnvsOf(c.Request().Context(), f.Credentials.ID); err != nil {
			return err
		}
	}
	f.Credentials.SecretKey = platform.Secret{}
	return render(c, status, views.CredentialsFormPage(s, f))
}

// policies are what credentials must be allowed.
func (h *Handlers) policies(bucket string) views.PolicyList {
	list := views.PolicyList{Bucket: bucket}
	for _, p := range h.Accounts[platform.PlatformAWSCloud].Permissions(bucket) {
		list.Policies = append(list.Policies, views.Policy{Purpose: p.Purpose, Title: p.Title, Optional: p.Optional, Document: p.Document})
	}
	return list
}
