package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/mask"
	"wherry/platform"
)

// toolImage plays docker for Studios where there is none: it keeps the command line of every call, and runs what would run in
// the container on this machine instead, in the workspace and with only the variables that the container would have. What is
// shown of docker is its command line; that an image does what this does is not shown.
const toolImage = `#!/bin/bash
here=$(dirname "$0")
printf '%s\n' "$*" >>"$here/calls"
case "$1 $2" in
  "version ") exit ;;
  "image inspect") [ "$3" != --format ] || echo '{"Entrypoint":["TOOL","entry"],"Cmd":["usual"]}' | sed "s|TOOL|$here/tool|"; [ -e "$here/pulled" ]; exit ;;
  "pull "*) [ -e "$here/no-image" ] && { echo "manifest unknown" >&2; exit 1; }; echo "layer: Pull complete"; touch "$here/pulled"; exit ;;
  "stop "*) kill -TERM "$(cat "$here/pid")"; exit ;;
  "rm "*) kill -KILL "$(cat "$here/pid")" 2>/dev/null || { echo "No such container" >&2; exit 1; }; exit ;;
esac
[ "$1" = run ] || exit 9
shift
env=("PATH=$here/inside:/usr/bin:/bin") run=("$here/tool" entry)
while :; do
  case $1 in
    --rm) shift ;;
    --env) if [[ $2 == *=* ]]; then env+=("$2"); elif [ -n "${!2+x}" ]; then env+=("$2=${!2}"); fi; shift 2 ;;
    --publish) port=${2#127.0.0.1:}; port=${port%:*}; shift 2 ;;
    --volume) case $2 in *:/wherry) notes=${2%:*} ;; *) cd "${2%%:*}" || exit ;; esac; shift 2 ;;
    --entrypoint) run=("$2"); shift 2 ;;
    --name | --shm-size | --gpus | --user) shift 2 ;;
    *) break ;;
  esac
done
shift # the image
echo $$ >"$here/pid"
args=()
for arg in "$@"; do args+=("${arg//\/wherry/$notes}"); done
exec env -i "${env[@]}" WHERRY_STUDIO_PORT="$port" "${run[@]}" "${args[@]}"
`

// withDocker makes a machine that has docker, and an image that is this test's tool.
func withDocker(t *testing.T) (here string) {
	t.Helper()
	here = t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(here, "inside"), 0o755))
	must(t, os.WriteFile(filepath.Join(here, "docker"), []byte(toolImage), 0o755))
	must(t, os.Symlink(self, filepath.Join(here, "tool")))
	t.Setenv("PATH", here+":"+os.Getenv("PATH"))
	return here
}

// stub puts a command that a test brings into a folder.
func stub(t *testing.T, folder, name, script string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/bash\n"+script+"\n"), 0o755))
}

func TestInACloudTheToolRunsInItsContainer(t *testing.T) {
	here := withDocker(t)
	stub(t, here, "nvidia-smi", `[ $# = 0 ] || echo "50, 1000, 2000"`)
	s, place := studioSpec(t, ""), newFakePlace(t)
	s.Studio.Template.Command, s.Studio.Template.User = []string{"--dir", "${WORKSPACE}", "--port", "${PORT}"}, "1000:100"
	p := newFakePortal(t, s)
	workspace, ended := p.startStudio(inCloud(t, place))
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	until(t, "its log is here", func() bool { return strings.Contains(p.output(), "answers.\n") })
	contains(t, "the log", p.output(), "layer: Pull complete", "up: entry --dir /workspace --port 8888", "asked with: token "+mask.Shown)
	if info, err := os.Stat(workspace); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the image's user may not write: %v, %v", info, err)
	}
	must(t, os.WriteFile(filepath.Join(workspace, "notes.txt"), []byte("my notes"), 0o644))
	close(p.cancel)
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || !end.Cancelled || end.Reason != "" {
		t.Errorf("%+v", end)
	}
	if kept := p.checkpoints(); len(kept) != 1 || kept[0].Files != 2 {
		t.Errorf("%+v", kept)
	}
	contains(t, "the log", p.output(), "it ends\n")
	list := strings.Join(calls(t, here), "\n")
	contains(t, "docker's calls", list, "pull example.org/tool:1\n", "run --rm --name wherry-"+s.Studio.SessionID+" --publish 127.0.0.1:", ":8888 --volume "+workspace+":/workspace --shm-size ",
		"--gpus all --user 1000:100 ", "--env WHERRY_STUDIO_TOKEN example.org/tool:1 --dir /workspace --port 8888\n", "stop -t 10 wherry-"+s.Studio.SessionID)
	if strings.Contains(list, "hush-hush") {
		t.Error("the token is on docker's command line")
	}
	if !p.has(platform.StepImagePulled) {
		t.Errorf("steps %v", p.steps)
	}
}

