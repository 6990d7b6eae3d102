package platform

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// checkRefusal wants an error of a form to name fields, each with words for people.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var errs FieldErrors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("the error names no field: %v", err)
	}
	for field, message := range errs {
		if field == "" || strings.TrimSpace(message) == "" {
			t.Errorf("the error of %q is %q", field, message)
		}
	}
}

// checkTaken wants what was taken to be UTF-8 all through, without NUL.
func checkTaken(t *testing.T, taken any) {
	t.Helper()
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.String:
			if !utf8.ValidString(v.String()) || strings.ContainsRune(v.String(), 0) {
				t.Errorf("%s is taken: %q", path, v.String())
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[Secret]() {
				return
			}
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), path)
			}
		}
	}
	walk(reflect.ValueOf(taken), "")
}

func FuzzLaunch(f *testing.F) {
	f.Add("nextflow-io/hello", "v1.2", "main.nf", "brisk_thames", "a: 1", "process.cpus = 1", "echo \r\n", "A=b\n", "test docker", "", "24.10.0", 90)
	f.Add("https://example.org/boats", "", "../x", "last", "{", "\x00", "", "=\n#a", "-x", "4c58124a-4e7e-4565-8f9d-2561ac936f1b", "25.04.0-edge", -1)
	f.Add("/data/\xff.nf", "a\xffb", "s\xff.nf", "", "a: \xff", "\xff", "\xff", "A=\xff", "p\xff", "", "", 0)
	f.Fuzz(func(t *testing.T, pipeline, revision, script, name, params, config, pre, env, profiles, session, version string, limit int) {
		vars, err := ParseEnvironment(env)
		if err != nil && ErrorCode(err) != CodeInvalid {
			t.Errorf("%q: %v", env, err)
		}
		l := Launch{ComputeEnvID: "x", Pipeline: pipeline, Revision: revision, MainScript: script, RunName: name, ParamsText: params, ConfigText: config,
			PreRunScript: pre, PostRunScript: pre, Environment: vars, ConfigProfiles: strings.Fields(profiles), SessionID: session, NextflowVersion: version, TimeLimit: limit}
		if err := l.Clean(); err != nil {
			checkRefusal(t, err)
			return
		}
		checkTaken(t, l)
		if len(l.ConfigText) > MaxLaunchText || len(l.ParamsText) > MaxLaunchText || len(l.RunName) > MaxRunNameLength || l.TimeLimit < 0 {
			t.Errorf("beyond the limits: %+v", l)
		}
		for _, argument := range append([]string{l.Pipeline, l.Revision, l.MainScript, l.RunName, l.SessionID}, l.ConfigProfiles...) {
			if strings.HasPrefix(argument, "-") || strings.ContainsAny(argument, "\n\x00") {
				t.Errorf("%q could be an option of Nextflow", argument)
			}
		}
		again := l
		if err := again.Clean(); err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("cleaned twice: %+v, then %+v, %v", l, again, err)
		}
	})
}

func FuzzComputeEnv(f *testing.F) {
	f.Add("aws", true, "s3://bucket/work", "eu-west-1", "a=b\nname=x", "m6i.large", "ami-0123456789abcdef0", "vpc-01234567 ", "arn:aws:iam::123456789012:instance-profile/x", "alias/a", "/logs", "24.10.0", "token", 30, 2)
	f.Add("here", false, "/data/../work", "", "", "", "", "", "", "", "", "", "", -1, -1)
	f.Add("\xff", false, "/data/\xff", "", "\xff=\xff", "", "", "", "", "", "\xff", "", "to ken", 0, 0)
	f.Fuzz(func(t *testing.T, name string, cloud bool, dir, region, labels, kind, image, vpc, profile, key, group, version, token string, size, warm int) {
		c := ComputeEnv{Name: name, Platform: PlatformLocal, WorkDir: dir, Region: region, CredentialsID: NewID(), AccessToken: NewSecret(token)}
		if cloud {
			c.Platform = PlatformAWSCloud
		}
		list, err := ParseLabels(labels)
		if err != nil && ErrorCode(err) != CodeInvalid {
			t.Errorf("%q: %v", labels, err)
		}
		c.Config.AWSCloud = AWSCloud{InstanceType: kind, ImageID: image, VPCID: vpc, InstanceProfileARN: profile, EBSKMSKeyID: key, LogGroup: group, NextflowVersion: version,
			EBSBootSize: size, WarmInstances: warm, ResourceLabels: list, SubnetIDs: []string{vpc}, AllowBuckets: strings.Fields(dir)}
		c.Config.NextflowConfig, c.Config.PreRunScript = labels, labels
		c.Config.SetEnvironment([]Env{{Name: kind, Value: group}}, []Env{{Name: kind, Value: group}})
		if err := c.Clean(); err != nil {
			checkRefusal(t, err)
			return
		}
		checkTaken(t, c)
		again := c
		if err := again.Clean(); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("cleaned twice: %+v, then %+v, %v", c, again, err)
		}
		if text := TaskEnvironmentConfig(c.Config.TaskEnvironment()); strings.Count(text, "\n") != len(c.Config.TaskEnvironment()) {
			t.Errorf("variables become %q", text)
		}
	})
}

