package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"wherry/db"
	"wherry/handlers"
	"wherry/platform"
)

// asOperator says to the audit log that a command does what is done with ctx, and as which user of the host.
func asOperator(ctx context.Context) context.Context {
	name := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		name += ", by sudo from " + by
	}
	return platform.WithActor(ctx, platform.Actor{Kind: platform.ActorOperator, UserName: name})
}

// auditCommand checks the audit log, writes it out, or tells its head. It works beside a portal that serves.
func auditCommand(ctx context.Context, args []string) error {
	what := ""
	if len(args) > 0 {
		what, args = args[0], args[1:]
	}
	switch what {
	case "verify":
		return verifyAudit(ctx, args, os.Stdout)
	case "export":
		return exportAudit(ctx, args, os.Stdout)
	case "head":
		return withKeys(ctx, "audit head", args, nil, func(d *db.DB) error {
			head, err := d.AuditHead(ctx)
			if err == nil {
				fmt.Println(head)
			}
			return err
		})
	}
	if what == "" || strings.HasPrefix(what, "-") {
		return errors.New("say what to do with the audit log first: verify, export or head")
	}
	return fmt.Errorf("there is no \"audit %s\": it is verify, export or head", what)
}

// verifyAudit fails where the log is not as it was written.
func verifyAudit(ctx context.Context, args []string, w io.Writer) error {
	var since db.AuditHead
	return withKeys(ctx, "audit verify", args, func(f *flag.FlagSet) {
		f.Func("since", "an entry that the log must still hold, as `SEQ:HASH`, from \"wherry audit head\" or the portal's log", func(text string) (err error) {
			since, err = db.ParseAuditHead(text)
			return err
		})
	}, func(d *db.DB) error {
		found, err := d.VerifyAudit(ctx, since)
		if err != nil {
			return fmt.Errorf("the audit log was changed: %w", err)
		}
		fmt.Fprintf(w, "Entries %d to %d (%d in all) are as they were written.\nhead %s\n", found.First, found.Head.Seq, found.Count, found.Head)
		for _, lost := range found.Lost {
			fmt.Fprintf(w, "Chained, but not proven to be the portal's: %s.\n", lost)
		}
		return nil
	})
}

// exportAudit writes the entries to standard output.
func exportAudit(ctx context.Context, args []string, w io.Writer) error {
	var f db.AuditFilter
	format, organization := "", ""
	return withKeys(ctx, "audit export", args, func(flags *flag.FlagSet) {
		flags.StringVar(&format, "format", "csv", "csv or json")
		flags.StringVar(&organization, "organization", "", "only what is about this organization, by its `name`")
		flags.Func("since", "only entries from this `day` (UTC) on, as 2026-11-25, or from a time as 2026-11-25T08:00:00Z", dayOption(&f.Since, 0))
		flags.Func("until", "only entries up to this `day` (UTC), with it, or before a time", dayOption(&f.Until, 24*time.Hour))
	}, func(d *db.DB) (err error) {
		if organization != "" {
			if f.OrganizationID, err = d.OrganizationID(ctx, organization); err != nil {
				return fmt.Errorf("there is no organization named %q: %w", organization, err)
			}
		}
		export, err := handlers.NewAuditExport(format)
		if err != nil {
			return err
		}
		if err := d.NoteAuditExport(ctx, f, format); err != nil {
			return err
		}
		return export.Write(ctx, d, f, w)
	})
}

// dayOption reads a day or a time. Of a day it is the beginning, and more.
func dayOption(to *time.Time, more time.Duration) func(string) error {
	return func(text string) (err error) {
		if *to, err = time.Parse(time.RFC3339, text); err == nil {
			return nil
		}
		if *to, err = time.Parse(time.DateOnly, text); err != nil {
			return fmt.Errorf("it must be a day such as 2026-11-25, or a time such as 2026-11-25T08:00:00Z")
		}
		*to = to.Add(more)
		return nil
	}
}

// auditHeadEvery is how often the portal's own log says where the audit log ends: whoever keeps that log elsewhere can tell later
// whether the end of the audit log was cut off.
const auditHeadEvery = time.Hour

// tellAuditHead writes what waits for the audit log, and the log's head, until ctx is done.
func (p *portal) tellAuditHead(ctx context.Context, every time.Duration) {
	for {
		if err := p.db.WriteAuditNotes(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("writing what waits for the audit log", "error", err)
		}
		p.logAuditHead(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

func (p *portal) logAuditHead(ctx context.Context) {
	head, err := p.db.AuditHead(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Error("reading the head of the audit log", "error", err)
		}
		return
	}
	p.log.Info("audit log", "head", head.String())
}

// readAuditRetention reads WHERRY_AUDIT_RETENTION: a duration, or days as 365d.
func readAuditRetention(text string) (keep time.Duration, err error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		keep = time.Duration(n) * 24 * time.Hour
	} else if text != "0" {
		keep, err = time.ParseDuration(text)
	}
	if err != nil || keep < 0 || (keep > 0 && keep < db.MinAuditRetention) {
		return 0, fmt.Errorf("WHERRY_AUDIT_RETENTION is %q; it must be 0, for ever, or a duration of 90 days or more, such as 365d", text)
	}
	return keep, nil
}

// shown are the settings as the audit log keeps them. Of secrets it says only that they are set.
func (s settings) shown() map[string]string {
	set := func(is bool) string {
		if is {
			return "set"
		}
		return ""
	}
	return map[string]string{"version": version, "address": s.address, "url": s.url, "agentPortal": s.agentURL, "machineLifetime": s.lifetime.String(),
		"priceListUrl": s.priceURL, "keyFile": s.key.File, "key": set(!s.key.Value.IsZero()), "metricsToken": set(!s.metricsToken.IsZero()),
		"jumpRole": s.jumpRole, "instanceCredentials": strconv.FormatBool(s.instanceCredentials), "consoleOutput": strconv.FormatBool(s.consoleOutput),
		"auditRetention": s.auditRetention.String(), "studiosDomain": s.studios.domain, "studiosAddress": s.studios.address, "studiosUrl": s.studios.url}
}
