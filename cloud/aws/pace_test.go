package aws

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wherry/cloud"
)

// launchAll starts n launches in order and returns the order and the times in which they went.
func launchAll(t *testing.T, p *pacer, n int) (order []string, times []time.Duration) {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		id := fmt.Sprintf("m%03d", i)
		all.Go(func() {
			for {
				err := p.wait(t.Context(), id)
				if err == nil {
					break
				}
				if cloud.KindOf(err) != cloud.KindThrottled || !strings.Contains(err.Error(), "turn in") {
					t.Errorf("%v", err)
					return
				}
				time.Sleep(3 * time.Second) // the loop's back-off
			}
			mu.Lock()
			defer mu.Unlock()
			order, times = append(order, id), append(times, time.Since(began))
		})
		synctest.Wait()
	}
	all.Wait()
	return order, times
}

func TestLaunchesGoUnderEC2sLimitAndAllOfThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		_, times := launchAll(t, newPacer(0), n)
		// EC2's own bucket: 5 requests, filled with 2 a second.
		tokens, last := 5.0, time.Duration(0)
		for i, at := range times {
			tokens = min(5, tokens+2*(at-last).Seconds()) - 1
			last = at
			if tokens < 0 {
				t.Fatalf("launch %d, %s after the first, would be turned away", i, at)
			}
		}
		if len(times) != n || times[n-1] > 2*time.Minute+5*time.Second {
			t.Errorf("%d launches took %s", len(times), times[n-1])
		}
	})
}

func TestLaunchesThatWaitGoInTheOrderInWhichTheyAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		order, _ := launchAll(t, newPacer(0), 15) // all within their patience
		for i, id := range order {
			if want := fmt.Sprintf("m%03d", i); id != want {
				t.Errorf("launch %d was %s, want %s", i, id, want)
			}
		}
	})
}

func TestATurnIsKeptForALaunchThatComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0.1) // the fifth launch waits for ten seconds
		for i := range launchBurst {
			must(t, p.wait(t.Context(), fmt.Sprint(i)))
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		says(t, kind(t, p.wait(hurried, "early"), cloud.KindThrottled).Message, "turn in 10s")
		kind(t, p.wait(hurried, "late"), cloud.KindThrottled)
		time.Sleep(15 * time.Second)
		began := time.Now()
		must(t, p.wait(t.Context(), "early"))
		if waited := time.Since(began); waited > 0 {
			t.Errorf("its turn had come, and it waited %s more", waited)
		}
		must(t, p.wait(t.Context(), "late"))
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("the next one waited %s", waited)
		}
	})
}

func TestAThrottledAccountIsAskedLessOftenForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(2)
		for range 3 { // three answers at the same time are one sign
			p.slower()
		}
		if got := p.rateNow(); got != "1" {
			t.Errorf("the rate is %s", got)
		}
		began := time.Now()
		for i := range 3 {
			must(t, p.wait(t.Context(), fmt.Sprint(i)))
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("three launches took %s: the bucket was not emptied", took)
		}
		for range 20 {
			time.Sleep(2 * time.Second)
			p.slower()
		}
		if got := p.rateNow(); got != "0.1" {
			t.Errorf("the slowest rate is %s", got)
		}
		for range 100 {
			p.faster()
		}
		if got := p.rateNow(); got != "2" {
			t.Errorf("the rate came back to %s", got)
		}
	})
}

func TestAWaitForATurnEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0.2)
		for i := range launchBurst {
			must(t, p.wait(t.Context(), fmt.Sprint(i)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		kind(t, p.wait(ctx, "m"), cloud.KindTransient)
	})
}
