package platform

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func goodAWS() ComputeEnv {
	return ComputeEnv{Name: "rivers", Platform: PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work", CredentialsID: "abcdefgHIJ1234"}
}

// checkAWS cleans a good environment that was changed, and wants an error at field, or none for "".
func checkAWS(t *testing.T, what, field string, change func(*ComputeEnv)) {
	t.Helper()
	e := goodAWS()
	change(&e)
	err := e.Clean()
	if field == "" {
		wantFields(t, what, err)
	} else {
		wantFields(t, what, err, field)
	}
}

// numbered makes a list of n by a pattern.
func numbered(n int, pattern string) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf(pattern, i))
	}
	return list
}

func TestAnEnvironmentOnAWSNeedsARegionAndCredentials(t *testing.T) {
	t.Parallel()
	for region, field := range map[string]string{"eu-west-1": "", "us-gov-west-1": "", "ap-southeast-4": "", "": "region", "eu": "region",
		"eu-west": "region", "EU-WEST-1": "region", " eu-west-1": "region", "eu-west-1a": "region", "eu-west-1\n": "region", "eu-west-1.example.org/": "region"} {
		checkAWS(t, "the region "+region, field, func(e *ComputeEnv) { e.Region = region })
	}
	for _, id := range []string{"", "short", "abcdefgHIJ12345", "abcdefgHIJ123/"} {
		checkAWS(t, "the credentials "+id, "credentialsId", func(e *ComputeEnv) { e.CredentialsID = id })
	}
}

func TestAWorkDirectoryOnAWSIsAFolderInABucket(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"s3://rivers/work", "s3://rivers/work/", " s3://rivers/work\n", "s3://my.rivers-1/a/b_c/d+e=f,g@h", "s3://123/w", "s3://rivers/é:!",
		"s3://" + strings.Repeat("a", 63) + "/w", "s3://rivers/a..b/..c/d..", "s3://rivers/" + strings.Repeat("a", 700)} {
		checkAWS(t, dir, "", func(e *ComputeEnv) { e.WorkDir = dir })
	}
	for _, dir := range []string{"", "/data/work", "rivers/work", "S3://rivers/work", "gs://rivers/work", "s3:/rivers/work", "s3:rivers", "https://rivers.s3.amazonaws.com/work",
		"s3://", "s3:///work", "s3://ab/work", "s3://Rivers/work", "s3://-rivers/work", "s3://rivers-/work", "s3://.rivers/work", "s3://a..b/work", "s3://ri_vers/work",
		"s3://ri vers/work", "s3://" + strings.Repeat("a", 64) + "/w", "s3://rivers", "s3://rivers/", "s3://rivers//", "s3://rivers/my work", "s3://rivers/it's",
		`s3://rivers/"work"`, `s3://rivers/a\b`, "s3://rivers/a\nb", "s3://rivers/a\rb", "s3://rivers/a\x00b", "s3://rivers/a//b", "s3://rivers/work//",
		"s3://rivers//a", "s3://rivers/$(id)", "s3://rivers/`id`", "s3://rivers/a;b", "s3://rivers/*", "s3://rivers/a?b", "s3://10.0.0.1/work",
		"s3://rivers/..", "s3://rivers/../work", "s3://rivers/a/../b", "s3://rivers/a/..", "s3://rivers/" + strings.Repeat("a", 701)} {
		checkAWS(t, fmt.Sprintf("%q", dir), "workDir", func(e *ComputeEnv) { e.WorkDir = dir })
	}
}

func TestFusionNeedsWave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wave, fusion bool
		field        string
	}{{false, false, ""}, {true, false, ""}, {true, true, ""}, {false, true, "fusion2Enabled"}} {
		checkAWS(t, fmt.Sprintf("Wave %v, Fusion %v", c.wave, c.fusion), c.field, func(e *ComputeEnv) {
			e.Config.WaveEnabled, e.Config.Fusion2Enabled = c.wave, c.fusion
		})
	}
}