func TestVariablesOfAToolThatMeanSomethingToDockerAreNotDockers(t *testing.T) {
	here := withDocker(t)
	s := studioSpec(t, "")
	s.Environment = append(s.Environment, platform.Env{Name: "DOCKER_HOST", Value: "tcp://elsewhere.example"}, platform.Env{Name: "LD_LIBRARY_PATH", Value: "/workspace/lib"},
		platform.Env{Name: "RIVER", Value: "thames"})
	script, err := os.ReadFile(filepath.Join(here, "docker"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(here, "docker"), []byte(strings.Replace(string(script), "shift\n", `echo "docker itself has ${DOCKER_HOST-none} ${LD_LIBRARY_PATH-none} ${RIVER-none}" >>"$here/calls"; shift`+"\n", 1)), 0o755))
	p := newFakePortal(t, s)
	_, ended := p.startStudio(inCloud(t, newFakePlace(t)))
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	close(p.cancel)
	must(t, finish(t, ended))
	contains(t, "docker's calls", strings.Join(calls(t, here), "\n"), "--env DOCKER_HOST=tcp://elsewhere.example ", "--env LD_LIBRARY_PATH=/workspace/lib ", "--env RIVER ",
		"docker itself has none none thames")
}

func TestAContainerThatDoesNotStopIsKilled(t *testing.T) {
	here := withDocker(t)
	s, place := studioSpec(t, "stubborn"), newFakePlace(t)
	s.Environment = append(s.Environment, platform.Env{Name: asTool, Value: "tool stubborn"})
	p := newFakePortal(t, s)
	_, ended := p.startStudio(func(c *Config) {
		inCloud(t, place)(c)
		c.Grace = 300 * time.Millisecond
	})
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	close(p.cancel)
	must(t, finish(t, ended))
	contains(t, "docker's calls", strings.Join(calls(t, here), "\n"), "rm --force --volumes wherry-"+s.Studio.SessionID)
	contains(t, "the log", p.output(), "it will not end", "is killed.")
}

func TestAContainerThatDockerCannotStartIsSaid(t *testing.T) {
	here := t.TempDir()
	stub(t, here, "docker", `[ "$1" != run ] || { echo "docker: could not select a device driver" >&2; exit 125; }`)
	t.Setenv("PATH", here+":"+os.Getenv("PATH"))
	p := newFakePortal(t, studioSpec(t, ""))
	_, ended := p.startStudio(inCloud(t, newFakePlace(t)))
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || end.Reason != "Docker could not start the container of Test tool. Its last lines say why." || !strings.Contains(end.ErrorReport, "device driver") {
		t.Errorf("%+v", end)
	}
}

func TestAToolImageThatCannotBeFetchedIsSaid(t *testing.T) {
	here := withDocker(t)
	must(t, os.WriteFile(filepath.Join(here, "no-image"), nil, 0o600))
	p := newFakePortal(t, studioSpec(t, ""))
	_, ended := p.startStudio(inCloud(t, newFakePlace(t)))
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || !strings.HasPrefix(end.Reason, "The container image example.org/tool:1 could not be fetched: ") || !strings.Contains(end.Reason, "manifest unknown") {
		t.Errorf("%+v", end)
	}
	if n := strings.Count(strings.Join(calls(t, here), "\n"), "pull "); n != pullTries {
		t.Errorf("it was asked for %d times", n)
	}
}

func TestWithoutDockerAndCommandTheSessionSaysWhatIsMissing(t *testing.T) {
	here := t.TempDir()
	stub(t, here, "docker", `echo "docker $*" >>"$(dirname "$0")/calls"; echo "Cannot connect to the Docker daemon" >&2; exit 1`)
	t.Setenv("PATH", here+":"+os.Getenv("PATH"))
	s := studioSpec(t, "")
	s.Studio.Template.HostCommand = nil
	p := newFakePortal(t, s)
	_, ended := p.startStudio(func(c *Config) {
		inCloud(t, newFakePlace(t))(c)
		c.DockerWait = 1500 * time.Millisecond // a daemon may be starting
	})
	must(t, finish(t, ended))
	if len(calls(t, here)) < 2 {
		t.Errorf("docker was not waited for: %q", calls(t, here))
	}
	if end := p.ended(); end == nil || !strings.Contains(end.Reason, "the machine has no Docker that works. Choose an image (AMI) with Docker") {
		t.Errorf("%+v", end)
	}
}

