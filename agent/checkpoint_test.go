package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wherry/platform"
)

// workspaceOf tells of every file of a workspace what it is.
func workspaceOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		must(t, err)
		name, err := filepath.Rel(folder, path)
		must(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		what := fmt.Sprint(info.Mode(), info.ModTime().UnixNano(), stat.Uid, stat.Gid)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			must(t, err)
			what += " → " + to
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			must(t, err)
			what += fmt.Sprintf(" %q, %d names", text, stat.Nlink)
		}
		found[name] = what
		return nil
	}))
	return found
}

func TestAWorkspaceComesBackAsItWas(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(from, name) }
	for _, dir := range []string{"deep/er", "empty", "data/reads", "closed", "notdata/data"} {
		must(t, os.MkdirAll(at(dir), 0o755))
	}
	for name, mode := range map[string]fs.FileMode{"script.sh": 0o755, "deep/er/secret": 0o600, "deep/r\xe9sum\xe9.txt": 0o644, "none": 0o644, "closed/in.txt": 0o444,
		"data/reads/x.fq": 0o644, "notdata/data/kept.txt": 0o644, "database.db": 0o644} {
		text := []byte("text of " + name)
		if name == "none" {
			text = nil
		}
		must(t, os.WriteFile(at(name), text, mode))
		must(t, os.Chmod(at(name), mode))
	}
	must(t, os.Link(at("script.sh"), at("deep/same.sh")))
	for link, target := range map[string]string{"to-file": "deep/er/secret", "to-nothing": "nowhere", "outside": "/etc/passwd", "to-folder": "deep", "up": ".."} {
		must(t, os.Symlink(target, at(link)))
	}
	must(t, syscall.Mkfifo(at("pipe"), 0o644))
	socket, err := net.Listen("unix", at("s"))
	must(t, err)
	defer socket.Close()
	if os.Geteuid() == 0 {
		must(t, os.Lchown(at("script.sh"), 1000, 100))
		must(t, os.Lchown(at("to-file"), 1000, 100))
	}
	must(t, os.Chmod(at("closed"), 0o555))
	t.Cleanup(func() { must(t, os.Chmod(at("closed"), 0o755)); must(t, os.Chmod(filepath.Join(to, "closed"), 0o755)) })
	old := unix.NsecToTimespec(time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC).UnixNano())
	for _, name := range []string{"script.sh", "to-file", "deep", "closed"} {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, at(name), []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW))
	}
	must(t, os.Chmod(from, 0o777))

	var archive bytes.Buffer
	made, err := packWorkspace(&archive, from)
	must(t, err)
	if made.files != 13 || made.size != int64(archive.Len()) || len(made.unread) > 0 {
		t.Errorf("%+v of %d bytes", made, archive.Len())
	}
	back, err := unpackWorkspace(&archive, to)
	must(t, err)
	if back.files != made.files || back.bytes != made.bytes {
		t.Errorf("%+v came back of %+v", back, made)
	}
	want, got := workspaceOf(t, from), workspaceOf(t, to)
	for _, name := range []string{"data", "data/reads", "data/reads/x.fq", "pipe", "s"} {
		delete(want, name)
	}
	for name, what := range want {
		if got[name] != what {
			t.Errorf("%s came back as %s\nwant %s", name, got[name], what)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("there is more than was kept: %v", got)
	}
}

// entry is a file of an archive that someone made by hand.
type entry struct {
	tar.Header
	text string
}

// archiveOf writes an archive as packWorkspace would.
func archiveOf(t *testing.T, entries ...entry) *bytes.Buffer {
	t.Helper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	w := tar.NewWriter(zipped)
	for _, e := range entries {
		e.Mode, e.Size = 0o755, int64(len(e.text))
		must(t, w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.text))
		must(t, err)
	}
	must(t, w.Close())
	must(t, zipped.Close())
	return &archive
}

