package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wherry/platform"
)

// TestManyRunsUnderAPortalThatKeepsDying: a dozen runs are launched and the portal is killed again and again at random
// moments. Nextflow is a script here, so that there is time for many. Every run ends as it should, with every line.
func TestManyRunsUnderAPortalThatKeepsDying(t *testing.T) {
	t.Parallel()
	p := newPortal(t, false)
	script := filepath.Join(p.data, "short-nextflow")
	must(t, os.WriteFile(script, []byte("#!/bin/bash\nfor i in $(seq 1 120); do echo \"line $i\"; sleep 0.05; done\nexit ${STATUS:-0}\n"), 0o755))
	p.kill()
	p.env = append(p.env, "WHERRY_NEXTFLOW="+script)
	p.start()
	m := p.member()
	e := p.computeEnv(m)
	want := map[string]platform.RunState{}
	for i := range 12 {
		state, env := platform.RunSucceeded, []platform.Env(nil)
		if i%3 == 0 {
			state, env = platform.RunFailed, []platform.Env{{Name: "STATUS", Value: "3"}}
		}
		want[p.launch(m, e, platform.Launch{Pipeline: p.example("crossing"), Environment: env, RunName: "run" + platform.NewID()}).ID] = state
	}
	for range 10 {
		time.Sleep(200*time.Millisecond + rand.N(1200*time.Millisecond))
		p.kill()
		time.Sleep(rand.N(400 * time.Millisecond))
		p.start()
	}
	for id, state := range want {
		if r := p.wait(id, 60*time.Second); r.State != state {
			t.Errorf("the run is %s (%s), want %s", r.State, r.ErrorMessage, state)
		}
		got := p.output(id, platform.LogOutput)
		file, err := os.ReadFile(filepath.Join(p.folder(id), "stdout.log"))
		must(t, err)
		if got != string(file) {
			t.Errorf("the portal has %d bytes of the output, the machine %d", len(got), len(file))
		}
	}
	p.nothingLeft()
}
