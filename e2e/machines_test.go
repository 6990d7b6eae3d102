package e2e

import (
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"wherry/cloud"
	"wherry/cloud/local"
	"wherry/db"
	"wherry/handlers"
	"wherry/platform"
	"wherry/web"
)

// stillSite is a portal's server without its loops: what is put into its database stays as it is.
type stillSite struct {
	t      *testing.T
	url    string
	data   string
	db     *db.DB
	raw    *sql.DB
	member platform.Member
}

func newStillSite(t *testing.T) *stillSite {
	t.Helper()
	s := &stillSite{t: t, data: t.TempDir()}
	var err error
	s.db, err = db.Open(t.Context(), s.data)
	must(t, err)
	s.raw, err = sql.Open("sqlite", filepath.Join(s.data, db.FileName)+"?_pragma=busy_timeout(10000)")
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	here := local.New(local.Config{Dir: t.TempDir(), Nextflow: "true"})
	server := &web.Server{DB: s.db, Hub: web.NewHub(s.db), Log: log, Pages: &handlers.Handlers{DB: s.db, Log: log, SignIns: handlers.NewSignInLimit(),
		Clouds: map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: here},
		Price:  func(platform.ComputeEnv) platform.Price { return platform.Price{Hour: platform.USD(0.126)} }}}
	h := httptest.NewServer(server.Handler())
	s.url = h.URL
	t.Cleanup(func() {
		server.Hub.Close()
		h.Close()
		s.raw.Close()
		s.db.Close()
	})
	s.member, err = s.db.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(t, err)
	return s
}

func (s *stillSite) signIn(page playwright.Page) {
	s.t.Helper()
	token := platform.NewToken()
	must(s.t, s.db.AddSignInLink(s.t.Context(), s.member.User.ID, platform.HashToken(token), time.Now().Add(time.Minute)))
	s.open(page, "/sign-in/link?token="+token)
	click(s.t, page, "button", "Sign in")
	must(s.t, expectations.Page(page).ToHaveTitle("Launchpad · Wherry"))
}

func (s *stillSite) open(page playwright.Page, path string) {
	s.t.Helper()
	_, err := page.Goto(s.url + path)
	must(s.t, err)
}

// openPage opens a page of the workspace.
func (s *stillSite) openPage(page playwright.Page, path string) {
	s.t.Helper()
	s.open(page, "/orgs/lab/workspaces/rivers"+path)
}

func (s *stillSite) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.raw.ExecContext(s.t.Context(), query, args...)
	must(s.t, err)
}

func (s *stillSite) env(name string, on platform.PlatformName, config platform.AWSCloud) platform.ComputeEnv {
	s.t.Helper()
	e := platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: name, Platform: on, WorkDir: "s3://rivers/work", Region: "eu-west-1",
		Status: platform.ComputeEnvAvailable, Config: platform.ComputeEnvConfig{AWSCloud: config}}
	if on == platform.PlatformLocal {
		e.WorkDir, e.Region = s.t.TempDir(), ""
	}
	must(s.t, s.db.AddComputeEnv(s.t.Context(), &e))
	return e
}

func (s *stillSite) run(e platform.ComputeEnv, name string) (platform.Run, platform.Machine) {
	s.t.Helper()
	r := platform.Run{WorkspaceID: e.WorkspaceID, UserID: s.member.User.ID, ComputeEnvID: e.ID, Name: name, WorkDir: e.WorkDir,
		Launch: platform.Launch{Pipeline: "nextflow-io/hello", ComputeEnvID: e.ID, TimeLimit: 90}}
	m, err := s.db.AddRun(s.t.Context(), &r)
	must(s.t, err)
	return r, m
}

// works makes a machine as if EC2 had started it so long ago.
func (s *stillSite) works(m platform.Machine, instance string, age time.Duration, h platform.Hardware) {
	s.t.Helper()
	text, err := json.Marshal(h)
	must(s.t, err)
	began := time.Now().Add(-age).UnixMilli()
	s.exec(`UPDATE machines SET state = 'working', instance_id = ?, created_at = ?, admitted_at = ?, launched_at = ?, hardware = ? WHERE id = ?`, instance, began, began, began, string(text), m.ID)
}

