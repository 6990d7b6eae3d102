// Package aws reaches AWS accounts: who credentials are, what can be chosen there, and what Wherry makes there. All names
// of AWS live here. Whatever it asks of AWS stands in the table of actions.go, and nothing else leaves.
package aws

import (
	"context"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"

	"wherry/cloud"
	"wherry/platform"
)

// Config tells how to reach AWS.
type Config struct {
	// Credentials reads credentials with their secret.
	Credentials func(ctx context.Context, id string) (platform.Credentials, error)
	// PortalID is the id of this portal; everything that it makes is tagged with it.
	PortalID string
	// JumpRoleARN is assumed first by credentials that are a role with an External ID; empty: none.
	JumpRoleARN string
	// InstanceCredentials lets credentials be a role without an External ID, assumed by the portal's own identity.
	InstanceCredentials bool
	// Visible is how long IAM may take to show what was made; zero: a minute.
	Visible time.Duration
	// Load adds to how the SDK is configured; tests give their endpoint.
	Load []func(*config.LoadOptions) error
}

// AWS is the accounts that credentials reach.
type AWS struct {
	Config
	http     *awshttp.BuildableClient
	mu       sync.Mutex
	sessions map[string]awssdk.CredentialsProvider
	lookups  lookupCache
}

var _ cloud.Account = (*AWS)(nil)

const (
	// answerLimit is how long one answer of AWS may take.
	answerLimit = 20 * time.Second
	// homeRegion is where AWS is asked about what belongs to no region.
	homeRegion = "us-east-1"
	// maxAttempts is how often the SDK makes one call; the loops repeat beyond that.
	maxAttempts = 3
)

// New returns a way to AWS accounts.
func New(c Config) *AWS {
	return &AWS{Config: c, http: awshttp.NewBuildableClient().WithTimeout(answerLimit), sessions: map[string]awssdk.CredentialsProvider{},
		lookups: lookupCache{entries: map[lookupKey]*lookupEntry{}}}
}

// own is the SDK's configuration with the portal's own identity: what the default chain finds.
func (a *AWS) own(ctx context.Context, region string) (awssdk.Config, error) {
	options := append([]func(*config.LoadOptions) error{
		config.WithRegion(region), config.WithHTTPClient(a.http), config.WithAppID("wherry"),
		config.WithRetryer(func() awssdk.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), maxAttempts) }),
		config.WithAPIOptions([]func(*middleware.Stack) error{guard}),
	}, a.Load...)
	return config.LoadDefaultConfig(ctx, options...)
}
