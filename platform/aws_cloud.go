package platform

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// AWSCloud is what a compute environment of the platform aws-cloud has beside what all have, with the API's field names.
type AWSCloud struct {
	WaveEnabled        bool     `json:"waveEnabled,omitempty"`
	Fusion2Enabled     bool     `json:"fusion2Enabled,omitempty"`
	AllowBuckets       []string `json:"allowBuckets,omitempty"` // names of buckets beside the work directory's, without s3://
	ResourceLabels     []Label  `json:"resourceLabels,omitempty"`
	InstanceType       string   `json:"instanceType,omitempty"` // empty: a default for the architecture
	ARM64Enabled       bool     `json:"arm64Enabled,omitempty"` // Graviton
	GPUEnabled         bool     `json:"gpuEnabled,omitempty"`
	ImageID            string   `json:"imageId,omitempty"` // empty: the newest ECS-optimised Amazon Linux 2023
	EC2KeyPair         string   `json:"ec2KeyPair,omitempty"`
	VPCID              string   `json:"vpcId,omitempty"`          // empty: the default VPC
	SubnetIDs          []string `json:"subnetIds,omitempty"`      // empty: all of the VPC
	SecurityGroups     []string `json:"securityGroups,omitempty"` // ids; empty: the VPC's default one
	InstanceProfileARN string   `json:"instanceProfileArn,omitempty"`
	EBSBootSize        int      `json:"ebsBootSize,omitempty"` // GiB
	EBSEncrypted       bool     `json:"ebsEncrypted,omitempty"`
	EBSKMSKeyID        string   `json:"ebsKmsKeyId,omitempty"`
	LogGroup           string   `json:"logGroup,omitempty"`

	// What follows is Wherry's own.
	Spot            bool   `json:"spot,omitempty"`            // Spot instances, which are cheaper and may be taken away
	NextflowVersion string `json:"nextflowVersion,omitempty"` // empty: DefaultNextflowVersion
	// KeepForResume saves the work and Nextflow's cache to the work directory while a run goes on, where Fusion does not
	// work there anyway.
	KeepForResume bool `json:"keepForResume,omitempty"`
	// WarmInstances are kept booted and waiting after a launch, until WarmMinutes have passed without another.
	WarmInstances int `json:"warmInstances,omitempty"`
	WarmMinutes   int `json:"warmMinutes,omitempty"` // 0: DefaultWarmMinutes
}

// DefaultWarmMinutes is how long instances are kept waiting where nothing else is said.
const DefaultWarmMinutes = 30

// LogGroup is the group of the environment's log streams, beside what the portal keeps; empty on platforms that have none.
func (c ComputeEnv) LogGroup() string {
	switch {
	case c.Platform != PlatformAWSCloud:
		return ""
	case c.Config.LogGroup != "":
		return c.Config.LogGroup
	}
	return "/wherry/" + c.ID
}

// DefaultNextflowVersion is the newest stable Nextflow whose nf-tower plugin the trace API was verified with.
const DefaultNextflowVersion = "24.10.0"

// CloudSpec is what the agents of an environment in a cloud are told.
func (c ComputeEnv) CloudSpec() CloudSpec {
	a := c.Config.AWSCloud
	return CloudSpec{Region: c.Region, LogGroup: c.LogGroup(), Wave: a.WaveEnabled, Fusion: a.Fusion2Enabled,
		KeepForResume: a.KeepForResume, NextflowVersion: a.NextflowVersion, AccessToken: c.AccessToken.Reveal()}
}

// Label is a name and a value that everything made in the account is tagged with.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Limits of an environment on AWS.
const (
	DefaultBootSize = 50    // GiB, gp3
	minBootSize     = 30    // GiB: the snapshot of the ECS-optimised images
	maxBootSize     = 16384 // GiB: gp3
	// maxAllowBuckets keeps the role's inline policies under IAM's 10,240 characters (IAM quotas).
	maxAllowBuckets = 15
	maxLabels       = 30 // AWS takes 50 tags; Wherry has its own
	maxSubnets      = 16
	maxGroups       = 5 // security groups of a network interface (VPC quotas)

	maxWarmInstances = 20
	maxWarmMinutes   = 24 * 60
)

