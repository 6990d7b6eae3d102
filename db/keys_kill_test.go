package db

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rotateUntilKilled is the other process: it rotates, and every third time replaces the master key.
func rotateUntilKilled(dir string) error {
	ctx := context.Background()
	d, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		fmt.Println("rotating")
		if n%3 == 2 {
			_, _, err = d.ReplaceMasterKey(ctx, filepath.Join(dir, fmt.Sprint("next-", os.Getpid(), "-", n)))
		} else {
			_, err = d.RotateKeys(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// TestARotationThatIsKilledLosesNothing kills a process that rotates, again and again at moments of chance, beside a portal that
// serves.
func TestARotationThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("DB_TEST_ROTATE"); dir != "" {
		must(t, rotateUntilKilled(dir))
	}
	f := newFixture(t)
	secrets := map[string]string{}
	for n := range 2*sealBatch + 3 {
		secret := fmt.Sprint("secret ", n)
		secrets[f.addCredentials(fmt.Sprint("c", n), secret).ID] = secret
	}
	masters := map[string]bool{f.masterKey().ID: true}
	for range 12 {
		killedRotation(t, f.keys.dir)
		restarted, err := Open(t.Context(), f.keys.dir)
		if err != nil {
			t.Fatalf("the database does not open: %v", err)
		}
		for id, secret := range secrets {
			wantSecret(t, f.DB, id, secret) // the portal that served all the time
			wantSecret(t, restarted, id, secret)
		}
		masters[restarted.masterKey().ID] = true
		must(t, restarted.Close())
		if t.Failed() {
			return
		}
	}
	r, err := f.RotateKeys(t.Context())
	if err != nil || len(r.Unopened) > 0 {
		t.Errorf("what was left: %+v, %v", r, err)
	}
	if len(masters) < 3 {
		t.Errorf("the master key was replaced %d times; the kills came too early to show anything", len(masters)-1)
	}
}

func killedRotation(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestARotationThatIsKilledLosesNothing$")
	cmd.Env = append(os.Environ(), "DB_TEST_ROTATE="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines, enough := bufio.NewScanner(out), rand.IntN(7)
	for n := 0; lines.Scan(); n++ {
		if lines.Text() != "rotating" {
			t.Fatalf("the other process says %q", lines.Text())
		}
		if n == enough {
			time.AfterFunc(rand.N(20*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the other process ended by itself: %v", err)
	}
}
