package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// How a check can come out.
const (
	fine    = "ok"
	unsure  = "warning" // it works, but should be looked at
	wrong   = "problem" // it does not work
	skipped = "skipped"
)

// finding is what a check found, and what to do about it.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Found  string `json:"found"`
	Do     string `json:"do,omitempty"`
}

// doctor looks at a set-up without changing it.
type doctor struct {
	settings
	online   bool
	findings []finding
	// What one check learns and later ones build on.
	served bool // a portal works on the data folder
	opens  bool // the database can be opened by this program with this key
	local  bool // it has environments on this host
	aws    bool // it has environments in AWS
}

// doctorCommand says what is wrong with a set-up: a line for each check, with what to do.
func doctorCommand(ctx context.Context, args []string) error {
	var online, asJSON bool
	s, rest, err := readSettings("doctor", args, func(f *flag.FlagSet) {
		f.BoolVar(&online, "online", false, "also ask AWS whether the credentials of every compute environment are usable")
		f.BoolVar(&asJSON, "json", false, "print the findings as JSON")
	})
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	d := &doctor{settings: s, online: online}
	switch {
	case err != nil:
		d.note("settings", wrong, err.Error(), "change the setting; docs/operating.md has the table")
	case len(rest) > 0:
		return fmt.Errorf("doctor takes no arguments, but got %q", rest)
	default:
		d.examine(ctx)
	}
	if err := d.print(os.Stdout, asJSON); err != nil {
		return err
	}
	if n := d.count(wrong); n > 0 {
		return fmt.Errorf("problems: %d", n)
	}
	return nil
}

// examine makes all checks, in an order in which later ones can build on earlier ones.
func (d *doctor) examine(ctx context.Context) {
	d.checkFolder()
	d.checkLease()
	d.checkDatabase(ctx)
	d.checkEnvironments(ctx)
	d.checkSettings()
	d.checkTLS(ctx)
	d.checkProxies()
	d.checkStudios(ctx)
	d.checkDisk()
	d.checkClock()
	d.checkAddresses(ctx)
	d.checkNextflow(ctx)
	d.checkAgents()
}

func (d *doctor) note(check, status, found, do string) {
	if status == fine {
		do = ""
	}
	d.findings = append(d.findings, finding{check, status, found, do})
}

// noteIf is a note that is fine, or else has the status and what to do.
func (d *doctor) noteIf(bad bool, check, status, found, do string) {
	if !bad {
		status = fine
	}
	d.note(check, status, found, do)
}

func (d *doctor) count(status string) (n int) {
	for _, f := range d.findings {
		if f.Status == status {
			n++
		}
	}
	return n
}

func (d *doctor) print(w io.Writer, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		return out.Encode(d.findings)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.findings {
		line := f.Found
		if f.Do != "" {
			line += " - " + f.Do
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.Status, f.Check, line)
	}
	return table.Flush()
}
