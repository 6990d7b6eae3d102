package platform

import "slices"

// AfterEdit is the status that an environment has once it is saved with changes: one whose role has to be changed is made
// again, one that was in error is tried again, and one that was found invalid and is checked now is available. c is as it is
// to be saved, before as it was.
func (c ComputeEnv) AfterEdit(before ComputeEnv) ComputeEnvStatus {
	makes := c.Platform == PlatformAWSCloud && c.Config.InstanceProfileARN == ""
	switch before.Status {
	case ComputeEnvErrored:
		return ComputeEnvCreating
	case ComputeEnvAvailable, ComputeEnvInvalid:
		if makes && !slices.Equal(c.Buckets(), before.Buckets()) {
			return ComputeEnvCreating
		}
		return ComputeEnvAvailable
	}
	return before.Status
}

// Editable tells whether an environment can be changed now: not while a loop is changing what it has in its account.
func (c ComputeEnv) Editable() bool {
	return c.Status != ComputeEnvCreating && c.Status != ComputeEnvDeleting && c.Status != ComputeEnvDeleted
}

// CloneOf is what the form for a copy of an environment starts with.
func CloneOf(c ComputeEnv) ComputeEnv {
	clone := ComputeEnv{WorkspaceID: c.WorkspaceID, Name: c.Name + "-copy", Platform: c.Platform, Region: c.Region, WorkDir: c.WorkDir,
		CredentialsID: c.CredentialsID, Config: c.Config}
	clone.Config.AllowBuckets, clone.Config.SubnetIDs = slices.Clone(c.Config.AllowBuckets), slices.Clone(c.Config.SubnetIDs)
	clone.Config.SecurityGroups, clone.Config.ResourceLabels = slices.Clone(c.Config.SecurityGroups), slices.Clone(c.Config.ResourceLabels)
	clone.Config.Environment = slices.Clone(c.Config.Environment)
	return clone
}
