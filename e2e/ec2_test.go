package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/sandbox"
	"wherry/db"
	"wherry/platform"
)

// cloudSite is a portal whose AWS account boots what is launched in it, with a bucket and an environment that is available.
type cloudSite struct {
	*portal
	*account
	hypervisor *sandbox.Hypervisor
	owner      platform.Member
	creds      platform.Credentials
	env        platform.ComputeEnv
	bucket     string
}

// newCloudSite makes all that a launch on EC2 needs. change may change the environment before it is saved, and the machines.
func newCloudSite(t *testing.T, change func(*platform.ComputeEnv, *sandbox.Options), env ...string) *cloudSite {
	t.Helper()
	s := &cloudSite{account: newAccount(t), bucket: "rivers-" + strings.ToLower(platform.NewID())}
	// Machines have the Nextflow of this host, as those of an image that has one baked in.
	o := sandbox.Options{Commands: map[string]string{"nextflow": "#!/bin/sh\nexec '" + nextflow + "' \"$@\"\n"},
		Env: []string{"NXF_OPTS=-Xmx256m", "NXF_OFFLINE=true"}}
	if java, err := exec.LookPath("java"); err == nil {
		o.Tools = []string{filepath.Dir(java)}
	}
	e := platform.ComputeEnv{Name: "cloudy", Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://" + s.bucket + "/work",
		Status: platform.ComputeEnvCreating}
	e.Config.ResourceLabels = []platform.Label{{Name: "cost-centre", Value: "rivers"}}
	if change != nil {
		change(&e, &o)
	}
	s.makeBucket(t)
	s.hypervisor = awstest.NewHypervisor(t, s.account.proxy, o)
	addr := freeAddress(t)
	s.hypervisor.Reach("http://" + addr)
	s.portal = s.account.portal(append([]string{"WHERRY_AGENT_PORTAL=http://" + addr}, env...)...)
	s.owner = s.member()
	s.creds = s.credentials(s.owner, s.account)
	e.WorkspaceID, e.CredentialsID = s.owner.Workspace.ID, s.creds.ID
	must(t, e.Clean())
	must(t, s.db.AddComputeEnv(t.Context(), &e))
	s.env = e
	eventually(t, 30*time.Second, "the environment is available", func() bool { return s.envIs(e.ID, platform.ComputeEnvAvailable) })
	return s
}

func (s *cloudSite) makeBucket(t *testing.T) {
	t.Helper()
	client := s3.NewFromConfig(s.moto.Admin(t, "eu-west-1"), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &s.bucket,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	must(t, err)
}

// launchExample launches an example on the environment, from the folder that the image of the machines would have.
func (s *cloudSite) launchExample(name string, change func(*platform.Launch)) platform.Run {
	s.portal.t.Helper()
	l := platform.Launch{Pipeline: s.example(name), ParamsText: "passengers: [heron, otter, vole]\n"}
	if change != nil {
		change(&l)
	}
	return s.launch(s.owner, s.env, l)
}

// instance is the id of a run's instance, once it has one.
func (s *cloudSite) instance(runID string) string {
	s.portal.t.Helper()
	var m platform.Machine
	eventually(s.portal.t, 30*time.Second, "the run has an instance", func() bool {
		var err error
		m, err = s.db.MachineOfRun(s.portal.t.Context(), runID)
		must(s.portal.t, err)
		return m.InstanceID != ""
	})
	return m.InstanceID
}

// prints waits until a run's log has a text.
func (s *cloudSite) prints(runID, text string) {
	s.portal.t.Helper()
	eventually(s.portal.t, 90*time.Second, fmt.Sprintf("the run prints %q", text), func() bool {
		return strings.Contains(s.output(runID, platform.LogOutput), text)
	})
}

// steps are the timeline of a run's machine, in words.
func (s *cloudSite) steps(runID string) (list []string) {
	s.portal.t.Helper()
	steps, err := s.db.Steps(s.portal.t.Context(), must1(s.db.MachineOfRun(s.portal.t.Context(), runID))(s.portal.t).ID)
	must(s.portal.t, err)
	for _, st := range steps {
		list = append(list, st.At.Format("15:04:05 ")+strings.TrimSpace(st.Name+" "+st.Note))
	}
	return list
}

// nothingLeft fails the test if an instance or a volume of the portal is still there.
func (s *cloudSite) nothingLeft() {
	t := s.portal.t
	t.Helper()
	client := ec2.NewFromConfig(s.moto.Admin(t, "eu-west-1"))
	mine := types.Filter{Name: aws.String("tag:wherry:environment"), Values: []string{s.env.ID}}
	out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{mine}})
	must(t, err)
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if i.State.Name != types.InstanceStateNameTerminated {
				t.Errorf("the instance %s is %s", *i.InstanceId, i.State.Name)
			}
		}
	}
	if running := s.hypervisor.Running(); len(running) > 0 {
		t.Errorf("these machines run: %v", running)
	}
}

