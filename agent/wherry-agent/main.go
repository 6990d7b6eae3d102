// Command wherry-agent is the agent as it goes onto an EC2 instance, where the instance's boot script starts it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"wherry/agent"
	"wherry/cloud/aws/instance"
)

var version = "development" // set by the build

// portalWait is how long a silent portal is waited for when all that the run leaves is kept in the work directory, from where
// the portal reads it later: an instance costs money.
const portalWait = 5 * time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "wherry-agent:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	completeEnvironment()
	cfg, err := agent.ConfigFromEnv()
	if err != nil {
		return err
	}
	place := instance.New(os.Getenv("WHERRY_ROOT"), cfg.Log)
	useImage(&cfg, place)
	cfg.Version, cfg.Place, cfg.PortalWait = version, place, portalWait
	if cfg.InstanceID == "" {
		if cfg.InstanceID, err = place.ID(ctx); err != nil {
			return err
		}
	}
	err = agent.Run(ctx, cfg)
	if errors.Is(err, agent.ErrOver) || errors.Is(err, agent.ErrUnheard) {
		cfg.Log.Info("ended", "because", err)
		return nil // the agent did its part
	}
	return err
}

// useImage has runs use the Nextflow that the instance's image has, in its home.
func useImage(cfg *agent.Config, place *instance.Instance) {
	command, home, err := place.Nextflow()
	if err != nil {
		cfg.Log.Warn("what the image has is not used", "error", err)
	}
	if command == "" {
		return
	}
	cfg.Nextflow = command
	if home != "" {
		setenv("NXF_HOME", home)
	}
}

// completeEnvironment gives what a boot script's environment lacks, and Nextflow and Docker need.
func completeEnvironment() {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			path += ":" + dir
		}
	}
	set := map[string]string{"PATH": strings.TrimPrefix(path, ":")}
	if os.Getenv("HOME") == "" {
		set["HOME"] = "/root"
	}
	for name, value := range set {
		setenv(name, value)
	}
}

func setenv(name, value string) {
	if err := os.Setenv(name, value); err != nil {
		panic(err) // names and values without NUL can be set
	}
}