func TestMachinesAndLimitsInTheBrowser(t *testing.T) {
	t.Parallel()
	s, page := newStillSite(t), newPage(t)
	s.signIn(page)
	click(t, page, "link", "Machines")
	shows(t, page, "main", "No machine is running")
	inspect(t, page, "machines-empty")

	cloudy, spot := s.env("cloudy", platform.PlatformAWSCloud, platform.AWSCloud{}), s.env("spotty", platform.PlatformAWSCloud, platform.AWSCloud{Spot: true})
	_, m := s.run(cloudy, "calm_severn")
	s.works(m, "i-0a1b2c3d4e5f60718", 73*time.Minute, platform.Hardware{InstanceType: "m5d.large", Region: "eu-west-1", Zone: "eu-west-1b", HourMicroUSD: 126_000})
	waits, m := s.run(spot, "swift_tyne")
	s.exec(`UPDATE machines SET waiting = 'Place 1 in the queue: the workspace has 3 of at most 3 machines.' WHERE id = ?`, m.ID)
	ending, m := s.run(spot, "brisk_thames")
	s.works(m, "i-0ffffffffffffffff", 5*time.Hour, platform.Hardware{InstanceType: "c7i.4xlarge", Region: "eu-west-1", Zone: "eu-west-1a", Spot: true, HourMicroUSD: 301_000, Estimate: true})
	must(t, s.db.AskCancel(t.Context(), s.member.Workspace.ID, ending.ID, "ada"))
	must(t, s.db.AddWarmMachine(t.Context(), cloudy, 1))
	must(t, s.db.SetLimits(t.Context(), s.member.Workspace.ID, platform.Limits{Instances: 3, MonthMicroUSD: 250_000_000}))
	must(t, s.db.AddSweep(t.Context(), platform.Sweep{WorkspaceID: cloudy.WorkspaceID, ComputeEnvID: cloudy.ID, InstanceID: "i-0deadbeefdeadbeef", Why: "No machine of this portal stands for it any more."}))
	// The page is live: it was empty, and nobody has loaded it again.
	shows(t, page, "#machines", "calm_severn")
	shows(t, page, "#machines", "Place 1 in the queue")
	shows(t, page, "#machines", "ending…")
	shows(t, page, "#machines", "i-0deadbeefdeadbeef")
	must(t, expectations.Page(page).ToHaveTitle("4 Machines · Wherry"))
	inspect(t, page, "machines")

	must(t, page.GetByText("End… the machine of calm_severn").Click())
	shows(t, page, "#machines details[open]", "Cancel the run calm_severn?")
	inspect(t, page, "machines-end")
	click(t, page, "button", "Cancel the run and end the machine")
	shows(t, page, ".notice", "The end of the machine was asked for.")
	must(t, page.GetByText("End… the machine of no run").Click())
	click(t, page, "button", "End the machine")
	shows(t, page, "#machines", "Its end was asked for by ada.")

	click(t, page, "link", "Limits")
	fill(t, page, "Machines at once", "none")
	click(t, page, "button", "Save")
	shows(t, page, "#instances-error", "Enter a number")
	inspect(t, page, "limits-error")
	fill(t, page, "Machines at once", "5")
	fill(t, page, "US dollars in a calendar month", "0.50")
	click(t, page, "button", "Save")
	shows(t, page, ".notice", "The limits were saved.")
	shows(t, page, "main", "nothing more starts in this month")
	inspect(t, page, "limits")

	s.openPage(page, "/runs/"+waits.ID)
	shows(t, page, "#run-head .alert", "Place 1 in the queue")
	inspect(t, page, "run-waiting")
	s.openPage(page, "/compute-envs/"+spot.ID)
	shows(t, page, "main", "Its machines could not reach this portal")
	inspect(t, page, "compute-environment-unreachable")
	launchOnSpot(t, s, page, cloudy, spot)
}

