// Package agent is what runs on a machine. It claims the machine's work once, runs Nextflow with the right files or a Studio's
// tool, streams logs and tasks to the portal, obeys cancel, keeps what is left, reports the end, and then ends itself, and with it
// the machine.
package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"wherry/platform"
)

// Config is what an agent needs to find its work.
type Config struct {
	PortalURL  string // without a path
	MachineID  string
	InstanceID string
	ClaimToken string        // exchanged once for the work
	Dir        string        // the machine's folder
	Lifetime   time.Duration // without word from the portal for so long, the agent stops its work and ends
	Nextflow   string        // the command; default "nextflow"
	Grace      time.Duration // how long Nextflow may take to stop its tasks; 0: platform.CancelGrace
	HeardFile  string        // touched when the portal is heard, for whoever leads the machine; may be empty
	Plugin     bool          // let Nextflow use its nf-tower plugin where it can be had
	Version    string
	ParentGone <-chan struct{} // closed when whoever leads the machine has died; may be nil
	Place      Place           // the cloud that the machine is in; nil: it is the portal's own host
	Booted     time.Time       // when the machine's boot script began; zero: not told
	PortalWait time.Duration   // how long a silent portal is waited for when all is kept; 0: Lifetime
	KeepEvery  time.Duration   // how often growing files are kept; 0: half a minute
	Log        *slog.Logger
	log        *maskedWriter // what Log writes to; nil: something else

	// Of Studios; 0 is the usual.
	CheckpointEvery time.Duration // how long after one checkpoint the next begins; platform.CheckpointEvery
	ReadyLimit      time.Duration // how long a tool may take to answer; ten minutes
	StopMargin      time.Duration // how long after its lifespan a session stops without the portal; half a minute
	DockerWait      time.Duration // how long a Docker that is starting is waited for; half a minute
}

// withDefaults fills in what is usual.
func (c Config) withDefaults() Config {
	c.KeepEvery = cmp.Or(c.KeepEvery, keepEvery)
	c.CheckpointEvery = cmp.Or(c.CheckpointEvery, platform.CheckpointEvery)
	c.ReadyLimit = cmp.Or(c.ReadyLimit, 10*time.Minute)
	c.StopMargin = cmp.Or(c.StopMargin, 30*time.Second)
	c.DockerWait = cmp.Or(c.DockerWait, 30*time.Second)
	return c
}

// settings is how a machine's leader tells its agent what is what.
const settings = "WHERRY_AGENT_"

// ConfigFromEnv reads WHERRY_AGENT_* and takes it out of the environment, so that nothing the agent starts inherits it.
func ConfigFromEnv() (Config, error) {
	get := func(name string) string {
		defer os.Unsetenv(settings + name)
		return os.Getenv(settings + name)
	}
	log := &maskedWriter{to: os.Stderr}
	c := Config{PortalURL: strings.TrimRight(get("PORTAL_URL"), "/"), MachineID: get("MACHINE"), InstanceID: get("INSTANCE"),
		ClaimToken: get("CLAIM_TOKEN"), Dir: get("DIR"), Nextflow: get("NEXTFLOW"), HeardFile: get("HEARD_FILE"),
		Plugin: get("PLUGIN") != "off", Log: slog.New(slog.NewTextHandler(log, nil)), log: log}
	if c.Nextflow == "" {
		c.Nextflow = "nextflow"
	}
	if c.PortalURL == "" || c.MachineID == "" || c.ClaimToken == "" || c.Dir == "" {
		return c, errors.New("an agent is started by the machine it works on, not by hand")
	}
	lifetime, err := time.ParseDuration(get("LIFETIME"))
	if err != nil || lifetime <= 0 {
		lifetime = platform.LostAfter
	}
	c.Lifetime = lifetime
	if booted, err := time.Parse(time.RFC3339, get("BOOTED")); err == nil {
		c.Booted = booted // otherwise the boot script has told it itself
	}
	if fd := get("PARENT_FD"); fd != "" {
		if c.ParentGone, err = watchParent(fd); err != nil {
			return c, err
		}
	}
	return c, nil
}

// watchParent reads a pipe that nobody writes to: its end comes when the parent, who holds the other side, has died.
func watchParent(fd string) (<-chan struct{}, error) {
	n, err := strconv.Atoi(fd)
	if err != nil {
		return nil, fmt.Errorf("%sPARENT_FD is %q: %w", settings, fd, err)
	}
	pipe, gone := os.NewFile(uintptr(n), "parent"), make(chan struct{})
	go func() {
		_, _ = pipe.Read(make([]byte, 1)) // whatever it returns, the parent is not there any more
		close(gone)
	}()
	return gone, nil
}
