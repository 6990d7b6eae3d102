package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestMain plays the program, and the command that it runs.
func TestMain(m *testing.M) {
	switch os.Getenv("SANDBOX_PLAYS") {
	case "program":
		os.Setenv("SANDBOX_PLAYS", "command")
		main()
	case "command":
		if err := launchAndWait(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// launchAndWait uses the account as a user's program would: by what the environment says alone.
func launchAndWait(ctx context.Context) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	buckets, err := s3.NewFromConfig(cfg).ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return err
	}
	client := ec2.NewFromConfig(cfg)
	script := "#!/bin/sh\nnextflow -version && shutdown -h now\n"
	out, err := client.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-12c6146b"), InstanceType: types.InstanceTypeM5Large, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate, UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(script)))})
	if err != nil {
		return err
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	waiter := ec2.NewInstanceTerminatedWaiter(client, func(o *ec2.InstanceTerminatedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 50*time.Millisecond
	})
	if err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, 30*time.Second); err != nil {
		return err
	}
	_, err = client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{}) // is in no policy
	fmt.Printf("%s; %s; %v; %s; %s\n", *buckets.Buckets[0].Name, cfg.Region, err, os.Getenv("WHERRY_DATA"), os.Getenv("AWS_ENDPOINT_URL"))
	return nil
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SANDBOX_PLAYS=program", "AWS_SESSION_TOKEN=of another account", "AWS_PROFILE=another", "WHERRY_DATA=", "WHERRY_NEXTFLOW=/bin/true", "TMPDIR="+t.TempDir())
	cmd.Stderr = t.Output()
	return cmd
}

func TestACommandHasAnAccountAndItsStatusIsTheStatus(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath(os.Getenv("MOTO_SERVER")); err != nil {
		if testing.Short() {
			t.Skip("without moto")
		}
		t.Fatalf("MOTO_SERVER does not name moto's server (%v): run the tests with `make test`", err)
	}
	cmd := program(t, "--bucket", "rivers", "--region", "eu-central-1", os.Args[0])
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 7 {
		t.Fatalf("%v: %s", err, out)
	}
	said := strings.Split(strings.TrimSpace(string(out)), "; ")
	if said[0] != "rivers" || said[1] != "eu-central-1" || !strings.Contains(said[2], "UnauthorizedOperation") {
		t.Errorf("the command found %q", said)
	}
	if _, err := os.Stat(said[3]); !strings.Contains(said[3], "wherry-sandbox-data-") || !os.IsNotExist(err) {
		t.Errorf("the data folder %q is left: %v", said[3], err)
	}
	if answer, err := http.Get(said[4]); err == nil {
		answer.Body.Close()
		t.Error("the account answers on")
	}
}

func TestASignalIsForTheCommand(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 1)
	up := filepath.Join(t.TempDir(), "up")
	go func() {
		for {
			if _, err := os.Stat(up); err == nil || t.Context().Err() != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		signals <- syscall.SIGTERM
	}()
	status, err := runCommand([]string{"bash", "-c", "trap 'exit 9' TERM; touch " + up + "; while :; do sleep 0.05; done"}, os.Environ(), signals)
	if status != 9 || err != nil {
		t.Errorf("the status is %d, %v", status, err)
	}
}

func TestACommandThatIsKilledIsToldAsAShellTellsIt(t *testing.T) {
	t.Parallel()
	if status, err := runCommand([]string{"bash", "-c", "kill -9 $$"}, os.Environ(), nil); status != 137 || err != nil {
		t.Errorf("the status is %d, %v", status, err)
	}
}

func TestWithoutACommandItSaysSo(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{"there is no command to run": {}, "/nonexistent": {"/nonexistent"}} {
		cmd := program(t, args...)
		cmd.Stderr = nil
		_, err := cmd.Output()
		var failed *exec.ExitError
		if !errors.As(err, &failed) || failed.ExitCode() != 2 || !strings.Contains(string(failed.Stderr), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
