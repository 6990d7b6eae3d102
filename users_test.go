package main

import (
	"strings"
	"testing"

	"wherry/db"
	"wherry/platform"
)

func TestAnOperatorChangesUsers(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	run := func(args ...string) error { return usersCommand(t.Context(), append(args, "--data", data)) }
	if err := run("list"); err == nil || !strings.Contains(err.Error(), "no portal in") {
		t.Errorf("without a portal: %v", err)
	}
	d, err := db.Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, ""); err != nil {
		t.Fatal(err)
	}
	bob, err := d.AddUserByIdentity(t.Context(), platform.Identity{Issuer: "https://login.example.org", Subject: "bob"}, "bob", "bob@example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, problem string }{
		{"list", ""}, {"admin ada off", "last administrator"}, {"admin bob on", ""}, {"admin ada off", ""}, {"disable ada", "last owner of the organization lab"},
		{"disable bob", "last administrator"}, {"admin ada on", ""}, {"disable bob@example.org", ""}, {"disable nobody", "there is no user"},
		{"admin bob", "there is no"}, {"delete bob", "there is no"},
	} {
		err := run(strings.Fields(c.args)...)
		if (err == nil) != (c.problem == "") || (err != nil && !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("users %s: %v, want %q", c.args, err, c.problem)
		}
	}
	if bob, err = d.UserByID(t.Context(), bob.ID); err != nil || bob.Disabled.IsZero() || !bob.Admin {
		t.Errorf("bob: %+v, %v", bob, err)
	}
	if err := run("enable", "bob"); err != nil {
		t.Error(err)
	}
	var out strings.Builder
	if err := listUsers(t.Context(), d, &out); err != nil || !strings.Contains(out.String(), "enabled, administrator") || !strings.Contains(out.String(), "lab (owner)") {
		t.Errorf("the list: %s, %v", &out, err)
	}
}
