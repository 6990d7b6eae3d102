package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"wherry/agent"
	"wherry/cloud/aws/instance"
)

func TestTheNextflowOfTheImageIsUsed(t *testing.T) {
	root, log := t.TempDir(), slog.New(slog.DiscardHandler)
	t.Setenv("NXF_HOME", "/as/it/was")
	cfg := agent.Config{Nextflow: "nextflow", Log: log}
	useImage(&cfg, instance.New(root, log))
	if cfg.Nextflow != "nextflow" || os.Getenv("NXF_HOME") != "/as/it/was" {
		t.Errorf("an image without a marker: %q in %q", cfg.Nextflow, os.Getenv("NXF_HOME"))
	}
	command := filepath.Join(root, "baked")
	for path, text := range map[string]string{command: "#!/bin/sh\n", filepath.Join(root, "etc/wherry/image.json"): `{"format": 1, "nextflowCommand": "` + command + `", "nextflowHome": "/opt/home"}`} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	useImage(&cfg, instance.New(root, log))
	if cfg.Nextflow != command || os.Getenv("NXF_HOME") != "/opt/home" {
		t.Errorf("%q in %q", cfg.Nextflow, os.Getenv("NXF_HOME"))
	}
}
