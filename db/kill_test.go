package db

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// chunkNumber is the data of one chunk of the test's log: recognisable, and of various lengths.
func chunkNumber(n int) []byte {
	return fmt.Appendf(nil, "chunk %d %s\n", n, strings.Repeat("x", n*37%3000))
}

// writeUntilKilled is the other process: it appends to the log and launches runs, and says what the database took.
func writeUntilKilled(dir string, m platform.Machine, first int, offset int64) error {
	ctx := context.Background()
	d, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	for n := first; ; n++ {
		if offset, err = d.AppendLog(ctx, m, platform.LogOutput, offset, chunkNumber(n)); err != nil {
			return err
		}
		fmt.Printf("log %d\n", offset)
		r := platform.Run{WorkspaceID: m.WorkspaceID, UserID: 1, ComputeEnvID: m.ComputeEnvID, Name: fmt.Sprint("r", n), WorkDir: "/w"}
		if _, err := d.AddRun(ctx, &r); err != nil {
			return err
		}
		fmt.Printf("run %s\n", r.ID)
	}
}

// TestNothingThatWasTakenIsLostToAKill kills a process that writes, again and again at moments of chance.
func TestNothingThatWasTakenIsLostToAKill(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("DB_TEST_WRITE"); dir != "" {
		var m platform.Machine
		var first int
		var offset int64
		_, err := fmt.Sscan(os.Getenv("DB_TEST_ARGS"), &m.RunID, &m.ComputeEnvID, &m.WorkspaceID, &first, &offset)
		must(t, err)
		must(t, writeUntilKilled(dir, m, first, offset))
	}
	dir := t.TempDir()
	d, err := Open(t.Context(), dir)
	must(t, err)
	member, err := d.SetUp(t.Context(), setUp, "hash")
	must(t, err)
	env := platform.ComputeEnv{WorkspaceID: member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable}
	must(t, d.AddComputeEnv(t.Context(), &env))
	r := platform.Run{WorkspaceID: member.Workspace.ID, UserID: member.User.ID, ComputeEnvID: env.ID, Name: "log", WorkDir: "/w"}
	m, err := d.AddRun(t.Context(), &r)
	must(t, err)
	must(t, d.Close())

	var want []byte
	next := 0
	for range 6 {
		taken, runs := killedWriter(t, dir, fmt.Sprintln(m.RunID, m.ComputeEnvID, m.WorkspaceID, next, len(want)))
		d, err := Open(t.Context(), dir)
		must(t, err)
		var got bytes.Buffer
		must(t, d.CopyLog(t.Context(), &got, m.RunID, platform.LogOutput))
		for len(want) < got.Len() {
			want = append(want, chunkNumber(next)...)
			next++
		}
		if int64(got.Len()) < taken || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("the log has %d bytes, of which %d were said to be safe; want whole chunks, %d bytes", got.Len(), taken, len(want))
		}
		for _, id := range runs {
			if machine, err := d.MachineOfRun(t.Context(), id); err != nil || machine.State != platform.MachineWanted {
				t.Errorf("the run %s or its machine is lost: %v, %v", id, machine, err)
			}
		}
		var without int
		must(t, d.read.QueryRow(`SELECT count(*) FROM runs r LEFT JOIN machines m ON m.run_id = r.id LEFT JOIN steps s ON s.machine_id = m.id WHERE s.id IS NULL`).Scan(&without))
		found, err := d.VerifyAudit(t.Context(), AuditHead{}) // without a gap
		must(t, err)
		var launched int64
		must(t, d.read.QueryRow(`SELECT (SELECT count(*) FROM runs) - (SELECT count(*) FROM audit_log WHERE action = 'run.launch')`).Scan(&launched))
		if launched != 0 || found.Count == 0 {
			t.Errorf("%d more runs than entries of their launch, of %d entries", launched, found.Count)
		}
		if without > 0 {
			t.Errorf("%d runs have no machine or no timeline", without)
		}
		must(t, d.Close())
	}
	if next < 20 {
		t.Errorf("only %d chunks were written; the kills came too early to show anything", next)
	}
}

// killedWriter runs the other process, kills it after some acknowledgements and a moment more, and tells what it was told
// is safe.
func killedWriter(t *testing.T, dir, args string) (logged int64, runs []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestNothingThatWasTakenIsLostToAKill$")
	cmd.Env = append(os.Environ(), "DB_TEST_WRITE="+dir, "DB_TEST_ARGS="+args)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	enough := 2 + rand.IntN(20)
	for n := 0; lines.Scan(); n++ {
		var id string
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "run "):
			id = strings.TrimPrefix(line, "run ")
			runs = append(runs, id)
		default:
			if _, err := fmt.Sscanf(line, "log %d", &logged); err != nil {
				t.Fatalf("the other process says %q", line)
			}
		}
		if n == enough {
			time.AfterFunc(rand.N(3*time.Millisecond), func() { _ = cmd.Process.Kill() }) // and what it says until then counts too
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the other process ended by itself: %v", err)
	}
	return logged, runs
}
