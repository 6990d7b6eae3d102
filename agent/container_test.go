package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wherry/platform"
)

// standIn plays docker where there is none: it keeps the command line of every call, and runs what would run in the
// container on this machine instead, in the folder and with only the variables that the container would have. So Nextflow and
// the scripts are real, and what is shown of docker is its command line; that an image does what this does is not shown.
const standIn = `#!/bin/bash
here=$(dirname "$0")
printf '%s\n' "$*" >>"$here/calls"
case "$1 $2" in
  "image inspect") [ -e "$here/pulled" ]; exit ;;
  "pull --quiet") [ -e "$here/no-image" ] && { echo "manifest unknown" >&2; exit 1; }; touch "$here/pulled"; exit ;;
esac
[ "$1" = run ] || exit 0
shift
env=("PATH=$here/image:$PATH" "HOME=$here") home=$here/home
while :; do
  case $1 in
    --rm) shift ;;
    --env) if [ -n "${!2+x}" ]; then env+=("$2=${!2}"); fi; shift 2 ;;
    --volume) case $2 in *:/.nextflow/config:ro) mkdir -p "$home"; cp "${2%%:*}" "$home/config" ;; esac; shift 2 ;;
    --workdir) cd "$2" || exit; shift 2 ;;
    --entrypoint) entrypoint=$2; shift 2 ;;
    --name | --network | --pid | --user) shift 2 ;;
    *) break ;;
  esac
done
shift # the image
exec env -i "${env[@]}" NXF_HOME="$home" "$entrypoint" "$@"
`

// dockerOnly makes a machine that has docker and no Nextflow, and an image with one.
func dockerOnly(t *testing.T, nextflow string) (here string) {
	t.Helper()
	here = t.TempDir()
	must(t, os.MkdirAll(filepath.Join(here, "image"), 0o755))
	must(t, os.WriteFile(filepath.Join(here, "docker"), []byte(standIn), 0o755))
	must(t, os.WriteFile(filepath.Join(here, "image", "nextflow"), []byte("#!/bin/bash\n"+nextflow), 0o755))
	t.Setenv("PATH", here+":"+os.Getenv("PATH"))
	return here
}

// inImage lets the agent find no Nextflow of the machine's own.
func inImage(place *fakePlace) func(*Config) {
	return func(c *Config) {
		onPlace(place)(c)
		c.Nextflow = "no-nextflow-on-this-machine"
	}
}

func calls(t *testing.T, here string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(here, "calls"))
	must(t, err)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestNextflowRunsInItsImageWhereTheMachineHasNone(t *testing.T) {
	here := dockerOnly(t, `exec "`+realNextflow(t)+`" "$@"`)
	s, place := cloudSpec(t), newFakePlace(t)
	pipeline := filepath.Join(t.TempDir(), "main.nf")
	must(t, os.WriteFile(pipeline, []byte(twoTasks), 0o600))
	s.Launch.Pipeline, s.Launch.NextflowVersion = pipeline, "24.10.0"
	s.EnvPreRun, s.Launch.PostRunScript = "export FROM_PRE_RUN=1; echo secret has ${#DB_PASSWORD}", `echo "after: $NXF_EXIT_STATUS $FROM_PRE_RUN"`
	s.Secrets = map[string]string{"DB_PASSWORD": "hush-hush"}
	p := newFakePortal(t, s)
	dir, ended := p.start(t.Context(), "", inImage(place))
	must(t, finishWithin(t, ended, nextflowLimit))
	if end := p.ended(); end == nil || end.ExitCode == nil || *end.ExitCode != 0 {
		t.Fatalf("%+v\n%s", end, p.output())
	}
	contains(t, "the output", p.output(), "secret has 9\n", "after: 0 1\n")
	contains(t, "the result", place.read(t, platform.KeptFolder("run1")+"/outputs/results/taken.txt"), "made")
	if !slices.Contains(p.steps, platform.StepImagePulled) || !slices.Contains(p.trace, "complete") {
		t.Errorf("steps %v, trace calls %v", p.steps, p.trace)
	}
	list := calls(t, here)
	contains(t, "docker's calls", strings.Join(list, "\n"), "pull --quiet docker.io/nextflow/nextflow:24.10.0\n",
		"run --rm --name wherry-run1 --network host --pid host --user 0:0 --volume /var/run/docker.sock:/var/run/docker.sock --volume "+dir+":"+dir,
		"--entrypoint bash --env", "--env TOWER_WORKFLOW_ID", "--env DB_PASSWORD docker.io/nextflow/nextflow:24.10.0 launch.sh nextflow -log .nextflow.log run", "ps --quiet --filter name=^nxf-")
	if strings.Contains(strings.Join(list, "\n"), "hush-hush") {
		t.Error("a secret is on docker's command line")
	}
}