// launchOnSpot looks which fields the launch form has for which environment, and that the spent month refuses it.
func launchOnSpot(t *testing.T, s *stillSite, page playwright.Page, cloudy, spot platform.ComputeEnv) {
	t.Helper()
	here := s.env("here", platform.PlatformLocal, platform.AWSCloud{})
	s.openPage(page, "/launch")
	choose := func(id string, relaunch, version bool) {
		t.Helper()
		_, err := page.GetByLabel("Compute environment").SelectOption(playwright.SelectOptionValues{Values: &[]string{id}})
		must(t, err)
		for name, want := range map[string]bool{"#relaunchInterrupted": relaunch, "#nextflowVersion": version} {
			if field := expectations.Locator(page.Locator(name)); want {
				must(t, field.ToBeVisible())
			} else {
				must(t, field.ToBeHidden())
			}
		}
	}
	must(t, page.GetByText("Configuration, scripts, variables and secrets").Click())
	choose(here.ID, false, false)
	choose(cloudy.ID, false, true)
	choose(spot.ID, true, true)
	inspect(t, page, "launch-on-spot")
	choose(here.ID, false, false)
	fill(t, page, "Pipeline", "nextflow-io/hello")
	click(t, page, "button", "Launch")
	shows(t, page, "#computeEnvId-error", "and its limit is $0.50")
	inspect(t, page, "launch-month-spent")
}

func TestARunWhoseMachineWasTakenAwayInTheBrowser(t *testing.T) {
	t.Parallel()
	s, page := newStillSite(t), newPage(t)
	s.signIn(page)
	spot := s.env("spotty", platform.PlatformAWSCloud, platform.AWSCloud{Spot: true})
	r, m := s.run(spot, "brisk_thames")
	s.works(m, "i-0ffffffffffffffff", 40*time.Minute, platform.Hardware{InstanceType: "c7i.4xlarge", Region: "eu-west-1", Zone: "eu-west-1a", Spot: true, HourMicroUSD: 301_000, Estimate: true})
	began := time.Now().Add(-40 * time.Minute)
	var steps []platform.StepReport
	for i, name := range []string{platform.StepBooted, platform.StepAgentFetched, platform.StepAgentUp, platform.StepImagePulled, platform.StepRestored, platform.StepNextflow,
		platform.StepNextflowReady, platform.StepFirstTask, platform.StepInterrupted, platform.StepKept} {
		steps = append(steps, platform.StepReport{Name: name, At: began.Add(time.Duration(i*i*20) * time.Second)})
	}
	steps[8].Note = "EC2 takes the instance back at 14:02:11 UTC"
	must(t, s.db.AddSteps(t.Context(), m, steps))
	s.exec(`UPDATE steps SET at = ? WHERE name = 'wanted'`, began.Add(-20*time.Second).UnixMilli())
	s.exec(`UPDATE runs SET session_id = '0c4d9d1c-5a1b-4a0e-8f55-2f9fd6a6f4b1', started_at = ? WHERE id = ?`, began.UnixMilli(), r.ID)
	must(t, s.db.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunFailed,
		ErrorMessage: "EC2 took the Spot instance back 27 minutes after it had started the run.\nServer.SpotInstanceTermination: Spot instance termination"}))
	s.openPage(page, "/runs/"+r.ID)
	shows(t, page, "#run-head .alert", "The machine was taken away")
	shows(t, page, "#run-head", "c7i.4xlarge in eu-west-1a, Spot")
	shows(t, page, "#run-head", "about $0.20 (estimate) so far")
	shows(t, page, "#run-timeline", "EC2 takes the instance back")
	inspect(t, page, "run-interrupted")
	click(t, page, "link", "Launch again and resume")
	shows(t, page, "h1", "Resume brisk_thames")
}

