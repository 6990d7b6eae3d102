package jobs

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// fakeAccount is an account in which an environment needs three things. A test scripts what goes wrong.
type fakeAccount struct {
	cloud.Account // what these tests do not ask
	mu            sync.Mutex
	there         map[string]bool
	onCall        func(call string) error // before the call does anything; its error is the answer
	afterCall     func(call string) error // after it was done: a lost answer
	invalid       error                   // what Validate answers
}

var needed = []string{"role", "policy", "profile"}

func (f *fakeAccount) do(ctx context.Context, call string, work func()) error {
	f.mu.Lock()
	before, after := f.onCall, f.afterCall
	f.mu.Unlock()
	if before != nil {
		if err := before(call); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.mu.Lock()
	work()
	f.mu.Unlock()
	if after != nil {
		return after(call)
	}
	return nil
}

func (f *fakeAccount) Make(ctx context.Context, env platform.ComputeEnv, l cloud.Ledger) error {
	for _, name := range needed {
		r := platform.Resource{Kind: "thing", Name: name, State: platform.ResourceWanted}
		if known, ok := l.Find("thing", name); ok && known.State == platform.ResourceMade {
			continue
		}
		if err := l.Save(ctx, r); err != nil {
			return err
		}
		if err := f.do(ctx, "make "+name, func() { f.there[env.ID+name] = true }); err != nil {
			return err
		}
		r.State = platform.ResourceMade
		if err := l.Save(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeAccount) Remove(ctx context.Context, env platform.ComputeEnv, l cloud.Ledger) error {
	for _, r := range l.Known {
		if r.State == platform.ResourceGone {
			continue
		}
		if err := f.do(ctx, "remove "+r.Name, func() { delete(f.there, env.ID+r.Name) }); err != nil {
			return err
		}
		r.State = platform.ResourceGone
		if err := l.Save(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeAccount) Validate(context.Context, platform.ComputeEnv) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.invalid
}

func (f *fakeAccount) script(onCall, afterCall func(string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onCall, f.afterCall = onCall, afterCall
}

func (f *fakeAccount) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.there)
}

// awsEnv saves an environment in the account, as the form does.
func (w *world) awsEnv(name string) platform.ComputeEnv {
	w.t.Helper()
	ctx := context.Background()
	list, err := w.db.CredentialsList(ctx, w.member.Workspace.ID)
	must(w.t, err)
	if len(list) == 0 {
		c := platform.Credentials{WorkspaceID: w.member.Workspace.ID, Name: "key", Mode: platform.CredentialsKeys, AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: platform.NewSecret("secret")}
		must(w.t, w.db.AddCredentials(ctx, &c))
		list = append(list, c)
	}
	e := platform.ComputeEnv{WorkspaceID: w.member.Workspace.ID, Name: name, Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://b/w",
		CredentialsID: list[0].ID, Status: platform.ComputeEnvCreating}
	must(w.t, w.db.AddComputeEnv(ctx, &e))
	return e
}

func (w *world) environment(id string) platform.ComputeEnv {
	w.t.Helper()
	e, err := w.db.AnyComputeEnv(context.Background(), id)
	must(w.t, err)
	return e
}

func (w *world) becomes(id string, want platform.ComputeEnvStatus) platform.ComputeEnv {
	w.t.Helper()
	w.until(fmt.Sprintf("the environment is %s", want), func() bool { return w.environment(id).Status == want })
	return w.environment(id)
}

func (w *world) delete(e platform.ComputeEnv) {
	w.t.Helper()
	must(w.t, w.db.DeleteComputeEnv(context.Background(), e.WorkspaceID, e.ID))
}

var errDenied = &cloud.Error{Kind: cloud.KindDenied, Message: "The permission iam:CreateRole is missing.", Details: "request 1"}

func TestAnEnvironmentIsMadeAndDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	e := w.awsEnv("a")
	w.becomes(e.ID, platform.ComputeEnvAvailable)
	if w.account.left() != len(needed) {
		t.Errorf("%d things are there", w.account.left())
	}
	w.delete(e)
	w.becomes(e.ID, platform.ComputeEnvDeleted)
	if w.account.left() > 0 {
		t.Errorf("%d things are left", w.account.left())
	}
}

func TestWhatCannotBeMadeSaysWhyAndIsTriedAgainByPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.account.script(func(call string) error {
		if call == "make policy" {
			return errDenied
		}
		return nil
	}, nil)
	w.start()
	e := w.becomes(w.awsEnv("a").ID, platform.ComputeEnvErrored)
	if message, details := platform.SplitDetails(e.Message); message != errDenied.Message || details != "request 1" {
		t.Errorf("it says %q", e.Message)
	}
	w.account.script(nil, nil)
	must(t, w.db.MoveComputeEnv(context.Background(), e, platform.ComputeEnvCreating, ""))
	if e = w.becomes(e.ID, platform.ComputeEnvAvailable); e.Message != "" {
		t.Errorf("it still says %q", e.Message)
	}
}

func TestThrottlingNeverFailsAnEnvironment(t *testing.T) {
	t.Parallel()
	times := quick
	times.MakeLimit = time.Nanosecond
	w := newWorld(t, times)
	refused := 0
	w.account.script(func(string) error {
		if refused++; refused <= 6 {
			return errThrottled
		}
		return nil
	}, nil)
	w.start()
	w.becomes(w.awsEnv("a").ID, platform.ComputeEnvAvailable)
}

func TestAnAccountThatGoesOnFailingIsGivenUp(t *testing.T) {
	t.Parallel()
	times := quick
	times.MakeLimit = 200 * time.Millisecond
	w := newWorld(t, times)
	w.account.script(func(string) error { return cloud.Errorf(cloud.KindTransient, nil, "Not just now.") }, nil)
	w.start()
	e := w.awsEnv("a")
	w.until("it says what holds it up", func() bool { return w.environment(e.ID).Message == "Not just now." })
	w.becomes(e.ID, platform.ComputeEnvErrored)
}

func TestARemovalIsTriedUntilItIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	e := w.awsEnv("a")
	w.becomes(e.ID, platform.ComputeEnvAvailable)
	w.account.script(func(string) error { return errDenied }, nil)
	w.delete(e)
	w.until("it says what holds it up", func() bool { return w.environment(e.ID).Message != "" && w.environment(e.ID).Attempts > 2 })
	if status := w.environment(e.ID).Status; status != platform.ComputeEnvDeleting {
		t.Errorf("it is %s", status)
	}
	w.account.script(nil, nil)
	w.becomes(e.ID, platform.ComputeEnvDeleted)
	if w.account.left() > 0 {
		t.Errorf("%d things are left", w.account.left())
	}
}

