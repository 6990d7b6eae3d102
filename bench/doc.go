// Package bench measures what users wait for. Its benchmarks print tables of median and 99th percentile; nothing in them
// passes or fails by time, because machines differ. `make bench` runs them.
package bench
