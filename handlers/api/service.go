package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// apiVersion is the version of the API whose paths and shapes are spoken here.
const apiVersion = "1.187.0"

// ServiceInfo tells clients what this portal is.
func (a *API) ServiceInfo(c echo.Context) error {
	type serviceInfo struct {
		Version                  string   `json:"version"`
		APIVersion               string   `json:"apiVersion"`
		AuthTypes                []string `json:"authTypes"`
		LoginPath                string   `json:"loginPath"`
		HeartbeatInterval        int      `json:"heartbeatInterval"` // seconds
		LaunchConfigTextMaxSize  int      `json:"launchConfigTextMaxSize"`
		LaunchParamsTextMaxSize  int      `json:"launchParamsTextMaxSize"`
		UserWorkspaceEnabled     bool     `json:"userWorkspaceEnabled"`
		AllowInstanceCredentials bool     `json:"allowInstanceCredentials"`
		AllowNextflowCliLogs     bool     `json:"allowNextflowCliLogs"`
		ForgePrefix              string   `json:"forgePrefix"`
	}
	return c.JSON(http.StatusOK, map[string]any{"serviceInfo": serviceInfo{Version: a.Version, APIVersion: apiVersion,
		AuthTypes: []string{"password"}, LoginPath: "/sign-in", HeartbeatInterval: 60,
		LaunchConfigTextMaxSize: platform.MaxLaunchText, LaunchParamsTextMaxSize: platform.MaxLaunchText, ForgePrefix: "TowerForge"}})
}

// UserInfo tells a client whose token it has: of a run's token, who launched the run.
func (a *API) UserInfo(c echo.Context) error {
	ctx := c.Request().Context()
	if u, ok := handlers.User(c); ok {
		return c.JSON(http.StatusOK, map[string]any{"user": describeUser(u), "needConsent": false, "defaultWorkspaceId": nil})
	}
	run, err := a.DB.AnyRun(ctx, handlers.Machine(c).RunID)
	if err != nil {
		return err
	}
	u, err := a.DB.UserByID(ctx, run.UserID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"user": describeUser(u), "needConsent": false, "defaultWorkspaceId": run.WorkspaceID})
}

func describeUser(u platform.User) map[string]any {
	return map[string]any{"id": u.ID, "userName": u.UserName, "email": u.Email, "dateCreated": u.Created.Format(time.RFC3339)}
}