func TestAHostileCheckpointTouchesNothingOutside(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]entry{
		"a path upwards":                 {{tar.Header{Name: "../evil", Typeflag: tar.TypeReg}, "x"}},
		"a path upwards from a folder":   {{tar.Header{Name: "a/../../evil", Typeflag: tar.TypeReg}, "x"}},
		"a rooted path":                  {{tar.Header{Name: "ABOVE/evil", Typeflag: tar.TypeReg}, "x"}},
		"through a link":                 {{tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: ".."}, ""}, {tar.Header{Name: "out/evil", Typeflag: tar.TypeReg}, "x"}},
		"through a rooted link":          {{tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "ABOVE"}, ""}, {tar.Header{Name: "out/evil", Typeflag: tar.TypeReg}, "x"}},
		"a link made through a link":     {{tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: ".."}, ""}, {tar.Header{Name: "out/evil", Typeflag: tar.TypeSymlink, Linkname: "x"}, ""}},
		"over a link":                    {{tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../victim"}, ""}, {tar.Header{Name: "out", Typeflag: tar.TypeReg}, "x"}},
		"another name of a file outside": {{tar.Header{Name: "in", Typeflag: tar.TypeLink, Linkname: "../victim"}, ""}},
		"a folder's mode through a link": {{tar.Header{Name: "out", Typeflag: tar.TypeDir}, ""}, {tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../victim"}, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			workspace, victim := filepath.Join(above, "workspace"), filepath.Join(above, "victim")
			must(t, os.Mkdir(workspace, 0o755))
			must(t, os.WriteFile(victim, []byte("as it was"), 0o600))
			for i := range entries {
				entries[i].Name = strings.ReplaceAll(entries[i].Name, "ABOVE", above)
				entries[i].Linkname = strings.ReplaceAll(entries[i].Linkname, "ABOVE", above)
			}
			if _, err := unpackWorkspace(archiveOf(t, entries...), workspace); err == nil {
				t.Error("it is taken")
			}
			text, err := os.ReadFile(victim)
			info, statErr := os.Stat(victim)
			if err != nil || statErr != nil || string(text) != "as it was" || info.Mode().Perm() != 0o600 {
				t.Errorf("a file outside is %q %s, %v, %v", text, info.Mode(), err, statErr)
			}
			if _, err := os.Lstat(filepath.Join(above, "evil")); err == nil {
				t.Error("a file was made outside")
			}
		})
	}
}

func TestACheckpointBringsNothingIntoTheFolderOfMounts(t *testing.T) {
	t.Parallel()
	workspace := t.TempDir()
	_, err := unpackWorkspace(archiveOf(t, entry{tar.Header{Name: "data", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, ""},
		entry{tar.Header{Name: "./data/reads/x", Typeflag: tar.TypeReg}, "x"}, entry{tar.Header{Name: "dev", Typeflag: tar.TypeBlock}, ""}), workspace)
	must(t, err)
	if found, err := os.ReadDir(workspace); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestADamagedCheckpointIsNotWorkedOn(t *testing.T) {
	t.Parallel()
	whole := archiveOf(t, entry{tar.Header{Name: "notes.txt", Typeflag: tar.TypeReg}, strings.Repeat("notes ", 1000)}).Bytes()
	torn := bytes.Clone(whole)
	torn[len(torn)-5] ^= 1 // in the checksum at the end
	for name, archive := range map[string][]byte{"cut off": whole[:len(whole)/2], "without its end": whole[:len(whole)-8], "torn": torn, "empty": nil, "something else": []byte("<Error>")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := studioSpec(t, "")
			s = again(s, platform.NewID())
			key := platform.CheckpointKey(s.Studio.StudioID, s.Studio.Restore.CheckpointID)
			must(t, folderStore(s.Launch.WorkDir).Put(t.Context(), key, bytes.NewReader(archive)))
			p := newFakePortal(t, s)
			_, ended := p.startStudio(nil)
			must(t, finish(t, ended))
			if end := p.ended(); end == nil || !strings.HasPrefix(end.Reason, "The kept work could not be brought back: ") || !strings.Contains(end.Reason, "older checkpoint") {
				t.Errorf("%+v", end)
			}
			keys, err := folderStore(s.Launch.WorkDir).List(t.Context(), filepath.Dir(key)+"/")
			if err != nil || len(keys) != 1 || len(p.checkpoints()) > 0 || p.has(platform.StepToolStarted) {
				t.Errorf("it went on: %q, %v", keys, err)
			}
		})
	}
}

// stir changes files of a workspace as programs do, until ctx is done.
func stir(ctx context.Context, workspace string) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; ctx.Err() == nil; i++ {
		name := filepath.Join(workspace, fmt.Sprint("f", random.IntN(40)))
		switch random.IntN(5) {
		case 0:
			_ = os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, random.IntN(1<<16)), 0o644)
		case 1:
			_ = os.Remove(name)
		case 2:
			_ = os.Truncate(name, int64(random.IntN(1<<10)))
		case 3:
			_ = os.Rename(name, name+"-moved")
		case 4:
			_ = os.MkdirAll(filepath.Join(workspace, "dir", fmt.Sprint(i%7)), 0o755)
			_ = os.RemoveAll(filepath.Join(workspace, "dir"))
		}
	}
}