func TestOtherBucketsAreNamedWhole(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"data": "data", "s3://data": "data", "s3://data/": "data", "data/": "data", "my.data-1": "my.data-1"} {
		checkAWS(t, given, "", func(e *ComputeEnv) { e.Config.AllowBuckets = []string{given} })
		e := goodAWS()
		e.Config.AllowBuckets = []string{given}
		wantFields(t, given, e.Clean())
		if got := e.Config.AllowBuckets; !slices.Equal(got, []string{want}) {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
	for _, bad := range []string{"", "ab", "Data", "s3://data/reads", "data/reads", "s3://", "s3:data", "gs://data", "a..b", "da ta", "arn:aws:s3:::data", "*"} {
		checkAWS(t, bad, "allowBuckets", func(e *ComputeEnv) { e.Config.AllowBuckets = []string{"good", bad} })
	}
	checkAWS(t, "as many as fit", "", func(e *ComputeEnv) { e.Config.AllowBuckets = numbered(maxAllowBuckets, "data-%d") })
	checkAWS(t, "one too many", "allowBuckets", func(e *ComputeEnv) { e.Config.AllowBuckets = numbered(maxAllowBuckets+1, "data-%d") })
}

func TestResourceLabelsAreThoseThatAWSTakes(t *testing.T) {
	t.Parallel()
	check := func(what, field string, labels ...Label) {
		t.Helper()
		checkAWS(t, what, field, func(e *ComputeEnv) { e.Config.ResourceLabels = labels })
	}
	for _, good := range []Label{{"cost-centre", "rivers"}, {"Größe 1", ""}, {"a_.:/+-@", "b_.:/=+-@"}, {"names", "x"}, {"awsome", "x"}, {"wherrymen", "x"},
		{strings.Repeat("é", 128), strings.Repeat("é", 256)}} {
		check(good.Name, "", good)
	}
	for what, bad := range map[string]Label{"no name": {"", "x"}, "a long name": {strings.Repeat("a", 129), "x"}, "a long value": {"a", strings.Repeat("a", 257)},
		"a star": {"a*", "x"}, "a quote in the value": {"a", `"`}, "a line end in the value": {"a", "b\nc"}, "a tab": {"a\tb", "c"},
		"AWS's Name": {"Name", "x"}, "AWS's name": {"name", "x"}, "AWS's own": {"aws:x", "x"}, "AWS's own, big": {"AWS:x", "x"}, "Wherry's own": {"Wherry:portal", "x"}} {
		check(what, "resourceLabels", Label{"good", "x"}, bad)
	}
	check("twice", "resourceLabels", Label{"a", "1"}, Label{"b", "1"}, Label{"a", "2"})
	check("twice to IAM", "resourceLabels", Label{"Owner", "1"}, Label{"owner", "2"})
	var many []Label
	for _, name := range numbered(maxLabels+1, "label-%d") {
		many = append(many, Label{name, "x"})
	}
	check("as many as fit", "", many[:maxLabels]...)
	check("one too many", "resourceLabels", many...)
}

// TestIdsHaveTheirForm has, for every option with a form of its own, what is taken and what is not.
func TestIdsHaveTheirForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field     string
		set       func(*AWSCloud, string)
		good, bad []string
	}{
		{"instanceType", func(a *AWSCloud, v string) { a.InstanceType = v }, []string{"", "m5d.large", " c7gn.16xlarge ", "u-6tb1.metal"},
			[]string{"m5d", "M5D.large", "m5d.", ".large", "m5d large", "m5d.large.x"}},
		{"imageId", func(a *AWSCloud, v string) { a.ImageID = v }, []string{"", "ami-0abcdef1234567890", "ami-12345678", " ami-12345678\n"},
			[]string{"ami-", "ami-1234567", "ami-0ABCDEF1234567890", "ami-0abcdef12345678901", "ami-0abcdefg", "0abcdef1234567890"}},
		{"vpcId", func(a *AWSCloud, v string) { a.VPCID = v }, []string{"", "vpc-0abcdef1234567890"}, []string{"vpc-", "subnet-0abcdef1234567890", "vpc-0abcdef1234567890,x"}},
		{"instanceProfileArn", func(a *AWSCloud, v string) { a.InstanceProfileARN = v }, []string{"", "arn:aws:iam::123456789012:instance-profile/ours", "arn:aws:iam::123456789012:instance-profile/a/b+c=d,e.f@g-h_i"},
			[]string{"ours", goodRoleARN, "arn:aws:iam::12:instance-profile/ours", "arn:aws:iam::123456789012:instance-profile/", "arn:aws:iam::123456789012:instance-profile/*"}},
		{"logGroup", func(a *AWSCloud, v string) { a.LogGroup = v }, []string{"", "/wherry/rivers", "a.b-c_d#1", strings.Repeat("a", 512)}, []string{"a b", "a:b", "a*", strings.Repeat("a", 513)}},
		{"ec2KeyPair", func(a *AWSCloud, v string) { a.EC2KeyPair = v }, []string{"", "ada's key", strings.Repeat("a", 255)}, []string{strings.Repeat("a", 256), "a\nb", "a\rb", "a\x00b"}},
		{"ebsKmsKeyId", func(a *AWSCloud, v string) { a.EBSEncrypted, a.EBSKMSKeyID = true, v },
			[]string{"", "alias/disks", "alias/aws/ebs", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-west-1:123456789012:key/1234abcd", "arn:aws:kms:eu-west-1:123456789012:alias/disks", "mrk-1234"},
			[]string{"alias disks", "arn:aws:kms:eu-west-1:12:key/x", "arn:aws:iam::123456789012:key/x", "key/*", strings.Repeat("a", 300)}},
	} {
		for _, v := range c.good {
			checkAWS(t, fmt.Sprintf("%s %q", c.field, v), "", func(e *ComputeEnv) { c.set(&e.Config.AWSCloud, v) })
		}
		for _, v := range c.bad {
			checkAWS(t, fmt.Sprintf("%s %q", c.field, v), c.field, func(e *ComputeEnv) { c.set(&e.Config.AWSCloud, v) })
		}
	}
}

