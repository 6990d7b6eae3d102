package sandbox

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxUserData is the most user data that EC2 takes, in bytes before base64 (EC2 user guide, "Instance user data").
const maxUserData = 16 << 10

// tokenScope is where a client token may be used once. With a subnet or a zone in the call that is the Availability Zone, and
// else the region (EC2 developer guide, "RunInstances idempotency").
type tokenScope struct{ region, zone, token string }

// tokenUse is a RunInstances with a client token. done is closed when it is answered; ids are empty when it failed.
type tokenUse struct {
	params string
	done   chan struct{}
	ids    []string
}

// runInstances keeps two promises of EC2 that moto does not keep: a client token launches once, and a profile that IAM does
// not know is told as EC2 tells it. Who repeats a call is not checked again.
func (p *Proxy) runInstances(r *http.Request, c Call, body []byte) (answer, error) {
	if f, err := p.invalidLaunch(r, c); err != nil || f.When != None {
		return f.answer(c, ""), err
	}
	token := c.Params.Get("ClientToken")
	if token == "" {
		a, _, err := p.launch(r, c, body)
		return a, err
	}
	scope := tokenScope{c.Region, p.zone(r, c), token}
	for {
		use, mine := p.server.ec2.claim(scope, c.Params.Encode())
		if mine {
			a, ids, err := p.launch(r, c, body)
			p.server.ec2.settle(scope, use, ids)
			return a, err
		}
		select {
		case <-use.done:
		case <-p.ended:
			return answer{}, http.ErrServerClosed
		}
		if len(use.ids) > 0 {
			return p.repeat(r, c, use)
		}
	}
}

// claim returns the use of a client token, and whether it is this one.
func (s *instances) claim(scope tokenScope, params string) (use *tokenUse, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if use := s.tokens[scope]; use != nil {
		return use, false
	}
	use = &tokenUse{params: params, done: make(chan struct{})}
	s.tokens[scope] = use
	return use, true
}

// settle says what came of a call. One that launched nothing has not used its token.
func (s *instances) settle(scope tokenScope, use *tokenUse, ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if use.ids = ids; len(ids) == 0 {
		delete(s.tokens, scope)
	}
	close(use.done)
}

// repeat answers a call whose client token has launched already. The codes are in the EC2 API reference, "Error codes".
func (p *Proxy) repeat(r *http.Request, c Call, use *tokenUse) (answer, error) {
	if use.params != c.Params.Encode() {
		f := Fault{Code: "IdempotentParameterMismatch", Message: "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."}
		return f.answer(c, ""), nil
	}
	params := url.Values{}
	for n, id := range use.ids {
		params.Set(numbered("InstanceId", n), id)
		if now, known := p.server.ec2.get(id).at(time.Now()); known && now.name == "terminated" {
			f := Fault{Code: "IdempotentInstanceTerminated", Message: "The client token '" + c.Params.Get("ClientToken") + "' belongs to an instance that has been terminated."}
			return f.answer(c, ""), nil
		}
	}
	found, err := p.server.askEC2(r.Context(), c.Region, "DescribeInstances", params)
	if err != nil {
		return answer{}, err
	}
	list := found.items("reservationSet")
	if len(list) == 0 {
		return answer{}, errors.New("moto has forgotten the instance of a client token")
	}
	answered := list[0] // a reservation has what RunInstances answers
	answered.XMLName.Local, answered.Attrs = "RunInstancesResponse", found.Attrs
	p.showStates(answered.items("instancesSet"), time.Now())
	return rewritten(answered)
}

// launch asks moto and takes note of what it launched.
func (p *Proxy) launch(r *http.Request, c Call, body []byte) (answer, []string, error) {
	a, err := p.forward(r, body)
	if err != nil {
		return answer{}, nil, err
	}
	if errorCode(a) == "NoSuchEntity" { // of the instance profile; EC2 has words of its own for it
		return unknownProfile(c).answer(c, ""), nil, nil
	}
	if a.status != http.StatusOK {
		return a, nil, nil
	}
	root, err := parseElement(a.body)
	if err != nil {
		return answer{}, nil, err
	}
	var ids []string
	for _, item := range root.items("instancesSet") {
		i := &instance{id: item.text("instanceId"), region: c.Region, call: c}
		ids = append(ids, i.id)
		if err := p.begin(i); err != nil {
			return answer{}, ids, err
		}
		change{name: "pending"}.show(item, "instanceState")
	}
	a, err = rewritten(root)
	return a, ids, err
}

