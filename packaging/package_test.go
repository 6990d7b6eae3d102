// Package packaging tests what an operator installs; there is no code of the program here.
package packaging

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, problems.String())
	}
	return strings.TrimSpace(string(out))
}

// build makes a package with a program of a few bytes in place of Wherry, which is built elsewhere.
func build(t *testing.T, version string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "wherry")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return run(t, "env", "SOURCE_DATE_EPOCH=1700000000", "./deb.sh", binary, version, "amd64", t.TempDir())
}

func TestThePackageHasWhatAServiceNeeds(t *testing.T) {
	t.Parallel()
	deb := build(t, "v1.2-3-gabc")
	if name := filepath.Base(deb); name != "wherry_1.2+3+gabc_amd64.deb" {
		t.Errorf("it is named %s", name)
	}
	list := run(t, "dpkg-deb", "--contents", deb)
	for _, want := range []string{
		`-rwxr-xr-x root/root .* \./usr/bin/wherry`, `-rw-r--r-- root/root .* \./usr/lib/systemd/system/wherry\.service`,
		`-rw-r----- root/root .* \./etc/wherry/wherry\.env`, `\./usr/share/doc/wherry/operating\.md`, `\./usr/share/doc/wherry/security\.md`, `\./usr/share/doc/wherry/cloud-only\.conf`,
	} {
		if !regexp.MustCompile(`(?m)^.*` + want + `$`).MatchString(list) {
			t.Errorf("%s is not among\n%s", want, list)
		}
	}
	for line := range strings.Lines(list) {
		if !strings.Contains(line, "root/root") || strings.Contains(line[:10], "s") || line[8] == 'w' {
			t.Errorf("owner or mode: %s", line)
		}
	}
	for field, want := range map[string]string{"Package": "wherry", "Version": "1.2+3+gabc", "Architecture": "amd64", "Depends": "adduser"} {
		if got := run(t, "dpkg-deb", "--field", deb, field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	control := t.TempDir()
	run(t, "dpkg-deb", "--control", deb, control)
	if text, err := os.ReadFile(filepath.Join(control, "conffiles")); err != nil || string(text) != "/etc/wherry/wherry.env\n" {
		t.Errorf("an upgrade would overwrite settings: %q, %v", text, err)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, "sh", "-n", filepath.Join(control, script))
	}
	if text, err := os.ReadFile(filepath.Join(control, "postrm")); err != nil || regexp.MustCompile(`rm .*/var/lib`).Match(text) {
		t.Errorf("removing the package removes the data: %v", err)
	}
}

func TestTheSameInputMakesTheSamePackage(t *testing.T) {
	t.Parallel()
	one, err := os.ReadFile(build(t, "v1.0"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(build(t, "v1.0"))
	if err != nil || !bytes.Equal(one, other) {
		t.Errorf("they differ, %v", err)
	}
}

func TestVersionsAreInOrder(t *testing.T) {
	t.Parallel()
	versions := []string{"abc1234", "v0.9", "v1.0", "v1.0-3-gabc", "v1.1"}
	for i, v := range versions {
		versions[i] = run(t, "dpkg-deb", "--field", build(t, v), "Version")
		if i > 0 {
			run(t, "dpkg", "--compare-versions", versions[i-1], "lt", versions[i])
		}
	}
}

// unit is the unit as systemd sees it, with a program that is here and, perhaps, what narrows it.
func unit(t *testing.T, narrowed bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text, err := os.ReadFile("wherry.service")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("/usr/bin/wherry"), []byte("/bin/true"))
	if err := os.WriteFile(filepath.Join(dir, "wherry.service"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if narrowed {
		over := filepath.Join(dir, "wherry.service.d")
		conf, err := os.ReadFile("cloud-only.conf")
		if err == nil {
			err = os.Mkdir(over, 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(over, "cloud-only.conf"), conf, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSystemdUnderstandsTheUnit has it verified, with every word that systemd does not know as an error.
func TestSystemdUnderstandsTheUnit(t *testing.T) {
	t.Parallel()
	for _, narrowed := range []bool{false, true} {
		dir := unit(t, narrowed)
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, "wherry.service"))
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		out, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "wherry") {
				t.Errorf("narrowed %v: %s", narrowed, line)
			}
		}
		if err != nil && strings.Contains(string(out), "wherry") {
			t.Errorf("narrowed %v: %v", narrowed, err)
		}
	}
}

// TestMachinesOutliveTheService holds what machines on this host need of the unit.
func TestMachinesOutliveTheService(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("wherry.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"KillMode=process", "OOMPolicy=continue", "TasksMax=infinity", "StateDirectoryMode=0700", "User=wherry"} {
		if !strings.Contains(string(text), "\n"+want+"\n") {
			t.Errorf("it does not have %s", want)
		}
	}
	// These imply that no setuid helper works, or empty /tmp under machines that live.
	for _, not := range []string{"PrivateTmp", "NoNewPrivileges", "PrivateDevices", "RestrictNamespaces", "MemoryDenyWriteExecute", "SystemCallFilter", "ProtectHome", "RestrictSUIDSGID"} {
		if strings.Contains(string(text), "\n"+not+"=") {
			t.Errorf("%s breaks machines on this host", not)
		}
	}
}
