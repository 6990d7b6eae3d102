package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wherry/platform"
)

// TestASettingThatMeansNothingIsRefused, and not passed over: a portal that ignored it would not be the one that was asked for.
func TestASettingThatMeansNothingIsRefused(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"WHERRY_ADDRESS", "8080"}, {"WHERRY_URL", "portal.example.org"}, {"WHERRY_URL", "https://example.org/path"}, {"WHERRY_AGENT_PORTAL", "ftp://x"},
		{"WHERRY_MACHINE_LIFETIME", "soon"}, {"WHERRY_MACHINE_LIFETIME", "-5m"}, {"WHERRY_LOG_LEVEL", "loud"}, {"WHERRY_LOG_FORMAT", "xml"},
		{"TOWER_AWS_JUMP_ROLE_ARN", "jump"}, {"TOWER_AWS_JUMP_ROLE_ARN", "arn:aws:iam::123456789012:user/jump"}, {"TOWER_ALLOW_INSTANCE_CREDENTIALS", "yes"},
		{"WHERRY_STUDIOS_DOMAIN", "https://studios.example.org"}, {"WHERRY_STUDIOS_DOMAIN", "*.example.org"}, {"WHERRY_STUDIOS_DOMAIN", "org"}, {"WHERRY_STUDIOS_ADDRESS", "8443"},
		{"WHERRY_STUDIOS_URL", "https://example.org"}, {"WHERRY_STUDIOS_MAX_UPLOAD", "20 gigabytes"}, {"WHERRY_STUDIOS_MAX_UPLOAD", "1"}, {"WHERRY_STUDIOS_MAX_UPLOAD", "999999999GiB"},
		{"WHERRY_SESSION_IDLE", "12"}, {"WHERRY_SESSION_LIMIT", "10s"}, {"WHERRY_REQUIRE_SECOND_FACTOR", "maybe"},
		{"WHERRY_PASSWORDS", "false"}, {"WHERRY_OIDC_SIGN_UP", "sometimes"},
		{"WHERRY_STUDIO_TEMPLATES", "/no/such/file.json"},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			t.Setenv(c.name, c.value)
			if _, _, err := readSettings("serve", nil, nil); err == nil || !strings.Contains(err.Error(), c.value) {
				t.Errorf("it is answered with %v", err)
			}
		})
	}
}

func TestSettingsAreRead(t *testing.T) {
	for name, value := range map[string]string{"WHERRY_ADDRESS": "0.0.0.0:80", "WHERRY_URL": "https://portal.example.org/", "TOWER_AWS_JUMP_ROLE_ARN": "arn:aws:iam::123456789012:role/jump",
		"TOWER_ALLOW_INSTANCE_CREDENTIALS": "TRUE"} {
		t.Setenv(name, value)
	}
	s, rest, err := readSettings("serve", []string{"--data", "/tmp/x", "more"}, nil)
	if err != nil || s.address != "0.0.0.0:80" || s.url != "https://portal.example.org" || s.data != "/tmp/x" || !s.instanceCredentials ||
		s.jumpRole != "arn:aws:iam::123456789012:role/jump" || len(rest) != 1 {
		t.Errorf("%+v, %q, %v", s, rest, err)
	}
}

func TestStudiosTemplatesAreThoseThatShipAndTheOperators(t *testing.T) {
	file := filepath.Join(t.TempDir(), "templates.json")
	t.Setenv("WHERRY_STUDIO_TEMPLATES", file)
	for text, want := range map[string]string{
		`[{"id": "mine", "name": "Mine", "image": "mine:1", "port": 80}]`: "", `[{"id": "mine", "name": "Mine", "image": "mine:1"}]`: `"mine" needs the port`, `{`: "unexpected EOF",
		`[{"id": "mine", "ports": 80}]`: "ports",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readStudioSettings()
		if want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: %v", text, err)
		}
		if _, ok := platform.FindTemplate(s.templates, "mine"); want == "" && (err != nil || !ok || len(s.templates) != len(platform.ShippedTemplates())+1) {
			t.Errorf("%s: %v, %v", text, s.templates, err)
		}
	}
}

func TestWhereStudiosAreOpenedFollowsFromTheSettings(t *testing.T) {
	for _, c := range []struct{ domain, address, url, want string }{
		{"Studios.example.org", "", "", ".studios.example.org"}, {"", ":8443", "", "https://portal.example.org:8443"}, {"", ":8443", "https://s.example.org/", "https://s.example.org"}, {"", "", "", ""},
	} {
		t.Setenv("WHERRY_STUDIOS_DOMAIN", c.domain)
		t.Setenv("WHERRY_STUDIOS_ADDRESS", c.address)
		t.Setenv("WHERRY_STUDIOS_URL", c.url)
		s, err := readStudioSettings()
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		origins, err := s.origins("https://portal.example.org")
		if got := origins.URL(platform.NewID()); err != nil || !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	t.Setenv("WHERRY_STUDIOS_DOMAIN", "studios.example.org")
	t.Setenv("WHERRY_STUDIOS_ADDRESS", ":8443")
	if _, err := readStudioSettings(); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("both: %v", err)
	}
}
