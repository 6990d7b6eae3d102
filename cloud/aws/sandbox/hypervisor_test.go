package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/sandbox"
)

// quick makes the minutes of shutdown short.
var quick = sandbox.Options{Minute: 50 * time.Millisecond}

func TestUserDataRunsInAWorldOfItsOwn(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{Env: []string{"FROM_TEST=yes"}, Commands: map[string]string{"docker": "#!/bin/sh\necho \"docker plays $*\"\n"}})
	id := l.boot(`
cd / && echo "$HOME|$WHERRY_ROOT|$TMPDIR|$FROM_TEST|$PATH" > $WHERRY_ROOT/env
docker run hello
mount /dev/nvme1n1 /mnt
systemctl stop ecs && cat $WHERRY_ROOT/var/log/systemctl
curl --version | head -c 4; echo; sha256sum </dev/null | cut -c1-8
`)
	l.says(id, "docker plays run hello")
	l.says(id, "mount: command not found")
	l.says(id, "systemctl stop ecs")
	l.says(id, "e3b0c442")
	l.says(id, "the user data ended, exit status 0")
	root, err := l.hypervisor.Root(id)
	l.must(err)
	env := strings.Split(l.has(id, "env"), "|")
	if env[0] != root+"/root" || env[1] != root || env[2] != root+"/tmp" || env[3] != "yes" || !strings.HasPrefix(env[4], filepath.Dir(root)+"/bin:") {
		t.Errorf("the environment is %q", env)
	}
	if s := l.state(id); s != "running" {
		t.Errorf("a machine whose user data has ended is %s", s)
	}
}

func TestUserDataThatIsNoScriptIsNotRun(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	i, err := l.launch("touch $WHERRY_ROOT/ran")
	l.must(err)
	l.says(*i.InstanceId, "the user data is no script")
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte("#!/bin/sh\necho unpacked\n"))
	w.Close()
	i, err = l.launch(b.String())
	l.must(err)
	l.says(*i.InstanceId, "unpacked")
}

func TestAnInstanceIsPendingThenRunsThenBoots(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{Pending: 300 * time.Millisecond, Boot: 300 * time.Millisecond})
	id := l.boot("echo here")
	if s := l.state(id); s != "pending" {
		t.Errorf("at first it is %s", s)
	}
	l.until("it runs", func() bool { return l.state(id) == "running" })
	l.says(id, "here")
}

func TestShutdownEndsTheMachineAsTheLaunchSays(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, quick)
	for _, c := range []struct {
		name, script, state string
		change              func(*ec2.RunInstancesInput)
	}{
		{"terminate", "shutdown -h now; sleep 1000", "terminated", terminateOnShutdown},
		{"stop", "shutdown -h now; sleep 1000", "stopped", func(*ec2.RunInstancesInput) {}},
		{"later", "shutdown -h +2 'dead man' | tee $WHERRY_ROOT/said; sleep 1000", "terminated", terminateOnShutdown},
		{"poweroff", "systemctl poweroff", "terminated", terminateOnShutdown},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := l.boot(c.script, c.change)
			l.wait(id)
			d := l.describe(id)
			if string(d.State.Name) != c.state || aws.ToString(d.StateReason.Code) != "Client.InstanceInitiatedShutdown" {
				t.Errorf("%s, %+v", d.State.Name, d.StateReason)
			}
			if n := l.hypervisor.Processes(id); n > 0 {
				t.Errorf("%d processes are left", n)
			}
			past, err := ec2.NewFromConfig(l.server.Admin(t, region)).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
			l.must(err)
			if s := past.Reservations[0].Instances[0].State.Name; string(s) != c.state {
				t.Errorf("in moto it is %s", s)
			}
		})
	}
}

func TestAShutdownCanBeCalledOffAndSetAnew(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{Minute: 200 * time.Millisecond})
	id := l.boot(`
shutdown -h +1
shutdown -c && echo called off
shutdown -h +1000000 | grep -o "Shutdown scheduled"
shutdown -h tomorrow; echo "tomorrow: $?"
shutdown --frob; echo "frob: $?"
touch $WHERRY_ROOT/asked
sleep 0.5; echo alive; shutdown -h now`, terminateOnShutdown)
	l.has(id, "asked")
	l.wait(id)
	for _, text := range []string{"called off", "Shutdown scheduled", "Failed to parse time specification: tomorrow", "tomorrow: 22", "frob: 22", "alive"} {
		l.says(id, text)
	}
}

