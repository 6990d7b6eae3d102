package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"wherry/platform"
)

// settle finds out how the work is done on this machine: where what it leaves is kept, and for a run with which Nextflow
// and in which folder of work. It returns why it cannot be done, for people, or "".
func (a *agent) settle(ctx context.Context) (failure string) {
	shown := a.spec.Launch.WorkDir
	if a.Place == nil {
		a.store = folderStore(shown)
	} else {
		store, err := a.Place.Store(ctx, a.spec)
		if err != nil {
			return fmt.Sprintf("The work directory cannot be used from the machine: %v.", err)
		}
		a.store = store
		if !a.spec.Cloud.Fusion && a.studio == nil {
			a.workHere(ctx, shown)
		}
	}
	go a.keepLogs(a.keeping.large)
	if a.studio != nil {
		return ""
	}
	return a.settleNextflow()
}

// settleNextflow finds out with which Nextflow a run is done.
func (a *agent) settleNextflow() (failure string) {
	if _, err := exec.LookPath(a.Nextflow); err == nil {
		return ""
	}
	if a.Place == nil {
		return fmt.Sprintf("The command %q was not found on the machine. Install Nextflow there, or set WHERRY_NEXTFLOW to where it is.", a.Nextflow)
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return "The machine has neither Nextflow nor Docker to run its container image with. Choose an image (AMI) that has one of them; the recommended ones have Docker."
	}
	a.image, a.Nextflow = imageFor(a.spec), "nextflow"
	return ""
}

// workHere lets Nextflow work in a folder of the machine, on its fastest disk, and keeps the files of tasks in the work
// directory.
func (a *agent) workHere(ctx context.Context, shown string) {
	work := filepath.Join(a.Dir, "work")
	disk, err := a.Place.FastDisk(ctx, work)
	if err != nil {
		a.Log.Warn("the machine's fastest disk cannot be used", "error", err)
	}
	a.Log.Info("work is done on "+disk, "folder", work)
	a.spec.Launch.WorkDir = work
	a.spool.from, a.spool.to = work, shown
	a.files, a.filesDone = newTaskFiles(a.store, work, a.Log), make(chan struct{})
	a.spool.seen = a.files.see
	go func() {
		defer close(a.filesDone)
		a.files.run(a.keeping.large)
	}()
	if a.spec.Cloud.KeepForResume {
		a.saver = newSaver(a.store, work, a.spool.sessionID, a.Log)
		go a.saver.run(a.keeping.large, a.KeepEvery)
	}
}

// bring gets what Nextflow needs before it can start: its container image, and the work that it resumes. It returns why
// that cannot be had, for people, or "".
func (a *agent) bring(ctx context.Context) (failure string) {
	pulled := make(chan error, 1)
	go func() {
		if a.image == "" {
			pulled <- nil
			return
		}
		pulled <- a.needImage(ctx)
	}()
	failure = a.restoreWork(ctx)
	if err := <-pulled; err != nil && failure == "" {
		failure = fmt.Sprintf("The container image %s, with Nextflow in it, could not be fetched: %v. Check that the version exists, and that the machine's subnet reaches the internet.", a.image, err)
	}
	return failure
}

func (a *agent) restoreWork(ctx context.Context) (failure string) {
	l := a.spec.Launch
	if a.files == nil || !l.Resume || l.SessionID == "" {
		return ""
	}
	n, err := restore(ctx, a.store, l.WorkDir, l.SessionID)
	if err != nil {
		return fmt.Sprintf("The work of the run that is resumed could not be restored: %v. Launch it again, or without resuming.", err)
	}
	note := fmt.Sprintf("%d folders of work", n)
	if !exists(filepath.Join(l.WorkDir, cacheFolder)) {
		note = "Nothing was kept of that session, so every task runs again."
	}
	a.steps.add(platform.StepRestored, time.Now(), note)
	return ""
}

// writeAll writes what Nextflow reads. It returns why that cannot be done, for people, or "".
func (a *agent) writeAll() (failure string) {
	if !a.spec.Cloud.Fusion {
		if err := os.MkdirAll(a.spec.Launch.WorkDir, 0o755); err != nil {
			return fmt.Sprintf("The work directory cannot be made on the machine: %v.", err)
		}
	}
	if err := writeFiles(a.launch, a.spec); err != nil {
		return fmt.Sprintf("The launch's files cannot be written on the machine: %v.", err)
	}
	if err := a.makeHome(); err != nil {
		return fmt.Sprintf("Nextflow's configuration cannot be written on the machine: %v.", err)
	}
	if err := a.writeSecrets(); err != nil {
		return fmt.Sprintf("The pipeline's secrets cannot be written on the machine: %v.", err)
	}
	a.steps.add(platform.StepFilesWritten, time.Now(), "")
	return ""
}
