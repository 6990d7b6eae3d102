package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxTokenAge is the longest life of a metadata token, in seconds (EC2 user guide, "Use the Instance Metadata Service").
const maxTokenAge = 21600

// metadata is the metadata service of one machine. It answers as EC2's does, version 2, and version 1 only where the launch
// does not rule it out.
type metadata struct {
	url     string
	machine *machine
	server  *http.Server

	mu          sync.Mutex
	fixed       map[string]string    // fixed is what never changes, once it was asked for
	tokens      map[string]time.Time // when each ends
	credentials map[string]roleCredentials
	// interruption is when EC2 takes the instance back; zero while it does not.
	interruption time.Time
}

func serveMetadata(m *machine) (*metadata, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &metadata{url: "http://" + listener.Addr().String(), machine: m, tokens: map[string]time.Time{}, credentials: map[string]roleCredentials{}}
	routes := http.NewServeMux()
	routes.HandleFunc("PUT /latest/api/token", d.token)
	routes.HandleFunc("GET /latest/", d.get)
	routes.HandleFunc("POST /sandbox/shutdown", m.shutdownCommand)
	d.server = &http.Server{Handler: routes}
	go d.server.Serve(listener)
	return d, nil
}

func (d *metadata) close() { d.server.Close() }

// token gives a session's token. A request that came over a proxy gets none.
func (d *metadata) token(w http.ResponseWriter, r *http.Request) {
	age, err := strconv.Atoi(r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "", http.StatusForbidden)
		return
	case err != nil || age < 1 || age > maxTokenAge:
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	token := rand.Text()
	d.mu.Lock()
	d.tokens[token] = time.Now().Add(time.Duration(age) * time.Second)
	d.mu.Unlock()
	w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", strconv.Itoa(age))
	fmt.Fprint(w, token)
}

// admits tells whether a request may read.
func (d *metadata) admits(r *http.Request) bool {
	token := r.Header.Get("X-aws-ec2-metadata-token")
	if token == "" {
		return d.machine.instance.call.Params.Get("MetadataOptions.HttpTokens") != "required"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.tokens[token])
}

func (d *metadata) get(w http.ResponseWriter, r *http.Request) {
	if !d.admits(r) {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/latest"), "/")
	if path == "user-data" && len(d.machine.instance.call.UserData()) > 0 {
		w.Write(d.machine.instance.call.UserData())
		return
	}
	values, err := d.values(r, path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if value, known := values[path]; known {
		fmt.Fprint(w, value)
		return
	}
	if list := listing(values, path); len(list) > 0 {
		fmt.Fprint(w, strings.Join(list, "\n"))
		return
	}
	http.NotFound(w, r)
}

// listing is what there is below a path: folders end in a slash.
func listing(values map[string]string, path string) (list []string) {
	for name := range values {
		below, found := strings.CutPrefix(name, path+"/")
		if !found {
			continue
		}
		if first, _, folder := strings.Cut(below, "/"); folder {
			below = first + "/"
		}
		list = append(list, below)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// values is what the machine may know, by path. What the instance profile gives is asked for only where path leads there.
func (d *metadata) values(r *http.Request, path string) (map[string]string, error) {
	d.mu.Lock()
	if d.fixed == nil {
		var err error
		if d.fixed, err = d.machine.facts(r.Context()); err != nil {
			d.mu.Unlock()
			return nil, err
		}
	}
	values := maps.Clone(d.fixed)
	d.mu.Unlock()
	d.addInterruption(values)
	if path != "meta-data" && !strings.HasPrefix(path, "meta-data/iam") {
		return values, nil
	}
	return values, d.addProfile(r, values)
}

// facts are what never changes of an instance.
func (m *machine) facts(ctx context.Context) (map[string]string, error) {
	i := m.instance
	found, err := m.hypervisor.proxy.server.askEC2(ctx, i.region, "DescribeInstances", url.Values{"InstanceId.1": {i.id}})
	if err != nil {
		return nil, err
	}
	if len(found.items("reservationSet")) == 0 {
		return nil, fmt.Errorf("%s is not there", i.id)
	}
	e := found.items("reservationSet")[0].items("instancesSet")[0]
	values := map[string]string{
		"meta-data/ami-id":                      e.text("imageId"),
		"meta-data/hostname":                    e.text("privateDnsName"),
		"meta-data/instance-id":                 i.id,
		"meta-data/instance-life-cycle":         "on-demand",
		"meta-data/instance-type":               e.text("instanceType"),
		"meta-data/local-hostname":              e.text("privateDnsName"),
		"meta-data/local-ipv4":                  e.text("privateIpAddress"),
		"meta-data/placement/availability-zone": e.text("placement", "availabilityZone"),
		"meta-data/placement/region":            i.region,
		"meta-data/reservation-id":              found.items("reservationSet")[0].text("reservationId"),
		"meta-data/services/domain":             "amazonaws.com",
		"meta-data/services/partition":          "aws",
	}
	if i.call.Spot() {
		values["meta-data/instance-life-cycle"] = "spot"
	}
	values["dynamic/instance-identity/document"] = text(map[string]any{
		"accountId": account, "architecture": e.text("architecture"), "availabilityZone": e.text("placement", "availabilityZone"),
		"imageId": e.text("imageId"), "instanceId": i.id, "instanceType": e.text("instanceType"), "pendingTime": e.text("launchTime"),
		"privateIp": e.text("privateIpAddress"), "region": i.region, "version": "2017-09-30",
	})
	return values, nil
}

// addInterruption adds the notice of a Spot interruption, which is not there before it is given.
func (d *metadata) addInterruption(values map[string]string) {
	d.mu.Lock()
	at := d.interruption
	d.mu.Unlock()
	if at.IsZero() {
		return
	}
	when := at.UTC().Format(time.RFC3339)
	values["meta-data/spot/instance-action"] = text(map[string]string{"action": "terminate", "time": when})
	values["meta-data/spot/termination-time"] = when
}

// addProfile adds what the instance profile gives: the credentials of its role.
func (d *metadata) addProfile(r *http.Request, values map[string]string) error {
	server := d.machine.hypervisor.proxy.server
	p, err := server.profile(r.Context(), d.machine.instance.call.Params)
	if err != nil || p.arn == "" {
		return err
	}
	values["meta-data/iam/info"] = text(map[string]string{"Code": "Success", "LastUpdated": stamp(time.Now()), "InstanceProfileArn": p.arn, "InstanceProfileId": p.id})
	if p.role == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.credentials[p.role]
	if time.Until(c.Expiration) < 5*time.Minute { // EC2 has new ones ready that much before
		if c, err = server.assume(r.Context(), p.role, d.machine.instance.id); err != nil {
			return err
		}
		d.credentials[p.role] = c
	}
	values["meta-data/iam/security-credentials/"+p.role[strings.LastIndex(p.role, "/")+1:]] = text(map[string]string{
		"Code": "Success", "LastUpdated": stamp(c.Updated), "Type": "AWS-HMAC", "AccessKeyId": c.KeyID, "SecretAccessKey": c.Secret,
		"Token": c.Token, "Expiration": stamp(c.Expiration),
	})
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// text is a value as JSON.
func text(value any) string {
	out, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		panic(err) // maps of texts always marshal
	}
	return string(out)
}
