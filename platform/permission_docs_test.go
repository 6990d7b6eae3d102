package platform

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of permissions into docs/security.md")

const (
	docsBegin = "<!-- permissions: begin; written by go test ./platform -run Docs -update -->\n"
	docsEnd   = "<!-- permissions: end -->"
)

// TestTheDocsHaveTheTablesOfPermissions holds docs/security.md against the tables by which the portal decides.
func TestTheDocsHaveTheTablesOfPermissions(t *testing.T) {
	t.Parallel()
	const path = "../docs/security.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), docsBegin)
	have, after, ok2 := strings.Cut(rest, docsEnd)
	if !ok || !ok2 {
		t.Fatal("docs/security.md has no place for the tables any more")
	}
	want := docsTable("in a workspace", Roles, WorkspaceTable()) + "\n" + docsTable("in an organization", OrgRoles, OrganizationTable())
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("docs/security.md has other tables than platform/permission.go: run go test ./platform -run Docs -update\n%s", want)
	}
	if err := os.WriteFile(path, []byte(before+docsBegin+want+docsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func docsTable[R ~string](title string, roles []R, rows []PermissionRow) string {
	var b strings.Builder
	b.WriteString("| " + title)
	for _, r := range roles {
		b.WriteString(" | " + string(r))
	}
	b.WriteString(" |\n|" + strings.Repeat(" --- |", len(roles)+1) + "\n")
	for _, row := range rows {
		b.WriteString("| " + row.Words)
		for _, r := range row.Roles {
			if r == "" {
				b.WriteString(" | ")
			} else {
				b.WriteString(" | ●")
			}
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

func TestEveryPermissionHasWords(t *testing.T) {
	t.Parallel()
	var told []Permission
	for _, row := range append(WorkspaceTable(), OrganizationTable()...) {
		told = append(told, row.Permission)
	}
	for _, p := range append(WorkspacePermissions(), OrganizationPermissions()...) {
		if !slices.Contains(told, p) {
			t.Errorf("%s has no words: pages and docs do not show it", p)
		}
	}
}