func FuzzCredentials(f *testing.F) {
	f.Add("aws", "keys", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", false)
	f.Add("a b", "role", "ASIAIOSFODNN7EXAMPLE", "x", "arn:aws:iam::123456789012:role/a/b", true)
	f.Add("\xff", "", "\xff", "\xff", "arn:aws:iam::123456789012:role/\xff", true)
	f.Fuzz(func(t *testing.T, name, mode, access, secret, role string, has bool) {
		c := Credentials{Name: name, Mode: CredentialsMode(mode), AccessKey: access, SecretKey: NewSecret(secret), RoleARN: role}
		if err := c.Clean(has); err != nil {
			checkRefusal(t, err)
			if text := err.Error(); len(secret) > 15 && strings.Contains(text, secret) && !strings.Contains(name+access+role, secret) {
				t.Errorf("the error tells the secret: %s", text)
			}
			return
		}
		checkTaken(t, c)
		if c.RoleARN != "" && len(AccountOf(c.RoleARN)) != 12 {
			t.Errorf("%q is in the account %q", c.RoleARN, AccountOf(c.RoleARN))
		}
	})
}

func FuzzStudio(f *testing.F) {
	f.Add("my studio", "notes\n", "jupyter", "", "samtools=1.21\nbioconda::bwa", "data=s3://bucket/folder\ns3://other", "A=b", 8888, 8, 60)
	f.Add("\u202e", "\xff", "", "docker.io/x:1", "-c evil", "..=s3://bucket/../x", "WHERRY_X=1", -1, 999, 1)
	templates := ShippedTemplates()
	f.Fuzz(func(t *testing.T, name, description, template, image, conda, mounts, env string, port, hours, idle int) {
		vars, _ := ParseEnvironment(env) // what cannot be read has none
		s := Studio{Name: name, Description: description, ComputeEnvID: NewID(), Config: StudioConfig{Template: template, Image: image, Port: port, LifespanHours: hours,
			IdleMinutes: idle, CondaPackages: conda, Mounts: ParseMounts(mounts), Environment: vars}}
		if err := s.Clean(templates); err != nil {
			checkRefusal(t, err)
			return
		}
		checkTaken(t, s)
		for _, p := range strings.Fields(s.Config.CondaPackages) {
			if strings.HasPrefix(p, "-") || strings.HasPrefix(p, "/") || strings.Contains(p, "://") {
				t.Errorf("%q is taken for a package", p)
			}
		}
		for _, m := range s.Config.Mounts {
			if bucket, path, ok := SplitS3(m.URI); !ok || strings.Contains(path, "..") || strings.ContainsAny(m.Name, "/\\") || strings.HasPrefix(m.Name, ".") {
				t.Errorf("%+v is taken: the bucket %q", m, bucket)
			}
		}
		if again := ParseMounts(FormatMounts(s.Config.Mounts)); len(again)+len(s.Config.Mounts) > 0 && !reflect.DeepEqual(again, s.Config.Mounts) {
			t.Errorf("%+v is read as %+v again", s.Config.Mounts, again)
		}
	})
}

func FuzzPeopleAndPlaces(f *testing.F) {
	f.Add("ada@example.org", "ada", "a long password", "lab", "rivers", "hello", "text")
	f.Add("\xff@\xff", "a--b", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "-", "\u202e", "\xff", "\xff")
	f.Fuzz(func(t *testing.T, email, user, password, organization, workspace, name, description string) {
		s := SetUp{Email: email, UserName: user, Password: password, Organization: organization, Workspace: workspace}
		if err := s.Clean(); err != nil {
			checkRefusal(t, err)
		} else {
			s.Password = "" // it is hashed, whatever it is
			checkTaken(t, s)
		}
		p := Pipeline{Name: name, Description: description, Launch: Launch{Pipeline: "nextflow-io/hello", ComputeEnvID: "x"}}
		if err := p.Clean(); err != nil {
			checkRefusal(t, err)
		} else {
			checkTaken(t, p)
		}
		if name, err := CleanCheckpointName(name); err != nil {
			checkRefusal(t, err)
		} else {
			checkTaken(t, struct{ Name string }{name})
		}
	})
}
