package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Secrets lists the workspace's pipeline secrets.
func (h *Handlers) Secrets(c echo.Context) error { return h.listSecrets(c, workspaceSecrets(c)) }

// NewSecret shows the form for a new pipeline secret of the workspace.
func (h *Handlers) NewSecret(c echo.Context) error {
	return h.showSecret(c, http.StatusOK, views.SecretForm{Place: workspaceSecrets(c)})
}

// AddSecret saves a new pipeline secret of the workspace.
func (h *Handlers) AddSecret(c echo.Context) error { return h.addSecret(c, workspaceSecrets(c)) }

// EditSecret shows a pipeline secret of the workspace, without its value, and takes another value.
func (h *Handlers) EditSecret(c echo.Context) error { return h.editSecret(c, workspaceSecrets(c)) }

// UpdateSecret replaces the value of a pipeline secret of the workspace.
func (h *Handlers) UpdateSecret(c echo.Context) error { return h.updateSecret(c, workspaceSecrets(c)) }

// DeleteSecret deletes a pipeline secret of the workspace.
func (h *Handlers) DeleteSecret(c echo.Context) error { return h.deleteSecret(c, workspaceSecrets(c)) }

// OwnSecrets lists the pipeline secrets of who is signed in.
func (h *Handlers) OwnSecrets(c echo.Context) error { return h.listSecrets(c, ownSecrets(c)) }

// NewOwnSecret is NewSecret for a user's own.
func (h *Handlers) NewOwnSecret(c echo.Context) error {
	return h.showSecret(c, http.StatusOK, views.SecretForm{Place: ownSecrets(c)})
}

// AddOwnSecret is AddSecret for a user's own.
func (h *Handlers) AddOwnSecret(c echo.Context) error { return h.addSecret(c, ownSecrets(c)) }

// EditOwnSecret is EditSecret for a user's own.
func (h *Handlers) EditOwnSecret(c echo.Context) error { return h.editSecret(c, ownSecrets(c)) }

// UpdateOwnSecret is UpdateSecret for a user's own.
func (h *Handlers) UpdateOwnSecret(c echo.Context) error { return h.updateSecret(c, ownSecrets(c)) }

// DeleteOwnSecret is DeleteSecret for a user's own.
func (h *Handlers) DeleteOwnSecret(c echo.Context) error { return h.deleteSecret(c, ownSecrets(c)) }

func workspaceSecrets(c echo.Context) views.SecretsPlace {
	m := Member(c)
	return views.SecretsPlace{Owner: platform.SecretsOwner{WorkspaceID: m.Workspace.ID}, Path: base(c) + "/secrets", MayEdit: m.Can(platform.EditSecrets)}
}

func ownSecrets(c echo.Context) views.SecretsPlace {
	u, _ := User(c) // the route asks for somebody
	return views.SecretsPlace{Owner: platform.SecretsOwner{UserID: u.ID}, Path: "/account/secrets", MayEdit: true}
}

func (h *Handlers) listSecrets(c echo.Context, place views.SecretsPlace) error {
	s, err := h.shell(c, place.Title(), "secrets")
	if err != nil {
		return err
	}
	l := views.SecretList{Place: place, Now: time.Now()}
	if l.Secrets, err = h.DB.PipelineSecrets(c.Request().Context(), place.Owner); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.SecretsPage(s, l))
}

func (h *Handlers) addSecret(c echo.Context, place views.SecretsPlace) error {
	secret := platform.PipelineSecret{Owner: place.Owner, Name: c.FormValue("name"), Value: platform.NewSecret(c.FormValue("value"))}
	return h.saveSecret(c, place, secret, h.DB.AddPipelineSecret)
}

func (h *Handlers) editSecret(c echo.Context, place views.SecretsPlace) error {
	secret, err := h.secretParam(c, place)
	if err != nil {
		return err
	}
	return h.showSecret(c, http.StatusOK, views.SecretForm{Place: place, Secret: secret})
}

func (h *Handlers) updateSecret(c echo.Context, place views.SecretsPlace) error {
	secret, err := h.secretParam(c, place)
	if err != nil {
		return err
	}
	secret.Value = platform.NewSecret(c.FormValue("value"))
	return h.saveSecret(c, place, secret, h.DB.ReplacePipelineSecret)
}

func (h *Handlers) deleteSecret(c echo.Context, place views.SecretsPlace) error {
	secret, err := h.secretParam(c, place)
	if err != nil {
		return err
	}
	if err := h.DB.DeletePipelineSecret(c.Request().Context(), secret); err != nil {
		return err
	}
	return redirect(c, place.Path, "secret-deleted")
}

func (h *Handlers) secretParam(c echo.Context, place views.SecretsPlace) (platform.PipelineSecret, error) {
	return h.DB.PipelineSecret(c.Request().Context(), place.Owner, IDParam(c, "secret"))
}

// saveSecret checks a secret and saves it. Its value is never sent back, not even into a form that was refused.
func (h *Handlers) saveSecret(c echo.Context, place views.SecretsPlace, secret platform.PipelineSecret, save func(context.Context, *platform.PipelineSecret) error) error {
	err := secret.Clean()
	if err == nil {
		err = save(c.Request().Context(), &secret)
	}
	errs, err := fieldErrors(err)
	if err != nil {
		return err
	}
	if errs != nil {
		return h.showSecret(c, http.StatusUnprocessableEntity, views.SecretForm{Place: place, Secret: secret, Errors: errs})
	}
	return redirect(c, place.Path, "secret-saved")
}

func (h *Handlers) showSecret(c echo.Context, status int, f views.SecretForm) error {
	s, err := h.shell(c, "Pipeline secret", "secrets")
	if err != nil {
		return err
	}
	f.Now = time.Now()
	if f.Secret.ID != 0 && f.Place.Owner.WorkspaceID != 0 {
		if f.NamedBy, err = h.DB.PipelinesWithSecret(c.Request().Context(), f.Secret); err != nil {
			return err
		}
	}
	f.Secret.Value = platform.Secret{}
	return render(c, status, views.SecretPage(s, f))
}

// addSecrets offers the secrets that a launch may choose from.
func (h *Handlers) addSecrets(c echo.Context, f *views.LaunchForm) (err error) {
	ctx, m := c.Request().Context(), Member(c)
	if f.WorkspaceSecrets, err = h.DB.PipelineSecrets(ctx, platform.SecretsOwner{WorkspaceID: m.Workspace.ID}); err != nil {
		return err
	}
	f.UserSecrets, err = h.DB.PipelineSecrets(ctx, platform.SecretsOwner{UserID: m.User.ID})
	return err
}
