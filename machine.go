package main

import (
	"context"

	"wherry/agent"
	"wherry/cloud/local"
)

// machineCommand is the supervisor of a machine on this host, started by cloud/local.
func machineCommand(ctx context.Context, _ []string) error { return local.Supervise(ctx) }

// agentCommand is the agent of a machine, started by the machine's supervisor or boot script.
func agentCommand(ctx context.Context, _ []string) error {
	cfg, err := agent.ConfigFromEnv()
	if err != nil {
		return err
	}
	cfg.Version = version
	return agent.Run(ctx, cfg)
}
