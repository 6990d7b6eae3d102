package sandbox

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ownFilters are the filters of DescribeInstances that moto does not have or answers by states of its own.
var ownFilters = map[string][]string{
	"instance-state-name": {"instanceState", "name"},
	"instance-state-code": {"instanceState", "code"},
	"state-reason-code":   {"stateReason", "code"},
	"client-token":        {"clientToken"},
	"instance-lifecycle":  {"instanceLifecycle"},
}

// describeInstances answers with the states that instances have here, as of some time ago where a test wants that.
func (p *Proxy) describeInstances(r *http.Request, c Call, body []byte) (answer, error) {
	a, err := p.forward(r, body) // it also says whether the caller may
	if err != nil || a.status >= http.StatusBadRequest && a.status < http.StatusInternalServerError {
		return a, err
	}
	params, filters := takeFilters(c.Params)
	if len(filters) > 0 {
		if a, err = p.server.ask(r.Context(), "ec2", c.Region, params); err != nil || a.status != http.StatusOK {
			return a, err
		}
	}
	root, err := parseElement(a.body)
	if err != nil {
		return answer{}, err
	}
	p.observe(root)
	when := p.now()
	for _, id := range c.instanceIDs() {
		if i := p.server.ec2.get(id); i != nil && !p.visible(i, when) {
			return unknownInstance(c, id), nil
		}
	}
	reservations := root.child("reservationSet")
	if reservations == nil {
		return a, nil
	}
	for _, reservation := range reservations.Children {
		if set := reservation.child("instancesSet"); set != nil {
			set.Children = p.showStates(set.Children, when)
			set.Children = slices.DeleteFunc(set.Children, func(item *element) bool { return !matches(item, filters) })
		}
	}
	reservations.Children = slices.DeleteFunc(reservations.Children, func(e *element) bool { return len(e.items("instancesSet")) == 0 })
	return rewritten(root)
}

// observe takes note of what has ended in moto.
func (p *Proxy) observe(described *element) {
	for _, reservation := range described.items("reservationSet") {
		for _, item := range reservation.items("instancesSet") {
			i, state := p.server.ec2.get(item.text("instanceId")), item.text("instanceState", "name")
			if i != nil && (change{name: state}).ending() {
				i.end(state, StateReason{item.text("stateReason", "code"), item.text("stateReason", "message")})
			}
		}
	}
}

// showStates writes states into instances and leaves out those that were not there yet.
func (p *Proxy) showStates(items []*element, when time.Time) (shown []*element) {
	for _, item := range items {
		if i := p.server.ec2.get(item.text("instanceId")); i != nil {
			if !p.visible(i, when) {
				continue
			}
			state, _ := i.at(when)
			state.show(item, "instanceState")
		}
		shown = append(shown, item)
	}
	return shown
}

// visible tells whether DescribeInstances knows an instance.
func (p *Proxy) visible(i *instance, when time.Time) bool {
	_, known := i.at(when)
	p.mu.Lock()
	defer p.mu.Unlock()
	return known && !slices.Contains(p.hidden, i.id)
}

// now is the moment as of which DescribeInstances answers.
func (p *Proxy) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.moment.IsZero() {
		return p.moment
	}
	return time.Now().Add(-p.stale)
}

// unknownInstance is the answer for an id that is not there.
func unknownInstance(c Call, id string) answer {
	return Fault{Code: "InvalidInstanceID.NotFound", Message: "The instance ID '" + id + "' does not exist"}.answer(c, "")
}

var filterParam = regexp.MustCompile(`^Filter\.(\d+)\.(Name|Value)`)

// takeFilters takes those filters out of a call that are answered here. The others are counted anew: moto looks for no more
// after one that is missing.
func takeFilters(params url.Values) (rest url.Values, filters map[string][]string) {
	rest, filters = url.Values{}, map[string][]string{}
	places := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		part := filterParam.FindStringSubmatch(name)
		if part == nil {
			rest[name] = params[name]
			continue
		}
		filter := params.Get("Filter." + part[1] + ".Name")
		if ownFilters[filter] != nil {
			if part[2] == "Value" {
				filters[filter] = append(filters[filter], params[name]...)
			}
			continue
		}
		if places[part[1]] == "" {
			places[part[1]] = numbered("Filter", len(places))
		}
		rest[places[part[1]]+strings.TrimPrefix(name, "Filter."+part[1])] = params[name]
	}
	return rest, filters
}

// matches tells whether an instance passes filters.
func matches(item *element, filters map[string][]string) bool {
	for filter, values := range filters {
		if !slices.Contains(values, item.text(ownFilters[filter]...)) {
			return false
		}
	}
	return true
}

// endInstances passes on a call that ends instances, and lets the machines go down.
func (p *Proxy) endInstances(r *http.Request, c Call, body []byte) (answer, error) {
	a, err := p.forward(r, body)
	if err != nil || a.status != http.StatusOK {
		return a, err
	}
	state := map[string]string{"TerminateInstances": "terminated", "StopInstances": "stopped"}[c.Operation]
	root, err := parseElement(a.body)
	if err != nil {
		return answer{}, err
	}
	for _, item := range root.items("instancesSet") {
		if item.text("previousState", "name") == "terminated" { // moto would have it shut down again
			change{name: "terminated"}.show(item, "currentState")
		}
		i := p.server.ec2.get(item.text("instanceId"))
		if i == nil {
			continue
		}
		if before, known := i.at(time.Now()); known {
			before.reason = StateReason{}
			before.show(item, "previousState")
		}
		i.end(state, ReasonUser)
	}
	return rewritten(root)
}

// consoleOutput answers with what the machine said; moto says the same for every one.
func (p *Proxy) consoleOutput(r *http.Request, c Call, body []byte) (answer, error) {
	a, err := p.forward(r, body)
	i := p.server.ec2.get(c.Params.Get("InstanceId"))
	if err != nil || a.status != http.StatusOK || i == nil {
		return a, err
	}
	root, err := parseElement(a.body)
	if err != nil {
		return answer{}, err
	}
	root.set(base64.StdEncoding.EncodeToString(i.console()), "output")
	return rewritten(root)
}

// rewritten is an answer of EC2.
func rewritten(root *element) (answer, error) {
	text, err := root.bytes()
	return answer{http.StatusOK, http.Header{"Content-Type": {"text/xml;charset=UTF-8"}}, text}, err
}

// numbered is the name of a list's parameter, counted from 0.
func numbered(name string, n int) string {
	return strings.Join([]string{name, strconv.Itoa(n + 1)}, ".")
}
