package platform

import "time"

// ResourceState tells whether something that an environment needs in its account is there.
type ResourceState string

// The states of a resource.
const (
	ResourceWanted ResourceState = "wanted" // written down before it is asked for: it may be there
	ResourceMade   ResourceState = "made"
	ResourceGone   ResourceState = "gone" // removed again
)

// Resource is one thing that Wherry makes in an account for a compute environment. It is written down before it is asked
// for, so that nothing can be there that nobody knows of.
type Resource struct {
	Kind    string // in the platform's words, such as "instance profile"
	Name    string // with Kind unique in the environment
	Digest  string // of what it was made with; another digest means that it must be made anew
	State   ResourceState
	Updated time.Time
}
