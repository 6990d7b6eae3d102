package metrics

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

func TestTheTextIsThatOfPrometheus(t *testing.T) {
	t.Parallel()
	var r Registry
	c := r.Counter("a_total", "What is \\ counted\nhere.", "name")
	r.Counter("b_total", "Nothing yet.")
	r.Gauge("c", "A gauge.", func(context.Context) ([]Sample, error) { return One(1.5), nil })
	h := r.Histogram("d_seconds", "Times.", []float64{0.1, 1}, "route")
	r.Gauge("e", "It cannot be read.", func(context.Context) ([]Sample, error) { return nil, errors.New("the disk is gone") })
	r.CounterOf("f_total", "Counted elsewhere.", func(context.Context) ([]Sample, error) { return []Sample{{[]string{"x", "y"}, 1e15}}, nil }, "one", "two")
	c.Add("z")
	c.Add("with \"quotes\", \\ and \n")
	c.Add("z")
	for _, v := range []float64{0.05, 0.1, 0.5, 7} {
		h.Observe(v, "/runs/:run")
	}
	var out strings.Builder
	if err := r.Write(t.Context(), &out); err == nil || !strings.Contains(err.Error(), "e: the disk is gone") {
		t.Errorf("%v", err)
	}
	want := `# HELP a_total What is \\ counted\nhere.
# TYPE a_total counter
a_total{name="with \"quotes\", \\ and \n"} 1
a_total{name="z"} 2
# HELP b_total Nothing yet.
# TYPE b_total counter
b_total 0
# HELP c A gauge.
# TYPE c gauge
c 1.5
# HELP d_seconds Times.
# TYPE d_seconds histogram
d_seconds_bucket{route="/runs/:run",le="0.1"} 2
d_seconds_bucket{route="/runs/:run",le="1"} 3
d_seconds_bucket{route="/runs/:run",le="+Inf"} 4
d_seconds_sum{route="/runs/:run"} 7.65
d_seconds_count{route="/runs/:run"} 4
# HELP f_total Counted elsewhere.
# TYPE f_total counter
f_total{one="x",two="y"} 1e+15
`
	if out.String() != want {
		t.Errorf("it is\n%s\nand should be\n%s", out.String(), want)
	}
}

func TestManyCountAtOnce(t *testing.T) {
	t.Parallel()
	var r Registry
	c := r.Counter("a_total", "a", "x")
	h := r.Histogram("b", "b", []float64{1})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				c.Add("y")
				h.Observe(2)
				_ = r.Write(t.Context(), &strings.Builder{})
			}
		})
	}
	wg.Wait()
	var out strings.Builder
	if err := r.Write(t.Context(), &out); err != nil || !strings.Contains(out.String(), `a_total{x="y"} 4000`) || !strings.Contains(out.String(), "b_count 4000") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
