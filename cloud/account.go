package cloud

import (
	"context"
	"time"

	"wherry/platform"
)

// Account is the part of a platform that works in somebody's account: who credentials are, what can be chosen there, and
// what Wherry makes and removes there for a compute environment. Every method may be repeated and is safe for concurrent
// use; those that ask the account return an *Error.
type Account interface {
	// Regions lists where environments can be, those of the published list first.
	Regions() []Region
	// Identify tells who the credentials are, or why they open nothing.
	Identify(ctx context.Context, c platform.Credentials) (Identity, error)
	// Trust returns the policy that the credentials' role must have so that Wherry can assume it.
	Trust(ctx context.Context, c platform.Credentials) (Trust, error)
	// Permissions returns what the credentials must be allowed, all in one policy and by purpose. With a bucket it is narrowed to what Wherry
	// makes by name, and to that bucket.
	Permissions(bucket string) []Permissions
	// Lookup returns what can be chosen for a field.
	Lookup(ctx context.Context, r LookupRequest) (Choices, error)
	// Validate checks an environment against the account. What is wrong comes as platform.FieldErrors.
	Validate(ctx context.Context, env platform.ComputeEnv) error
	// Plan lists the calls with which Make will make what the environment needs. It asks nobody.
	Plan(env platform.ComputeEnv) ([]Call, error)
	// Make makes what the environment needs in the account and is not there yet, and writes each thing down before and after.
	Make(ctx context.Context, env platform.ComputeEnv, l Ledger) error
	// Remove removes what the ledger says was made, or may have been, and nothing else.
	Remove(ctx context.Context, env platform.ComputeEnv, l Ledger) error
}

// Region is a place that a platform has.
type Region struct {
	Name      string // as the platform's API has it, such as eu-west-1
	Place     string // for people
	Published bool   // it stands in the list of the reference
}

// Identity is whom credentials make their bearer.
type Identity struct {
	Account string
	ARN     string
}

// Trust tells who assumes a role, and the policy with which the role allows it.
type Trust struct {
	Principal string // the ARN that will assume the role; empty: not known
	Note      string // what is to be known about it, for people
	Document  string // JSON
}

// Permissions is one policy for one purpose.
type Permissions struct {
	Purpose  string // a word: "create"
	Title    string
	Optional bool
	Document string // JSON
}

// LookupRequest asks for what can be chosen for a field of the form of an environment.
type LookupRequest struct {
	CredentialsID string
	Region        string
	Field         string // as the form and the API name it
	VPCID         string // narrows subnets and security groups
	ARM64, GPU    bool   // narrow instance types and images
	Refresh       bool   // do not answer from the cache
}

// Choices are what can be chosen, and since when they are known.
type Choices struct {
	Items []Choice
	At    time.Time
}

// Choice is one thing that can be chosen.
type Choice struct {
	Value string
	Label string // what a person needs to know to choose it
}

// Call is one call to a platform, as it will be made.
type Call struct {
	Action      string   // as the platform names it
	Permissions []string // what the caller must be allowed for it
	Makes       string   // the resource, for people
	Parameters  []Parameter
}

// Parameter is one parameter of a call. A value of many lines is a document.
type Parameter struct{ Name, Value string }

// Ledger holds what was made for one environment. Save writes it down for good before it returns.
type Ledger struct {
	Known []platform.Resource
	Save  func(ctx context.Context, r platform.Resource) error
}

// Find returns what the ledger knows of a resource.
func (l Ledger) Find(kind, name string) (r platform.Resource, ok bool) {
	for _, r := range l.Known {
		if r.Kind == kind && r.Name == name {
			return r, true
		}
	}
	return r, false
}
