package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Proxy stands before a Server, records what is called and makes calls fail. It says no in AWS's words where moto has its
// own or fails, and to AssumeRole for a role that Server.Role did not make and without an External ID that is demanded. Of
// EC2 it keeps what moto does not: client tokens, states that take time and have reasons, and consoles.
type Proxy struct {
	URL string // URL is the endpoint for the clients under test.

	server *Server
	moto   *http.Transport
	front  *http.Server
	busy   sync.WaitGroup // calls under way
	ended  chan struct{}  // closed at the end, to let go of calls that hang

	mu       sync.Mutex
	calls    []*Call
	fail     func(Call) Fault
	withheld []string
	// What Doom, Stale, AsOf and Hide have set.
	doom   func(Call) StateReason
	stale  time.Duration
	moment time.Time
	hidden []string
	// hypervisor boots what is launched; nil where nothing is booted.
	hypervisor *Hypervisor
}

// NewProxy starts a proxy before a server.
func NewProxy(s *Server) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// An answer goes on as it came, compressed or not.
	p := &Proxy{URL: "http://" + listener.Addr().String(), server: s, moto: &http.Transport{DisableCompression: true}, ended: make(chan struct{})}
	p.front = &http.Server{Handler: http.HandlerFunc(p.serve)}
	go p.front.Serve(listener)
	return p, nil
}

// Close ends the proxy, and calls that hang with it.
func (p *Proxy) Close() {
	close(p.ended)
	p.front.Close()
	p.busy.Wait()
	p.moto.CloseIdleConnections()
}

// Calls is the calls in the order in which they came. One that is still under way has no status yet.
func (p *Proxy) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Call, len(p.calls))
	for i, c := range p.calls {
		list[i] = *c
	}
	return list
}

// Forget makes Calls empty.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
}

// Fail asks f about each call from now on. Calls made at the same time ask at the same time. With nil none fails.
func (p *Proxy) Fail(f func(Call) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = f
}

// Withhold refuses each call that needs one of these actions, also those that moto does not check. With none it refuses
// nothing.
func (p *Proxy) Withhold(actions ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.withheld = slices.Clone(actions)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.busy.Add(1)
	defer p.busy.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	c := parse(r, body)
	record, f := p.note(c)
	if f.When == Before {
		p.suffer(w, r, record, f)
		return
	}
	a := p.effect(r, c, body)
	if f.When == After {
		p.suffer(w, r, record, f)
		return
	}
	p.give(w, record, a)
}

// note records a call and asks for its fault.
func (p *Proxy) note(c Call) (*Call, Fault) {
	p.mu.Lock()
	record := &c
	p.calls = append(p.calls, record)
	asked, fail := *record, p.fail
	p.mu.Unlock()
	if fail == nil {
		return record, Fault{}
	}
	return record, fail(asked) // without the lock: it may ask for Calls
}

// suffer lets the client meet a fault.
func (p *Proxy) suffer(w http.ResponseWriter, r *http.Request, record *Call, f Fault) {
	if f.Kind == ErrorAnswer {
		p.give(w, record, f.answer(*record, p.server.owner(record.KeyID)))
		return
	}
	if f.Kind == Hang {
		select {
		case <-r.Context().Done():
		case <-p.ended:
		}
	}
	panic(http.ErrAbortHandler) // closes the connection without an answer
}

