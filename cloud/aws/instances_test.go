package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

func (w *machineWorld) describe(id, instanceID string) cloud.Instance {
	w.t.Helper()
	i, err := w.aws.Describe(w.t.Context(), w.env, w.machine(id, instanceID))
	must(w.t, err)
	if i.MachineID != id {
		w.t.Errorf("%+v is not of the machine %s", i, id)
	}
	return i
}

// fresh lets the next question be asked anew.
func (w *machineWorld) fresh() {
	w.aws.instances.forget(instancesKey{w.env.CredentialsID, w.env.Region})
}

// askedAgo makes a placement say that EC2 was asked so long ago.
func (w *machineWorld) askedAgo(id string, ago time.Duration) {
	w.t.Helper()
	p, err := readPlacement(w.kept[id])
	must(w.t, err)
	p.Asked = time.Now().Add(-ago)
	w.kept[id] = p.String()
}

func TestTheLifeOfAMachineAsEC2ShowsIt(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t, func(c *Config) { c.Price = func(string, string, bool) (int64, bool) { return 1, false } })
	id := platform.NewID()
	if i := w.describe(id, ""); i.Status != cloud.StatusGone || i.Reason != "" {
		t.Errorf("before it was asked for it is %+v", i)
	}
	started, err := w.start(id)
	must(t, err)
	for _, known := range []string{"", started.InstanceID} { // the answer may have been lost
		w.fresh()
		i := w.describe(id, known)
		if i.Status != cloud.StatusRunning || i.InstanceID != started.InstanceID || time.Since(i.Started) > time.Minute || i.Hardware != started.Hardware || i.Hardware.HourMicroUSD != 1 {
			t.Errorf("running it is %+v", i)
		}
	}
	list, err := w.aws.List(t.Context(), w.env)
	must(t, err)
	if len(list) != 1 || list[0].MachineID != id || list[0].InstanceID != started.InstanceID {
		t.Errorf("listed are %+v", list)
	}
	for range 2 { // it may be repeated
		must(t, w.aws.Terminate(t.Context(), w.env, w.machine(id, started.InstanceID)))
	}
	i := w.describe(id, started.InstanceID)
	if i.Status != cloud.StatusGone || i.Interrupted {
		t.Errorf("ended it is %+v", i)
	}
	says(t, i.Reason, "somebody ended the instance in AWS", "(Client.UserInitiatedShutdown)")
	if list, err = w.aws.List(t.Context(), w.env); err != nil || len(list) != 0 {
		t.Errorf("listed are %+v (%v)", list, err)
	}
	ended := 0
	for _, c := range w.proxy.Calls() {
		if c.Operation == "TerminateInstances" {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d calls to end it", ended)
	}
}

func TestWhatWasJustAskedForIsPendingUntilItShouldBeShown(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	for _, instanceID := range []string{"", "i-0123456789abcdef0"} { // with an id, EC2 says that it does not know it
		id := platform.NewID()
		w.failWith("RunInstances", awstest.Fault{When: awstest.Before, Kind: awstest.Drop})
		_, err := w.start(id)
		kind(t, err, cloud.KindTransient)
		w.proxy.Fail(nil)
		for ago, want := range map[time.Duration]cloud.Status{0: cloud.StatusPending, time.Minute: cloud.StatusPending, -time.Minute: cloud.StatusPending,
			3 * time.Minute: cloud.StatusGone, -24 * time.Hour: cloud.StatusGone} {
			w.askedAgo(id, ago)
			if i := w.describe(id, instanceID); i.Status != want {
				t.Errorf("asked for %s ago, it is %+v", ago, i)
			}
		}
		w.failWith("RunInstances", refusal("VcpuLimitExceeded", "no"))
		_, err = w.start(id)
		kind(t, err, cloud.KindCapacity)
		w.proxy.Fail(nil)
		if i := w.describe(id, instanceID); i.Status != cloud.StatusGone {
			t.Errorf("refused, it is %+v", i)
		}
	}
	w.kept["bad"] = "{"
	_, err := w.aws.Describe(t.Context(), w.env, w.machine("bad", ""))
	kind(t, err, cloud.KindInvalid)
}

