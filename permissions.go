package main

import (
	"context"
	"flag"
	"fmt"

	"wherry/cloud/aws"
	"wherry/platform"
)

// permissionsCommand prints everything that Wherry may ask of an AWS account, as an IAM policy in JSON.
func permissionsCommand(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("wherry permissions", flag.ContinueOnError)
	narrow := flags.String("narrow", "", "narrow the policy to what Wherry makes by name (TowerForge-*) and to the files of this `bucket`")
	console := flags.Bool("console", false, "add the optional permission to read the console of a machine that did not come up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("permissions takes no arguments, but got %q", flags.Args())
	}
	if *narrow != "" {
		bucket, _, ok := platform.SplitS3("s3://" + *narrow)
		if !ok || bucket != *narrow {
			return fmt.Errorf("%q is not the name of a bucket", *narrow)
		}
	}
	fmt.Print(aws.PolicyDocument(*narrow, *console))
	return nil
}
