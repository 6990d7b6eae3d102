package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"wherry/db"
	"wherry/platform"
)

// usersCommand lists the users of a portal, and lets whoever operates it change who comes in and who administers it, when nobody who
// can sign in may do that any more. It works beside a serving portal.
func usersCommand(ctx context.Context, args []string) error {
	s, words, err := readWords("users", args, nil)
	if err != nil {
		return err
	}
	change, err := userChange(words)
	if err != nil {
		return err
	}
	d, err := s.openBeside(ctx)
	if err != nil {
		return err
	}
	return errors.Join(change(asOperator(ctx), d), d.Close())
}

// userChange reads what is to be done.
func userChange(args []string) (func(context.Context, *db.DB) error, error) {
	switch {
	case len(args) == 0, len(args) == 1 && args[0] == "list":
		return func(ctx context.Context, d *db.DB) error { return listUsers(ctx, d, os.Stdout) }, nil
	case len(args) == 2 && args[0] == "disable":
		return toUser(args[1], (*db.DB).DisableUser), nil
	case len(args) == 2 && args[0] == "enable":
		return toUser(args[1], (*db.DB).EnableUser), nil
	case len(args) == 3 && args[0] == "admin" && (args[2] == "on" || args[2] == "off"):
		return toUser(args[1], func(d *db.DB, ctx context.Context, id int64) error {
			return d.SetAdministrator(ctx, id, args[2] == "on")
		}), nil
	}
	return nil, fmt.Errorf("there is no \"users %s\": it is list, admin USER on, admin USER off, disable USER or enable USER", strings.Join(args, " "))
}

// toUser changes the user with that login, and says how they are since.
func toUser(login string, change func(*db.DB, context.Context, int64) error) func(context.Context, *db.DB) error {
	return func(ctx context.Context, d *db.DB) error {
		u, err := knownUser(ctx, d, login)
		if err == nil {
			err = change(d, ctx, u.ID)
		}
		if err != nil {
			return err
		}
		if u, err = d.UserByID(ctx, u.ID); err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", u.UserName, strings.Join(userWords(u), ", "))
		return nil
	}
}

// knownUser finds the user with that login.
func knownUser(ctx context.Context, d *db.DB, login string) (platform.User, error) {
	u, err := d.UserByLogin(ctx, login)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		err = fmt.Errorf("there is no user %q; \"wherry users list\" shows all", login)
	}
	return u, err
}

// userWords say whether a user may come in, and administers the portal.
func userWords(u platform.User) []string {
	words := []string{"enabled"}
	if !u.Disabled.IsZero() {
		words = []string{"disabled"}
	}
	if u.Admin {
		words = append(words, "administrator")
	}
	return words
}

// listUsers prints a line for each user.
func listUsers(ctx context.Context, d *db.DB, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tE-MAIL\tSTATE\tLAST SEEN\tORGANIZATIONS")
	part := platform.ListPart{Limit: platform.PartSize}
	for {
		accounts, err := d.UserAccounts(ctx, part)
		if err != nil {
			return err
		}
		for _, a := range accounts {
			seen := "-"
			if !a.LastSeen.IsZero() {
				seen = a.LastSeen.Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.User.UserName, a.User.Email, strings.Join(userWords(a.User), ", "), seen, strings.Join(a.Organizations, ", "))
		}
		if len(accounts) < part.Limit {
			return w.Flush()
		}
		part.Offset += part.Limit
	}
}
