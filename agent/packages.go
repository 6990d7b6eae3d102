package agent

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wherry/platform"
)

//go:embed packages.sh
var packagesScript string

// packagesInContainer is where a container has the folder of packages.
const packagesInContainer = "/wherry"

// packages are those that a Studio has beside its tool, and how they are installed.
type packages struct {
	list   []string
	folder string // on the machine, for notes and, where the tool has none, the conda environment
	seen   string // the same folder, as the tool sees it
	prefix string // of the conda environment, as the tool sees it
	from   int64  // where the installer's output begins in the log
}

// planPackages makes ready to install the packages that are wanted.
func (s *studio) planPackages(context.Context) (failure string) {
	if len(s.session.CondaPackages) == 0 {
		return ""
	}
	p := &packages{list: s.session.CondaPackages, folder: filepath.Join(filepath.Dir(s.workspace), "packages")}
	p.seen = p.folder
	if _, ok := s.runner.(*containerRunner); ok {
		p.seen, p.prefix = packagesInContainer, s.session.Template.CondaPrefix
	}
	if p.prefix == "" {
		p.prefix = filepath.Join(p.seen, "env")
	}
	err := os.MkdirAll(p.folder, 0o755)
	if err == nil && s.Place != nil {
		err = os.Chmod(p.folder, 0o777) // whoever the tool runs as in its container
	}
	if err != nil {
		return fmt.Sprintf("A folder for the packages cannot be made on the machine: %v.", err)
	}
	if size, err := s.output.size(); err == nil {
		p.from = size
	}
	s.packages = p
	s.say("Installing %s from conda-forge and bioconda: %s.", countText(len(p.list), "package"), strings.Join(p.list, ", "))
	s.steps.add(platform.StepPackages, time.Now(), strings.Join(p.list, " "))
	return ""
}

// script is how sh is called to install the packages before a command.
func (p *packages) script() []string {
	return []string{"-c", packagesScript, "wherry", filepath.Join(p.seen, "notes"), p.prefix, strings.Join(p.list, " ")}
}

// path is the variable by which what is installed is found first.
func (p *packages) path() string {
	return "PATH=" + filepath.Join(p.prefix, "bin") + ":" + os.Getenv("PATH")
}

// notes tells how far the installation is: nothing yet, "missing", "failed" or "installed".
func (p *packages) notes() string {
	text, _ := os.ReadFile(filepath.Join(p.folder, "notes")) // without it nothing has happened
	return strings.TrimSpace(string(text))
}

// installHere installs the packages where the tool is a process of the machine; a container does it itself. An end means
// that they could not be installed, or that working has ended.
func (s *studio) installHere(working context.Context) *platform.EndReport {
	if _, ok := s.runner.(*processRunner); !ok || s.packages == nil {
		return nil
	}
	cmd := exec.Command("sh", append(s.packages.script(), "true")...)
	cmd.Env = append(ownEnvironment(), string(s.mark()))
	output, err := s.output.pipe()
	if err != nil {
		return &platform.EndReport{Reason: fmt.Sprintf("The output of the packages' installer cannot be read on the machine: %v.", err)}
	}
	defer output.drain()
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.packages.folder, output.write, output.write
	ended, err := startInGroup(cmd)
	if err != nil {
		return &platform.EndReport{BuildFailed: true, Reason: fmt.Sprintf("The packages' installer could not be started on the machine: %v.", err)}
	}
	defer s.runner.kill(cmd)
	select {
	case <-working.Done():
		s.runner.kill(cmd)
		<-ended
		end := s.stoppedEnd(context.Cause(working))
		return &end
	case <-ended:
	}
	output.drain()
	if end := s.buildFailure(); end != nil {
		return end
	}
	s.packagesAreThere()
	return nil
}

func (s *studio) packagesAreThere() {
	s.say("The packages are installed.")
	s.steps.add(platform.StepPackagesReady, time.Now(), "")
}

// buildFailure is the end where the packages are not installed, or nil.
func (s *studio) buildFailure() *platform.EndReport {
	if s.packages == nil {
		return nil
	}
	end := &platform.EndReport{BuildFailed: true, ErrorReport: s.lastLines(s.packages.from)}
	switch s.packages.notes() {
	case "installed":
		return nil
	case "missing":
		end.Reason = "Conda packages need micromamba, mamba or conda where the tool runs, and none of them is there. Choose another template or image, or leave the packages out."
	case "failed":
		end.Reason = "The conda packages could not be installed. The installer's last lines say why; check names and versions."
	default:
		end.Reason = "The installation of the conda packages ended before it was done."
	}
	if s.diskWasFull() {
		end.Reason = s.diskFullReason()
	}
	return end
}

// notesLook is how often the installer's notes are read.
const notesLook = 100 * time.Millisecond

// awaitPackages waits until a container has installed the packages. When it fails, the container ends.
func (s *studio) awaitPackages(ctx context.Context) error {
	if _, ok := s.runner.(*containerRunner); !ok || s.packages == nil {
		return nil
	}
	for s.packages.notes() != "installed" {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(notesLook):
		}
	}
	s.packagesAreThere()
	return nil
}
