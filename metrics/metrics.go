// Package metrics counts what happens, and writes it in the text format of Prometheus:
// https://prometheus.io/docs/instrumenting/exposition_formats/
package metrics

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ContentType is that of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Registry is a list of metrics, written in the order in which they were added.
type Registry struct {
	mu   sync.Mutex
	list []metric
}

type metric interface {
	write(ctx context.Context, w io.Writer) error
}

// Sample is one value with the values of its metric's labels.
type Sample struct {
	Labels []string
	Value  float64
}

// about is what every metric has.
type about struct {
	name, help string
	labels     []string
}

func (r *Registry) add(m metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, m)
}

// Write writes every metric. One that cannot be read now is left out, so that the others are still heard; the errors are joined.
func (r *Registry) Write(ctx context.Context, w io.Writer) error {
	r.mu.Lock()
	list := slices.Clone(r.list)
	r.mu.Unlock()
	out := bufio.NewWriter(w)
	var failures []string
	for _, m := range list {
		if err := m.write(ctx, out); err != nil {
			failures = append(failures, err.Error())
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if len(failures) > 0 {
		return fmt.Errorf("metrics: %s", strings.Join(failures, "; "))
	}
	return nil
}

func (a about) head(w io.Writer, kind string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", a.name, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(a.help), a.name, kind)
}

// line writes one sample; more is a label beside the metric's own, or nothing.
func (a about) line(w io.Writer, suffix string, values []string, value float64, more ...string) {
	var pairs []string
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for i, label := range a.labels {
		pairs = append(pairs, label+`="`+escape.Replace(values[i])+`"`)
	}
	if len(more) == 2 {
		pairs = append(pairs, more[0]+`="`+more[1]+`"`)
	}
	labels := ""
	if len(pairs) > 0 {
		labels = "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(w, "%s%s%s %s\n", a.name, suffix, labels, number(value))
}

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// read is a metric that is read when it is asked for.
type read struct {
	about
	kind    string
	samples func(ctx context.Context) ([]Sample, error)
}

// Gauge adds values that go up and down, and are read when they are asked for.
func (r *Registry) Gauge(name, help string, samples func(ctx context.Context) ([]Sample, error), labels ...string) {
	r.add(read{about{name, help, labels}, "gauge", samples})
}

// CounterOf adds values that only go up, which something else counts.
func (r *Registry) CounterOf(name, help string, samples func(ctx context.Context) ([]Sample, error), labels ...string) {
	r.add(read{about{name, help, labels}, "counter", samples})
}

func (m read) write(ctx context.Context, w io.Writer) error {
	list, err := m.samples(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.head(w, m.kind)
	slices.SortFunc(list, func(a, b Sample) int { return slices.Compare(a.Labels, b.Labels) })
	for _, s := range list {
		m.line(w, "", s.Labels, s.Value)
	}
	return nil
}

// One is the sample of a metric without labels.
func One(value float64) []Sample { return []Sample{{Value: value}} }

// Counter counts, by the values of its labels.
type Counter struct {
	about
	mu     sync.Mutex
	counts map[string]*Sample
}

// Counter adds a counter. It is 0 until something is counted, also where it has labels.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	c := &Counter{about: about{name, help, labels}, counts: map[string]*Sample{}}
	r.add(c)
	return c
}

// Add counts one more.
func (c *Counter) Add(values ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := strings.Join(values, "\x00")
	if c.counts[key] == nil {
		c.counts[key] = &Sample{Labels: slices.Clone(values)}
	}
	c.counts[key].Value++
}

func (c *Counter) write(_ context.Context, w io.Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head(w, "counter")
	if len(c.labels) == 0 && len(c.counts) == 0 {
		c.line(w, "", nil, 0)
	}
	for _, key := range slices.Sorted(maps.Keys(c.counts)) {
		c.line(w, "", c.counts[key].Labels, c.counts[key].Value)
	}
	return nil
}

// Histogram counts values by how large they are.
type Histogram struct {
	about
	bounds []float64
	mu     sync.Mutex
	series map[string]*series
}

type series struct {
	labels []string
	counts []uint64 // one for each bound: values up to it and above the one before; the last is for those above all
	sum    float64
}

// Histogram adds a histogram with the upper bounds of its buckets, in order.
func (r *Registry) Histogram(name, help string, bounds []float64, labels ...string) *Histogram {
	h := &Histogram{about: about{name, help, labels}, bounds: bounds, series: map[string]*series{}}
	r.add(h)
	return h
}

// Observe counts one value.
func (h *Histogram) Observe(value float64, labels ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := strings.Join(labels, "\x00")
	s := h.series[key]
	if s == nil {
		s = &series{labels: slices.Clone(labels), counts: make([]uint64, len(h.bounds)+1)}
		h.series[key] = s
	}
	i, _ := slices.BinarySearch(h.bounds, value)
	s.counts[i]++
	s.sum += value
}

func (h *Histogram) write(_ context.Context, w io.Writer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.head(w, "histogram")
	for _, key := range slices.Sorted(maps.Keys(h.series)) {
		s, total := h.series[key], uint64(0)
		for i, n := range s.counts {
			total += n
			bound := math.Inf(1)
			if i < len(h.bounds) {
				bound = h.bounds[i]
			}
			h.line(w, "_bucket", s.labels, float64(total), "le", number(bound))
		}
		h.line(w, "_sum", s.labels, s.sum)
		h.line(w, "_count", s.labels, float64(total))
	}
	return nil
}
