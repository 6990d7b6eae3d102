package platform

import (
	"errors"
	"testing"
)

func TestOptionsOfAWSMachinesAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config AWSCloud
		field  string // empty: nothing is wrong
	}{
		"nothing":                 {AWSCloud{}, ""},
		"Spot":                    {AWSCloud{Spot: true}, ""},
		"a version":               {AWSCloud{NextflowVersion: "24.10.0"}, ""},
		"a version with spaces":   {AWSCloud{NextflowVersion: " 24.10.0 "}, ""},
		"an edge version":         {AWSCloud{NextflowVersion: "25.04.0-edge"}, ""},
		"no version":              {AWSCloud{NextflowVersion: "latest"}, "nextflowVersion"},
		"half a version":          {AWSCloud{NextflowVersion: "24.10"}, "nextflowVersion"},
		"a command":               {AWSCloud{NextflowVersion: "24.10.0;reboot"}, "nextflowVersion"},
		"warm instances":          {AWSCloud{WarmInstances: 20, WarmMinutes: 1440}, ""},
		"the default of minutes":  {AWSCloud{WarmInstances: 1}, ""},
		"too many warm instances": {AWSCloud{WarmInstances: 21}, "warmInstances"},
		"fewer than none":         {AWSCloud{WarmInstances: -1}, "warmInstances"},
		"too many minutes":        {AWSCloud{WarmInstances: 1, WarmMinutes: 1441}, "warmMinutes"},
		"negative minutes":        {AWSCloud{WarmMinutes: -1}, "warmMinutes"},
	} {
		errs := FieldErrors{}
		c.config.clean(errs)
		if (c.field == "" && len(errs) > 0) || (c.field != "" && (len(errs) != 1 || errs[c.field] == "")) {
			t.Errorf("%s: %v", name, errs)
		}
		if c.config.NextflowVersion == " 24.10.0 " {
			t.Errorf("%s: %q was not trimmed", name, c.config.NextflowVersion)
		}
	}
}

func TestTheLogGroupOfAnEnvironment(t *testing.T) {
	t.Parallel()
	env := ComputeEnv{ID: "0Env", Platform: PlatformAWSCloud}
	if got := env.LogGroup(); got != "/wherry/0Env" {
		t.Errorf("the default is %q", got)
	}
	env.Config.LogGroup = "ours"
	if got := env.LogGroup(); got != "ours" {
		t.Errorf("the chosen one is %q", got)
	}
	env.Platform = PlatformLocal
	if got := env.LogGroup(); got != "" {
		t.Errorf("this host has %q", got)
	}
}

func TestACleanEnvironmentKeepsItsOptions(t *testing.T) {
	t.Parallel()
	env := ComputeEnv{Name: "n", Platform: PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work", CredentialsID: NewID()}
	env.Config.Spot, env.Config.WarmInstances, env.Config.WarmMinutes, env.Config.KeepForResume = true, 2, 30, true
	before := env.Config.AWSCloud
	if err := env.Clean(); err != nil {
		t.Fatal(err)
	}
	if after := env.Config.AWSCloud; after.Spot != before.Spot || after.WarmInstances != 2 || after.WarmMinutes != 30 || !after.KeepForResume {
		t.Errorf("%+v", after)
	}
	env.Config.WarmInstances = 99
	var fields FieldErrors
	if err := env.Clean(); !errors.As(err, &fields) || fields["warmInstances"] == "" {
		t.Errorf("%v", err)
	}
}
