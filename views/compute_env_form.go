package views

import (
	"strconv"
	"strings"

	"wherry/platform"
	"wherry/views/components"
)

// ComputeEnvForm is what the form of an environment shows: what was typed, and what is wrong with it.
type ComputeEnvForm struct {
	Env         platform.ComputeEnv
	Credentials []platform.Credentials
	Regions     []Region
	Errors      platform.FieldErrors
	Picker      LabelPicker
	Unchecked   bool // AWS did not answer: offer to save without the check

	// As typed.
	Environment, TaskEnvironment, Labels, Subnets, Groups, Buckets, BootSize string
	WarmInstances, WarmMinutes                                               string

	Price platform.Price // of an hour of the environment's machine
}

// Region is a region to choose.
type Region struct {
	Name, Place string
	Published   bool // in the reference's list
}

// FillComputeEnvForm fills the form with an environment.
func FillComputeEnvForm(e platform.ComputeEnv) ComputeEnvForm {
	f := ComputeEnvForm{Env: e, Environment: platform.FormatEnvironment(e.Config.HeadEnvironment()),
		TaskEnvironment: platform.FormatEnvironment(e.Config.TaskEnvironment()), Labels: platform.FormatLabels(e.Config.ResourceLabels),
		Subnets: strings.Join(e.Config.SubnetIDs, "\n"), Groups: strings.Join(e.Config.SecurityGroups, "\n"), Buckets: strings.Join(e.Config.AllowBuckets, "\n")}
	if e.Config.EBSBootSize != 0 {
		f.BootSize = strconv.Itoa(e.Config.EBSBootSize)
	}
	if e.Config.WarmInstances != 0 {
		f.WarmInstances = strconv.Itoa(e.Config.WarmInstances)
	}
	if e.Config.WarmMinutes != 0 {
		f.WarmMinutes = strconv.Itoa(e.Config.WarmMinutes)
	}
	return f
}

func (f ComputeEnvForm) onAWS() bool { return f.Env.Platform == platform.PlatformAWSCloud }

func (f ComputeEnvForm) path(s components.Shell) string {
	if f.Env.ID == "" {
		return s.Base() + "/compute-envs"
	}
	return s.Base() + "/compute-envs/" + f.Env.ID
}

// back is where someone goes who changes their mind.
func (f ComputeEnvForm) back(s components.Shell) string { return f.path(s) }

// hasErrorIn tells whether one of the fields has an error, so that what hides them is opened.
func (f ComputeEnvForm) hasErrorIn(fields ...string) bool {
	for _, name := range fields {
		if f.Errors[name] != "" {
			return true
		}
	}
	return false
}

func (f ComputeEnvForm) advancedOpen() bool {
	a := f.Env.Config.AWSCloud
	return a.InstanceType+a.ImageID+a.EC2KeyPair+a.VPCID+a.InstanceProfileARN+a.EBSKMSKeyID+a.LogGroup+f.Subnets+f.Groups+a.NextflowVersion+f.WarmInstances+f.WarmMinutes != "" ||
		a.ARM64Enabled || a.GPUEnabled || a.EBSEncrypted || a.Spot || a.KeepForResume || f.hasErrorIn("spot", "nextflowVersion", "keepForResume", "warmInstances", "warmMinutes") ||
		f.hasErrorIn("instanceType", "imageId", "ec2KeyPair", "vpcId", "subnetIds", "securityGroups", "instanceProfileArn", "ebsBootSize", "ebsKmsKeyId", "logGroup")
}

func (f ComputeEnvForm) scriptsOpen() bool {
	c := f.Env.Config
	return c.NextflowConfig+c.PreRunScript+c.PostRunScript+f.Environment+f.TaskEnvironment != "" ||
		f.hasErrorIn("nextflowConfig", "preRunScript", "postRunScript", "environment", "taskEnvironment")
}

// tokenHint tells what becomes of the access token.
func (f ComputeEnvForm) tokenHint() string {
	if f.Env.HasAccessToken {
		return "One is saved. Left empty, it is kept; it is never shown."
	}
	return "Your own, of Seqera's platform, for Wave and Fusion. It is encrypted, never shown, and given to machines alone; a copy of this compute environment does not get it."
}