// give answers the client. The record is complete before the client has its answer.
func (p *Proxy) give(w http.ResponseWriter, record *Call, a answer) {
	p.mu.Lock()
	record.Status, record.ErrorCode = a.status, errorCode(a)
	p.mu.Unlock()
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// effect is what the call does and what comes of it: a refusal, or what moto answers.
func (p *Proxy) effect(r *http.Request, c Call, body []byte) answer {
	if action := p.refused(c); action != "" {
		return p.denied(c, action)
	}
	a, err := p.pass(r, c, body)
	if err != nil {
		return answer{http.StatusBadGateway, http.Header{}, []byte(err.Error())}
	}
	if needs := c.Needs(); len(needs) > 0 && errorCode(a) == "AccessDenied" {
		return p.denied(c, needs[0]) // moto answers for every service as IAM does
	}
	if c.Service == "sts" && a.status == http.StatusOK {
		p.learn(a)
	}
	if c.Operation == "RemoveRoleFromInstanceProfile" && a.status == http.StatusInternalServerError {
		// moto fails where the role is not in the profile, and IAM says that it is not.
		gone := Fault{Code: "NoSuchEntity", Status: http.StatusNotFound, Message: "The role is not in the instance profile."}
		return gone.answer(c, "")
	}
	return a
}

func (p *Proxy) denied(c Call, action string) answer {
	return Denied(action, c.resource(action)).answer(c, p.server.owner(c.KeyID))
}

// refused is the action for which a call is refused, if it is.
func (p *Proxy) refused(c Call) string {
	if c.Service == "sts" && c.Operation == "AssumeRole" && !p.trusted(c) {
		return "sts:AssumeRole"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, action := range c.Needs() {
		if slices.Contains(p.withheld, action) {
			return action
		}
	}
	return ""
}

// trusted makes up for what moto lets pass: a role that there is not, and one that demands an External ID and gets none. A
// wrong External ID moto refuses itself.
func (p *Proxy) trusted(c Call) bool {
	document, known := p.server.trust(c.Params.Get("RoleArn"))
	return known && (c.Params.Has("ExternalId") || !strings.Contains(document, "sts:ExternalId"))
}

// pass lets a call through to moto, over what makes up for moto where it is not as EC2.
func (p *Proxy) pass(r *http.Request, c Call, body []byte) (answer, error) {
	if c.Service != "ec2" {
		return p.forward(r, body)
	}
	r = r.WithContext(context.WithoutCancel(r.Context())) // AWS goes on, too, when the client has gone away
	switch c.Operation {
	case "RunInstances":
		return p.runInstances(r, c, body)
	case "DescribeInstances":
		return p.describeInstances(r, c, body)
	case "TerminateInstances", "StopInstances":
		return p.endInstances(r, c, body)
	case "GetConsoleOutput":
		return p.consoleOutput(r, c, body)
	}
	return p.forward(r, body)
}

// forward asks moto. It does so to the end even when the client has gone away, as AWS would.
func (p *Proxy) forward(r *http.Request, body []byte) (answer, error) {
	target, err := url.Parse(p.server.URL)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callLimit)
	defer cancel()
	out := r.Clone(ctx) // with the Host that the client signed
	out.URL.Scheme, out.URL.Host, out.RequestURI = target.Scheme, target.Host, ""
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	out.Header.Del("Connection")
	out.Header.Del("Expect") // the whole body is here already
	in, err := p.moto.RoundTrip(out)
	if err != nil {
		return answer{}, err
	}
	defer in.Body.Close()
	text, err := io.ReadAll(in.Body)
	header := in.Header.Clone()
	header.Del("Connection")
	return answer{in.StatusCode, header, text}, err
}

var (
	sessionKey = regexp.MustCompile(`<AccessKeyId>([^<]+)</AccessKeyId>`)
	sessionARN = regexp.MustCompile(`<Arn>([^<]+)</Arn>`)
)

// learn notes who a session is.
func (p *Proxy) learn(a answer) {
	key, arn := sessionKey.FindSubmatch(a.body), sessionARN.FindSubmatch(a.body)
	if key != nil && arn != nil {
		p.server.own(string(key[1]), string(arn[1]))
	}
}

var xmlCode = regexp.MustCompile(`<Code>([^<]+)</Code>`)

// errorCode is the code of an answer that is an error. S3 gives none where an answer has no body; then it is the status.
func errorCode(a answer) string {
	if a.status < http.StatusBadRequest {
		return ""
	}
	if found := xmlCode.FindSubmatch(a.body); found != nil {
		return string(found[1])
	}
	var object struct {
		Type string `json:"__type"`
	}
	if json.Unmarshal(a.body, &object) == nil && object.Type != "" {
		return object.Type[strings.LastIndex(object.Type, "#")+1:]
	}
	return strconv.Itoa(a.status)
}