func TestACancelReachesNextflowInItsImage(t *testing.T) {
	for name, script := range map[string]string{
		"it obeys":         `trap 'echo stopping tasks; exit 143' TERM; echo up; while :; do sleep 0.05; done`,
		"it does not obey": `trap '' TERM; echo up; while :; do sleep 0.05; done`,
	} {
		t.Run(name, func(t *testing.T) {
			dockerOnly(t, script)
			p := newFakePortal(t, cloudSpec(t))
			dir, ended := p.start(t.Context(), "", inImage(newFakePlace(t)))
			until(t, "Nextflow is up", func() bool { return strings.Contains(p.output(), "up\n") })
			close(p.cancel)
			must(t, finish(t, ended))
			if end := p.ended(); end == nil || !end.Cancelled {
				t.Errorf("%+v", end)
			}
			if name == "it obeys" {
				contains(t, "the output", p.output(), "stopping tasks")
			}
			if left := processesIn(t, dir); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

func TestAnImageThatCannotBePulledIsSaid(t *testing.T) {
	here := dockerOnly(t, "echo must not run")
	must(t, os.WriteFile(filepath.Join(here, "no-image"), nil, 0o600))
	p := newFakePortal(t, cloudSpec(t))
	_, ended := p.start(t.Context(), "", inImage(newFakePlace(t)))
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || !strings.Contains(end.Reason, "docker.io/nextflow/nextflow:"+platform.DefaultNextflowVersion) || !strings.Contains(end.Reason, "manifest unknown") {
		t.Errorf("%+v", end)
	}
}

func TestAWarmMachineFetchesTheImageBeforeThereIsWork(t *testing.T) {
	here := dockerOnly(t, "echo up")
	p := newFakePortal(t, cloudSpec(t))
	p.idle = 3
	_, ended := p.start(t.Context(), "", inImage(newFakePlace(t)))
	must(t, finish(t, ended))
	list := strings.Join(calls(t, here), "\n")
	contains(t, "docker's calls", list, "run --rm --entrypoint nextflow docker.io/nextflow/nextflow:"+platform.DefaultNextflowVersion+" -version")
	if n := strings.Count(list, "pull --quiet"); n != 1 {
		t.Errorf("the image was fetched %d times", n)
	}
}

func TestWithFusionNextflowWorksInTheWorkDirectory(t *testing.T) {
	t.Parallel()
	s, place := cloudSpec(t), newFakePlace(t)
	s.Cloud = platform.CloudSpec{Region: "eu-west-1", Wave: true, Fusion: true, AccessToken: "my-own-token"}
	p := newFakePortal(t, s)
	dir, ended := p.start(t.Context(), `cat "$NXF_HOME/config" wherry-trace.config; printf '%s\n' "args: $*"; echo "env: $NXF_CLOUDCACHE_PATH ${#TOWER_ACCESS_TOKEN} ${TOWER_API_ENDPOINT:-none} ${TOWER_WORKSPACE_ID:-none}"`, onPlace(place))
	must(t, finish(t, ended))
	contains(t, "the output", p.output(), "wave.enabled = true\n", "fusion.enabled = true\n", "aws.region = 'eu-west-1'", "tower.enabled = false", "-work-dir s3://bucket/work",
		"env: s3://bucket/work/.wherry/cache 12 none none\n")
	if strings.Contains(p.output(), "exportStorageCredentials") || exists(filepath.Join(dir, "work")) {
		t.Error("keys go into tasks' scripts, or work is done on the machine")
	}
}
