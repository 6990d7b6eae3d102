package prices

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wherry/platform"
)

// The limits of a price list. A line of a true one has under 2 KB.
const (
	longestLine = 1 << 20
	headerLines = 20 // a few of metadata, and then the names of columns
)

// columns are those that are read of a price list. AWS's user guide for billing has the form of the file under "Reading the
// service price list file for an AWS service": five lines about the file, then the names of the columns, then the prices.
var columns = []string{"TermType", "Unit", "PricePerUnit", "Currency", "Product Family", "Instance Type", "Current Generation",
	"Instance Family", "vCPU", "Physical Processor", "Memory", "Storage", "Tenancy", "Operating System", "operation",
	"CapacityStatus", "GPU", "Pre Installed S/W", "Region Code"}

// wanted is what a row of the On-Demand price of an instance under Linux says. "Used" leaves out what is charged for
// capacity that is reserved and idle; "RunInstances" alone is Linux without software to pay for.
var wanted = map[string]string{"TermType": "OnDemand", "Unit": "Hrs", "Currency": "USD", "Tenancy": "Shared",
	"Operating System": "Linux", "operation": "RunInstances", "CapacityStatus": "Used", "Pre Installed S/W": "NA"}

// priceList is what was read of a price list so far.
type priceList struct {
	region  string
	at      time.Time
	columns map[string]int // nil: their names were not read yet
	types   map[string]platform.InstanceType
	hours   map[string]Hour
}

// readPriceList reads AWS's price list of EC2 in one region, which has several hundred MB, line by line.
func readPriceList(r io.Reader, region string) (Document, error) {
	l := &priceList{region: region, types: map[string]platform.InstanceType{}, hours: map[string]Hour{}}
	source := &failingReader{r: r}
	lines := bufio.NewScanner(source)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	number := 0
	for lines.Scan() {
		number++
		if err := l.line(lines.Bytes()); err != nil {
			return Document{}, fmt.Errorf("line %d: %w", number, cmp.Or(source.err, err))
		}
		if l.columns == nil && number >= headerLines {
			break
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return Document{}, fmt.Errorf("this is not a price list: line %d is longer than %d bytes", number+1, longestLine)
		}
		return Document{}, fmt.Errorf("after line %d: %w", number, err)
	}
	return l.document()
}

// failingReader remembers why reading failed: the last line before that is not whole, and the reason is not in it.
type failingReader struct {
	r   io.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// line takes one line. Most are of reservations and of other systems, and are passed over without being parsed.
func (l *priceList) line(line []byte) error {
	if l.columns != nil && !(bytes.Contains(line, []byte("Linux")) && bytes.Contains(nthField(line, l.columns["TermType"]), []byte("OnDemand"))) {
		return nil
	}
	fields, err := csv.NewReader(bytes.NewReader(line)).Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil // an empty line
	case err != nil:
		return fmt.Errorf("this is not a price list: %w", err)
	case l.columns == nil:
		return l.header(fields)
	case len(fields) != len(l.columns):
		return fmt.Errorf("it has %d fields, and there are %d columns", len(fields), len(l.columns))
	}
	return l.row(func(name string) string { return fields[l.columns[name]] })
}

// nthField is the n-th field of a line, with its quotes.
func nthField(line []byte, n int) []byte {
	start, quoted := 0, false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted && n == 0:
			return line[start:i]
		case c == ',' && !quoted:
			start, n = i+1, n-1
		}
	}
	if n > 0 {
		return nil
	}
	return line[start:]
}

func (l *priceList) header(fields []string) (err error) {
	switch fields[0] {
	case "Publication Date":
		if len(fields) != 2 {
			return errors.New("it has no date")
		}
		if l.at, err = time.Parse(time.RFC3339, fields[1]); err != nil {
			return fmt.Errorf("the date of publication is %q: %w", fields[1], err)
		}
	case "SKU":
		l.columns = map[string]int{}
		for i, name := range fields {
			l.columns[name] = i
		}
		if len(l.columns) != len(fields) {
			return errors.New("two columns have the same name")
		}
		for _, name := range columns {
			if _, ok := l.columns[name]; !ok {
				return fmt.Errorf("the price list has no column %q; its form has changed, and this version of Wherry cannot read it", name)
			}
		}
	}
	return nil
}

