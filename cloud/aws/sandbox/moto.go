// Package sandbox is an AWS account on this host: moto's server with IAM enforced, in front of it a proxy that records every
// call, keeps what EC2 promises and makes calls fail as AWS's do, and a hypervisor that boots the instances that are
// launched there.
package sandbox

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

const (
	account = "123456789012"
	// startLimit is generous: on a busy machine Python takes long to read all of moto.
	startLimit = time.Minute
	// callLimit ends a call of the sandbox's own, so that a stuck server fails one test and not the whole run.
	callLimit = 30 * time.Second
)

// Server is a moto server.
type Server struct {
	URL      string // URL is where it answers.
	Account  string // Account is the number of its AWS account.
	AdminKey Key    // AdminKey is of the administrator, who may do everything.

	process *os.Process
	ended   chan struct{} // closed when the process has ended
	ec2     *instances
	mu      sync.Mutex
	// arns tells whose each access key is; trusts is what each role demands of who assumes it. The proxy needs both, and
	// nobody else can tell it.
	arns, trusts map[string]string
}

// Key is a long-lived access key.
type Key struct{ ID, Secret string }

// Config is the SDK's configuration for a client with this key, of a server or a proxy.
func (k Key) Config(region, endpoint string) aws.Config {
	return aws.Config{Region: region, BaseEndpoint: aws.String(endpoint), HTTPClient: connections,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, "")}
}

// connections are shared by all clients here; the SDK would open some for each.
var connections = awshttp.NewBuildableClient()

// Admin is the SDK's configuration for a client of the administrator, past the proxy.
func (s *Server) Admin(region string) aws.Config { return s.AdminKey.Config(region, s.URL) }

// Start runs moto's server, makes an administrator and turns access control on. The server dies with this process, however
// that dies.
func Start(ctx context.Context, program string) (*Server, error) {
	s := &Server{Account: account, arns: map[string]string{}, trusts: map[string]string{}, ended: make(chan struct{}), ec2: newInstances()}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := s.start(ctx, program)
	if err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	if err = s.appoint(ctx); err != nil {
		err = fmt.Errorf("making moto's administrator: %w", err)
	} else if err = s.enforce(ctx); err != nil {
		err = fmt.Errorf("turning on moto's access control: %w", err)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the server and waits until it is gone.
func (s *Server) Close() {
	_ = s.process.Kill() // it may be gone already
	<-s.ended
}

// start runs moto and learns its address.
func (s *Server) start(ctx context.Context, program string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// moto binds a port that the system chooses and tells it; one chosen here could be taken before moto binds it.
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", "0")
	cmd.Env = append(WithoutAWS(os.Environ()), "MOTO_IAM_LOAD_MANAGED_POLICIES=true", "MOTO_ENABLE_AMI_VALIDATION=true",
		"MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION=true", "PYTHONUNBUFFERED=1")
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	go func() {
		defer close(s.ended)
		run(cmd, w, started)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process = cmd.Process
	told := make(chan string, 1)
	go follow(r, told)
	select {
	case answer := <-told:
		if s.URL = answer; strings.HasPrefix(answer, "http") {
			return nil
		}
		err = errors.New("it ended and said:\n" + answer)
	case <-ctx.Done():
		err = fmt.Errorf("it is not ready after %s: %w", startLimit, context.Cause(ctx))
	}
	s.Close()
	return err
}

// WithoutAWS is an environment without what it says of other AWS accounts.
func WithoutAWS(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
}

// run holds on to its thread until the child has ended, because Pdeathsig is sent when the thread that started it ends.
func run(cmd *exec.Cmd, output *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	output.Close()
	started <- err
	if err == nil {
		cmd.Wait()
	}
}

var banner = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// follow tells the address that moto prints, or all that it printed when it ended without one. It reads on to the end, or
// moto would block on a full pipe.
func follow(output io.Reader, told chan<- string) {
	lines := bufio.NewReader(output)
	var said strings.Builder
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if found := banner.FindStringSubmatch(line); found != nil {
			told <- found[1]
			io.Copy(io.Discard, lines)
			return
		}
		if err != nil {
			told <- said.String()
			return
		}
	}
}

// appoint makes the administrator. Access control is still off, so any key will do.
func (s *Server) appoint(ctx context.Context) error {
	const name = "sandbox-administrator"
	client := iam.NewFromConfig(Key{"none", "none"}.Config("us-east-1", s.URL))
	_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(name)})
	if err != nil {
		return err
	}
	_, err = client.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String(name), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
	if err != nil {
		return err
	}
	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String(name)})
	if err != nil {
		return err
	}
	s.AdminKey = Key{aws.ToString(made.AccessKey.AccessKeyId), aws.ToString(made.AccessKey.SecretAccessKey)}
	s.own(s.AdminKey.ID, "arn:aws:iam::"+account+":user/"+name)
	return nil
}

// enforce turns access control on.
func (s *Server) enforce(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/moto-api/reset-auth", strings.NewReader("0"))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "text/plain")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// own notes whose an access key is.
func (s *Server) own(keyID, arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arns[keyID] = arn
}

// owner tells whose an access key is, as AWS names them in its messages.
func (s *Server) owner(keyID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.arns[keyID], "arn:aws:iam::"+account+":user/unknown")
}

// trust tells the trust policy of a role that Role made.
func (s *Server) trust(roleARN string) (document string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	document, known = s.trusts[roleARN]
	return document, known
}