func TestSubnetsAndSecurityGroupsAreListsOfIds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field, prefix string
		set           func(*AWSCloud, []string)
		most          int
	}{
		{"subnetIds", "subnet-", func(a *AWSCloud, ids []string) { a.SubnetIDs = ids }, maxSubnets},
		{"securityGroups", "sg-", func(a *AWSCloud, ids []string) { a.SecurityGroups = ids }, maxGroups},
	} {
		one := c.prefix + "0abcdef1234567890"
		for what, list := range map[string]struct {
			field string
			ids   []string
		}{
			"none":             {"", nil},
			"an old id":        {"", []string{c.prefix + "12345678"}},
			"as many as fit":   {"", numbered(c.most, c.prefix+"%08x")},
			"one too many":     {c.field, numbered(c.most+1, c.prefix+"%08x")},
			"twice":            {c.field, []string{one, c.prefix + "12345678", one}},
			"another's id":     {c.field, []string{one, "eni-0abcdef1234567890"}},
			"an empty one":     {c.field, []string{""}},
			"a short one":      {c.field, []string{c.prefix + "1234567"}},
			"one with a space": {c.field, []string{" " + one}},
			"no hex digits":    {c.field, []string{c.prefix + "wxyzwxyz"}},
		} {
			checkAWS(t, c.field+", "+what, list.field, func(e *ComputeEnv) { c.set(&e.Config.AWSCloud, list.ids) })
		}
	}
}

func TestABootDiskHasASizeThatEC2Takes(t *testing.T) {
	t.Parallel()
	for size, field := range map[int]string{0: "", minBootSize: "", DefaultBootSize: "", maxBootSize: "", -1: "ebsBootSize", 1: "ebsBootSize",
		minBootSize - 1: "ebsBootSize", maxBootSize + 1: "ebsBootSize"} {
		checkAWS(t, fmt.Sprintf("%d GiB", size), field, func(e *ComputeEnv) { e.Config.EBSBootSize = size })
	}
}

func TestAKeyIsForAnEncryptedDisk(t *testing.T) {
	t.Parallel()
	checkAWS(t, "encrypted by AWS's own key", "", func(e *ComputeEnv) { e.Config.EBSEncrypted = true })
	checkAWS(t, "a key with no encryption", "ebsKmsKeyId", func(e *ComputeEnv) { e.Config.EBSKMSKeyID = "alias/disks" })
}

func TestBucketsAreListedOnceAndTheWorkDirectorysFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		workDir       string
		allowed, want []string
	}{
		{"s3://rivers/work", nil, []string{"rivers"}},
		{"s3://rivers/work", []string{"a", "b"}, []string{"rivers", "a", "b"}},
		{"s3://rivers/work", []string{"b", "rivers", "a", "b"}, []string{"rivers", "b", "a"}},
		{"/data/work", nil, nil},
	} {
		e := ComputeEnv{WorkDir: c.workDir}
		e.Config.AllowBuckets = c.allowed
		for range 2 { // asking changes nothing
			if got := e.Buckets(); !slices.Equal(got, c.want) {
				t.Errorf("%s with %q: %q, want %q", c.workDir, c.allowed, got, c.want)
			}
		}
	}
}

func TestLabelsAreReadAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]Label{
		"":                        nil,
		" \r\n\n":                 nil,
		"a=1":                     {{"a", "1"}},
		"a = 1 \r\n\r\n\tb=\r\n":  {{"a", "1"}, {"b", ""}},
		"cost centre=rivers & co": {{"cost centre", "rivers & co"}},
		"a=b=c":                   {{"a", "b=c"}},
		"=x":                      {{"", "x"}}, // Clean says what is wrong with it
		"b=1\na=2\nb=3":           {{"b", "1"}, {"a", "2"}, {"b", "3"}},
	} {
		if got, err := ParseLabels(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	labels, err := ParseLabels("a=1\n\nno equals sign\nb=2")
	if ErrorCode(err) != CodeInvalid || !strings.Contains(fmt.Sprint(err), "Line 3 ") || labels != nil {
		t.Errorf("a line without = gives %+v, %v; want an error at line 3", labels, err)
	}
}

func TestLabelsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, labels := range [][]Label{nil, {{"a", "1"}}, {{"b", ""}, {"a", "x=y z"}, {"Größe", "ß"}}} {
		if got, err := ParseLabels(FormatLabels(labels)); err != nil || !slices.Equal(got, labels) {
			t.Errorf("%+v became %+v, %v", labels, got, err)
		}
	}
}
