package aws

import "wherry/platform"

// InstanceType is the type of an environment's machines: the one that it names, or the default for its architecture.
func InstanceType(env platform.ComputeEnv) string { return instanceType(env) }