func TestAnInstanceWithoutItsTagsIsStillFoundAndEnded(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	started, err := w.start(id)
	must(t, err)
	_, err = w.ec2().DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{started.InstanceID}, Tags: []types.Tag{
		{Key: awssdk.String(tagPortal)}, {Key: awssdk.String(tagMachine)}}})
	must(t, err)
	if i := w.describe(id, started.InstanceID); i.Status != cloud.StatusRunning {
		t.Errorf("it is %+v", i)
	}
	must(t, w.aws.Terminate(t.Context(), w.env, w.machine(id, started.InstanceID)))
	if i := w.describe(id, started.InstanceID); i.Status != cloud.StatusGone {
		t.Errorf("ended it is %+v", i)
	}
}

func TestAStoppedInstanceIsOnItsWayOut(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	started, err := w.start(id)
	must(t, err)
	_, err = w.ec2().StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{started.InstanceID}})
	must(t, err)
	if i := w.describe(id, started.InstanceID); i.Status != cloud.StatusStopping || i.Reason != "somebody stopped the instance in AWS" {
		t.Errorf("it is %+v", i)
	}
	if list, err := w.aws.List(t.Context(), w.env); err != nil || len(list) != 1 {
		t.Errorf("listed are %+v (%v)", list, err)
	}
	must(t, w.aws.Terminate(t.Context(), w.env, w.machine(id, started.InstanceID)))
	if i := w.describe(id, started.InstanceID); i.Status != cloud.StatusGone {
		t.Errorf("ended it is %+v", i)
	}
}

// TestTwoInstancesOfAMachineAreSeenAndEnded is what must never be, unless somebody copies an instance with its tags.
func TestTwoInstancesOfAMachineAreSeenAndEnded(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	started, err := w.start(id)
	must(t, err)
	copied, err := w.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{MinCount: awssdk.Int32(1), MaxCount: awssdk.Int32(1), ImageId: awssdk.String("ami-03cf127a"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
			{Key: awssdk.String(tagPortal), Value: &w.portalID}, {Key: awssdk.String(tagEnvironment), Value: &w.env.ID}, {Key: awssdk.String(tagMachine), Value: &id}}}}})
	must(t, err)
	other := awssdk.ToString(copied.Instances[0].InstanceId)
	for _, known := range []string{started.InstanceID, other} {
		w.fresh()
		if i := w.describe(id, known); i.InstanceID != known {
			t.Errorf("of %s it shows %s", known, i.InstanceID)
		}
	}
	if list, err := w.aws.List(t.Context(), w.env); err != nil || len(list) != 2 {
		t.Errorf("listed are %+v (%v)", list, err)
	}
	must(t, w.aws.Terminate(t.Context(), w.env, w.machine(id, started.InstanceID)))
	if list, err := w.aws.List(t.Context(), w.env); err != nil || len(list) != 0 {
		t.Errorf("left are %+v (%v)", list, err)
	}
}

func TestAnInstanceWithoutAMachineIsEndedAlone(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	var ids []string
	for range 2 {
		started, err := w.start(platform.NewID())
		must(t, err)
		ids = append(ids, started.InstanceID)
	}
	_, err := w.ec2().DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: ids, Tags: []types.Tag{{Key: awssdk.String(tagMachine)}}})
	must(t, err)
	must(t, w.aws.Terminate(t.Context(), w.env, platform.Machine{InstanceID: ids[0]}))
	list, err := w.aws.List(t.Context(), w.env)
	must(t, err)
	if len(list) != 1 || list[0].InstanceID != ids[1] || list[0].MachineID != "" {
		t.Errorf("left are %+v", list)
	}
}

