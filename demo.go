package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wherry/examples"
	"wherry/platform"
)

// demoLimit is how long the first run of `demo --once` may take.
const demoLimit = 5 * time.Minute

// demo is a portal with a workspace, an environment on this host or in an AWS account, and the example pipelines.
type demo struct {
	*portal
	once   bool
	aws    string // the work directory of an environment in AWS; empty: none
	member platform.Member
	env    platform.ComputeEnv
	run    platform.Run
}

// demoCommand starts a portal that is ready to look at, and launches the first example. With --once it waits for that
// run's end, prints what came of it as one line of JSON, and fails unless it succeeded and left nothing behind.
func demoCommand(ctx context.Context, args []string) (err error) {
	var once bool
	var awsWorkDir string
	s, rest, err := readSettings("demo", args, func(f *flag.FlagSet) {
		f.BoolVar(&once, "once", false, "wait for the first run's end, print it as a line of JSON, and stop")
		f.StringVar(&awsWorkDir, "aws", "", "run in the AWS account of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in AWS_REGION, with this `s3://bucket/path` as work directory")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("demo takes no arguments, but got %q", rest)
	}
	if once {
		if s.data, err = os.MkdirTemp("", "wherry-demo-"); err != nil {
			return err
		}
		s.address, s.agentURL = "127.0.0.1:0", ""
	}
	d := &demo{once: once, aws: awsWorkDir}
	if d.portal, err = openPortal(ctx, s); err != nil {
		return err
	}
	if err := d.prepare(ctx); err != nil {
		return errors.Join(err, d.close())
	}
	return d.serve(ctx)
}

// serve runs the portal, and launches once it runs.
func (d *demo) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- d.portal.run(ctx) }()
	err := d.launchFirst(ctx)
	if err == nil && !d.once {
		err = d.greet(ctx)
	}
	if err == nil && d.once {
		err = d.report(ctx)
	}
	if err != nil || d.once {
		stop()
	}
	err = errors.Join(err, <-served, d.close())
	if err == nil && d.once {
		return os.RemoveAll(d.data)
	}
	return err
}

// prepare makes what a first-time visitor should find. What is there from an earlier start is kept.
func (d *demo) prepare(ctx context.Context) error {
	users, err := d.db.UserCount(ctx)
	if err != nil {
		return err
	}
	if users == 0 {
		setUp := platform.SetUp{Email: "demo@example.org", UserName: "demo", Organization: "wherry", Workspace: "demo"}
		if _, err := d.db.SetUp(ctx, setUp, ""); err != nil {
			return err
		}
	}
	user, err := d.db.UserByLogin(ctx, "demo")
	if err != nil {
		return fmt.Errorf("the data folder %s belongs to a portal that is no demo: give --data another folder", d.data)
	}
	if d.member, err = d.db.Member(ctx, user.ID, "wherry", "demo"); err != nil {
		return err
	}
	if err := d.prepareEnv(ctx); err != nil {
		return err
	}
	if err := d.preparePipelines(ctx); err != nil {
		return err
	}
	return d.prepareStudio(ctx)
}

func (d *demo) prepareEnv(ctx context.Context) error {
	envs, err := d.db.ComputeEnvs(ctx, d.member.Workspace.ID)
	if err != nil {
		return err
	}
	for _, e := range envs {
		if e.InCloud() == (d.aws != "") {
			d.env = e
			return d.checkAccount(ctx)
		}
	}
	if d.aws != "" {
		return d.prepareAWS(ctx)
	}
	d.env = platform.ComputeEnv{WorkspaceID: d.member.Workspace.ID, Name: "this-computer", Platform: platform.PlatformLocal,
		WorkDir: filepath.Join(d.data, "work"), Status: platform.ComputeEnvAvailable}
	return d.db.AddComputeEnv(ctx, &d.env)
}

func (d *demo) examplesDir() string { return filepath.Join(d.data, "examples") }

// preparePipelines writes the examples into the data folder, as this version has them, and saves a pipeline for each.
func (d *demo) preparePipelines(ctx context.Context) error {
	dir := d.examplesDir()
	if err := writeTree(dir, examples.Files); err != nil {
		return err
	}
	known, err := d.db.Pipelines(ctx, d.member.Workspace.ID)
	if err != nil || len(known) > 0 {
		return err
	}
	for _, e := range examples.All {
		p := platform.Pipeline{WorkspaceID: d.member.Workspace.ID, Name: e.Name, Description: e.Description,
			Launch: platform.Launch{ComputeEnvID: d.env.ID, Pipeline: filepath.Join(dir, e.Dir), ParamsText: e.ParamsText}}
		if err := p.Clean(); err != nil {
			return err
		}
		if err := d.db.AddPipeline(ctx, &p); err != nil {
			return err
		}
	}
	return nil
}

// launchFirst launches the first example.
func (d *demo) launchFirst(ctx context.Context) error {
	if err := d.waitForEnv(ctx); err != nil {
		return err
	}
	pipelines, err := d.db.Pipelines(ctx, d.member.Workspace.ID)
	if err != nil {
		return err
	}
	for _, p := range pipelines {
		if p.Name != examples.All[0].Name {
			continue
		}
		d.run = platform.Run{WorkspaceID: p.WorkspaceID, UserID: d.member.User.ID, PipelineID: p.ID, ComputeEnvID: d.env.ID,
			Name: platform.RandomRunName() + "_" + time.Now().UTC().Format("150405"), Launch: p.Launch, WorkDir: d.env.WorkDir}
		_, err := d.db.AddRun(ctx, &d.run)
		return err
	}
	return nil // someone deleted it from the Launchpad, which is theirs to do
}

// greet prints where the portal is.
func (d *demo) greet(ctx context.Context) error {
	link, err := newSignInLink(ctx, d.db, d.url, d.member.User)
	if err != nil {
		return err
	}
	fmt.Printf("\nWherry is serving at %s\n\nSign in with this link, once, within %s:\n  %s\n\nStop with Ctrl-C. Runs that are under way go on, and are found again at the next start. Data: %s\n\n",
		d.url, signInLinkLifetime, link, d.data)
	return nil
}

// writeTree writes all files of a tree into a folder.
func writeTree(dir string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
}
