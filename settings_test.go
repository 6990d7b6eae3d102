package main

import (
	"strings"
	"testing"
)

// TestASettingThatMeansNothingIsRefused, and not passed over: a portal that ignored it would not be the one that was asked for.
func TestASettingThatMeansNothingIsRefused(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"WHERRY_ADDRESS", "8080"}, {"WHERRY_URL", "portal.example.org"}, {"WHERRY_URL", "https://example.org/path"}, {"WHERRY_AGENT_PORTAL", "ftp://x"},
		{"WHERRY_MACHINE_LIFETIME", "soon"}, {"WHERRY_MACHINE_LIFETIME", "-5m"}, {"WHERRY_LOG_LEVEL", "loud"}, {"WHERRY_LOG_FORMAT", "xml"},
		{"TOWER_AWS_JUMP_ROLE_ARN", "jump"}, {"TOWER_AWS_JUMP_ROLE_ARN", "arn:aws:iam::123456789012:user/jump"}, {"TOWER_ALLOW_INSTANCE_CREDENTIALS", "yes"},
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