// begin lets an instance begin: it is pending, then it runs and is booted, or it ends at once where a test wants that.
func (p *Proxy) begin(i *instance) error {
	p.mu.Lock()
	hypervisor, doom := p.hypervisor, p.doom
	p.mu.Unlock()
	i.become("pending", StateReason{})
	p.server.ec2.add(i)
	if doom != nil {
		if reason := doom(i.call); reason.Code != "" {
			i.become("terminated", reason)
			return p.server.endInMoto(i, "TerminateInstances")
		}
	}
	if hypervisor == nil {
		i.become("running", StateReason{})
		return nil
	}
	return hypervisor.boot(i)
}

// invalidLaunch is what is wrong with a launch that moto takes.
func (p *Proxy) invalidLaunch(r *http.Request, c Call) (Fault, error) {
	data, err := base64.StdEncoding.DecodeString(c.Params.Get("UserData"))
	switch {
	case err != nil:
		return Fault{When: Before, Code: "InvalidUserData.Malformed", Message: "Invalid BASE64 encoding of user data."}, nil
	case len(data) > maxUserData:
		return Fault{When: Before, Code: "InvalidParameterValue", Message: "User data is limited to 16384 bytes"}, nil
	}
	profile, err := p.server.profile(r.Context(), c.Params)
	if err == nil && profile.arn != "" && profile.role == "" {
		return Fault{When: Before, Code: "InvalidParameterValue", Message: "IAM Instance Profile \"" + profile.arn + "\" has no associated IAM Roles"}, nil
	}
	return Fault{}, err
}

// unknownProfile is the answer to a launch with an instance profile that IAM does not know, or not yet.
func unknownProfile(c Call) Fault {
	for _, by := range []struct{ param, field, word string }{
		{"IamInstanceProfile.Arn", "iamInstanceProfile.arn", "ARN"},
		{"IamInstanceProfile.Name", "iamInstanceProfile.name", "name"},
	} {
		if value := c.Params.Get(by.param); value != "" {
			return Fault{Code: "InvalidParameterValue", Message: "Value (" + value + ") for parameter " + by.field + " is invalid. Invalid IAM Instance Profile " + by.word}
		}
	}
	return Fault{Code: "InvalidParameterValue", Message: "Invalid IAM Instance Profile"}
}

// Subnet is that in which a RunInstances wants its instances; empty where it names none.
func (c Call) Subnet() string {
	for name, values := range c.Params {
		if name == "SubnetId" || strings.HasPrefix(name, "NetworkInterface.") && strings.HasSuffix(name, ".SubnetId") {
			return values[0]
		}
	}
	return ""
}

// zone is the Availability Zone that a launch names, by itself or by its subnet.
func (p *Proxy) zone(r *http.Request, c Call) string {
	if zone := c.Params.Get("Placement.AvailabilityZone"); zone != "" {
		return zone
	}
	subnet := c.Subnet()
	if subnet == "" {
		return ""
	}
	s := p.server.ec2
	s.mu.Lock()
	zone := s.zones[subnet]
	s.mu.Unlock()
	if zone != "" {
		return zone
	}
	found, err := p.server.askEC2(r.Context(), c.Region, "DescribeSubnets", url.Values{"SubnetId.1": {subnet}})
	if err != nil || len(found.items("subnetSet")) == 0 {
		return "" // moto will say that there is no such subnet
	}
	zone = found.items("subnetSet")[0].text("availabilityZone")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[subnet] = zone
	return zone
}

// UserData is the user data of a RunInstances, decoded.
func (c Call) UserData() []byte {
	data, _ := base64.StdEncoding.DecodeString(c.Params.Get("UserData")) // it was checked before it was launched
	return data
}

// Spot tells whether a RunInstances wants Spot Instances.
func (c Call) Spot() bool { return c.Params.Get("InstanceMarketOptions.MarketType") == "spot" }

// instanceIDs are those that a call names.
func (c Call) instanceIDs() (ids []string) {
	for name, values := range c.Params {
		if strings.HasPrefix(name, "InstanceId.") {
			ids = append(ids, values...)
		}
	}
	slices.Sort(ids)
	return ids
}
