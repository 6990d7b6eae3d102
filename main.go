// Wherry is a self-hosted portal that runs Nextflow pipelines on machines of its own, one for each run.
//
// This file and its neighbours know the commands and wire the packages together; the rules are in platform/ and jobs/.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker in a release (-X main.version=…).
var version = "development"

const usage = `Wherry runs Nextflow pipelines, one machine for each run.

Usage:
  wherry serve [--data DIR] [--address HOST:PORT]   serve the portal
  wherry demo [--once] [--data DIR] [--address HOST:PORT]
                                                    a portal with examples, ready to look at
  wherry permissions [--narrow BUCKET]              print the IAM policy that credentials for AWS need
  wherry prices [--data DIR] [--region REGION] [TYPE ...]
                                                    what an hour of instances costs, and as of when that is
  wherry prices refresh [--data DIR] [--region REGION ...]
                                                    fetch AWS's newest prices into the data folder
  wherry image [--format packer|image-builder] [--arch amd64|arm64] [--pull IMAGE ...]
                                                    print a recipe for an AMI that boots faster
  wherry sign-in-link [--remove-second-factor] [--data DIR] USER
                                                    print a link that signs a user in, once
  wherry users [list|admin USER on|admin USER off|disable USER|enable USER] [--data DIR]
                                                    who comes in, and who administers the portal
  wherry backup FILE [--data DIR]                   copy the database, also while the portal serves
  wherry restore FILE --data DIR                    put a backup into a new data folder
  wherry keys [list|rotate|lose-secrets] [--data DIR]
                                                    the keys that seal secrets in the database
  wherry audit verify|export|head [--data DIR]      check the audit log, write it to a file, or print its head
  wherry doctor [--data DIR] [--online] [--json]    say what is wrong with a set-up
  wherry version

Every option is a WHERRY_* variable too; docs/operating.md lists them.
`

// commands maps what can be asked for on the command line. "machine" and "agent" are started by Wherry itself.
var commands = map[string]func(ctx context.Context, args []string) error{
	"serve":        serveCommand,
	"demo":         demoCommand,
	"sign-in-link": signInLinkCommand,
	"users":        usersCommand,
	"permissions":  permissionsCommand,
	"prices":       pricesCommand,
	"image":        imageCommand,
	"backup":       backupCommand,
	"restore":      restoreCommand,
	"keys":         keysCommand,
	"audit":        auditCommand,
	"doctor":       doctorCommand,
	"agent":        agentCommand,
	"machine":      machineCommand,
	"version": func(context.Context, []string) error {
		fmt.Println("wherry", version)
		return nil
	},
}

func main() {
	if len(os.Args) < 2 {
		exitUsage(os.Stderr, 2)
	}
	name := os.Args[1]
	if name == "help" || name == "-h" || name == "--help" {
		exitUsage(os.Stdout, 0)
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "wherry: there is no command %q\n\n", name)
		exitUsage(os.Stderr, 2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if name != "serve" && name != "demo" {
		ctx = asOperator(ctx)
	}
	err := command(ctx, os.Args[2:])
	stopped := ctx.Err() != nil
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp): // the flags have been printed
	case stopped && errors.Is(err, context.Canceled): // as whoever stopped it wanted
	default:
		fmt.Fprintln(os.Stderr, "wherry "+name+":", err)
		os.Exit(1)
	}
}

func exitUsage(w io.Writer, code int) {
	fmt.Fprint(w, usage)
	os.Exit(code)
}
