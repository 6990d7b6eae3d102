// Package instance is the place of an agent that runs on an EC2 instance: files in S3, logs in CloudWatch Logs, the Spot
// interruption notice, the instance's own timer, and its instance store. It asks AWS with the instance's role, and only what
// CloudWatchAgentServerPolicy, AmazonS3ReadOnlyAccess and s3:*Object on the bucket of the work directory allow.
package instance

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"wherry/agent"
	"wherry/platform"
)

const (
	// maxAttempts is how often the SDK makes one call.
	maxAttempts = 6
	// noticeLook is how often the interruption notice is looked for, as EC2's user guide recommends.
	noticeLook = 5 * time.Second
)

// Instance is the EC2 instance that this program runs on.
type Instance struct {
	root     string // plays the root folder; "" on a real instance
	endpoint string // of AWS; "" for its own
	metadata *imds.Client
	creds    awssdk.CredentialsProvider
	log      *slog.Logger
	look     time.Duration // how often the interruption notice is looked for
	run      func(ctx context.Context, name string, args ...string) ([]byte, error)
}

var _ agent.Place = (*Instance)(nil)

// New returns the instance. root is "" but in tests. The environment may name other addresses than AWS's own, as it may for
// all of AWS's tools: AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_ENDPOINT_URL.
func New(root string, log *slog.Logger) *Instance {
	metadata := imds.New(imds.Options{})
	role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata })
	return &Instance{root: root, endpoint: os.Getenv("AWS_ENDPOINT_URL"), metadata: metadata, creds: awssdk.NewCredentialsCache(role),
		log: log, look: noticeLook, run: runCommand}
}

// ID asks the metadata service for the instance's id.
func (i *Instance) ID(ctx context.Context) (string, error) { return i.fact(ctx, "instance-id") }

// fact reads one of the instance's metadata.
func (i *Instance) fact(ctx context.Context, name string) (string, error) {
	out, err := i.metadata.GetMetadata(ctx, &imds.GetMetadataInput{Path: name})
	if err != nil {
		return "", fmt.Errorf("the instance's metadata do not tell %s: %w", name, err)
	}
	defer out.Content.Close()
	text, err := io.ReadAll(io.LimitReader(out.Content, 64<<10))
	return strings.TrimSpace(string(text)), err
}

// config is the SDK's configuration for a run's region.
func (i *Instance) config(ctx context.Context, spec platform.Spec) (awssdk.Config, error) {
	region := cmp.Or(spec.Cloud.Region, os.Getenv("AWS_REGION"))
	if region == "" {
		var err error
		if region, err = i.fact(ctx, "placement/region"); err != nil {
			return awssdk.Config{}, err
		}
	}
	c := awssdk.Config{Region: region, Credentials: i.creds, HTTPClient: awshttp.NewBuildableClient(), AppID: "wherry",
		Retryer: func() awssdk.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), maxAttempts) }}
	if i.endpoint != "" {
		c.BaseEndpoint = &i.endpoint
	}
	return c, nil
}

// byPath tells whether a bucket must be named in the path, because the endpoint cannot have it in its host name.
func (i *Instance) byPath() bool {
	u, err := url.Parse(i.endpoint)
	return err == nil && (net.ParseIP(u.Hostname()) != nil || u.Hostname() == "localhost")
}

// StayAlive sets the instance's own timer, which replaces the one that was set before. The instance ends for good when it
// shuts down: its shutdown behaviour is "terminate".
func (i *Instance) StayAlive(ctx context.Context, d time.Duration) error {
	minutes := max(1, int64((d+time.Minute-1)/time.Minute))
	_, err := i.run(ctx, "shutdown", "-h", fmt.Sprintf("+%d", minutes))
	return err
}

// runCommand runs a command and returns what it prints; an error has what it says.
func runCommand(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return out, nil
}
