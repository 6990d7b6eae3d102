package sandbox

import (
	"net/http"
	"slices"
	"time"
)

// What EC2 says when there is no room, in its words.

// NoCapacity is the answer when a zone has no instances of a type left.
func NoCapacity(instanceType, zone string) Fault {
	return Fault{When: Before, Code: "InsufficientInstanceCapacity", Status: http.StatusInternalServerError,
		Message: "We currently do not have sufficient " + instanceType + " capacity in the Availability Zone you requested (" + zone +
			"). Our system will be working on provisioning additional capacity. You can currently get " + instanceType +
			" capacity by not specifying an Availability Zone in your request or choosing another one."}
}

// TooManyInstances is the answer when the account's quota of instances is used up.
func TooManyInstances() Fault {
	return Fault{When: Before, Code: "InstanceLimitExceeded",
		Message: "You have requested more instances (21) than your current instance limit of 20 allows for the specified instance type. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."}
}

// TooManyCPUs is the answer when the account's quota of virtual CPUs is used up.
func TooManyCPUs() Fault {
	return Fault{When: Before, Code: "VcpuLimitExceeded",
		Message: "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."}
}

// TooManySpot is the answer when the account's quota of Spot Instances is used up.
func TooManySpot() Fault {
	return Fault{When: Before, Code: "MaxSpotInstanceCountExceeded", Message: "Max spot instance count exceeded"}
}

// Full makes launches fail that are in one of these subnets or of one of these types. For Proxy.Fail.
func Full(f Fault, subnetsOrTypes ...string) func(Call) Fault {
	return func(c Call) Fault {
		if c.Service == "ec2" && c.Operation == "RunInstances" &&
			(slices.Contains(subnetsOrTypes, c.Subnet()) || slices.Contains(subnetsOrTypes, c.Params.Get("InstanceType"))) {
			return f
		}
		return Fault{}
	}
}

// Doom asks f about each launch from now on: where it gives a reason, the instance is accepted and terminated at once with
// it. With nil none is.
func (p *Proxy) Doom(f func(Call) StateReason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doom = f
}

// Stale makes DescribeInstances answer as of so long ago. What was launched since is not known to it.
func (p *Proxy) Stale(age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stale = age
}

// AsOf makes DescribeInstances answer as of a moment; with the zero time, as of now again.
func (p *Proxy) AsOf(moment time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moment = moment
}

// Hide keeps instances out of what DescribeInstances answers, until it is called again. With none it hides nothing.
func (p *Proxy) Hide(instanceIDs ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hidden = slices.Clone(instanceIDs)
}

// Instances are the ids of all instances that were launched through this proxy's server and are not terminated.
func (s *Server) Instances() (ids []string) {
	s.ec2.mu.Lock()
	defer s.ec2.mu.Unlock()
	for id, i := range s.ec2.byID {
		if c, _ := i.at(time.Now()); c.name != "terminated" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
