package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// pipelineSecret is a secret as the API shows it.
type pipelineSecret struct {
	ID          int64      `json:"id"`
	Name        string     `json:"name"`
	LastUsed    *time.Time `json:"lastUsed"`
	DateCreated time.Time  `json:"dateCreated"`
	LastUpdated time.Time  `json:"lastUpdated"`
}

func describeSecret(s platform.PipelineSecret) pipelineSecret {
	out := pipelineSecret{ID: s.ID, Name: s.Name, DateCreated: s.Created, LastUpdated: s.Updated}
	if !s.LastUsed.IsZero() {
		out.LastUsed = &s.LastUsed
	}
	return out
}

// secretsOwner is whose secrets a request is about: those of the workspace that workspaceId names, where the client's role must include p,
// or else the client's own.
func (a *API) secretsOwner(c echo.Context, p platform.Permission) (platform.SecretsOwner, error) {
	user, _ := handlers.User(c) // the route asks for somebody
	text := c.QueryParam("workspaceId")
	if text == "" {
		return platform.SecretsOwner{UserID: user.ID}, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return platform.SecretsOwner{}, platform.Errorf(platform.CodeInvalid, "workspaceId is no number.")
	}
	member, err := a.DB.MemberOf(c.Request().Context(), user.ID, id)
	if err != nil {
		return platform.SecretsOwner{}, err
	}
	return platform.SecretsOwner{WorkspaceID: id}, member.Require(p)
}

// secretParam reads the secret that the path names, for who has the permission.
func (a *API) secretParam(c echo.Context, p platform.Permission) (platform.PipelineSecret, error) {
	owner, err := a.secretsOwner(c, p)
	if err != nil {
		return platform.PipelineSecret{}, err
	}
	return a.DB.PipelineSecret(c.Request().Context(), owner, handlers.IDParam(c, "secret"))
}

// PipelineSecrets lists secrets, without their values.
func (a *API) PipelineSecrets(c echo.Context) error {
	owner, err := a.secretsOwner(c, platform.ViewSecrets)
	if err != nil {
		return err
	}
	secrets, err := a.DB.PipelineSecrets(c.Request().Context(), owner)
	if err != nil {
		return err
	}
	list := []pipelineSecret{}
	for _, s := range secrets {
		list = append(list, describeSecret(s))
	}
	return c.JSON(http.StatusOK, map[string]any{"pipelineSecrets": list, "totalSize": len(list)})
}

// CreatePipelineSecret saves a new secret.
func (a *API) CreatePipelineSecret(c echo.Context) error {
	owner, err := a.secretsOwner(c, platform.EditSecrets)
	if err != nil {
		return err
	}
	var req struct{ Name, Value string }
	if err := readJSON(c, &req); err != nil {
		return err
	}
	s := platform.PipelineSecret{Owner: owner, Name: req.Name, Value: platform.NewSecret(req.Value)}
	if err := s.Clean(); err != nil {
		return err
	}
	if err := a.DB.AddPipelineSecret(c.Request().Context(), &s); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]int64{"secretId": s.ID, "id": s.ID})
}

// ValidatePipelineSecret tells whether a new secret may have a name.
func (a *API) ValidatePipelineSecret(c echo.Context) error {
	owner, err := a.secretsOwner(c, platform.ViewSecrets)
	if err != nil {
		return err
	}
	s := platform.PipelineSecret{Name: c.QueryParam("name"), Value: platform.NewSecret("any")}
	if err := s.Clean(); err != nil {
		return err
	}
	taken, err := a.DB.PipelineSecretNamed(c.Request().Context(), owner, s.Name)
	if err == nil && taken {
		err = platform.Errorf(platform.CodeConflict, "There is a secret named %s already.", s.Name)
	}
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// DescribePipelineSecret tells of one secret, without its value.
func (a *API) DescribePipelineSecret(c echo.Context) error {
	s, err := a.secretParam(c, platform.ViewSecrets)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"pipelineSecret": describeSecret(s)})
}

// UpdatePipelineSecret gives a secret another value.
func (a *API) UpdatePipelineSecret(c echo.Context) error {
	s, err := a.secretParam(c, platform.EditSecrets)
	if err != nil {
		return err
	}
	var req struct{ Value string }
	if err := readJSON(c, &req); err != nil {
		return err
	}
	s.Value = platform.NewSecret(req.Value)
	if err := s.Clean(); err != nil {
		return err
	}
	if err := a.DB.ReplacePipelineSecret(c.Request().Context(), &s); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// DeletePipelineSecret deletes a secret.
func (a *API) DeletePipelineSecret(c echo.Context) error {
	s, err := a.secretParam(c, platform.EditSecrets)
	if err != nil {
		return err
	}
	if err := a.DB.DeletePipelineSecret(c.Request().Context(), s); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