func TestOnlyThePortalsOwnInstancesAreListed(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	_, err := w.start(id)
	must(t, err)
	env := func(id string) platform.ComputeEnv { e := w.env; e.ID = id; return e }
	known := func(ids ...string) func(context.Context, string) bool {
		return func(_ context.Context, id string) bool { return slices.Contains(ids, id) }
	}
	for name, c := range map[string]struct {
		env   platform.ComputeEnv
		known func(context.Context, string) bool
		want  int
	}{
		"its own environment":                     {w.env, known(w.env.ID, "other"), 1},
		"another one of the portal":               {env("other"), known(w.env.ID, "other"), 0},
		"another, when its own is not there":      {env("other"), known("other"), 1},
		"another, when nobody knows environments": {env("other"), nil, 1},
	} {
		w.aws.KnownEnv = c.known
		list, err := w.aws.List(t.Context(), c.env)
		must(t, err)
		if len(list) != c.want {
			t.Errorf("%s lists %+v", name, list)
		}
	}
	w.aws = w.portal(nil, quickly) // another portal in the same account
	if list, err := w.aws.List(t.Context(), w.env); err != nil || len(list) != 0 {
		t.Errorf("another portal lists %+v (%v)", list, err)
	}
}

func TestAllPagesOfInstancesAreRead(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	for range 3 {
		_, err := w.start(platform.NewID())
		must(t, err)
	}
	cfg, err := w.aws.session(t.Context(), w.env.CredentialsID, region)
	must(t, err)
	list, err := describeInstances(t.Context(), cfg, &ec2.DescribeInstancesInput{MaxResults: awssdk.Int32(1), Filters: []types.Filter{filter("tag:"+tagPortal, w.portalID)}})
	if err != nil || len(list) != 3 {
		t.Errorf("%d instances (%v)", len(list), err)
	}
}

// untilGone waits until a machine that was ended is shown to be gone: what was read a moment before may be told for a moment.
func (w *machineWorld) untilGone(m platform.Machine) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		i, err := w.aws.Describe(w.t.Context(), w.env, m)
		if err == nil && i.Status == cloud.StatusGone {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("it is %+v (%v)", i, err)
		}
	}
}

// TestAnyFaultOfAnEndEndsTheMachineAllTheSame fails each call of it.
func TestAnyFaultOfAnEndEndsTheMachineAllTheSame(t *testing.T) {
	t.Parallel()
	all, tried := newMachineWorld(t), 0
	for name, fault := range launchFaults {
		for _, operation := range []string{"DescribeInstances", "TerminateInstances"} {
			for _, idKnown := range []bool{true, false} {
				tried++
				t.Run(fmt.Sprintf("%s at %s, id known %v", name, operation, idKnown), func(t *testing.T) {
					t.Parallel()
					w := &machineWorld{world: all.another(t), portalID: all.portalID, kept: map[string]string{}}
					w.env.Config = all.env.Config
					w.again()
					id := platform.NewID()
					started, err := w.start(id)
					must(t, err)
					m := w.machine(id, "")
					if idKnown {
						m.InstanceID = started.InstanceID
					}
					w.failWith(operation, fault)
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					if fault.Kind == awstest.Hang {
						ctx, cancel = context.WithTimeout(ctx, 400*time.Millisecond)
						defer cancel()
					}
					if err := w.aws.Terminate(ctx, w.env, m); err == nil {
						_, err = w.aws.Describe(ctx, w.env, m)
						if err == nil && operation == "DescribeInstances" {
							t.Error("the fault was not noticed")
						}
					} else if k := cloud.KindOf(err); k != cloud.KindTransient && k != cloud.KindThrottled {
						t.Errorf("%v is %s", err, k)
					}
					w.proxy.Fail(nil)
					w.again()
					must(t, w.aws.Terminate(t.Context(), w.env, m))
					w.untilGone(m)
				})
			}
		}
	}
	t.Logf("%d faults tried", tried)
}

func TestAnInstanceThatEC2DoesNotKnowHasEnded(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	for _, id := range []string{"", "i-0123456789abcdef0", "no id at all"} {
		must(t, w.aws.Terminate(t.Context(), w.env, w.machine(platform.NewID(), id)))
	}
}

func TestAProtectedInstanceIsTold(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	started, err := w.start(id)
	must(t, err)
	w.failWith("TerminateInstances", refusal("OperationNotPermitted", "The instance may not be terminated. Modify its 'disableApiTermination' instance attribute and try again."))
	e := kind(t, w.aws.Terminate(t.Context(), w.env, w.machine(id, "")), cloud.KindTransient)
	says(t, e.Message, started.InstanceID, "protected it", "termination protection")
}

