package aws

import (
	"context"
	"path/filepath"

	"wherry/platform"
)

// CheckLaunch refuses a pipeline that is a folder, unless the image is one of the team's own, which may have it, or a pre-run
// script runs first, which may make it.
func (a *AWS) CheckLaunch(_ context.Context, env platform.ComputeEnv, l platform.Launch) error {
	if filepath.IsAbs(l.Pipeline) && env.Config.ImageID == "" && env.Config.PreRunScript == "" && l.PreRunScript == "" {
		return platform.FieldErrors{"pipeline": "Machines in AWS do not have the portal's folders. Give the address of a Git repository. A folder needs a machine that has it: by an image of your own in the compute environment, or by a pre-run script that puts it there."}
	}
	return nil
}

// Check finds nothing wrong by itself: what an environment names in its account is checked by Validate.
func (a *AWS) Check(context.Context, platform.ComputeEnv) error { return nil }
