package agent

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/mask"
	"wherry/platform"
)

// asksForSecrets has a task that asks for secrets by name, a configuration and a script that use one, and tells them all in many ways.
const asksForSecrets = `
process ASK {
  secret 'API_KEY'
  secret 'QUOTED'
  secret 'OF_THE_HOST'
  debug true
  script: '''
  [ ${#API_KEY} = 25 ] && [ "${API_KEY#*quotes\\' & \\$}" = more ] && [ "$OF_THE_HOST" = host-wide ] && echo the task has its secrets
  echo "it is $API_KEY, or $QUOTED"
  printf %s "$API_KEY" | base64
  echo "failing with $API_KEY" >&2
  exit ${exit:-0}
  '''
}
workflow {
  println "in the script: ${secrets.PASSWORD.size()}, in the configuration: ${params.configured.size()}"
  println "it is ${secrets.PASSWORD}"
  log.info "it is ${params.configured}"
  ASK()
}
`

// askKey, askQuoted and askPassword are the secrets of asksForSecrets. Nextflow hands a task the second without its quotes.
const askKey, askQuoted, askPassword = `k3y with 'quotes' & $more`, `say"hello"world`, "open-sesame-42"

func TestAPipelineGetsItsSecretsAndNobodyElseDoes(t *testing.T) {
	for name, plugin := range map[string]bool{"followed": false, "with the plugin": true} {
		t.Run(name, func(t *testing.T) {
			plugins := os.Getenv("WHERRY_TEST_NF_PLUGINS")
			if plugins == "" && plugin {
				t.Skip("SKIPPED: the nf-tower plugin is not at hand (WHERRY_TEST_NF_PLUGINS)")
			}
			home := t.TempDir()
			t.Setenv("NXF_PLUGINS_DIR", plugins)
			t.Setenv("NXF_HOME", home)
			must(t, os.Mkdir(filepath.Join(home, "secrets"), 0o700))
			must(t, os.WriteFile(filepath.Join(home, "secrets", "store.json"), []byte(`[{"name":"OF_THE_HOST","value":"host-wide"},{"name":"PASSWORD","value":"old-and-wrong"}]`), 0o600))
			nextflow, place, s := realNextflow(t), newFakePlace(t), cloudSpec(t)
			pipeline := filepath.Join(t.TempDir(), "main.nf")
			must(t, os.WriteFile(pipeline, []byte(asksForSecrets), 0o600))
			s.Launch.Pipeline, s.Launch.ConfigText, s.Environment = pipeline, "params.configured = secrets.PASSWORD\nenv.exit = 3\n", []platform.Env{{Name: "NXF_DEBUG", Value: "2"}}
			s.PipelineSecrets = map[string]string{"API_KEY": askKey, "QUOTED": askQuoted, "PASSWORD": askPassword}
			p := newFakePortal(t, s)
			dir, ended := p.start(t.Context(), "", func(c *Config) {
				onPlace(place)(c)
				c.Nextflow, c.Plugin = nextflow, plugin
			})
			checkWhileItRuns(t, filepath.Join(dir, platform.SecretsFolder, "store.json"), ended)
			end := p.ended()
			if end == nil || end.ExitCode == nil || *end.ExitCode == 0 {
				t.Fatalf("%+v\n%s", end, p.output())
			}
			contains(t, "the output", p.output(), "in the script: 14, in the configuration: 14\n", "the task has its secrets\n", "it is "+mask.Shown+"\n")
			contains(t, "the report of the error", end.ErrorReport, "failing with "+mask.Shown)
			for what, text := range map[string]string{"the output": p.output(), "Nextflow's log": string(p.logs[platform.LogNextflow]), "trace calls": strings.Join(p.bodies, "\n"),
				"the end": end.Reason + end.ErrorReport, "CloudWatch": place.sent[platform.LogOutput] + place.sent[platform.LogNextflow]} {
				hidesSecrets(t, what, text)
			}
			if len(p.logs[platform.LogNextflow]) < 1000 || place.sent[platform.LogNextflow] != string(p.logs[platform.LogNextflow]) || !strings.Contains(strings.Join(p.bodies, ""), mask.Shown) {
				t.Errorf("%d bytes of Nextflow's log, %d trace calls", len(p.logs[platform.LogNextflow]), len(p.bodies))
			}
			hidesFiles(t, filepath.Join(string(place.folderStore), platform.KeptFolder("run1")))
			if exists(filepath.Join(dir, platform.SecretsFolder)) {
				t.Error("the store of secrets is left")
			}
		})
	}
}

// checkWhileItRuns waits for the agent's end. Meanwhile the store must be its owner's alone, and no command line may have a secret.
func checkWhileItRuns(t *testing.T, store string, ended <-chan error) {
	t.Helper()
	seen, limit := false, time.After(nextflowLimit)
	for {
		select {
		case err := <-ended:
			must(t, err)
			if !seen {
				t.Error("there never was a store of secrets")
			}
			return
		case <-limit:
			t.Fatal("the agent does not end")
		case <-time.After(20 * time.Millisecond):
		}
		if info, err := os.Stat(store); err == nil {
			if seen = true; info.Mode().Perm() != 0o600 {
				t.Errorf("the store's permissions are %o", info.Mode().Perm())
			}
		}
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, line := range lines {
			text, _ := os.ReadFile(line) // of one that has ended there is none
			hidesSecrets(t, "a command line", strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
}

// hidesSecrets wants no secret in a text, in none of some forms.
func hidesSecrets(t *testing.T, what, text string) {
	t.Helper()
	for _, form := range []string{askKey, askPassword, "sayhello", `hello"world`, `hello\"world`, `'quotes`, "$more", "more'", base64.StdEncoding.EncodeToString([]byte(askKey))} {
		if i := strings.Index(text, form); i >= 0 {
			t.Errorf("%s tells %q: …%s", what, form, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// hidesFiles wants no secret in the files of a folder, but for the files of tasks.
func hidesFiles(t *testing.T, folder string) {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		names = append(names, d.Name())
		hidesSecrets(t, path, string(text))
		return err
	}))
	for _, name := range []string{platform.KeptOutput, platform.KeptNextflow, platform.KeptTrace, platform.KeptEnd, "report.html"} {
		if !slices.Contains(names, name) {
			t.Errorf("kept are %q, without %s", names, name)
		}
	}
}
