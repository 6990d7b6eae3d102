// Package prices knows the instance types of EC2 and what an hour of each costs in each region: a table that ships with the
// release, and what `wherry prices refresh` has put beside it into the data folder.
package prices

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"

	"wherry/platform"
)

//go:generate go run generate.go

// shipped is the table of the release. README.md says where it comes from.
//
//go:embed prices.json.gz
var shipped []byte

// Document is the form of a file of prices: JSON, compressed with gzip. The shipped one has every region, one of a refresh
// has one.
type Document struct {
	Source  string                  `json:"source"`
	Types   []platform.InstanceType `json:"types"`
	Regions map[string]*Region      `json:"regions"` // by the region's name
}

// Region is the prices of one region as of one moment.
type Region struct {
	At    time.Time       `json:"at"`
	Hours map[string]Hour `json:"hours"` // by the type's name
}

// Hour is what an hour costs On-Demand under Linux, and what it typically costs as Spot; zero is unknown.
type Hour [2]platform.Money

// OnDemand is the price that is always there.
func (h Hour) OnDemand() platform.Money { return h[0] }

// Spot is a typical price, or zero.
func (h Hour) Spot() platform.Money { return h[1] }

var (
	typeForm   = regexp.MustCompile(`^[a-z0-9-]{2,30}\.[a-z0-9-]{2,30}$`)
	regionForm = regexp.MustCompile(`^[a-z]{2}-[a-z]+-[0-9]$`)
)

const (
	// dearest is a bound on the price of an hour: ten times that of the dearest type of 2025.
	dearest = 10_000_000_000 * platform.Money(1)
	// largestDocument bounds a file of prices once it is unpacked, in bytes.
	largestDocument = 64 << 20
)

// IsRegion tells whether a name has the form of a commercial region's name.
func IsRegion(name string) bool { return regionForm.MatchString(name) }

// check finds what no true table has.
func (d Document) check() error {
	known := map[string]bool{}
	for _, t := range d.Types {
		if !typeForm.MatchString(t.Name) || t.CPUs < 1 || t.CPUs > 1<<16 || t.MemoryMiB < 1 || t.MemoryMiB > 1<<30 || t.GPUs < 0 || t.DiskGB < 0 {
			return fmt.Errorf("the type %+v is not plausible", t)
		}
		known[t.Name] = true
	}
	for name, r := range d.Regions {
		if !regionForm.MatchString(name) || r == nil || r.At.IsZero() || len(r.Hours) == 0 {
			return fmt.Errorf("the region %q has no date or no prices", name)
		}
		for t, h := range r.Hours {
			if !known[t] || h.OnDemand() <= 0 || h.OnDemand() > dearest || h.Spot() < 0 || h.Spot() > dearest {
				return fmt.Errorf("the price %v of %s in %s is not plausible", h, t, name)
			}
		}
	}
	if len(d.Regions) == 0 {
		return errors.New("there are no regions")
	}
	return nil
}

// Write writes the document as a file's content.
func (d Document) Write(w io.Writer) error {
	if err := d.check(); err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(z).Encode(d), z.Close())
}

// readDocument reads a file's content.
func readDocument(r io.Reader) (d Document, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return d, err
	}
	text, err := io.ReadAll(io.LimitReader(z, largestDocument+1))
	if err != nil {
		return d, err
	}
	if len(text) > largestDocument {
		return d, errors.New("it is too large")
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, err
	}
	return d, d.check()
}

// shippedTable is read once. It is not changed after that: others are copies.
var shippedTable = sync.OnceValue(func() *Table {
	d, err := readDocument(bytes.NewReader(shipped))
	if err != nil {
		panic(err) // it is embedded
	}
	t := &Table{types: map[string]platform.InstanceType{}, regions: map[string]*Region{}, refreshed: map[string]bool{}}
	t.add(d)
	return t
})