// stranger is a report that tries to reach the portal in every way that a script has, and says what came of each.
const stranger = `<!DOCTYPE html><html lang="en"><head><title>Stranger</title><style>body { font: 16px sans-serif }</style></head>
<body><h1>Scripts run</h1><ul id="list"></ul><form action="/sign-out" method="post"><button id="send">Send</button></form><script>
const say = (text) => { const li = document.createElement("li"); li.textContent = text; document.getElementById("list").append(li); };
const attempt = (name, f) => { try { const got = f(); say(name + ": reached " + got); } catch (e) { say(name + ": " + e.name); } };
say("origin " + self.origin);
attempt("parent", () => parent.document.title);
attempt("cookie", () => document.cookie);
attempt("storage", () => localStorage.length);
if (parent !== self) attempt("top", () => { top.location = "/stolen"; return top.location.href; });
attempt("open", () => { if (!window.open("/")) throw new DOMException("", "Blocked"); return "a window"; });
fetch("/orgs/lab/workspaces/rivers/runs").then(() => say("fetch: reached"), (e) => say("fetch: " + e.name));
const image = new Image(); image.onload = () => say("image: reached"); image.onerror = () => say("image: Error"); image.src = "/favicon.ico";
</script></body></html>`

func TestReportsInTheBrowser(t *testing.T) {
	t.Parallel()
	// What the stranger is refused is an error in the console.
	s, page := newStillSite(t), newPage(t, "Refused to", "violates the following", "sandbox", "Sandbox", "Unsafe attempt", "Blocked opening", "Failed to load resource", "allow-")
	s.signIn(page)
	r, m := s.run(s.env("here", platform.PlatformLocal, platform.AWSCloud{}), "calm_severn")
	s.openPage(page, "/runs/"+r.ID+"/reports")
	shows(t, page, "main", "There is no report")
	inspect(t, page, "reports-empty")
	files := map[string]string{"stranger.html": stranger, "counts.tsv": "process\tpassengers\tkilograms\n" + strings.Repeat("WEIGH\t3\t12.5\n", 12), "notes.txt": "All three crossed.\n",
		"plot.svg": `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 40" width="480" height="160"><rect x="10" y="10" width="100" height="20" fill="#2387a3"/></svg>`, "reads.bam": "\x1f\x8b"}
	var list []platform.Report
	for name, text := range files {
		report := platform.Report{Name: name, Size: int64(len(text))}
		path := filepath.Join(r.WorkDir, report.Path(r.ID))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
		list = append(list, report)
	}
	list = append(list, platform.Report{Name: "paper.pdf", Display: "Paper", Size: 400})
	must(t, os.WriteFile(filepath.Join(r.WorkDir, platform.Report{Name: "paper.pdf"}.Path(r.ID)), []byte("%PDF-1.4\n"), 0o644))
	must(t, s.db.AddReports(t.Context(), m, list))
	shows(t, page, "#report-list", "counts.tsv") // live

	click(t, page, "link", "stranger.html")
	frame := page.FrameLocator("iframe.report")
	for _, want := range []string{"origin null", "parent: SecurityError", "cookie: SecurityError", "storage: SecurityError", "open: Blocked", "fetch: TypeError", "image: Error"} {
		must(t, expectations.Locator(frame.Locator("#list")).ToContainText(want))
	}
	must(t, frame.Locator("#send").Click())
	must(t, expectations.Locator(frame.Locator("h1")).ToHaveText("Scripts run"))
	must(t, expectations.Page(page).ToHaveTitle("Reports of calm_severn · Wherry"))
	inspect(t, page, "reports-html")
	for name, want := range map[string]string{"counts.tsv": "kilograms", "notes.txt": "All three crossed."} {
		click(t, page, "link", name)
		shows(t, page, "#report", want)
		inspect(t, page, "reports-"+name)
	}
	click(t, page, "link", "plot.svg")
	loaded, err := page.Locator("img.report").Evaluate(`img => img.decode().then(() => img.naturalWidth)`, nil)
	must(t, err)
	if loaded != 480 {
		t.Errorf("the picture is %v wide", loaded)
	}
	inspect(t, page, "reports-image")

	// Opened by itself it is as far away from the portal as in its frame.
	s.openPage(page, "/runs/"+r.ID+"/reports/stranger.html")
	shows(t, page, "#list", "origin null")
	shows(t, page, "#list", "fetch: TypeError")
	shows(t, page, "#list", "cookie: SecurityError")
	s.openPage(page, "/runs/"+r.ID)
	shows(t, page, "#run-reports", "Paper")
	inspect(t, page, "run-reports")
}
