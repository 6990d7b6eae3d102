package platform

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	goodAccessKey = "AKIAIOSFODNN7EXAMPLE"
	goodSecretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	goodRoleARN   = "arn:aws:iam::123456789012:role/boats/Wherry"
)

func goodKeys() Credentials {
	return Credentials{Name: "rivers", Mode: CredentialsKeys, AccessKey: goodAccessKey, SecretKey: NewSecret(goodSecretKey)}
}

func goodRole() Credentials {
	return Credentials{Name: "rivers", Mode: CredentialsRole, RoleARN: goodRoleARN, ExternalID: "wherry-1"}
}

// wantFields fails unless err is about these fields, in the order of the alphabet, and about no others.
func wantFields(t *testing.T, what string, err error, fields ...string) {
	t.Helper()
	errs, ok := err.(FieldErrors)
	if got := slices.Sorted(maps.Keys(errs)); !slices.Equal(got, fields) || err != nil && !ok {
		t.Errorf("%s: %v, want errors at %q alone", what, err, fields)
	}
}

func TestWrongCredentialsAreNamedAtTheirField(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		field string
		spoil func(*Credentials)
	}{
		"no name":                 {"name", func(c *Credentials) { c.Name = " \t" }},
		"a long name":             {"name", func(c *Credentials) { c.Name = strings.Repeat("a", MaxCredentialsNameLength+1) }},
		"a name with a space":     {"name", func(c *Credentials) { c.Name = "two words" }},
		"a name with a dot":       {"name", func(c *Credentials) { c.Name = "a.b" }},
		"a name of two lines":     {"name", func(c *Credentials) { c.Name = "a\nb" }},
		"a name with an accent":   {"name", func(c *Credentials) { c.Name = "rivière" }},
		"a name after a hyphen":   {"name", func(c *Credentials) { c.Name = "-rivers" }},
		"no mode":                 {"mode", func(c *Credentials) { c.Mode = "" }},
		"an unknown mode":         {"mode", func(c *Credentials) { c.Mode = "KEYS" }},
		"no access key":           {"accessKey", func(c *Credentials) { c.AccessKey = "" }},
		"a short access key":      {"accessKey", func(c *Credentials) { c.AccessKey = strings.Repeat("A", 15) }},
		"a long access key":       {"accessKey", func(c *Credentials) { c.AccessKey = strings.Repeat("A", 129) }},
		"a small access key":      {"accessKey", func(c *Credentials) { c.AccessKey = strings.ToLower(goodAccessKey) }},
		"a key of two lines":      {"accessKey", func(c *Credentials) { c.AccessKey = goodAccessKey + "\n" + goodAccessKey }},
		"a temporary access key":  {"accessKey", func(c *Credentials) { c.AccessKey = "ASIAIOSFODNN7EXAMPLE" }},
		"a secret with a space":   {"secretKey", func(c *Credentials) { c.SecretKey = NewSecret("wJalrXUtnFEMI/K7MDENG bPxRfiCYEXAMPLEKEY") }},
		"a secret with a quote":   {"secretKey", func(c *Credentials) { c.SecretKey = NewSecret(`"` + goodSecretKey + `"`) }},
		"a short secret":          {"secretKey", func(c *Credentials) { c.SecretKey = NewSecret("abc") }},
		"a long secret":           {"secretKey", func(c *Credentials) { c.SecretKey = NewSecret(strings.Repeat("a", 257)) }},
		"a role that is no ARN":   {"assumeRoleArn", func(c *Credentials) { c.RoleARN = "Wherry" }},
		"a user's ARN":            {"assumeRoleArn", func(c *Credentials) { c.RoleARN = "arn:aws:iam::123456789012:user/ada" }},
		"a role of no account":    {"assumeRoleArn", func(c *Credentials) { c.RoleARN = "arn:aws:iam::1234:role/Wherry" }},
		"a role with no name":     {"assumeRoleArn", func(c *Credentials) { c.RoleARN = "arn:aws:iam::123456789012:role/" }},
		"a role with a space":     {"assumeRoleArn", func(c *Credentials) { c.RoleARN = goodRoleARN + " x" }},
		"a pattern of roles":      {"assumeRoleArn", func(c *Credentials) { c.RoleARN = "arn:aws:iam::123456789012:role/*" }},
		"a role with a long name": {"assumeRoleArn", func(c *Credentials) { c.RoleARN = goodRoleARN + strings.Repeat("a", maxRoleARNLength) }},
	} {
		creds := goodKeys()
		c.spoil(&creds)
		wantFields(t, what, creds.Clean(false), c.field)
	}
}