// object reads what a run keeps in S3.
func (s *cloudSite) object(key string) string {
	t := s.portal.t
	t.Helper()
	client := s3.NewFromConfig(s.moto.Admin(t, "eu-west-1"), func(o *s3.Options) { o.UsePathStyle = true })
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String("work/" + key)})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return ""
	}
	defer out.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(out.Body)
	must(t, err)
	return b.String()
}

// cloudWatch reads a stream of the environment's log group.
func (s *cloudSite) cloudWatch(stream string) string {
	t := s.portal.t
	t.Helper()
	out, err := cloudwatchlogs.NewFromConfig(s.moto.Admin(t, "eu-west-1")).GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String("/wherry/" + s.env.ID), LogStreamName: &stream, StartFromHead: aws.Bool(true)})
	must(t, err)
	var b strings.Builder
	for _, e := range out.Events {
		b.WriteString(*e.Message + "\n")
	}
	return b.String()
}

// TestARunHasItsOwnInstanceAndLeavesNothing follows a run on EC2 in the browser, from the click to an account that is as it was.
func TestARunHasItsOwnInstanceAndLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, func(e *platform.ComputeEnv, o *sandbox.Options) { o.Pending, o.Boot = time.Second, time.Second })
	page := newPage(t, "ERR_NAME_NOT_RESOLVED") // a report asks the internet for a script
	s.signIn(page)
	r := s.launchExample("crossing", func(l *platform.Launch) { l.RunName = "cloud_crossing" })
	_, err := page.Goto(s.url + "/runs/" + r.ID)
	must(t, err)
	shows(t, page, "h1", "cloud_crossing")
	shows(t, page, "#run-timeline", "requested")
	shows(t, page, "#run-head .badge", "RUNNING")
	inspect(t, page, "run-on-ec2")
	_, err = page.Goto(s.url + "/orgs/lab/workspaces/rivers/machines")
	must(t, err)
	shows(t, page, "main", "cloud_crossing")
	shows(t, page, "main", s.instance(r.ID))
	shows(t, page, "main", "m5d.large")
	inspect(t, page, "machines-on-ec2")
	_, err = page.Goto(s.url + "/runs/" + r.ID)
	must(t, err)
	shows(t, page, "#run-head .badge", "SUCCEEDED")
	shows(t, page, "log-view", "vole crossed in the bow")
	shows(t, page, "#run-timeline", "terminated")
	shows(t, page, "#run-head", "$0.0")
	inspect(t, page, "run-on-ec2-ended")

	r = s.wait(r.ID, time.Minute)
	steps := strings.Join(s.steps(r.ID), "\n")
	for _, name := range []string{platform.StepBooted, platform.StepAgentFetched, platform.StepAgentUp, platform.StepNextflowReady, platform.StepFirstTask, platform.StepKept} {
		if !strings.Contains(steps, name) {
			t.Errorf("the timeline has no step %q:\n%s", name, steps)
		}
	}
	output := s.output(r.ID, platform.LogOutput)
	if kept := s.object(platform.KeptFolder(r.ID) + "/" + platform.KeptOutput); kept != output {
		t.Errorf("in S3 the output is %q, and in the portal %q", kept, output)
	}
	if streamed := s.cloudWatch(r.ID + "/stdout"); !strings.Contains(streamed, "vole crossed in the bow") {
		t.Errorf("CloudWatch has %q", streamed)
	}
	task, err := s.db.Task(t.Context(), r.ID, 1)
	must(t, err)
	if !strings.HasPrefix(task.Workdir, s.env.WorkDir+"/") {
		t.Errorf("the task's folder is %s", task.Workdir)
	}
	_, err = page.Goto(s.url + "/orgs/lab/workspaces/rivers/runs/" + r.ID + "/tasks/1")
	must(t, err)
	click(t, page, "link", "Script")
	shows(t, page, "main", "#!/bin/bash -ue")
	_, err = page.Goto(s.url + "/orgs/lab/workspaces/rivers/runs/" + r.ID + "/reports")
	must(t, err)
	shows(t, page, "main", "timeline")
	inspect(t, page, "run-on-ec2-reports")
	s.tagged(r)
	s.nothingLeft()
	s.onlyPublished()
	s.hidesSecret(s.key.Secret, page)
}

