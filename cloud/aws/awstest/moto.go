// Package awstest gives tests an AWS account: moto's server with IAM enforced, and in front of it a proxy that records
// every call and makes them fail as AWS's calls do.
package awstest

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
	"strings"
	"sync"
	"syscall"
	"testing"
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
	// callLimit ends a call of the test's own, so that a stuck server fails one test and not the whole run.
	callLimit = 30 * time.Second
)

// Server is a moto server. All tests of a binary share one, so what they make there needs names of its own.
type Server struct {
	URL     string // URL is where it answers.
	Account string // Account is the number of its AWS account.

	admin Key
	mu    sync.Mutex
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

// Moto returns the server of this test binary and starts it first where that is not done yet. A short test is skipped where
// there is no moto, any other fails.
func Moto(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath(os.Getenv("MOTO_SERVER")); err != nil {
		if testing.Short() {
			t.Skip("without moto")
		}
		t.Fatalf("MOTO_SERVER does not name moto's server (%v): run the tests with `make test`", err)
	}
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Admin is the SDK's configuration for a client that may do everything, past the proxy.
func (s *Server) Admin(t testing.TB, region string) aws.Config {
	t.Helper()
	return s.admin.Config(region, s.URL)
}

var shared = sync.OnceValues(func() (*Server, error) {
	url, err := start(os.Getenv("MOTO_SERVER"))
	if err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	s := &Server{URL: url, Account: account, arns: map[string]string{}, trusts: map[string]string{}}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := s.appoint(ctx); err != nil {
		return nil, fmt.Errorf("making moto's administrator: %w", err)
	}
	if err := s.enforce(ctx); err != nil {
		return nil, fmt.Errorf("turning on moto's access control: %w", err)
	}
	return s, nil
})

// start runs moto and returns its address. Nothing ends it: it dies with the test binary, however that dies.
func start(program string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	// moto binds a port that the system chooses and tells it; one chosen here could be taken before moto binds it.
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", "0")
	cmd.Env = append(os.Environ(), "MOTO_IAM_LOAD_MANAGED_POLICIES=true", "PYTHONUNBUFFERED=1")
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	failed := make(chan error, 1)
	go run(cmd, w, failed)
	told := make(chan string, 1)
	go follow(r, told)
	select {
	case err := <-failed:
		return "", err
	case answer := <-told:
		if !strings.HasPrefix(answer, "http") {
			return "", errors.New("it ended and said:\n" + answer)
		}
		return answer, nil
	case <-time.After(startLimit):
		return "", fmt.Errorf("it is not ready after %s", startLimit)
	}
}

// run holds on to its thread until the child has ended, because Pdeathsig is sent when the thread that started it ends.
func run(cmd *exec.Cmd, output *os.File, failed chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	output.Close()
	if err != nil {
		failed <- err
		return
	}
	cmd.Wait()
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
	const name = "awstest-administrator"
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
	s.admin = Key{aws.ToString(made.AccessKey.AccessKeyId), aws.ToString(made.AccessKey.SecretAccessKey)}
	s.own(s.admin.ID, "arn:aws:iam::"+account+":user/"+name)
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

// trust tells the trust policy of a role that a test made.
func (s *Server) trust(roleARN string) (document string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	document, known = s.trusts[roleARN]
	return document, known
}
