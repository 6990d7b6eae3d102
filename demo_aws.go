package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"wherry/examples"
	"wherry/platform"
)

// prepareAWS makes credentials of the key in the environment, and with them a compute environment in AWS. Its machines have
// the examples where the portal has them, because a script puts them there first.
func (d *demo) prepareAWS(ctx context.Context) error {
	c := platform.Credentials{WorkspaceID: d.member.Workspace.ID, Name: "demo-account", Mode: platform.CredentialsKeys,
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: platform.NewSecret(os.Getenv("AWS_SECRET_ACCESS_KEY"))}
	d.env = platform.ComputeEnv{WorkspaceID: c.WorkspaceID, Name: "aws-cloud", Platform: platform.PlatformAWSCloud, WorkDir: d.aws,
		Region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")), Status: platform.ComputeEnvCreating}
	d.env.Config.KeepForResume = true
	script, err := examplesScript(d.examplesDir())
	if err != nil {
		return err
	}
	d.env.Config.PreRunScript = script
	d.env.CredentialsID = platform.NewID() // to be checked with the rest; the real one comes with the credentials
	if err := errors.Join(c.Clean(false), d.env.Clean()); err != nil {
		return fmt.Errorf("--aws needs AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and a work directory in S3: %w", err)
	}
	if err := d.db.AddCredentials(ctx, &c); err != nil {
		return err
	}
	d.env.CredentialsID = c.ID
	return d.db.AddComputeEnv(ctx, &d.env)
}

// checkAccount refuses an environment of an earlier start that is in another account than the key that was given now.
func (d *demo) checkAccount(ctx context.Context) error {
	if !d.env.InCloud() {
		return nil
	}
	c, err := d.db.Credentials(ctx, d.env.WorkspaceID, d.env.CredentialsID)
	if err == nil && c.AccessKey != os.Getenv("AWS_ACCESS_KEY_ID") {
		err = fmt.Errorf("the data folder %s belongs to a demo with another AWS access key: give --data another folder (an account on this host ends with its demo)", d.data)
	}
	return err
}

// waitForEnv waits until the environment takes runs.
func (d *demo) waitForEnv(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	for {
		env, err := d.db.AnyComputeEnv(ctx, d.env.ID)
		switch {
		case err != nil:
			return err
		case env.Status == platform.ComputeEnvAvailable:
			return nil
		case env.Status == platform.ComputeEnvErrored:
			return fmt.Errorf("the compute environment could not be made: %s", env.Message)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the compute environment is still %s: %s", env.Status, env.Message)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// examplesScript writes the example pipelines into a folder of a machine, as the portal's own folder has them. They are small.
func examplesScript(dir string) (string, error) {
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	if err := errors.Join(archive.AddFS(examples.Files), archive.Close(), zipped.Close()); err != nil {
		return "", err
	}
	quoted := "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
	return fmt.Sprintf("mkdir -p %[1]s && base64 -d <<'END' | tar -xzf - -C %[1]s\n%[2]s\nEND\n", quoted, base64.StdEncoding.EncodeToString(packed.Bytes())), nil
}
