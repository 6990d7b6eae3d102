package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// connections are shared by all portals of the tests.
var connections = awshttp.NewBuildableClient()

// hangLimit stands for the portal's own patience with a call that hangs, which is longer.
const hangLimit = 400 * time.Millisecond

// call is one of the calls on the way of a launch and a teardown: the first of an operation after the first of another.
type call struct{ operation, after string }

func (c call) String() string {
	if c.after == "" {
		return c.operation
	}
	return c.operation + " after " + c.after
}

// reads and changes are all that the portal calls for a machine. Of a read, errors before and after the effect are the same.
var (
	reads = []call{{operation: "GetCallerIdentity"}, {operation: "DescribeSubnets"}, {operation: "DescribeImages"},
		{"DescribeInstances", "RunInstances"}, {"DescribeInstances", "TerminateInstances"}}
	changes = []call{{operation: "AssumeRole"}, {operation: "RunInstances"}, {operation: "TerminateInstances"}}
)

var readFaults = map[string]awstest.Fault{
	"throttled":   awstest.Throttle(),
	"an error":    {When: awstest.Before, Code: "InternalError", Status: 500},
	"lost answer": awstest.Lost(),
	"hangs":       {When: awstest.Before, Kind: awstest.Hang},
}

var changeFaults = map[string]awstest.Fault{
	"throttled":    awstest.Throttle(),
	"error before": {When: awstest.Before, Code: "InternalError", Status: 500},
	"error after":  {When: awstest.After, Code: "Unavailable", Status: 503},
	"lost request": {When: awstest.Before, Kind: awstest.Drop},
	"lost answer":  awstest.Lost(),
	"hangs before": {When: awstest.Before, Kind: awstest.Hang},
	"hangs after":  {When: awstest.After, Kind: awstest.Hang},
}

// death is when the portal is killed.
type death string

const (
	never  death = "never killed"
	before death = "killed before it"
	after  death = "killed after it"
)

var deaths = []death{never, before, after}

// line is the portal's way to AWS. It kills the portal at one call, and lets that call suffer a fault.
type line struct {
	w     *world
	to    awssdk.HTTPClient
	call  call
	fault awstest.Fault
	death death
	stale func(operation string) // told of each call that leaves

	mu     sync.Mutex
	seen   map[string]bool
	killed bool
	failed bool // the fault is behind
	armed  bool // the next call of the operation that comes to the proxy suffers it
}

// turn tells what becomes of a call that is to leave.
func (l *line) turn(operation string) (kill, suffer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := operation == l.call.operation && (l.call.after == "" || l.seen[l.call.after]) && !l.failed
	if mine && l.death == before && !l.killed {
		l.killed = true
		return true, false
	}
	l.seen[operation] = true
	if mine {
		l.failed, l.armed = true, true
	}
	return false, mine
}

// suffers is what the proxy asks.
func (l *line) suffers(c awstest.Call) awstest.Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed || c.Operation != l.call.operation {
		return awstest.Fault{}
	}
	l.armed = false
	return l.fault
}

// Do sends a call. One at which the portal is killed does not leave, or its answer comes to nobody.
func (l *line) Do(r *http.Request) (*http.Response, error) {
	operation, err := operationOf(r)
	if err != nil {
		return nil, err
	}
	kill, suffer := l.turn(operation)
	if kill {
		l.w.kill()
		return nil, context.Canceled
	}
	if l.stale != nil {
		l.stale(operation)
	}
	if suffer && l.fault.Kind == awstest.Hang {
		ctx, cancel := context.WithTimeout(r.Context(), hangLimit)
		defer cancel()
		r = r.WithContext(ctx)
	}
	answer, err := l.to.Do(r)
	if suffer && l.death == after {
		l.w.kill()
	}
	return answer, err
}