// row takes the price of a row, if it is one of those that are wanted.
func (l *priceList) row(field func(string) string) error {
	for name, value := range wanted {
		if field(name) != value {
			return nil
		}
	}
	if !strings.HasPrefix(field("Product Family"), "Compute Instance") || field("Region Code") != l.region {
		return nil
	}
	dollars, err := strconv.ParseFloat(field("PricePerUnit"), 64)
	if err != nil || math.IsNaN(dollars) {
		return fmt.Errorf("the price is %q", field("PricePerUnit"))
	}
	if dollars == 0 {
		return nil // what is paid for in advance, such as blocks of capacity
	}
	t, err := readType(field)
	if err != nil {
		return err
	}
	l.types[t.Name] = t
	// Of two prices the higher one counts, so that a cost is not told too low.
	if price := platform.USD(min(dollars, dearest.USD()+1)); price > l.hours[t.Name].OnDemand() {
		l.hours[t.Name] = Hour{price}
	}
	return nil
}

func (l *priceList) document() (Document, error) {
	switch {
	case l.columns == nil:
		return Document{}, fmt.Errorf("this is not a price list: its first %d lines have no names of columns", headerLines)
	case l.at.IsZero():
		return Document{}, errors.New("the price list has no date of publication")
	case len(l.hours) == 0:
		return Document{}, fmt.Errorf("the price list has no prices for %s", l.region)
	}
	d := Document{Source: "AWS Price List", Regions: map[string]*Region{l.region: {At: l.at.UTC(), Hours: l.hours}}}
	for _, name := range slices.Sorted(maps.Keys(l.types)) {
		d.Types = append(d.Types, l.types[name])
	}
	return d, d.check()
}

// readType reads what a row says of the instance type. Types that the shipped table has are better known from there.
func readType(field func(string) string) (platform.InstanceType, error) {
	t := platform.InstanceType{Name: field("Instance Type"), Previous: field("Current Generation") == "No",
		ARM64: strings.Contains(field("Physical Processor"), "Graviton"), DiskGB: readDisk(field("Storage"))}
	var err error
	if t.CPUs, err = strconv.Atoi(field("vCPU")); err != nil {
		return t, fmt.Errorf("%s has %q CPUs", t.Name, field("vCPU"))
	}
	memory, ok := strings.CutSuffix(strings.ReplaceAll(field("Memory"), ",", ""), " GiB")
	gib, err := strconv.ParseFloat(memory, 64)
	if !ok || err != nil || !(gib > 0 && gib < 1<<20) {
		return t, fmt.Errorf("%s has %q of memory", t.Name, field("Memory"))
	}
	t.MemoryMiB = int64(math.Round(gib * 1024))
	// Only this family's accelerators are GPUs, and of all its types only those of g4ad, long known, are not of NVIDIA.
	if field("Instance Family") == "GPU instance" {
		t.GPUs, _ = strconv.Atoi(field("GPU")) // a fraction of one is none
	}
	return t, nil
}

// diskForm is how the price list writes local disks: "1 x 75 NVMe SSD", "900 GB NVMe SSD", "2 x 1,900 GB NVMe SSD".
var diskForm = regexp.MustCompile(`^(?:([0-9]+) x )?([0-9,]+)(?: ?GB)? NVMe SSD$`)

// readDisk is the size of the local NVMe disks together, in GB; zero if there are none, or the words are not understood.
func readDisk(storage string) int {
	m := diskForm.FindStringSubmatch(storage)
	if m == nil {
		return 0
	}
	count := 1
	if m[1] != "" {
		count, _ = strconv.Atoi(m[1])
	}
	size, err := strconv.Atoi(strings.ReplaceAll(m[2], ",", ""))
	if err != nil || count > 100 || size > 1_000_000 {
		return 0
	}
	return count * size
}
