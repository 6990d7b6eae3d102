package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

func fetch(t *testing.T, address, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(text)
}

// TestAPortalIsReadyAndTellsItsMetrics also compares the metrics with the table in the manual.
func TestAPortalIsReadyAndTellsItsMetrics(t *testing.T) {
	t.Parallel()
	p, _ := serving(t, settings{data: t.TempDir(), metricsToken: platform.NewSecret("t")})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		status, text := fetch(t, p.url+"/readyz", "")
		if status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not get ready: %s", text)
		}
	}
	p.throttled.Add("EC2", "RunInstances")
	_, text := fetch(t, p.url+"/metrics", "t")
	for _, want := range []string{`wherry_machines{state="wanted"} 0`, `wherry_runs{state="RUNNING"} 0`, `wherry_studio_sessions{state="running"} 0`,
		`wherry_oldest_wanted_machine_seconds{waits_for="platform"} 0`, `wherry_loop_quiet_seconds{loop="launch"}`, "wherry_sweep_ended_instances_total 0",
		`wherry_cloud_throttled_total{service="EC2",operation="RunInstances"} 1`, "wherry_build_info{", `route="/readyz"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the metrics:\n%s", want, text)
		}
	}
	manual, err := os.ReadFile("docs/operating.md")
	must(t, err)
	line := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? [0-9.e+-]+)$`)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if !line.MatchString(lines.Text()) {
			t.Errorf("this is no line of the format: %s", lines.Text())
		}
		if name, ok := strings.CutPrefix(lines.Text(), "# TYPE "); ok && strings.HasPrefix(name, "wherry_") {
			if name, _, _ = strings.Cut(name, " "); !strings.Contains(string(manual), "`"+name+"`") {
				t.Errorf("docs/operating.md does not have %s", name)
			}
		}
	}
	must(t, os.RemoveAll(p.data+"/wherry.lock"))
	time.Sleep(1100 * time.Millisecond) // an answer counts for a second
	if status, text := fetch(t, p.url+"/readyz", ""); status != http.StatusServiceUnavailable || text != "not ready: lease\n" {
		t.Errorf("without its lock: %d %s", status, text)
	}
}
