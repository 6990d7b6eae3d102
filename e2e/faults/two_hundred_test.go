package faults

// These come last in the package: moto keeps what has ended, and every question after them would be slower.

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// stepsAtOnce is how many machines the launch loop has in hand at once: by so many the users' shares may differ.
const stepsAtOnce = 16

// TestLaunchesUnderALimitWaitInAClearQueueInFairOrder lets the workspace have ten machines for fifty launches.
func TestLaunchesUnderALimitWaitInAClearQueueInFairOrder(t *testing.T) {
	const limit = 10
	w := newCrowd(t, 10)
	must(t, w.db.SetLimits(t.Context(), w.member.Workspace.ID, platform.Limits{Instances: limit}))
	began := time.Now()
	w.begin()
	w.await("ten have their instance, and all others a place of their own", func() bool {
		places := w.places()
		for n := range len(w.runs) - limit {
			if len(places) != len(w.runs)-limit || places[n] != n+1 {
				return false
			}
		}
		return w.withInstance() == limit
	})
	for user, n := range w.launchesOf(w.runInstances()) {
		if n != limit/5 {
			t.Errorf("%s has %d of the first %d machines", user, n, limit)
		}
	}
	launched := time.Since(began)
	w.open.Store(true)
	w.await("all ends", func() bool {
		if n := w.withInstance(); n > limit {
			t.Fatalf("%d machines have instances at once", n)
		}
		return w.atRest()
	})
	w.isFair()
	w.finish(began, launched)
}

// TestTwoHundredLaunchesAtOnceGetTheirInstancesInFairOrder has five users launch while nothing bounds them.
func TestTwoHundredLaunchesAtOnceGetTheirInstancesInFairOrder(t *testing.T) {
	w := newCrowd(t, 40)
	began := time.Now()
	w.begin()
	w.await("every machine has its instance", func() bool { return w.withInstance() == len(w.runs) })
	launched := time.Since(began)
	w.isFair()
	w.open.Store(true)
	w.await("all ends", w.atRest)
	w.finish(began, launched)
}

// crowd is a world in which five users have launched at once.
type crowd struct {
	*world
	names []string
	runs  []platform.Run
}

// newCrowd saves the launches of one user after another, which is the hardest for those who come last.
func newCrowd(t *testing.T, launchesOfEach int) *crowd {
	t.Helper()
	w := &crowd{world: newWorld(t, newAccount(t)), names: []string{"bo", "cy", "di", "ed", "flo"}}
	w.times.Poll, w.times.Backoff, w.times.Sweep = 500*time.Millisecond, time.Second, 2*time.Second
	for _, user := range w.users(w.names...) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range launchesOfEach {
			wg.Go(func() {
				r := w.launch(user)
				mu.Lock()
				defer mu.Unlock()
				w.runs = append(w.runs, r)
			})
		}
		wg.Wait()
	}
	return w
}

func (w *crowd) begin() {
	w.agents()
	w.start()
	w.t.Cleanup(func() {
		w.kill()
		<-w.dead()
	})
}

// runInstances are the requests for instances in the order in which AWS got them.
func (w *crowd) runInstances() (list []awstest.Call) {
	for _, c := range w.proxy.Calls() {
		if c.Operation == "RunInstances" {
			list = append(list, c)
		}
	}
	return list
}

func count(calls []awstest.Call, operation string) (n int) {
	for _, c := range calls {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

// userOf is for whom a launch is, as its tag says.
func userOf(c awstest.Call) string {
	for n := 1; c.Params.Has(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", n)); n++ {
		if c.Params.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", n)) == "wherry:user" {
			return c.Params.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Value", n))
		}
	}
	return ""
}

func (w *crowd) launchesOf(calls []awstest.Call) map[string]int {
	had := map[string]int{}
	for _, name := range w.names {
		had[name] = 0
	}
	for _, c := range calls {
		had[userOf(c)]++
	}
	return had
}

// isFair looks at every moment in which all users still waited: none was further ahead than the loop has machines in hand.
func (w *crowd) isFair() {
	w.t.Helper()
	calls := w.runInstances()
	worst := 0
	for n := range calls {
		var shares []int
		for _, share := range w.launchesOf(calls[:n]) {
			shares = append(shares, share)
		}
		if slices.Max(shares) >= len(w.runs)/len(w.names) {
			break
		}
		worst = max(worst, slices.Max(shares)-slices.Min(shares))
	}
	if worst > stepsAtOnce || len(calls) != len(w.runs) {
		w.t.Errorf("one user was %d machines ahead of another; %d requests were made for %d machines", worst, len(calls), len(w.runs))
	}
	fmt.Printf("%s: no user was more than %d machines ahead of another\n", w.t.Name(), worst)
}

// withInstance counts the machines that have an instance.
func (w *crowd) withInstance() (n int) {
	machines, err := w.db.LivingMachines(context.Background())
	must(w.t, err)
	for _, m := range machines {
		if m.InstanceID != "" {
			n++
		}
	}
	return n
}

var place = regexp.MustCompile(`^Place (\d+) in the queue: the workspace has \d+ of at most 10 machines\.$`)

// places are those that people are told, in order.
func (w *crowd) places() (list []int) {
	machines, err := w.db.LivingMachines(context.Background())
	must(w.t, err)
	for _, m := range machines {
		if found := place.FindStringSubmatch(m.Waiting); found != nil {
			n, err := strconv.Atoi(found[1])
			must(w.t, err)
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// finish looks at what is left, and at how often EC2 was asked: for all machines together once a second, and again after an
// end, however often the loops want to know. One that was launched since is looked for by its id.
func (w *crowd) finish(began time.Time, launched time.Duration) {
	w.t.Helper()
	for _, r := range w.runs {
		if got, err := w.db.AnyRun(context.Background(), r.ID); err != nil || got.State != platform.RunSucceeded {
			w.t.Errorf("run %s is %s %q (%v)", r.ID, got.State, got.ErrorMessage, err)
		}
	}
	took, calls := time.Since(began), w.proxy.Calls()
	byID := 0
	for _, c := range calls {
		if c.Operation == "DescribeInstances" && c.Params.Has("InstanceId.1") {
			byID++
		}
	}
	lists, ended := count(calls, "DescribeInstances")-byID, count(calls, "TerminateInstances")
	if most := int(took.Seconds()) + 2 + ended; lists > most {
		w.t.Errorf("EC2 was asked %d times for all instances in %s with %d ends; at most %d make sense", lists, took, ended, most)
	}
	w.checkInstances(len(w.runs))
	fmt.Printf("%s: launched in %s, ended in %s, with %d DescribeInstances of all and %d by id for %d looks of the loops, and %d TerminateInstances\n", w.t.Name(),
		launched.Round(100*time.Millisecond), took.Round(100*time.Millisecond), lists, byID, w.cloud.Load().describes.Load(), ended)
}
