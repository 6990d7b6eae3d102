package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport is the direction of the house: what each package may use of the others. docs/architecture.md says why.
var mayImport = map[string][]string{
	"platform":              {},
	"static":                {},
	"metrics":               {},
	"mask":                  {},
	"examples":              {},
	"bench":                 {},
	"packaging/sbom":        {},
	"cloud":                 {"platform"},
	"cloud/processes":       {},
	"cloud/local":           {"cloud", "cloud/processes", "platform"},
	"cloud/aws/policies":    {},
	"cloud/aws/sandbox":     {"cloud/processes"},
	"cloud/aws/sandbox/cmd": {"cloud/aws/sandbox", "cloud/aws/policies"},
	"cloud/aws":             {"cloud", "cloud/aws/image", "cloud/aws/logevent", "platform"},
	"cloud/aws/logevent":    {"platform"},
	"cloud/aws/instance":    {"agent", "cloud/aws/logevent", "platform"},
	"agent/wherry-agent":    {"agent", "cloud/aws/instance"},
	"cloud/aws/awstest":     {"cloud/aws/sandbox"},
	"cloud/aws/image":       {"platform"},
	"cloud/aws/prices":      {"platform"},
	"outbound":              {},
	"oidc":                  {"outbound", "platform"},
	"oidc/oidctest":         {},
	"mail":                  {"outbound", "platform"},
	"db":                    {"platform"},
	"agent":                 {"cloud/processes", "mask", "tunnel", "platform"},
	"tunnel":                {},
	"web/studios":           {"tunnel", "views", "static", "db", "platform"},
	"web/certificates":      {},
	"agent/binaries":        {},
	"jobs":                  {"cloud", "db", "platform"},
	"views/components":      {"platform", "static"},
	"views":                 {"views/components", "platform", "static"},
	"handlers":              {"views", "views/components", "static", "jobs", "db", "cloud", "mask", "oidc", "platform"},
	"handlers/api":          {"agent/binaries", "handlers", "jobs", "db", "platform"},
	"web":                   {"web/studios", "tunnel", "handlers", "handlers/api", "static", "metrics", "db", "platform"},
	"":                      {"web", "web/certificates", "web/studios", "handlers", "handlers/api", "jobs", "db", "cloud", "cloud/local", "cloud/aws", "cloud/aws/image", "cloud/aws/prices", "agent", "agent/binaries", "examples", "mail", "metrics", "oidc", "platform"},
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath       string
			Imports, GoFiles []string
		}
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue // only tests
		}
		seen++
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "wherry"), "/")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("the package %q has no place in the house: add it to mayImport and to docs/architecture.md", name)
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, "wherry/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%q imports %q", name, ours)
			}
		}
	}
	if seen != len(mayImport) {
		t.Errorf("%d packages were found, and mayImport has %d", seen, len(mayImport))
	}
}

// TestEverythingIsInItsPlace finds SQL outside db/, HTML outside views/, and AWS names outside cloud/aws/.
func TestEverythingIsInItsPlace(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		pattern *regexp.Regexp
		allowed string
	}{
		"SQL":         {regexp.MustCompile("[`\"](SELECT|INSERT|UPDATE|DELETE|PRAGMA) "), "db/"},
		"HTML":        {regexp.MustCompile("[`\"]<(div|p|span|a|table|form|html)[ >]"), "views/"},
		"an AWS name": {regexp.MustCompile(`aws-sdk-go|"(ec2|iam|sts):`), "cloud/aws/"},
	} {
		for _, file := range goFiles(t) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if found := c.pattern.Find(text); found != nil && !strings.HasPrefix(file, c.allowed) {
				t.Errorf("%s has %s: %s", file, what, found)
			}
		}
	}
}

// goFiles lists the project's own Go files, without tests.
func goFiles(t *testing.T) (list []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && (path == ".tools" || path == ".git" || path == "bin" || path == "data") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			list = append(list, path)
		}
		return err
	})
	if err != nil || len(list) < 50 {
		t.Fatalf("%d files, %v", len(list), err)
	}
	return list
}

// TestEverySettingIsDocumented compares the WHERRY_* variables that the program reads with the table for operators.
func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"((?:WHERRY|TOWER)_[A-Z_]+)"`)
	found := 0
	for _, file := range []string{"settings.go", "studio_settings.go", "tls_settings.go", "proxy_settings.go", "sign_in_settings.go", "oidc_settings.go", "mail_settings.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range names.FindAllSubmatch(text, -1) {
			found++
			if !bytes.Contains(manual, []byte("`"+string(m[1])+"`")) {
				t.Errorf("docs/operating.md does not have %s", m[1])
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d settings were found", found)
	}
}