func must1[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// tagged checks what RunInstances asked for.
func (s *cloudSite) tagged(r platform.Run) {
	t := s.portal.t
	t.Helper()
	launches := 0
	for _, c := range s.account.proxy.Calls() {
		if c.Operation != "RunInstances" {
			continue
		}
		launches++
		text := c.Params.Encode()
		for _, want := range []string{"InstanceInitiatedShutdownBehavior=terminate", "MetadataOptions.HttpTokens=required", "MetadataOptions.HttpPutResponseHopLimit=2",
			"DeleteOnTermination=true", "VolumeType=gp3", "ClientToken=", "wherry%3Arun", r.ID, "cost-centre", "instance-profile%2FTowerForge-" + s.env.ID} {
			if !strings.Contains(text, want) {
				t.Errorf("RunInstances has no %s: %s", want, text)
			}
		}
	}
	if launches != 1 {
		t.Errorf("there were %d launches", launches)
	}
}

// TestAPortalThatIsKilledLosesNothingOfARunOnEC2 kills it while the run's instance boots, while it works, and until after its end.
func TestAPortalThatIsKilledLosesNothingOfARunOnEC2(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, nil, "WHERRY_MACHINE_LIFETIME=45s") // so long the agent waits for its portal in the end
	r := s.launchExample("regatta", func(l *platform.Launch) { l.ParamsText = "boats: 40\n" })
	s.instance(r.ID)
	s.kill()
	s.start()
	s.prints(r.ID, "Submitted process")
	s.kill()
	time.Sleep(2 * time.Second)
	s.start()
	s.prints(r.ID, "boat 20 ")
	s.kill()
	eventually(t, 3*time.Minute, "the instance ends by itself", func() bool { return len(s.hypervisor.Running()) == 0 })
	s.start()
	r = s.wait(r.ID, time.Minute)
	if r.State != platform.RunSucceeded {
		t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	if kept := s.object(platform.KeptFolder(r.ID) + "/" + platform.KeptOutput); kept != s.output(r.ID, platform.LogOutput) {
		t.Errorf("the portal's log differs from the one that was kept:\n%s\n%s", s.output(r.ID, platform.LogOutput), kept)
	}
	tasks, _, err := s.db.Tasks(t.Context(), r.ID, db.TaskFilter{Limit: 1000})
	must(t, err)
	if n := len(tasks); n < 40 {
		t.Errorf("the portal knows of %d tasks", n)
	}
	s.nothingLeft()
}

// TestWhatEndsAnInstanceIsSaidOnItsRun kills, stops and takes away the instances of runs.
func TestWhatEndsAnInstanceIsSaidOnItsRun(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, func(e *platform.ComputeEnv, o *sandbox.Options) { e.Config.Spot, o.SpotNotice = true, 30*time.Second })
	for name, c := range map[string]struct {
		end   func(id string) error
		words string
	}{
		"its agent is killed": {func(id string) error { _, err := s.hypervisor.Kill(id, "var/lib/wherry/agent"); return err }, "The agent ended"},
		"somebody stops it": {func(id string) error {
			return s.hypervisor.End(id, "stopped", sandbox.ReasonUser)
		}, "stopped"},
	} {
		r := s.launchExample("regatta", func(l *platform.Launch) { l.ParamsText = "boats: 200\n" })
		s.prints(r.ID, "Submitted process")
		must(t, c.end(s.instance(r.ID)))
		if r = s.wait(r.ID, 90*time.Second); r.State != platform.RunFailed || !strings.Contains(r.ErrorMessage, c.words) {
			t.Errorf("%s: the run is %s: %s", name, r.State, r.ErrorMessage)
		}
	}
	s.nothingLeft()
}

// TestASpotInterruptionIsResumed takes the instance of a run away, with EC2's notice before.
func TestASpotInterruptionIsResumed(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, func(e *platform.ComputeEnv, o *sandbox.Options) {
		e.Config.Spot, e.Config.KeepForResume, o.SpotNotice = true, true, 40*time.Second
		o.At = t.TempDir() // Nextflow knows its work again by its path
	})
	r := s.launchExample("regatta", func(l *platform.Launch) { l.ParamsText, l.RelaunchInterrupted = "boats: 300\n", true })
	s.prints(r.ID, "boat 20 ")
	must(t, s.hypervisor.Interrupt(s.instance(r.ID)))
	r = s.wait(r.ID, 2*time.Minute)
	if r.State != platform.RunFailed || !strings.Contains(r.ErrorMessage, "Spot") || r.RelaunchedAs == "" {
		t.Fatalf("the run is %s: %s; launched again as %q", r.State, r.ErrorMessage, r.RelaunchedAs)
	}
	again := s.wait(r.RelaunchedAs, 3*time.Minute)
	if again.State != platform.RunSucceeded {
		t.Errorf("the run that took its place is %s: %s", again.State, again.ErrorMessage)
	}
	if n := strings.Count(s.output(again.ID, platform.LogOutput), "Cached process"); n < 15 {
		t.Errorf("%d tasks were there already; the first run's steps were %v, the second's %v", n, s.steps(r.ID), s.steps(again.ID))
	}
	s.nothingLeft()
}