func TestCheckpointsOfAWorkspaceInUseAreWhole(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	p := newFakePortal(t, s)
	random, mu := rand.New(rand.NewPCG(3, 4)), sync.Mutex{}
	p.fault = func(int, string) string {
		mu.Lock()
		defer mu.Unlock()
		return []string{"", "", "refuse", "lose"}[random.IntN(4)]
	}
	workspace, ended := p.startStudio(func(c *Config) { c.CheckpointEvery = 10 * time.Millisecond })
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	stirring, calm := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { stir(stirring, workspace) })
	until(t, "some checkpoints are told", func() bool { return len(p.checkpoints()) >= 4 })
	calm()
	group.Wait()
	must(t, os.WriteFile(filepath.Join(workspace, "notes.txt"), []byte("my notes"), 0o644))
	close(p.cancel)
	must(t, finish(t, ended))
	kept := p.checkpoints()
	for i, c := range kept {
		folder := t.TempDir()
		made, err := restoreCheckpoint(t.Context(), folderStore(s.Launch.WorkDir), platform.CheckpointRef{StudioID: s.Studio.StudioID, CheckpointID: c.ID}, folder)
		if err != nil || made.files != c.Files {
			t.Errorf("checkpoint %d has %d files, and %d came back: %v", i, c.Files, made.files, err)
		}
		if text, err := os.ReadFile(filepath.Join(folder, "notes.txt")); i == len(kept)-1 && (err != nil || string(text) != "my notes" || !c.Final) {
			t.Errorf("the last checkpoint %+v has %q, %v", c, text, err)
		}
	}
	keys, err := folderStore(s.Launch.WorkDir).List(t.Context(), filepath.Dir(platform.CheckpointKey(s.Studio.StudioID, "x")))
	if err != nil || len(keys) != len(kept) {
		t.Errorf("%d archives are there and %d are told, %v", len(keys), len(kept), err)
	}
}

func TestAFileThatBecomesShorterWhileItIsReadIsFilledUp(t *testing.T) {
	t.Parallel()
	var archive bytes.Buffer
	p := packer{w: tar.NewWriter(&archive)}
	must(t, p.content(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: 10, Mode: 0o644}, strings.NewReader("short")))
	must(t, p.content(&tar.Header{Name: "g", Typeflag: tar.TypeReg, Size: 4, Mode: 0o644}, io.MultiReader(strings.NewReader("ok"), brokenReader{})))
	must(t, p.w.Close())
	r := tar.NewReader(&archive)
	for _, want := range []string{"short\x00\x00\x00\x00\x00", "ok\x00\x00"} {
		_, err := r.Next()
		must(t, err)
		if text, err := io.ReadAll(r); err != nil || string(text) != want {
			t.Errorf("%q, %v", text, err)
		}
	}
	if fmt.Sprint(p.made.unread) != "[g]" {
		t.Errorf("unread %v", p.made.unread)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, syscall.EIO }

func TestNothingIsSavedThatIsSavedAlready(t *testing.T) {
	t.Parallel()
	workspace, store := t.TempDir(), folderStore(t.TempDir())
	var told []platform.CheckpointReport
	c := &checkpoints{store: store, studioID: "s", workspace: workspace, say: func(string, ...any) {}, saved: func(r platform.CheckpointReport) { told = append(told, r) }}
	save := func(want int, why string) {
		t.Helper()
		must(t, c.save(t.Context(), false))
		if len(told) != want {
			t.Errorf("%s: there are %d checkpoints, want %d", why, len(told), want)
		}
	}
	must(t, c.begin(t.Context(), true))
	save(0, "nothing has changed")
	file := filepath.Join(workspace, "f")
	must(t, os.WriteFile(file, []byte("one"), 0o644))
	save(1, "a file is new")
	save(1, "nothing has changed")
	before, err := os.Stat(file)
	must(t, err)
	time.Sleep(20 * time.Millisecond) // a file system's clock moves in steps
	must(t, os.WriteFile(file, []byte("two"), 0o644))
	must(t, os.Chtimes(file, before.ModTime(), before.ModTime()))
	save(2, "a file has other bytes and its old time")
	must(t, os.MkdirAll(filepath.Join(workspace, "data", "reads"), 0o755))
	save(3, "a folder is new")
	must(t, os.WriteFile(filepath.Join(workspace, "data", "reads", "x"), nil, 0o644))
	save(3, "only data has changed")
	must(t, os.Chmod(file, 0o600))
	save(4, "a mode has changed")

	c.print = 0
	must(t, c.begin(t.Context(), false))
	save(5, "it came from another Studio")
}