// condaStandIn plays an installer of conda packages, which cannot be had in these tests: it notes how it was called, and
// makes a command in the environment. What is shown is how it is called and what comes of that; that conda does what this does is
// not shown.
const condaStandIn = `echo "$(basename "$0") $*" >>"$CONDA_CALLS/conda-calls"
echo "Collecting package metadata"
case "$*" in *no-such-package*) echo "PackagesNotFoundError: no-such-package" >&2; exit 1 ;; esac
[ "$1" = create ] && [ "$2 $3" = "--yes --prefix" ] || exit 2
mkdir -p "$4/bin" "$4/conda-meta"; printf '#!/bin/sh\necho a new command\n' >"$4/bin/samtools"; chmod +x "$4/bin/samtools"`

// withPackages is a session that wants packages, and a host where conda's calls are noted.
func withPackages(t *testing.T, list ...string) (s platform.Spec, here string) {
	t.Helper()
	s, here = studioSpec(t, "runs samtools"), t.TempDir()
	s.Studio.CondaPackages = list
	s.Environment = append(s.Environment, platform.Env{Name: "CONDA_CALLS", Value: here})
	t.Setenv("CONDA_CALLS", here)
	return s, here
}

func TestPackagesAreInstalledBeforeTheTool(t *testing.T) {
	for _, where := range []string{"on the host", "in the container"} {
		t.Run(where, func(t *testing.T) {
			s, here := withPackages(t, "samtools>=1.2,<2", "bioconda::bwa=0.7.*")
			inside, change := here, func(*Config) {}
			if where == "in the container" {
				inside = filepath.Join(withDocker(t), "inside")
				change = inCloud(t, newFakePlace(t))
			} else {
				t.Setenv("PATH", here+":"+os.Getenv("PATH"))
			}
			stub(t, inside, "conda", condaStandIn)
			stub(t, inside, "mamba", condaStandIn)
			p := newFakePortal(t, s)
			workspace, ended := p.startStudio(change)
			until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
			until(t, "its log is here", func() bool { return strings.Contains(p.output(), "answers.\n") })
			contains(t, "the log", p.output(), "Installing 2 packages from conda-forge and bioconda: samtools>=1.2,<2, bioconda::bwa=0.7.*.", "a new command")
			close(p.cancel)
			must(t, finish(t, ended))
			text, err := os.ReadFile(filepath.Join(here, "conda-calls"))
			prefix := filepath.Join(filepath.Dir(workspace), "packages", "env")
			if want := "mamba create --yes --prefix " + prefix + " -c conda-forge -c bioconda samtools>=1.2,<2 bioconda::bwa=0.7.*\n"; err != nil || string(text) != want {
				t.Errorf("called %q, want %q, %v", text, want, err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if a, b, c := slices.Index(p.steps, platform.StepPackages), slices.Index(p.steps, platform.StepPackagesReady), slices.Index(p.steps, platform.StepToolReady); a < 0 || b < a || c < b {
				t.Errorf("steps %v", p.steps)
			}
		})
	}
}

func TestPackagesThatCannotBeInstalledFailTheBuild(t *testing.T) {
	for _, where := range []string{"on the host", "in the container"} {
		for _, name := range []string{"no installer", "no such package", "a stop"} {
			t.Run(name+" "+where, func(t *testing.T) {
				s, here := withPackages(t, "no-such-package")
				inside, change := here, func(*Config) {}
				if where == "in the container" {
					inside = filepath.Join(withDocker(t), "inside")
					change = inCloud(t, newFakePlace(t))
				} else {
					t.Setenv("PATH", here+":"+os.Getenv("PATH"))
				}
				switch name {
				case "no such package":
					stub(t, inside, "micromamba", condaStandIn)
				case "a stop":
					stub(t, inside, "micromamba", "echo solving; exec sleep 1000")
				}
				p := newFakePortal(t, s)
				_, ended := p.startStudio(change)
				if name == "a stop" {
					until(t, "it is solving", func() bool { return strings.Contains(p.output(), "solving\n") })
					close(p.cancel)
				}
				must(t, finish(t, ended))
				end := p.ended()
				switch {
				case end == nil:
					t.Fatal("no end was told")
				case name == "a stop":
					if !end.Cancelled || end.BuildFailed {
						t.Errorf("%+v", end)
					}
				case !end.BuildFailed || end.Reason == "":
					t.Errorf("%+v", end)
				case name == "no such package":
					contains(t, "the report", end.ErrorReport, "PackagesNotFoundError: no-such-package")
					contains(t, "the reason", end.Reason, "The conda packages could not be installed.")
				default:
					contains(t, "the reason", end.Reason, "need micromamba, mamba or conda where the tool runs, and none of them is there")
				}
				if p.has(platform.StepToolReady) || p.has(platform.StepPackagesReady) {
					t.Errorf("steps %v", p.steps)
				}
			})
		}
	}
}

// mounterStandIn plays Mountpoint for Amazon S3: it notes how it was called, and makes a file in the folder.
const mounterStandIn = `echo "mount-s3 $*" >>"$(dirname "$0")/mounts"
[ "$1" != refused ] || { echo "Access Denied" >&2; exit 1; }
echo ">read" >"$2/x.fa"`

func TestDataIsMountedForTheSessionAlone(t *testing.T) {
	here := withDocker(t)
	stub(t, here, "mount-s3", mounterStandIn)
	stub(t, here, "umount", `echo "umount $*" >>"$(dirname "$0")/mounts"`)
	s := studioSpec(t, "")
	s.Studio.Mounts = []platform.StudioMountSpec{{StudioMount: platform.StudioMount{Name: "reads", URI: "s3://bucket/-some/reads/"}, ReadOnly: true},
		{StudioMount: platform.StudioMount{Name: "out", URI: "s3://other"}}}
	p := newFakePortal(t, s)
	workspace, ended := p.startStudio(inCloud(t, newFakePlace(t)))
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	if !p.has(platform.StepMounted) || !exists(filepath.Join(workspace, "data", "out", "x.fa")) {
		t.Errorf("steps %v", p.steps)
	}
	close(p.cancel)
	must(t, finish(t, ended))
	text, err := os.ReadFile(filepath.Join(here, "mounts"))
	must(t, err)
	other := ""
	if os.Geteuid() == 0 {
		other = " --allow-other"
	}
	want := "mount-s3 bucket " + workspace + "/data/reads --prefix=-some/reads/" + other + " --read-only\n" +
		"mount-s3 other " + workspace + "/data/out" + other + " --allow-delete --allow-overwrite --dir-mode 0777 --file-mode 0666\n" +
		"umount " + workspace + "/data/out\numount " + workspace + "/data/reads\n"
	if string(text) != want {
		t.Errorf("called %s\nwant %s", text, want)
	}
	contains(t, "docker's calls", strings.Join(calls(t, here), "\n"), "--volume "+workspace+":/workspace:rslave ")
	if kept := p.checkpoints(); len(kept) != 1 || kept[0].Files != 1 {
		t.Errorf("data is kept: %+v", kept)
	}
}

func TestDataThatCannotBeMountedIsNamed(t *testing.T) {
	here := t.TempDir()
	stub(t, here, "mount-s3", mounterStandIn)
	stub(t, here, "umount", `echo "umount $*" >>"$(dirname "$0")/mounts"`)
	t.Setenv("PATH", here+":"+os.Getenv("PATH"))
	s := studioSpec(t, "")
	s.Studio.Mounts = []platform.StudioMountSpec{{StudioMount: platform.StudioMount{Name: "reads", URI: "s3://bucket"}}, {StudioMount: platform.StudioMount{Name: "secret", URI: "s3://refused/x"}}}
	p := newFakePortal(t, s)
	workspace, ended := p.startStudio(nil)
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || !strings.HasPrefix(end.Reason, "The data secret (s3://refused/x) could not be mounted: ") || !strings.Contains(end.Reason, "Access Denied") {
		t.Errorf("%+v", end)
	}
	text, err := os.ReadFile(filepath.Join(here, "mounts"))
	must(t, err)
	contains(t, "what was called", string(text), "umount "+workspace+"/data/reads\n")
	if p.has(platform.StepToolStarted) {
		t.Error("the tool was started")
	}
}