// TestACancelEndsTheInstance and so does a launch that is not allowed, in its own words.
func TestACancelEndsTheInstance(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, nil)
	r := s.launchExample("regatta", nil)
	s.prints(r.ID, "Submitted process")
	must(t, s.db.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"))
	if r = s.wait(r.ID, time.Minute); r.State != platform.RunCancelled {
		t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	s.moto.SetPolicies(t, s.name, s.policies("ec2:RunInstances")...)
	r = s.launchExample("regatta", nil)
	if r = s.wait(r.ID, time.Minute); r.State != platform.RunFailed || !strings.Contains(r.ErrorMessage, "ec2:RunInstances") {
		t.Errorf("without the permission the run is %s: %s", r.State, r.ErrorMessage)
	}
	s.nothingLeft()
}

// TestAnInstanceThatEC2EndsAtOnceSaysWhy has a disk key that may not be used.
func TestAnInstanceThatEC2EndsAtOnceSaysWhy(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, nil)
	s.account.proxy.Doom(func(sandbox.Call) sandbox.StateReason {
		return sandbox.StateReason{Code: "Client.InternalError", Message: "Client.InternalError: Client error on launch"}
	})
	r := s.launchExample("crossing", nil)
	if r = s.wait(r.ID, time.Minute); r.State != platform.RunFailed || !strings.Contains(r.ErrorMessage, "key") {
		t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	s.nothingLeft()
}

// TestALaunchTakesAWarmInstance that waits since the launch before.
func TestALaunchTakesAWarmInstance(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, func(e *platform.ComputeEnv, o *sandbox.Options) { e.Config.WarmInstances, o.Boot = 1, 3*time.Second })
	first := s.launchExample("crossing", nil)
	var warm platform.Machine
	eventually(t, time.Minute, "a warm machine waits", func() bool {
		list, err := s.db.WarmMachines(t.Context(), s.env.ID)
		must(t, err)
		if len(list) != 1 || list[0].Heartbeat.IsZero() {
			return false
		}
		warm = list[0]
		return true
	})
	second := s.launchExample("crossing", nil)
	if m := must1(s.db.MachineOfRun(t.Context(), second.ID))(t); m.ID != warm.ID {
		t.Errorf("the run got the machine %s, and %s was warm", m.ID, warm.ID)
	}
	eventually(t, 30*time.Second, "the warm instance has the tags of its run", func() bool {
		out, err := ec2.NewFromConfig(s.moto.Admin(t, "eu-west-1")).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{
			Filters: []types.Filter{{Name: aws.String("tag:wherry:run"), Values: []string{second.ID}}}})
		must(t, err)
		return len(out.Reservations) == 1
	})
	for _, id := range []string{first.ID, second.ID} {
		if r := s.wait(id, 2*time.Minute); r.State != platform.RunSucceeded {
			t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
		}
	}
	must(t, s.db.DeleteComputeEnv(context.Background(), s.env.WorkspaceID, s.env.ID))
	eventually(t, time.Minute, "the environment and its warm machine are gone", func() bool { return s.envIs(s.env.ID, platform.ComputeEnvDeleted) })
	s.nothingLeft()
}

// TestANetworkThatIsCutForAWhileLosesNothing cuts an instance off from the portal and from AWS while its run goes on.
func TestANetworkThatIsCutForAWhileLosesNothing(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, nil)
	r := s.launchExample("regatta", func(l *platform.Launch) { l.ParamsText = "boats: 60\n" })
	s.prints(r.ID, "boat 5 ")
	id := s.instance(r.ID)
	must(t, s.hypervisor.CutNetwork(id))
	time.Sleep(15 * time.Second) // the run ends behind the cut
	must(t, s.hypervisor.MendNetwork(id))
	if r = s.wait(r.ID, 2*time.Minute); r.State != platform.RunSucceeded {
		t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	output := s.output(r.ID, platform.LogOutput)
	for boat := range 60 {
		if n := strings.Count(output, fmt.Sprintf("boat %d took", boat+1)); n != 1 {
			t.Errorf("boat %d is %d times in the log", boat+1, n)
		}
	}
	s.nothingLeft()
}

// TestAFullDiskFailsTheRunAndEndsTheInstance fills the disk of an instance while its run works.
func TestAFullDiskFailsTheRunAndEndsTheInstance(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a disk of a size takes the right to mount")
	}
	s := newCloudSite(t, func(_ *platform.ComputeEnv, o *sandbox.Options) { o.Disk = 512 << 20 })
	r := s.launchExample("regatta", func(l *platform.Launch) { l.ParamsText = "boats: 300\n" })
	s.prints(r.ID, "boat 5 ")
	must(t, s.hypervisor.FillDisk(s.instance(r.ID)))
	if r = s.wait(r.ID, 3*time.Minute); r.State != platform.RunFailed || !strings.Contains(r.ErrorMessage, "disk is full") {
		t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	s.nothingLeft()
}
