// Package aws reaches AWS accounts: who credentials are, what can be chosen there, what Wherry makes there, and the machines
// that it runs there. All names of AWS live here. Whatever it asks of AWS stands in the table of actions.go, and nothing else leaves.
package aws

import (
	"context"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
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
	// AgentDigest is the SHA-256, in hexadecimal, of the agent that the portal gives to machines of an architecture (amd64,
	// arm64); false: it has none.
	AgentDigest func(arch string) (sha256hex string, ok bool)
	// Price is that of an hour of an instance, in millionths of a US dollar (0: not known), and whether it is an estimate; may
	// be nil.
	Price func(region, instanceType string, spot bool) (microUSDHour int64, estimate bool)
	// KnownEnv tells whether the portal has an environment of this id; an instance of any other is everyone's to end. nil: all
	// of the portal's instances in an account and region are.
	KnownEnv func(ctx context.Context, envID string) bool
	// Throttled is told of every answer of AWS that asks for fewer questions; may be nil.
	Throttled func(service, operation string)
	// ConsoleOutput lets the last lines of a machine's console be read, which needs ec2:GetConsoleOutput.
	ConsoleOutput bool
	// LaunchesPerSecond is how many instances are asked for in a second in one account and region; 0: as many as AWS takes.
	LaunchesPerSecond float64
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

	pacers       map[string]*pacer // by account and region
	refused      refusals
	accounts     *shared[string, string]
	foundImages  *shared[imageKey, *types.Image]
	foundSubnets *shared[subnetsKey, []types.Subnet]
	instances    *shared[instancesKey, []types.Instance]
}

var (
	_ cloud.Account = (*AWS)(nil)
	_ cloud.Cloud   = (*AWS)(nil)
)

const (
	// answerLimit is how long one answer of AWS may take.
	answerLimit = 20 * time.Second
	// homeRegion is where AWS is asked about what belongs to no region.
	homeRegion = "us-east-1"
	// maxAttempts is how often the SDK makes one call; the loops repeat beyond that.
	maxAttempts = 3
	// accountAge is how long it is known to which account credentials belong. They never change it; a user's key could.
	accountAge = time.Hour
)

// New returns a way to AWS accounts.
func New(c Config) *AWS {
	return &AWS{Config: c, http: awshttp.NewBuildableClient().WithTimeout(answerLimit), sessions: map[string]awssdk.CredentialsProvider{},
		lookups: lookupCache{entries: map[lookupKey]*lookupEntry{}},
		pacers:  map[string]*pacer{}, refused: refusals{until: map[offering]time.Time{}},
		accounts:     newShared[string, string](accountAge, lookupLimit),
		foundImages:  newShared[imageKey, *types.Image](lookupAge, lookupLimit),
		foundSubnets: newShared[subnetsKey, []types.Subnet](lookupAge, lookupLimit),
		instances:    newShared[instancesKey, []types.Instance](instancesAge, lookupLimit)}
}

// own is the SDK's configuration with the portal's own identity: what the default chain finds.
func (a *AWS) own(ctx context.Context, region string) (awssdk.Config, error) {
	options := append([]func(*config.LoadOptions) error{
		config.WithRegion(region), config.WithHTTPClient(a.http), config.WithAppID("wherry"),
		config.WithRetryer(func() awssdk.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), maxAttempts) }),
		// What S3 has no checksum for is no news for the log; TLS guards it on its way.
		config.WithResponseChecksumValidation(awssdk.ResponseChecksumValidationWhenRequired),
		config.WithAPIOptions([]func(*middleware.Stack) error{a.guard, a.countThrottled}),
	}, a.Load...)
	return config.LoadDefaultConfig(ctx, options...)
}
