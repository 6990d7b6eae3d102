package sandbox

import (
	"sync"
	"time"
)

// StateReason is why an instance is in its state, as DescribeInstances tells it. The codes are listed in the EC2 API
// reference under StateReason.
type StateReason struct{ Code, Message string }

// Reasons that tests meet often.
var (
	// ReasonShutdown is of an instance that was shut down from inside.
	ReasonShutdown = StateReason{"Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"}
	// ReasonUser is of one that was stopped or terminated by a call.
	ReasonUser = StateReason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
	// ReasonSpot is of a Spot Instance that EC2 took back.
	ReasonSpot = StateReason{"Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Instance terminated due to Spot interruption"}
	// ReasonLaunchKey is of an instance whose disk has a key that it may not use, among others.
	ReasonLaunchKey = StateReason{"Client.InternalError", "Client.InternalError: Client error on launch"}
	// ReasonLaunchCapacity is of one for which the room was gone after it was accepted.
	ReasonLaunchCapacity = StateReason{"Server.InsufficientInstanceCapacity", "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request"}
	// ReasonVolumes is of one whose disks went over the account's quota.
	ReasonVolumes = StateReason{"Client.VolumeLimitExceeded", "Client.VolumeLimitExceeded: Volume limit exceeded"}
)

// stateCodes are the numbers that go with the states' names.
var stateCodes = map[string]string{"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48", "stopping": "64", "stopped": "80"}

// change is a state and since when an instance is in it.
type change struct {
	at     time.Time
	name   string
	reason StateReason
}

// ending tells whether the state is on the way to an end or there.
func (c change) ending() bool { return c.name != "pending" && c.name != "running" }

// instance is what the sandbox knows of an instance beside what moto knows. EC2's states take time and have reasons, and
// moto's do not.
type instance struct {
	id, region string
	call       Call // call is the RunInstances that made it

	mu      sync.Mutex
	changes []change // in order of time; the last may lie ahead
	// machine is what runs for it; nil where nothing does. booted is the same, and stays when that is gone.
	machine, booted *machine
}

// instances are all that were launched through proxies before a server.
type instances struct {
	mu   sync.Mutex
	byID map[string]*instance
	// tokens are the RunInstances calls by the scope in which their client tokens hold.
	tokens map[tokenScope]*tokenUse
	zones  map[string]string // zones tells the Availability Zones of subnets
}

func newInstances() *instances {
	return &instances{byID: map[string]*instance{}, tokens: map[tokenScope]*tokenUse{}, zones: map[string]string{}}
}

func (s *instances) get(id string) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

func (s *instances) add(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[i.id] = i
}

// become moves an instance on to a state from now on. What lay ahead comes no more. One that is terminated stays so.
func (i *instance) become(name string, reason StateReason) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	for len(i.changes) > 0 && i.changes[len(i.changes)-1].at.After(now) {
		i.changes = i.changes[:len(i.changes)-1]
	}
	if n := len(i.changes); n > 0 && i.changes[n-1].name == "terminated" {
		return
	}
	i.changes = append(i.changes, change{now, name, reason})
}

// at is the state at a time; false when the instance was not there yet.
func (i *instance) at(t time.Time) (c change, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, next := range i.changes {
		if next.at.After(t) {
			break
		}
		c, known = next, true
	}
	return c, known
}

// end takes note that moto has ended the instance. Where a machine runs, it goes down first.
func (i *instance) end(name string, reason StateReason) {
	now, _ := i.at(time.Now())
	if now.name == name || now.name == "terminated" || now.name == "shutting-down" {
		return
	}
	i.mu.Lock()
	m := i.machine
	i.mu.Unlock()
	if m == nil {
		i.become(name, reason)
		return
	}
	go m.goDown(name, reason, false)
}

// console is what the instance's machine said.
func (i *instance) console() []byte {
	i.mu.Lock()
	m := i.booted
	i.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.consoleTail()
}

// show writes the state into an instance of an answer, where the element of that name has it.
func (c change) show(item *element, state string) {
	item.set(stateCodes[c.name], state, "code")
	item.set(c.name, state, "name")
	if c.reason.Code == "" {
		return
	}
	item.set(c.reason.Code, "stateReason", "code")
	item.set(c.reason.Message, "stateReason", "message")
	said := ""
	switch c.reason {
	case ReasonUser:
		said = "User initiated"
	case ReasonSpot:
		said = "Server.SpotInstanceTermination"
	}
	if said != "" {
		said += c.at.UTC().Format(" (2006-01-02 15:04:05 MST)")
	}
	item.set(said, "reason")
}