func TestEverythingOfAMachineDiesWithIt(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	script := `
sleep 1000 &
setsid sleep 1000 &
setsid bash -c 'trap "" TERM HUP; nohup sleep 1000 & sleep 1000' &
env -i setsid sleep 1000 &
touch $WHERRY_ROOT/up
sleep 1000`
	admin := ec2.NewFromConfig(l.server.Admin(t, region))
	for name, end := range map[string]func(id string) (string, error){
		"terminated": func(id string) (string, error) {
			return "terminated", deleteAll(l, id)
		},
		"terminated past the proxy": func(id string) (string, error) {
			_, err := admin.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
			return "terminated", err
		},
		"stopped": func(id string) (string, error) {
			_, err := l.ec2.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}})
			return "stopped", err
		},
		"ended by EC2": func(id string) (string, error) {
			return "terminated", l.hypervisor.End(id, "terminated", sandbox.StateReason{Code: "Server.InternalError", Message: "Server.InternalError: Internal error on launch"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := l.boot(script)
			l.has(id, "up")
			l.until("all run", func() bool { return l.hypervisor.Processes(id) >= 7 })
			root, err := l.hypervisor.Root(id)
			l.must(err)
			state, err := end(id)
			l.must(err)
			l.wait(id)
			l.until("it is "+state, func() bool { return l.state(id) == state })
			if n := l.hypervisor.Processes(id); n > 0 {
				t.Errorf("%d processes are left", n)
			}
			if _, err := os.Stat(filepath.Dir(root)); !os.IsNotExist(err) {
				t.Errorf("its folder is left: %v", err)
			}
		})
	}
}

func TestAMachineThatIsTerminatedBeforeItBootsNeverRuns(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{Boot: time.Hour})
	id := l.boot("echo never")
	l.must(deleteAll(l, id))
	l.wait(id)
	if console, err := l.hypervisor.Console(id); err != nil || console != "" {
		t.Errorf("it said %q, %v", console, err)
	}
}

func TestConsoleOutputIsTheMachines(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, quick)
	id := l.boot("echo to stdout; echo to stderr >&2; head -c 70000 /dev/zero | tr '\\0' x; echo; echo last words; shutdown -h now", terminateOnShutdown)
	l.wait(id)
	out, err := l.ec2.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id})
	l.must(err)
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	l.must(err)
	if len(text) != 64<<10 || !strings.Contains(string(text), "last words") || strings.Contains(string(text), "stdout") {
		t.Errorf("%d bytes: …%s", len(text), text[max(0, len(text)-100):])
	}
}

func TestASpotInstanceGetsNoticeAndIsTakenBack(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{SpotNotice: time.Second})
	id := l.boot(`
at() { curl -s -H "X-aws-ec2-metadata-token: $token" -o $WHERRY_ROOT/tmp/answer -w '%{http_code}' $AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/$1; }
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token)
at instance-life-cycle >/dev/null; cat $WHERRY_ROOT/tmp/answer; echo
echo "at first $(at spot/instance-action)"; touch $WHERRY_ROOT/up
until [ $(at spot/instance-action) = 200 ]; do sleep 0.02; done
cat $WHERRY_ROOT/tmp/answer; sleep 1000`, func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
	})
	l.has(id, "up")
	l.must(l.hypervisor.Interrupt(id))
	l.says(id, `"action": "terminate"`)
	l.wait(id)
	l.says(id, "at first 404")
	l.says(id, "spot\n")
	d := l.describe(id)
	if d.State.Name != types.InstanceStateNameTerminated || aws.ToString(d.StateReason.Code) != "Server.SpotInstanceTermination" || d.InstanceLifecycle != types.InstanceLifecycleTypeSpot {
		t.Errorf("%s, %+v, %s", d.State.Name, d.StateReason, d.InstanceLifecycle)
	}
}

func TestAProcessOfAMachineCanBeKilled(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	id := l.boot("sleep 1234 & touch $WHERRY_ROOT/up; wait $!; echo \"ended with $?\"; sleep 1000")
	l.has(id, "up")
	l.until("it is killed", func() bool {
		n, err := l.hypervisor.Kill(id, "sleep 1234")
		l.must(err)
		return n == 1
	})
	l.says(id, "ended with 137")
}

func TestACutNetworkHangsAndGoesOnWhenItIsMended(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "the portal") }))
	t.Cleanup(portal.Close)
	l.hypervisor.Reach(portal.URL)
	id := l.boot(`
ask() { curl -s --max-time "$1" ` + portal.URL + `/; echo "$2: $?"; }
ask 10 whole; touch $WHERRY_ROOT/whole
until [ -e $WHERRY_ROOT/cut ]; do sleep 0.02; done
ask 0.3 cut; ask 20 mended & 
curl -s --max-time 0.3 $AWS_ENDPOINT_URL; echo "AWS: $?"; touch $WHERRY_ROOT/waits
sleep 1000`)
	l.has(id, "whole")
	l.says(id, "the portal\nwhole: 0")
	l.must(l.hypervisor.CutNetwork(id))
	root, err := l.hypervisor.Root(id)
	l.must(err)
	l.must(os.WriteFile(filepath.Join(root, "cut"), nil, 0o600))
	l.has(id, "waits")
	l.says(id, "cut: 28")
	l.says(id, "AWS: 28")
	l.must(l.hypervisor.MendNetwork(id))
	l.says(id, "the portal\nmended: 0")
}

