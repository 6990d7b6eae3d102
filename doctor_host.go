package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wherry/agent/binaries"
)

const (
	// askLimit is how long an address or a cloud may take to answer.
	askLimit = 10 * time.Second
	// versionLimit is how long a program may take to say its version. Nextflow starts a Java machine for it.
	versionLimit = time.Minute
	// fewBytes and tooFewBytes are free space that is little, and too little.
	fewBytes    = 5 << 30
	tooFewBytes = 1 << 30
	// oldestJava is the oldest Java that Nextflow works with.
	oldestJava = 17
)

// settingNames are the variables that begin with WHERRY_ and mean something to the portal.
var settingNames = []string{"WHERRY_DATA", "WHERRY_ADDRESS", "WHERRY_URL", "WHERRY_AGENT_PORTAL", "WHERRY_NEXTFLOW", "WHERRY_MACHINE_LIFETIME", "WHERRY_LOG_LEVEL",
	"WHERRY_LOG_FORMAT", "WHERRY_PRICE_LIST_URL", "WHERRY_SESSION_IDLE", "WHERRY_SESSION_LIMIT", "WHERRY_REQUIRE_SECOND_FACTOR", "WHERRY_PASSWORDS",
	"WHERRY_OIDC_ISSUER", "WHERRY_OIDC_CLIENT_ID", "WHERRY_OIDC_CLIENT_SECRET", "WHERRY_OIDC_SCOPES", "WHERRY_OIDC_GROUPS_CLAIM", "WHERRY_OIDC_PRIVATE", "WHERRY_OIDC_NAME",
	"WHERRY_OIDC_SIGN_UP", "WHERRY_OIDC_TRUST_EMAIL",
	"WHERRY_CONSOLE_OUTPUT", "WHERRY_KEY", "WHERRY_KEY_FILE", "WHERRY_METRICS_TOKEN", "WHERRY_AUDIT_RETENTION", "WHERRY_AGENT_PLUGIN",
	"WHERRY_STUDIOS_ADDRESS", "WHERRY_STUDIOS_DOMAIN", "WHERRY_STUDIOS_MAX_UPLOAD", "WHERRY_STUDIOS_URL", "WHERRY_STUDIO_TEMPLATES",
	"WHERRY_TLS_CERT", "WHERRY_TLS_KEY", "WHERRY_TLS_ACME", "WHERRY_TLS_ACME_EMAIL", "WHERRY_TLS_ACME_DIRECTORY", "WHERRY_HTTP_ADDRESS", "WHERRY_TRUSTED_PROXIES",
	"WHERRY_SMTP_HOST", "WHERRY_SMTP_PORT", "WHERRY_SMTP_USER", "WHERRY_SMTP_PASSWORD", "WHERRY_SMTP_FROM", "WHERRY_SMTP_TLS"}

// checkSettings finds settings that contradict each other, or that nobody reads.
func (d *doctor) checkSettings() {
	before := len(d.findings)
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "WHERRY_") && !strings.HasPrefix(name, "WHERRY_TEST_") && !slices.Contains(settingNames, name) {
			d.note("settings", unsure, name+" is set, and nothing reads it", "look for a typing error; docs/operating.md has the table")
		}
	}
	host, _, _ := net.SplitHostPort(d.address)
	inside := isLoopback("http://" + net.JoinHostPort(host, "1"))
	if !inside && (d.url == "" || isLoopback(d.url)) {
		d.note("settings", unsure, "the portal listens on "+d.address+", and WHERRY_URL names no address that others have", "set WHERRY_URL to how browsers reach it")
	}
	for name, address := range map[string]string{"WHERRY_URL": d.url, "WHERRY_AGENT_PORTAL": d.agentURL} {
		if strings.HasPrefix(address, "http://") && !isLoopback(address) {
			d.note("settings", unsure, name+" is "+address+": passwords and secrets pass the network in clear", "put TLS in front, and set it to https://")
		}
	}
	if d.aws && (d.agentURL == "" && inside && !d.tls.on() || isLoopback(d.agentURL)) && !isLoopback(os.Getenv("AWS_ENDPOINT_URL")) {
		d.note("settings", wrong, "there are compute environments in AWS, and WHERRY_AGENT_PORTAL is no address that instances reach", "set WHERRY_AGENT_PORTAL to one")
	}
	if len(d.findings) == before {
		d.note("settings", fine, "nothing contradicts", "")
	}
}

