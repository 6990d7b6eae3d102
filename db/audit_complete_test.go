package db

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// nobodysChange are the methods that change something without an entry in the audit log, and why.
var nobodysChange = map[string]string{
	"AddCheckpoints":     "an agent tells what it saved",
	"AddEndReport":       "an agent tells how its work ended",
	"AddReports":         "an agent tells what its run made",
	"AddSteps":           "an agent tells how its start goes",
	"AddWarmMachine":     "a loop follows the environment, whose change has an entry",
	"Admit":              "a loop gives a place in the queue",
	"AppendLog":          "an agent sends its log",
	"BootReported":       "a boot script tells how the start goes",
	"CheckpointsRemoved": "an agent did what the entry of a deletion asked for",
	"ComputeEnvChecked":  "a loop found nothing new",
	"Heartbeat":          "an agent is alive",
	"KeepPlacement":      "a loop's own note",
	"MachineKey":         "the portal starts",
	"MoveMachine":        "a loop follows its work, whose begin and end people ask for",
	"MoveStudioSession":  "a loop follows what people asked for",
	"PortalID":           "the portal starts",
	"PostponeComputeEnv": "a loop's own note",
	"PostponeMachine":    "a loop's own note",
	"SaveResource":       "a loop follows the environment, whose change has an entry",
	"Session":            "a session is used",
	"SettleMasterKey":    "the portal starts; the replacement has an entry",
	"StudioActive":       "somebody uses a session that they opened",
	"StudioUsed":         "an agent measures",
	"Tidy":               "what is taken away has ended",
	"TraceBegan":         "an agent tells of its run",
	"TraceCreated":       "an agent tells of its run",
	"TraceProgressed":    "an agent tells of its run",
	"UseSecondFactor":    "the session that it begins, or the change that it allows, has an entry",
	"UserByToken":        "a token is used; what is done with it has entries",
	"Writable":           "a probe",
}

// method is what a function of this package calls.
type method struct {
	exported bool
	calls    map[string]bool
}

func TestEveryChangeLeavesAnEntryOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	methods := methodsOfDB(t)
	found := map[string]bool{}
	for name, m := range methods {
		if !m.exported || !reaches(methods, name, "inTx", "insist", "write.ExecContext", "conn.ExecContext") {
			continue
		}
		why, audited := nobodysChange[name], reaches(methods, name, "audit", "leaveNote")
		found[name] = true
		switch {
		case why == "" && !audited:
			t.Errorf("%s changes something and leaves no entry in the audit log: let it call t.audit, or say in nobodysChange why not", name)
		case why != "" && audited:
			t.Errorf("%s stands in nobodysChange, but leaves an entry: take it out there", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(nobodysChange)) {
		if !found[name] {
			t.Errorf("%s stands in nobodysChange, but changes nothing, or is not there any more", name)
		}
	}
	if len(found) < 40 {
		t.Errorf("only %d methods change something: this test does not find them any more", len(found))
	}
}

// reaches tells whether a function calls one of those, itself or by functions that only this package sees.
func reaches(methods map[string]*method, name string, targets ...string) bool {
	seen := map[string]bool{}
	var look func(name string) bool
	look = func(name string) bool {
		if seen[name] || methods[name] == nil {
			return false
		}
		seen[name] = true
		for _, target := range targets {
			if methods[name].calls[target] {
				return true
			}
		}
		for call := range methods[name].calls {
			if m := methods[call]; m != nil && !m.exported && look(call) {
				return true
			}
		}
		return false
	}
	return look(name)
}

// plumbing are the functions through which every entry goes: they say nothing about who calls them.
var plumbing = []string{"inTx", "insist", "writeAudit", "audit", "leaveNote"}

func methodsOfDB(t *testing.T) map[string]*method {
	t.Helper()
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	must(t, err)
	methods := map[string]*method{}
	for _, file := range packages["db"].Files {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || slices.Contains(plumbing, f.Name.Name) {
				continue
			}
			m := methods[f.Name.Name]
			if m == nil {
				m = &method{exported: f.Name.IsExported(), calls: map[string]bool{}}
				methods[f.Name.Name] = m
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					m.calls[called(call.Fun)] = true
				}
				return true
			})
		}
	}
	return methods
}

// called names what is called: its name, and of what is asked of a field, the field too.
func called(f ast.Expr) string {
	switch f := f.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		name := f.Sel.Name
		if !strings.HasPrefix(name, "Exec") {
			return name
		}
		switch of := f.X.(type) {
		case *ast.SelectorExpr:
			return of.Sel.Name + "." + name
		case *ast.Ident:
			return of.Name + "." + name
		}
		return name
	}
	return ""
}