func TestADiskCanBeFullAndFreeAgain(t *testing.T) {
	t.Parallel()
	if err := exec.Command("unshare", "--mount", "true").Run(); err != nil {
		t.Skip("mounting a disk of its own takes root")
	}
	l := newLabWithMachines(t, sandbox.Options{Disk: 4 << 20})
	id := l.boot(`
write() { (echo text > $WHERRY_ROOT/tmp/$1 && sync) 2>&1; [ -s $WHERRY_ROOT/tmp/$1 ] && echo "$1 written" || echo "$1 not written"; }
write before; touch $WHERRY_ROOT/up
until [ -e $WHERRY_ROOT/full ]; do sleep 0.02; done
n=0 # a new file each time: an old one has its place on the disk already
while n=$((n + 1)); ! write during-$n | grep 'not written'; do sleep 0.02; done
until [ ! -e $WHERRY_ROOT/full ]; do sleep 0.02; done
write after; sleep 1000`)
	l.has(id, "up")
	l.must(l.hypervisor.FillDisk(id))
	l.says(id, "not written")
	l.must(l.hypervisor.FreeDisk(id))
	l.says(id, "after written")
	root, err := l.hypervisor.Root(id)
	l.must(err)
	l.must(deleteAll(l, id))
	l.wait(id)
	if mounts, err := os.ReadFile("/proc/mounts"); err != nil || strings.Contains(string(mounts), root) {
		t.Errorf("its disk is still mounted (%v)", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h, err := sandbox.NewHypervisor(l.proxy, sandbox.Options{Dir: t.TempDir()})
	l.must(err)
	l.hypervisor = h
	id := l.boot("touch $WHERRY_ROOT/up; setsid sleep 1000")
	stopped := l.boot("shutdown -h now")
	l.wait(stopped)
	l.has(id, "up")
	root, err := h.Root(id)
	l.must(err)
	l.must(h.Close())
	if n := h.Processes(id); n > 0 {
		t.Errorf("%d processes are left", n)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(root))); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	for _, id := range []string{id, stopped} {
		if s := l.state(id); s != "terminated" {
			t.Errorf("the instance is %s", s)
		}
	}
}

// The test binary plays a test that has booted a machine and is killed.
func TestMachinesDieWithTheTestBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv("SANDBOX_BOOT_AND_DIE") != "" {
		l := newLabWithMachines(t, sandbox.Options{})
		id := l.boot("sleep 1000 & setsid sleep 1000 & echo $! > $WHERRY_ROOT/tmp/pid; mv $WHERRY_ROOT/tmp/pid $WHERRY_ROOT/pid; wait")
		root, err := l.hypervisor.Root(id)
		l.must(err)
		fmt.Println("booted", l.has(id, "pid"), root)
		time.Sleep(time.Minute)
	}
	awstest.Moto(t) // skips or fails where there is none
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "SANDBOX_BOOT_AND_DIE=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	var pid int
	var root string
	if _, err := fmt.Fscanf(out, "booted %d %s\n", &pid, &root); err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) != nil {
		t.Fatal("the machine's process does not run")
	}
	cmd.Process.Kill()
	cmd.Wait()
	l := &lab{T: t}
	l.until("the machine's processes are gone", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	l.until("the machine's folder is gone", func() bool {
		_, err := os.Stat(filepath.Dir(filepath.Dir(root)))
		return os.IsNotExist(err)
	})
}

func TestManyMachinesComeAndGo(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, quick)
	var ids []string
	for range 20 {
		ids = append(ids, l.boot("echo up; shutdown -h +1; sleep 1000", terminateOnShutdown))
	}
	for _, id := range ids {
		l.wait(id)
		if s := l.state(id); s != "terminated" {
			t.Errorf("%s is %s", id, s)
		}
	}
	if left := l.hypervisor.Running(); len(left) > 0 {
		t.Errorf("%v run on", left)
	}
}

// A machine's addresses are gone with it.
func TestAMachinesServicesEndWithIt(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	id := l.boot("touch $WHERRY_ROOT/up; sleep 1000")
	l.has(id, "up")
	address, err := l.hypervisor.Metadata(id)
	l.must(err)
	l.must(deleteAll(l, id))
	l.wait(id)
	if c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://")); err == nil {
		c.Close()
		t.Error("the metadata service answers on")
	}
}

func TestMachinesMaySeeTheirRootsAtOnePath(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("it takes the right to mount")
	}
	at := t.TempDir()
	l := newLabWithMachines(t, sandbox.Options{At: at})
	const script = `echo "$WHERRY_ROOT" >"$WHERRY_ROOT/where"; while [ ! -e "$WHERRY_ROOT/over" ]; do sleep 0.1; done`
	for _, id := range []string{l.boot(script), l.boot(script)} {
		root, err := l.hypervisor.Root(id)
		l.must(err)
		l.until("the machine wrote into its own root", func() bool {
			text, _ := os.ReadFile(filepath.Join(root, "where"))
			return string(text) == at+"\n"
		})
	}
	if seen, err := os.ReadDir(at); err != nil || len(seen) > 0 {
		t.Errorf("the host sees %v there, %v", seen, err)
	}
}