// Forms of names and ids, from the references of the EC2, IAM, KMS and CloudWatch Logs APIs.
var (
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	bucketForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	addressForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+){3}$`) // which a bucket's name must not look like
	// workPathForm leaves out what a shell, a policy or a pattern would read as something else.
	workPathForm   = regexp.MustCompile(`^[\p{L}\p{M}\p{N}._=+@,:!/-]+$`)
	typeForm       = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
	imageForm      = regexp.MustCompile(`^ami-[0-9a-f]{8,17}$`)
	vpcForm        = regexp.MustCompile(`^vpc-[0-9a-f]{8,17}$`)
	subnetForm     = regexp.MustCompile(`^subnet-[0-9a-f]{8,17}$`)
	groupForm      = regexp.MustCompile(`^sg-[0-9a-f]{8,17}$`)
	profileARNForm = regexp.MustCompile(`^arn:aws:iam::[0-9]{12}:instance-profile/[\w+=,.@/-]+$`)
	kmsKeyForm     = regexp.MustCompile(`^(arn:aws:kms:[a-z0-9-]+:[0-9]{12}:)?(key/|alias/)?[a-zA-Z0-9/_-]{1,256}$`)
	logGroupForm   = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
	labelForm      = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

// SplitS3 splits "s3://bucket/path" into its bucket and path; ok is false for anything else.
func SplitS3(uri string) (bucket, path string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, path, _ = strings.Cut(rest, "/")
	return bucket, path, ok && bucketForm.MatchString(bucket) && !addressForm.MatchString(bucket) && !strings.Contains(bucket, "..")
}

func checkS3WorkDir(errs FieldErrors, dir string) {
	_, path, ok := SplitS3(dir)
	switch {
	case !ok:
		errs.Add("workDir", "On AWS the work directory is an S3 path, such as s3://bucket/work.")
	case strings.Trim(path, "/") == "":
		errs.Add("workDir", "Name a folder in the bucket too, such as %s/work.", strings.TrimRight(dir, "/"))
	case !workPathForm.MatchString(path) || strings.Contains("/"+path+"/", "/../") || strings.Contains("/"+path, "//"):
		errs.Add("workDir", "Use a plain path: letters, digits and . - _ = + @ , : ! in its parts, none of them empty or “..”.")
	case len(path) > 700: // keys end at 1024 bytes, and tasks add their own folders
		errs.Add("workDir", "This path is too long: S3 takes 1024 bytes with everything that tasks add to it.")
	}
}

// clean trims and checks what belongs to AWS alone.
func (a *AWSCloud) clean(errs FieldErrors) {
	for _, s := range []*string{&a.InstanceType, &a.ImageID, &a.EC2KeyPair, &a.VPCID, &a.InstanceProfileARN, &a.EBSKMSKeyID, &a.LogGroup, &a.NextflowVersion} {
		*s = strings.TrimSpace(*s)
	}
	if a.Fusion2Enabled && !a.WaveEnabled {
		errs.Add("fusion2Enabled", "Fusion reaches tasks through Wave: switch Wave on too, or Fusion off.")
	}
	a.cleanBuckets(errs)
	checkLabels(errs, a.ResourceLabels)
	for _, f := range []struct {
		field, value, example string
		form                  *regexp.Regexp
	}{
		{"instanceType", a.InstanceType, "An instance type looks like m5d.large.", typeForm},
		{"imageId", a.ImageID, "An AMI's id looks like ami-0abcdef1234567890.", imageForm},
		{"vpcId", a.VPCID, "A VPC's id looks like vpc-0abcdef1234567890.", vpcForm},
		{"instanceProfileArn", a.InstanceProfileARN, "An instance profile's ARN looks like arn:aws:iam::123456789012:instance-profile/Name.", profileARNForm},
		{"ebsKmsKeyId", a.EBSKMSKeyID, "Enter a key's id, ARN or alias, such as alias/disks.", kmsKeyForm},
		{"logGroup", a.LogGroup, "A log group's name has letters, digits and . - _ / #, at most 512.", logGroupForm},
		{"nextflowVersion", a.NextflowVersion, "A version of Nextflow looks like 24.10.0 or 25.04.0-edge.", NextflowForm},
	} {
		if f.value != "" && !f.form.MatchString(f.value) {
			errs.Add(f.field, "%s", f.example)
		}
	}
	checkIDs(errs, "subnetIds", a.SubnetIDs, subnetForm, maxSubnets, "subnet-0abcdef1234567890")
	checkIDs(errs, "securityGroups", a.SecurityGroups, groupForm, maxGroups, "sg-0abcdef1234567890")
	if len(a.EC2KeyPair) > 255 || strings.ContainsAny(a.EC2KeyPair, "\x00\n\r") {
		errs.Add("ec2KeyPair", "A key pair's name has at most 255 characters.")
	}
	if a.EBSBootSize != 0 && (a.EBSBootSize < minBootSize || a.EBSBootSize > maxBootSize) {
		errs.Add("ebsBootSize", "Enter %d to %d GiB.", minBootSize, maxBootSize)
	}
	if a.EBSKMSKeyID != "" && !a.EBSEncrypted {
		errs.Add("ebsKmsKeyId", "A key is for an encrypted disk: switch the encryption on too, or leave this empty.")
	}
	a.checkWarm(errs)
}

func (a *AWSCloud) checkWarm(errs FieldErrors) {
	if a.WarmInstances < 0 || a.WarmInstances > maxWarmInstances {
		errs.Add("warmInstances", "Keep 0 to %d instances waiting.", maxWarmInstances)
	}
	if a.WarmMinutes < 0 || a.WarmMinutes > maxWarmMinutes {
		errs.Add("warmMinutes", "Enter 1 to %d minutes.", maxWarmMinutes)
	}
}

func (a *AWSCloud) cleanBuckets(errs FieldErrors) {
	for i, b := range a.AllowBuckets {
		name, path, ok := SplitS3("s3://" + strings.TrimPrefix(b, "s3://"))
		switch {
		case !ok:
			errs.Add("allowBuckets", "%q is not the name of a bucket.", b)
		case strings.Trim(path, "/") != "":
			errs.Add("allowBuckets", "Name whole buckets: %s and not %s.", name, b)
		}
		a.AllowBuckets[i] = name
	}
	if len(a.AllowBuckets) > maxAllowBuckets {
		errs.Add("allowBuckets", "At most %d buckets fit into the role's policy. For more, give an instance profile of your own.", maxAllowBuckets)
	}
}

func checkIDs(errs FieldErrors, field string, ids []string, form *regexp.Regexp, most int, example string) {
	seen := map[string]bool{}
	for _, id := range ids {
		switch {
		case !form.MatchString(id):
			errs.Add(field, "%q is not an id such as %s.", id, example)
		case seen[id]:
			errs.Add(field, "%s is there twice.", id)
		}
		seen[id] = true
	}
	if len(ids) > most {
		errs.Add(field, "Choose at most %d.", most)
	}
}

func checkLabels(errs FieldErrors, labels []Label) {
	if len(labels) > maxLabels {
		errs.Add("resourceLabels", "Use at most %d labels.", maxLabels)
	}
	seen := map[string]bool{}
	for _, l := range labels {
		lower := strings.ToLower(l.Name)
		switch {
		case l.Name == "" || utf8.RuneCountInString(l.Name) > maxTagName || utf8.RuneCountInString(l.Value) > maxTagValue:
			errs.Add("resourceLabels", "A label's name has 1 to 128 characters, its value at most 256.")
		case !labelForm.MatchString(l.Name) || !labelForm.MatchString(l.Value):
			errs.Add("resourceLabels", "%s: use letters, digits, spaces and _ . : / = + - @.", l.Name)
		case reservedTag(lower):
			errs.Add("resourceLabels", "%s is set by AWS or Wherry itself: choose another name.", l.Name)
		case seen[lower]: // IAM does not tell capital letters from small ones
			errs.Add("resourceLabels", "%s is there twice.", l.Name)
		}
		seen[lower] = true
	}
}

// Buckets lists the work directory's bucket and then the allowed ones, each once.
func (c ComputeEnv) Buckets() (buckets []string) {
	seen := map[string]bool{}
	work, _, _ := SplitS3(c.WorkDir)
	for _, b := range append([]string{work}, c.Config.AllowBuckets...) {
		if b != "" && !seen[b] {
			seen[b] = true
			buckets = append(buckets, b)
		}
	}
	return buckets
}

// ParseLabels reads labels as people type them: name=value, one a line.
func ParseLabels(text string) (labels []Label, err error) {
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, Errorf(CodeInvalid, "Line %d has no “=”: write name=value, one a line.", i+1)
		}
		labels = append(labels, Label{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return labels, nil
}

// FormatLabels is the opposite of ParseLabels.
func FormatLabels(labels []Label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.Name + "=" + l.Value + "\n")
	}
	return b.String()
}