// operationOf reads which operation of EC2 or STS a request is; their calls are forms.
func operationOf(r *http.Request) (string, error) {
	if r.Body == nil {
		return "", nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	return form.Get("Action"), err
}

// sequence is one run under one fault.
type sequence struct {
	name  string
	call  call
	fault awstest.Fault
	death death
	stale func(w *world) func(operation string)
}

// sequences are every fault of every call with every death of the portal, and every death while EC2 shows what was.
func sequences() (list []sequence) {
	for _, group := range []struct {
		calls  []call
		faults map[string]awstest.Fault
	}{{reads, readFaults}, {changes, changeFaults}} {
		for _, c := range group.calls {
			for name, f := range group.faults {
				for _, d := range deaths {
					list = append(list, sequence{name: fmt.Sprintf("%s at %s, %s", name, c, d), call: c, fault: f, death: d})
				}
			}
		}
	}
	for name, stale := range staleness {
		for _, c := range []call{{"DescribeInstances", "RunInstances"}, {"DescribeInstances", "TerminateInstances"}} {
			for _, d := range deaths {
				list = append(list, sequence{name: fmt.Sprintf("%s at %s, %s", name, c, d), call: c, death: d, stale: stale})
			}
		}
	}
	return list
}

// staleness are the ways in which DescribeInstances answers with what was.
var staleness = map[string]func(w *world) func(operation string){
	"a second late": func(w *world) func(string) {
		w.proxy.Stale(time.Second)
		return nil
	},
	"as of before the launch": func(w *world) func(string) { return w.freezeAt("RunInstances") },
	"as of before the end":    func(w *world) func(string) { return w.freezeAt("TerminateInstances") },
}

// freezeAt makes DescribeInstances answer as of the moment before the first call of an operation, for a while.
func (w *world) freezeAt(operation string) func(string) {
	var once sync.Once
	return func(leaves string) {
		if leaves != operation {
			return
		}
		once.Do(func() {
			w.proxy.AsOf(time.Now())
			time.AfterFunc(1500*time.Millisecond, func() { w.proxy.AsOf(time.Time{}) })
		})
	}
}

// atOnce is how many sequences go on at the same time; most of each is waiting.
const atOnce = 10

// TestEveryFaultOfEveryCallEndsWithTheRunDoneAndNothingLeft runs one run after another under one fault each.
// It is the first in the package, while moto has little to remember.
func TestEveryFaultOfEveryCallEndsWithTheRunDoneAndNothingLeft(t *testing.T) {
	a, list := newAccount(t), sequences()
	if testing.Short() {
		list = list[:12]
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, s := range list {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(s.name, func(t *testing.T) { s.run(newWorld(t, a)) })
		})
	}
	wg.Wait()
	fmt.Printf("tried with the real cloud/aws: %d sequences of launch and teardown, %d faults and %d deaths of the portal at %d calls\n",
		len(list), len(list), 2*len(list)/len(deaths), len(reads)+len(changes))
}

func (s sequence) run(w *world) {
	l := &line{w: w, call: s.call, fault: s.fault, death: s.death, seen: map[string]bool{}}
	if s.stale != nil {
		l.stale = s.stale(w)
	}
	w.wire = func(to awssdk.HTTPClient) awssdk.HTTPClient {
		l.to = to
		return l
	}
	w.proxy.Fail(l.suffers)
	w.open.Store(true)
	w.agents()
	w.start()
	run := w.launch(w.member.User.ID)
	if s.death != never {
		select {
		case <-w.dead():
		case <-time.After(stuckAfter):
			w.t.Fatal("the call at which the portal is killed was never made")
		}
		w.start()
	}
	defer func() {
		w.kill()
		<-w.dead()
	}()
	w.await("all ends", w.atRest)
	if got, err := w.db.AnyRun(context.Background(), run.ID); err != nil || got.State != platform.RunSucceeded {
		w.t.Errorf("the run is %s %q (%v)", got.State, got.ErrorMessage, err)
	}
	l.mu.Lock()
	if !l.failed {
		w.t.Error("the fault never happened")
	}
	l.mu.Unlock()
	w.checkInstances(1)
}