func TestATemporaryKeyIsToldFromAWrongOne(t *testing.T) {
	t.Parallel()
	c := goodKeys()
	c.AccessKey = "ASIAIOSFODNN7EXAMPLE"
	errs, _ := c.Clean(false).(FieldErrors)
	if !strings.Contains(errs["accessKey"], "temporary") {
		t.Errorf("people are told %q", errs["accessKey"])
	}
}

func TestARoleModeNeedsARole(t *testing.T) {
	t.Parallel()
	for what, arn := range map[string]string{"none": "", "spaces": "  ", "a wrong one": "arn:aws:iam::1:role/x"} {
		c := goodRole()
		c.RoleARN = arn
		wantFields(t, what, c.Clean(false), "assumeRoleArn")
	}
}

func TestEveryWrongFieldIsToldAtOnce(t *testing.T) {
	t.Parallel()
	c := Credentials{Mode: CredentialsKeys, RoleARN: "x"}
	wantFields(t, "nothing but a wrong role", c.Clean(false), "accessKey", "assumeRoleArn", "name", "secretKey")
}

func TestAnEmptySecretIsTakenOnlyWhereOneIsSaved(t *testing.T) {
	t.Parallel()
	for _, empty := range []Secret{{}, NewSecret(" \n")} {
		c := goodKeys()
		c.SecretKey = empty
		wantFields(t, "with none saved", c.Clean(false), "secretKey")
		wantFields(t, "with one saved", c.Clean(true))
		if !c.SecretKey.IsZero() {
			t.Errorf("an empty secret became one of %d bytes", len(c.SecretKey.Reveal()))
		}
	}
	c := goodKeys()
	c.SecretKey = NewSecret("abc")
	wantFields(t, "a wrong secret in place of a saved one", c.Clean(true), "secretKey")
}

func TestGoodCredentialsAreTakenAndTrimmed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "7", "Rivers_2-x-", strings.Repeat("a", MaxCredentialsNameLength)} {
		c := goodKeys()
		c.Name, c.AccessKey, c.SecretKey, c.RoleARN = " "+name+"\n", "\t"+goodAccessKey+" ", NewSecret(goodSecretKey+"\r\n"), " "+goodRoleARN+" "
		if err := c.Clean(false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.Name != name || c.AccessKey != goodAccessKey || c.SecretKey.Reveal() != goodSecretKey || c.RoleARN != goodRoleARN {
			t.Errorf("they became %+v", c)
		}
	}
}

func TestARoleModeForgetsKeys(t *testing.T) {
	t.Parallel()
	c := goodRole()
	c.AccessKey, c.SecretKey = "what stands in the hidden part of the form", NewSecret("and is not checked")
	wantFields(t, "a role with keys", c.Clean(true))
	if c.AccessKey != "" || !c.SecretKey.IsZero() {
		t.Errorf("an access key of %d and a secret of %d bytes stay", len(c.AccessKey), len(c.SecretKey.Reveal()))
	}
	if c.RoleARN != goodRoleARN || c.ExternalID != "wherry-1" {
		t.Errorf("the role became %q with %q", c.RoleARN, c.ExternalID)
	}
}

func TestAnExternalIDGoesWithARoleAlone(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{"": "", "  ": "", goodRoleARN: "wherry-1"} {
		c := goodKeys()
		c.RoleARN, c.ExternalID = arn, "wherry-1"
		wantFields(t, arn, c.Clean(false))
		if c.ExternalID != want {
			t.Errorf("with the role %q the External ID is %q, want %q", arn, c.ExternalID, want)
		}
	}
}

func TestPagesShowTheEndOfAnAccessKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{"": "", "AKIA123": "", "AKIA1234": "…1234", goodAccessKey: "…MPLE"} {
		if got := (Credentials{AccessKey: key}).KeyEnding(); got != want {
			t.Errorf("of %q they show %q, want %q", key, got, want)
		}
	}
}
