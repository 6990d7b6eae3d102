package main

import (
	"strings"
	"testing"

	"wherry/db"
	"wherry/platform"
)

func TestADemoGoesOnWithTheEnvironmentOfItsKind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	t.Setenv("AWS_REGION", "eu-west-1")
	store, err := db.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	start := func(aws string) (platform.ComputeEnv, error) {
		d := &demo{portal: &portal{settings: settings{data: dir}, db: store}, aws: aws}
		err := d.prepare(t.Context())
		return d.env, err
	}
	for _, c := range []struct {
		aws  string
		want platform.PlatformName
	}{{"", platform.PlatformLocal}, {"s3://wherry-demo/work", platform.PlatformAWSCloud}, {"", platform.PlatformLocal}, {"s3://wherry-demo/work", platform.PlatformAWSCloud}} {
		if env, err := start(c.aws); err != nil || env.Platform != c.want {
			t.Errorf("with %q it runs on %q (%v)", c.aws, env.Platform, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE")
	if _, err := start("s3://wherry-demo/work"); err == nil || !strings.Contains(err.Error(), "another AWS access key") {
		t.Errorf("in another account: %v", err)
	}
}