func (d *doctor) checkDisk() {
	free, err := freeBytes(d.data)
	if err != nil {
		d.note("disk", skipped, err.Error(), "")
		return
	}
	status := unsure
	if free < tooFewBytes {
		status = wrong
	}
	d.noteIf(free < fewBytes, "disk", status, fmt.Sprintf("%.1f GB are free where the data folder is", float64(free)/1e9), "make room: a full disk stops the portal")
}

// checkClock asks the kernel whether something keeps the clock right: AWS refuses signatures that are some minutes off.
func (d *doctor) checkClock() {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		d.note("clock", skipped, err.Error(), "")
		return
	}
	found, adrift := "it is "+time.Now().UTC().Format(time.DateTime)+" UTC", t.Status&unix.STA_UNSYNC != 0
	if adrift {
		found += ", and the kernel knows of nothing that keeps the clock right"
	}
	d.noteIf(adrift, "clock", unsure, found, "compare it, and use NTP (timedatectl set-ntp true)")
}

// checkAddresses asks the portal at the addresses that browsers and machines have.
func (d *doctor) checkAddresses(ctx context.Context) {
	for _, a := range []struct{ name, address string }{{"WHERRY_URL", d.url}, {"WHERRY_AGENT_PORTAL", d.agentURL}} {
		switch {
		case a.address == "":
		case !d.served:
			d.note(a.name, skipped, a.address+" was not asked, because no portal works", "start it, and ask the doctor again")
		default:
			err, found := reach(ctx, a.address), a.address+" answers"
			if err != nil {
				found = err.Error()
			}
			d.noteIf(err != nil, a.name, wrong, found, "look at name resolution, the proxy in front, its certificate and firewalls")
		}
	}
}

// reach tells why there is no portal at an address, as this host sees it.
func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	target, err := url.JoinPath(address, "healthz")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}

// checkNextflow looks for what machines on this host need.
func (d *doctor) checkNextflow(ctx context.Context) {
	missing := unsure
	if d.local {
		missing = wrong
	}
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = home + "/bin/java"
	}
	text, err := versionOf(ctx, java, "-version")
	found := regexp.MustCompile(`version "(\d+)[^"]*"`).FindStringSubmatch(text)
	switch {
	case err != nil:
		d.note("java", missing, err.Error(), fmt.Sprintf("machines on this host need Java %d or newer; install it, or set JAVA_HOME", oldestJava))
	case found == nil:
		d.note("java", unsure, "it does not say its version", "try java -version")
	default:
		major, _ := strconv.Atoi(found[1]) // digits, as the pattern says
		d.noteIf(major < oldestJava, "java", missing, strings.Trim(strings.TrimPrefix(found[0], "version "), `"`), fmt.Sprintf("install Java %d or newer", oldestJava))
	}
	text, err = versionOf(ctx, d.nextflow, "-version")
	found = regexp.MustCompile(`version (\d+\.\d+\.\d+\S*)`).FindStringSubmatch(text)
	switch {
	case err != nil:
		d.note("nextflow", missing, err.Error(), "machines on this host need it; install it, or set WHERRY_NEXTFLOW")
	case found == nil:
		d.note("nextflow", unsure, d.nextflow+" does not say its version", "try it by hand: "+d.nextflow+" -version")
	default:
		d.note("nextflow", fine, found[1], "")
	}
}

func versionOf(ctx context.Context, command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "WHERRY_") }) // it needs no key
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func (d *doctor) checkAgents() {
	var missing []string
	for _, arch := range binaries.Architectures {
		if _, _, ok := binaries.Get(arch); !ok {
			missing = append(missing, arch)
		}
	}
	status := unsure
	if d.aws {
		status = wrong
	}
	found := "they are in this program, for " + strings.Join(binaries.Architectures, " and ")
	if len(missing) > 0 {
		found = "this program was built without those for " + strings.Join(missing, " and ")
	}
	d.noteIf(len(missing) > 0, "agents", status, found, "machines in a cloud need them: use a release, or build with \"make build\"")
}