// TestCheckpointsAreRemovedWhileASessionRuns, because a long one saves many.
func TestCheckpointsAreRemovedWhileASessionRuns(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	p := newFakePortal(t, s)
	old := platform.CheckpointRef{StudioID: s.Studio.StudioID, CheckpointID: "old"}
	key := platform.CheckpointKey(old.StudioID, old.CheckpointID)
	must(t, folderStore(s.Launch.WorkDir).Put(t.Context(), key, strings.NewReader("x")))
	p.forget = []platform.CheckpointRef{old}
	workspace, ended := p.startStudio(func(c *Config) { c.CheckpointEvery = 10 * time.Millisecond })
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	must(t, os.WriteFile(filepath.Join(workspace, "new.txt"), []byte("new"), 0o600))
	until(t, "it is told", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Contains(p.removed, "old")
	})
	if exists(filepath.Join(s.Launch.WorkDir, key)) {
		t.Error("the archive is still there")
	}
	close(p.cancel)
	must(t, finish(t, ended))
}

func TestCheckpointsNobodyWantsAreRemoved(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	store := folderStore(s.Launch.WorkDir)
	refs := []platform.CheckpointRef{{StudioID: s.Studio.StudioID, CheckpointID: "a"}, {StudioID: "another", CheckpointID: "b"}, {StudioID: "gone", CheckpointID: "c"}}
	for _, ref := range append(refs[:2:2], platform.CheckpointRef{StudioID: s.Studio.StudioID, CheckpointID: "kept"}) {
		must(t, store.Put(t.Context(), platform.CheckpointKey(ref.StudioID, ref.CheckpointID), strings.NewReader("x")))
	}
	s.Studio.Forget = refs
	p := newFakePortal(t, s)
	_, ended := p.startStudio(nil)
	until(t, "they are told", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.removed) == 3
	})
	close(p.cancel)
	must(t, finish(t, ended))
	for _, ref := range refs {
		if exists(filepath.Join(s.Launch.WorkDir, platform.CheckpointKey(ref.StudioID, ref.CheckpointID))) {
			t.Errorf("%+v is still there", ref)
		}
	}
	if !exists(filepath.Join(s.Launch.WorkDir, platform.CheckpointKey(s.Studio.StudioID, "kept"))) {
		t.Error("one that is wanted was removed")
	}
}

func TestSavingTakesATenthOfTheTimeAtMost(t *testing.T) {
	t.Parallel()
	c := &checkpoints{every: 5 * time.Minute}
	for took, want := range map[time.Duration]time.Duration{time.Second: 5 * time.Minute, time.Minute: 9 * time.Minute, time.Hour: 9 * time.Hour} {
		if got := c.pauseAfter(took); got != want {
			t.Errorf("after a save of %s it pauses %s, want %s", took, got, want)
		}
	}
}

// brittle is a store whose first archive breaks off while it is read.
type brittle struct {
	folderStore
	broken bool
}

func (b *brittle) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := b.folderStore.Get(ctx, key)
	if err != nil || b.broken {
		return body, err
	}
	b.broken = true
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(body, 2000), brokenReader{}), body}, nil
}

func TestACheckpointThatBreaksOffIsReadAgainFromItsBeginning(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 4000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	ref := platform.CheckpointRef{StudioID: "s", CheckpointID: "c"}
	store, workspace := &brittle{folderStore: folderStore(t.TempDir())}, t.TempDir()
	archive := archiveOf(t, entry{tar.Header{Name: "a/first", Typeflag: tar.TypeReg}, "x"}, entry{tar.Header{Name: "a/same", Typeflag: tar.TypeLink, Linkname: "a/first"}, ""},
		entry{tar.Header{Name: "noise", Typeflag: tar.TypeReg}, string(noise)})
	must(t, store.Put(t.Context(), platform.CheckpointKey("s", "c"), archive))
	made, err := restoreCheckpoint(t.Context(), store, ref, workspace)
	if text, readErr := os.ReadFile(filepath.Join(workspace, "noise")); err != nil || readErr != nil || !bytes.Equal(text, noise) || made.files != 3 || !store.broken {
		t.Errorf("%d bytes, %+v, %v, %v", len(text), made, err, readErr)
	}
}

func TestWhatAKilledAgentLeftHalfWrittenIsRemoved(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	folder := filepath.Join(s.Launch.WorkDir, filepath.Dir(platform.CheckpointKey(s.Studio.StudioID, "x")))
	must(t, os.MkdirAll(folder, 0o755))
	for _, name := range []string{partPrefix + "123", "whole.tar.gz"} {
		must(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
	}
	p := newFakePortal(t, s)
	_, ended := p.startStudio(nil)
	until(t, "the tool is started", func() bool { return p.has(platform.StepToolStarted) })
	if exists(filepath.Join(folder, partPrefix+"123")) || !exists(filepath.Join(folder, "whole.tar.gz")) {
		t.Error("what is half written is there, or what is whole is not")
	}
	close(p.cancel)
	must(t, finish(t, ended))
}