func TestEveryEndHasItsOwnWords(t *testing.T) {
	t.Parallel()
	type i = types.Instance
	state := func(name types.InstanceStateName) *types.InstanceState { return &types.InstanceState{Name: name} }
	reason := func(code, message string) *types.StateReason {
		return &types.StateReason{Code: &code, Message: &message}
	}
	ended := state(types.InstanceStateNameTerminated)
	for name, c := range map[string]struct {
		instance    types.Instance
		says        string
		interrupted bool
	}{
		"by a person":     {i{State: ended, StateReason: reason("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")}, "somebody ended the instance in AWS, or a program did (Client.UserInitiatedShutdown)", false},
		"stopped":         {i{State: state(types.InstanceStateNameStopped), StateReason: reason("Client.UserInitiatedShutdown", "")}, "somebody stopped the instance in AWS", false},
		"by itself":       {i{State: ended, StateReason: reason("Client.InstanceInitiatedShutdown", "")}, "the machine shut itself down (Client.InstanceInitiatedShutdown)", false},
		"Spot":            {i{State: ended, StateReason: reason("Server.SpotInstanceTermination", "")}, "EC2 took the Spot instance back for others (Server.SpotInstanceTermination)", true},
		"Spot, stopping":  {i{State: state(types.InstanceStateNameStopping), StateReason: reason("Server.SpotInstanceShutdown", "")}, "EC2 took the Spot instance back", true},
		"Spot, by change": {i{State: ended, StateTransitionReason: awssdk.String("Server.SpotInstanceTermination: Spot Instance termination")}, "EC2 took the Spot instance back", true},
		"key of the disk": {i{State: ended, StateReason: reason("Client.InternalError", "Client.InternalError: Client error on launch")}, "encrypted with a key that may not be used", false},
		"quota of disks":  {i{State: ended, StateReason: reason("Client.VolumeLimitExceeded", "")}, "quota of disks", false},
		"no snapshot":     {i{State: ended, StateReason: reason("Client.InvalidSnapshot.NotFound", "")}, "the snapshot of its image", false},
		"no room":         {i{State: ended, StateReason: reason("Server.InsufficientInstanceCapacity", "")}, "no room for the instance after all", false},
		"EC2 itself":      {i{State: ended, StateReason: reason("Server.InternalError", "")}, "for a reason of its own", false},
		"retired host":    {i{State: state(types.InstanceStateNameStopped), StateReason: reason("Server.ScheduledStop", "")}, "its host is to be retired", false},
		"unknown code":    {i{State: ended, StateReason: reason("Server.Odd", "Server.Odd: Something odd happened.")}, "EC2 says: Something odd happened", false},
		"only a change":   {i{State: ended, StateTransitionReason: awssdk.String("User initiated (2026-01-02 03:04:05 GMT)")}, "somebody ended the instance", false},
		"an odd change":   {i{State: ended, StateTransitionReason: awssdk.String("Odd.")}, "EC2 says: Odd", false},
		"nothing":         {i{State: ended}, "", false},
		"nothing at all":  {i{}, "", false},
	} {
		got, interrupted := endReason(c.instance)
		if interrupted != c.interrupted || !strings.Contains(got, c.says) || (c.says == "") != (got == "") || strings.HasSuffix(got, ".") {
			t.Errorf("%s: %q, interrupted %v", name, got, interrupted)
		}
	}
}

func TestEveryStateOfAnInstanceHasAStatus(t *testing.T) {
	t.Parallel()
	for name, want := range map[types.InstanceStateName]cloud.Status{"pending": cloud.StatusPending, "running": cloud.StatusRunning, "shutting-down": cloud.StatusStopping,
		"stopping": cloud.StatusStopping, "stopped": cloud.StatusStopping, "terminated": cloud.StatusGone, "odd": cloud.StatusPending} {
		if got := statusOfInstance(types.Instance{State: &types.InstanceState{Name: name}}); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if got := statusOfInstance(types.Instance{}); got != cloud.StatusPending {
		t.Errorf("without a state it is %s", got)
	}
}