// TestADeletionWhileItIsMadeLeavesNothing holds the making up in the middle of a call.
func TestADeletionWhileItIsMadeLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	in, on := make(chan struct{}), make(chan struct{})
	w.account.script(func(call string) error {
		if call == "make policy" {
			close(in)
			<-on
		}
		return nil
	}, nil)
	w.start()
	e := w.awsEnv("a")
	<-in
	w.delete(e)
	close(on)
	w.becomes(e.ID, platform.ComputeEnvDeleted)
	if w.account.left() > 0 {
		t.Errorf("%d things are left", w.account.left())
	}
}

func TestCredentialsAreMarkedByWhatBecomesOfThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.account.script(func(string) error { return cloud.Errorf(cloud.KindIdentity, nil, "AWS does not know the key.") }, nil)
	w.start()
	e := w.becomes(w.awsEnv("a").ID, platform.ComputeEnvErrored)
	status := func() platform.CredentialsStatus {
		c, err := w.db.Credentials(context.Background(), e.WorkspaceID, e.CredentialsID)
		must(t, err)
		return c.Status
	}
	if status() != platform.CredentialsInvalid {
		t.Errorf("they are %s", status())
	}
	w.account.script(nil, nil)
	must(t, w.db.MoveComputeEnv(context.Background(), e, platform.ComputeEnvCreating, ""))
	w.becomes(e.ID, platform.ComputeEnvAvailable)
	if status() != platform.CredentialsAvailable {
		t.Errorf("they are %s", status())
	}
}

func TestACheckFindsWhatIsNotAsItMustBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	e := w.becomes(w.awsEnv("a").ID, platform.ComputeEnvAvailable)
	w.account.mu.Lock()
	w.account.invalid = platform.FieldErrors{"subnetIds": "There is no subnet subnet-1."}
	w.account.mu.Unlock()
	must(t, w.db.AskComputeEnvCheck(context.Background(), e))
	e = w.becomes(e.ID, platform.ComputeEnvInvalid)
	if e.Message == "" {
		t.Error("it does not say what is wrong")
	}
	w.account.mu.Lock()
	w.account.invalid = nil
	w.account.mu.Unlock()
	must(t, w.db.AskComputeEnvCheck(context.Background(), e))
	if e = w.becomes(e.ID, platform.ComputeEnvAvailable); e.Message != "" || !e.CheckAsked.IsZero() {
		t.Errorf("after the check: %+v", e)
	}
}

func TestACheckOfAnAccountThatDoesNotAnswerEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	e := w.becomes(w.awsEnv("a").ID, platform.ComputeEnvAvailable)
	w.account.mu.Lock()
	w.account.invalid = cloud.Errorf(cloud.KindTransient, nil, "No answer.")
	w.account.mu.Unlock()
	must(t, w.db.AskComputeEnvCheck(context.Background(), e))
	w.until("the check has ended", func() bool { return w.environment(e.ID).CheckAsked.IsZero() })
	if e = w.environment(e.ID); e.Status != platform.ComputeEnvAvailable || e.Message != "No answer." {
		t.Errorf("it is %s: %q", e.Status, e.Message)
	}
}

// TestAnEnvironmentSurvivesACrashAtAnyPoint ends the loops' process at the first point, at the second and so on, while an
// environment is made and deleted again.
func TestAnEnvironmentSurvivesACrashAtAnyPoint(t *testing.T) {
	t.Parallel()
	for at := 0; at <= 24; at++ {
		t.Run(fmt.Sprint("at point ", at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			var l *life
			point := func(string) error { l.point(); return nil }
			ctx, cancel := context.WithCancel(context.Background())
			l = &life{last: at, kill: cancel, crashed: make(chan struct{})}
			defer w.db.Subscribe(func(platform.Change) { l.point() })()
			w.account.script(point, point)
			w.startIn(ctx, cancel)
			again := make(chan struct{})
			go func() {
				defer close(again)
				select {
				case <-l.crashed:
					w.stop()
					w.start()
				case <-time.After(2 * time.Second): // there are not so many points
				}
			}()
			e := w.awsEnv("a")
			w.becomes(e.ID, platform.ComputeEnvAvailable)
			w.delete(e)
			w.becomes(e.ID, platform.ComputeEnvDeleted)
			<-again
			if w.account.left() > 0 {
				t.Errorf("%d things are left", w.account.left())
			}
		})
	}
}
