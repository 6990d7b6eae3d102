package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wherry/db"
	"wherry/metrics"
	"wherry/platform"
	"wherry/web"
)

// monitor adds what monitors are told of this portal: what must hold for it to be ready, and its metrics.
func (p *portal) monitor() {
	m := &p.server.Monitor
	m.Token = p.metricsToken
	m.Checks = []web.Check{
		{Name: "database", Do: p.db.Writable},
		{Name: "lease", Do: func(context.Context) error { return p.lease.Held() }},
		{Name: "loops", Do: func(context.Context) error {
			if stuck := p.jobs.Pulse.Stuck(time.Now()); len(stuck) > 0 {
				return fmt.Errorf("these loops do not look: %s", strings.Join(stuck, ", "))
			}
			return nil
		}},
	}
	r := &m.Metrics
	r.Gauge("wherry_build_info", "The version that runs.", func(context.Context) ([]metrics.Sample, error) {
		return []metrics.Sample{{Labels: []string{version, runtime.Version()}, Value: 1}}, nil
	}, "version", "go")
	p.workMetrics(r)
	p.loopMetrics(r)
	p.hostMetrics(r)
}

// workMetrics tell of machines, runs and Studios.
func (p *portal) workMetrics(r *metrics.Registry) {
	r.Gauge("wherry_machines", "Machines that may exist, by state.", counts(p.db.MachineCounts, platform.MachineStates[:len(platform.MachineStates)-1]), "state")
	r.Gauge("wherry_runs", "Runs by state, those that have ended too.", counts(p.db.RunCounts, platform.RunStates), "state")
	r.Gauge("wherry_studio_sessions", "Sessions of Studios that have not ended, by state.", counts(p.db.StudioCounts, living(platform.StudioStates)), "state")
	r.Gauge("wherry_oldest_wanted_machine_seconds", "How long the oldest wanted machine waits: for its platform, or in the queue of a workspace's limit. 0: none.",
		func(ctx context.Context) ([]metrics.Sample, error) {
			admitted, queued, err := p.db.OldestWanted(ctx)
			return []metrics.Sample{{Labels: []string{"platform"}, Value: age(admitted)}, {Labels: []string{"limit"}, Value: age(queued)}}, err
		}, "waits_for")
}

// counts reads a count for every state: one that nothing is in is 0, and not missing.
func counts[S ~string](read func(context.Context) ([]db.Count, error), states []S) func(context.Context) ([]metrics.Sample, error) {
	return func(ctx context.Context) (out []metrics.Sample, err error) {
		list, err := read(ctx)
		if err != nil {
			return nil, err
		}
		found := map[string]int{}
		for _, c := range list {
			found[c.State] = c.N
		}
		for _, s := range states {
			out = append(out, metrics.Sample{Labels: []string{string(s)}, Value: float64(found[string(s)])})
		}
		return out, nil
	}
}

func living(states []platform.StudioState) []platform.StudioState {
	return slices.DeleteFunc(slices.Clone(states), platform.StudioState.Ended)
}

func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}

// loopMetrics tell how the loops do, and the clouds that they ask.
func (p *portal) loopMetrics(r *metrics.Registry) {
	pulse := &p.jobs.Pulse
	r.Gauge("wherry_loop_quiet_seconds", "How long ago each loop last looked at what is to be done.", func(context.Context) (out []metrics.Sample, err error) {
		for loop, quiet := range pulse.Quiet(time.Now()) {
			if quiet >= 0 {
				out = append(out, metrics.Sample{Labels: []string{loop}, Value: quiet.Seconds()})
			}
		}
		return out, nil
	}, "loop")
	r.CounterOf("wherry_step_failures_total", "Steps of loops that failed and are repeated, by loop and kind of error.", func(context.Context) (out []metrics.Sample, err error) {
		for f, n := range pulse.Failures() {
			out = append(out, metrics.Sample{Labels: []string{f.Loop, f.Kind}, Value: float64(n)})
		}
		return out, nil
	}, "loop", "kind")
	r.CounterOf("wherry_sweep_ended_instances_total", "Instances that the sweep ended because no machine stood for them. Each is worth a look.",
		func(context.Context) ([]metrics.Sample, error) { return metrics.One(float64(pulse.Swept())), nil })
	p.throttled = r.Counter("wherry_cloud_throttled_total", "Answers of a cloud that asked for fewer questions.", "service", "operation")
}

// hostMetrics tell of what the portal needs of its host.
func (p *portal) hostMetrics(r *metrics.Registry) {
	r.Gauge("wherry_database_bytes", "Size of the database on the disk.", func(context.Context) ([]metrics.Sample, error) {
		size, err := p.db.Size()
		return metrics.One(float64(size)), err
	})
	r.Gauge("wherry_data_free_bytes", "Free space where the data folder is.", func(context.Context) ([]metrics.Sample, error) {
		free, err := freeBytes(p.data)
		return metrics.One(float64(free)), err
	})
	r.Gauge("go_goroutines", "Goroutines that exist.", func(context.Context) ([]metrics.Sample, error) {
		return metrics.One(float64(runtime.NumGoroutine())), nil
	})
	r.Gauge("process_resident_memory_bytes", "Memory of the process.", func(context.Context) ([]metrics.Sample, error) {
		text, err := os.ReadFile("/proc/self/statm")
		var size, resident int
		if err == nil {
			_, err = fmt.Sscan(string(text), &size, &resident)
		}
		return metrics.One(float64(resident * os.Getpagesize())), err
	})
	r.Gauge("process_open_fds", "Files that the process has open.", func(context.Context) ([]metrics.Sample, error) {
		list, err := os.ReadDir("/proc/self/fd")
		return metrics.One(float64(len(list))), err
	})
	started := float64(time.Now().Unix())
	r.Gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", func(context.Context) ([]metrics.Sample, error) { return metrics.One(started), nil })
}

// freeBytes is the space that is free for others than root.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	err := unix.Statfs(dir, &s)
	return s.Bavail * uint64(s.Bsize), err
}
