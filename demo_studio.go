package main

import (
	"context"
	"os/exec"

	"wherry/platform"
)

// demoStudio is the Studio that a first-time visitor finds, ready to be started.
const demoStudio = "notebook"

// prepareStudio saves a Studio of JupyterLab where the host has JupyterLab and no Studio was added yet.
func (d *demo) prepareStudio(ctx context.Context) error {
	if _, err := exec.LookPath("jupyter"); err != nil || d.env.Platform != platform.PlatformLocal {
		return nil
	}
	known, err := d.db.Studios(ctx, d.member.Workspace.ID, "")
	if err != nil || len(known) > 0 {
		return err
	}
	s := platform.Studio{WorkspaceID: d.member.Workspace.ID, UserID: d.member.User.ID, ComputeEnvID: d.env.ID, Name: demoStudio,
		Description: "JupyterLab on this computer. Start it, and connect when it is running.",
		Config:      platform.StudioConfig{Template: "jupyter", LifespanHours: platform.DefaultLifespanHours}}
	if err := s.Clean(platform.ShippedTemplates()); err != nil {
		return err
	}
	return d.db.AddStudio(ctx, &s)
}
