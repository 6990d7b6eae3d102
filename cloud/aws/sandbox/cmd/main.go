// Wherry-sandbox runs a command with an AWS account on this host: moto's server with access control, a user with exactly
// the published policies, a bucket, and machines that really boot. It is no part of a release.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"wherry/cloud/aws/policies"
	"wherry/cloud/aws/sandbox"
)

// options are what the command line says.
type options struct {
	bucket, region string
	command        []string
}

func main() {
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wherry-sandbox:", err)
	}
	os.Exit(status)
}

func readOptions() (o options, err error) {
	flags := flag.NewFlagSet("wherry-sandbox", flag.ExitOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage: wherry-sandbox [--bucket NAME] [--region REGION] COMMAND [ARGUMENT...]\n\nMOTO_SERVER names moto's server, WHERRY_NEXTFLOW the Nextflow of the machines.")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.bucket, "bucket", "wherry-sandbox", "the `name` of the bucket that is there")
	flags.StringVar(&o.region, "region", "eu-west-1", "the AWS `region`")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return o, err
	}
	if o.command = flags.Args(); len(o.command) == 0 {
		return o, errors.New("there is no command to run")
	}
	if _, err := exec.LookPath(o.command[0]); err != nil {
		return o, err
	}
	if _, err := exec.LookPath(os.Getenv("MOTO_SERVER")); err != nil {
		return o, fmt.Errorf("MOTO_SERVER does not name moto's server (%w): `make demo ARGS=--aws-sandbox` sets it", err)
	}
	return o, nil
}

// run makes the account, runs the command there and takes everything away. The status is the command's.
func run() (status int, err error) {
	o, err := readOptions()
	if err != nil {
		return 2, err
	}
	// Signals are for the command. Until it runs they end what is being made.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	server, err := sandbox.Start(context.Background(), os.Getenv("MOTO_SERVER"))
	if err != nil {
		return 1, err
	}
	defer server.Close()
	proxy, err := sandbox.NewProxy(server)
	if err != nil {
		return 1, err
	}
	defer proxy.Close()
	hypervisor, err := sandbox.NewHypervisor(proxy, machines())
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, hypervisor.Close()) }()
	data, err := os.MkdirTemp("", "wherry-sandbox-data-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	env, err := account(server, proxy, o, data)
	if err != nil {
		return 1, fmt.Errorf("making the account: %w", err)
	}
	status, err = runCommand(o.command, env, signals)
	if left := server.Instances(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "wherry-sandbox: the command has ended and left %d instances: %s. They end now.\n", len(left), strings.Join(left, ", "))
	}
	return status, err
}

// machines have the Nextflow and the Java of this host, as those of an image that has them baked in.
func machines() (o sandbox.Options) {
	if nextflow, err := exec.LookPath(os.Getenv("WHERRY_NEXTFLOW")); err == nil {
		if nextflow, err = filepath.Abs(nextflow); err == nil {
			o.Commands = map[string]string{"nextflow": "#!/bin/sh\nexec '" + nextflow + "' \"$@\"\n"}
		}
	}
	if java, err := exec.LookPath("java"); err == nil {
		o.Tools = append(o.Tools, filepath.Dir(java))
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "NXF_") || strings.HasPrefix(v, "JAVA_HOME=") {
			o.Env = append(o.Env, v)
		}
	}
	return o
}

// account makes a bucket and a user, and returns the environment of a command that uses them and can reach no other account.
func account(server *sandbox.Server, proxy *sandbox.Proxy, o options, data string) ([]string, error) {
	ctx := context.Background()
	create := &s3.CreateBucketInput{Bucket: &o.bucket}
	if o.region != "us-east-1" { // the one region that S3 does not let name
		create.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(o.region)}
	}
	if _, err := s3.NewFromConfig(server.Admin(o.region)).CreateBucket(ctx, create); err != nil {
		return nil, err
	}
	key, _, err := server.User(ctx, "wherry", policies.Credentials()...)
	if err != nil {
		return nil, err
	}
	env := sandbox.WithoutAWS(os.Environ())
	if os.Getenv("WHERRY_DATA") == "" {
		env = append(env, "WHERRY_DATA="+data) // what it knows of this account is of no use after it
	}
	return append(env, "AWS_ENDPOINT_URL="+proxy.URL, "AWS_ACCESS_KEY_ID="+key.ID, "AWS_SECRET_ACCESS_KEY="+key.Secret,
		"AWS_REGION="+o.region, "AWS_DEFAULT_REGION="+o.region, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null"), nil
}

// runCommand runs the command to its end, passes signals on to it, and returns its status.
func runCommand(command, env []string, signals <-chan os.Signal) (int, error) {
	// The command dies with the thread that starts it, so that is held.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	// In a group of its own it gets a terminal's signals once, from here.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it may have ended
			case <-ended:
				return
			}
		}
	}()
	_ = cmd.Wait() // its status says what there is to say
	close(ended)
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
