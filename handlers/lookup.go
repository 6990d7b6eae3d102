package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/platform"
	"wherry/views"
)

// Lookup tells what can be chosen for a field of the form of an environment. It answers at once: what the account has not
// told yet comes with the next request, which the page makes by itself.
func (h *Handlers) Lookup(c echo.Context) error {
	l := views.Lookup{Field: c.Param("field"), Base: base(c)}
	if !l.Known() {
		return platform.Errorf(platform.CodeNotFound, "There is nothing to choose for this field.")
	}
	r := cloud.LookupRequest{CredentialsID: c.QueryParam("credentialsId"), Region: c.QueryParam("region"), Field: l.Field, Refresh: c.QueryParam("refresh") != ""}
	switch l.Field { // what does not narrow the choices does not part them in the cache
	case "subnetIds", "securityGroups":
		r.VPCID = c.QueryParam("vpcId")
	case "instanceType", "imageId":
		r.ARM64, r.GPU = c.QueryParam("arm64Enabled") != "", c.QueryParam("gpuEnabled") != ""
	}
	account, ok := h.Accounts[platform.PlatformAWSCloud]
	if !ok || r.CredentialsID == "" || r.Region == "" {
		l.Note = "Choose credentials and a region to see what there is."
		return render(c, http.StatusOK, views.LookupArea(l))
	}
	if _, err := h.DB.Credentials(c.Request().Context(), Member(c).Workspace.ID, r.CredentialsID); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), patience)
	defer cancel()
	choices, err := account.Lookup(ctx, r)
	var e *cloud.Error
	switch {
	case err != nil && ctx.Err() != nil:
		l.Pending = true
	case errors.As(err, &e) && e.Kind == cloud.KindDenied:
		l.Note, l.Missing = "Type it in: to list it here, the credentials need the permission", e.Permission
	case err != nil:
		l.Note = "Type it in. " + inWords(err)
	default:
		l.At = choices.At
		for _, choice := range choices.Items {
			l.Choices = append(l.Choices, views.Choice{Value: choice.Value, Label: choice.Label})
		}
	}
	return render(c, http.StatusOK, views.LookupArea(l))
}
