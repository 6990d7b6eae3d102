package prices

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"wherry/platform"
)

// FolderName is the folder in the data folder that refreshed prices are in, one file for each region.
const FolderName = "prices"

// fileEnd is how the names of those files end.
const fileEnd = ".json.gz"

// Table is what is known of instance types and their prices. It never changes.
type Table struct {
	types     map[string]platform.InstanceType
	regions   map[string]*Region
	refreshed map[string]bool
}

// Load returns the shipped table, with the regions of the data folder that are newer put over it. The table is always
// whole: what could not be used of the data folder is told by the error, and left out. dataDir may be empty.
func Load(dataDir string) (*Table, error) {
	base := shippedTable()
	if dataDir == "" {
		return base, nil
	}
	files, err := os.ReadDir(filepath.Join(dataDir, FolderName))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(files) == 0 {
		return base, nil
	}
	t := &Table{types: maps.Clone(base.types), regions: maps.Clone(base.regions), refreshed: map[string]bool{}}
	failures := []error{err}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), fileEnd) {
			continue
		}
		path := filepath.Join(dataDir, FolderName, f.Name())
		if err := t.addFile(path); err != nil {
			failures = append(failures, fmt.Errorf("the prices in %s are not used: %w; remove it, or run \"wherry prices refresh\" again", path, err))
		}
	}
	return t, errors.Join(failures...)
}

func (t *Table) addFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := readDocument(f)
	if err != nil {
		return err
	}
	for _, name := range t.add(d) {
		t.refreshed[name] = true
	}
	return nil
}

// add puts a document's newer regions over those of the table, and returns their names. Types that are known stay as they
// are: the shipped table knows more of them than AWS's price list says.
func (t *Table) add(d Document) (added []string) {
	for _, it := range d.Types {
		if _, known := t.types[it.Name]; !known {
			t.types[it.Name] = it
		}
	}
	for name, r := range d.Regions {
		old := t.regions[name]
		if old != nil && !r.At.After(old.At) {
			continue
		}
		t.regions[name] = &Region{At: r.At, Hours: withSpot(r.Hours, old)}
		added = append(added, name)
	}
	return added
}

// withSpot estimates the Spot prices that are not known from those that were: in the same proportion to On-Demand.
func withSpot(hours map[string]Hour, old *Region) map[string]Hour {
	if old == nil {
		return hours
	}
	all := make(map[string]Hour, len(hours))
	for name, h := range hours {
		if was := old.Hours[name]; h.Spot() == 0 && was.OnDemand() > 0 {
			h[1] = platform.Money(float64(h.OnDemand()) * float64(was.Spot()) / float64(was.OnDemand()))
		}
		all[name] = h
	}
	return all
}

// Type returns an instance type by its name.
func (t *Table) Type(name string) (platform.InstanceType, bool) {
	it, ok := t.types[name]
	return it, ok
}

// Hour returns what an hour of a type costs in a region; ok is false where that is not known. A Spot price is always an
// estimate, and the On-Demand price where not even that is known: EC2 takes no more for Spot, unless told to.
func (t *Table) Hour(region, name string, spot bool) (p platform.Price, ok bool) {
	r := t.regions[region]
	if r == nil {
		return p, false
	}
	h, ok := r.Hours[name]
	switch {
	case !spot:
		p = platform.Price{Hour: h.OnDemand()}
	case h.Spot() > 0:
		p = platform.Price{Hour: h.Spot(), Estimate: true}
	default:
		p = platform.Price{Hour: h.OnDemand(), Estimate: true}
	}
	return p, ok
}

// At returns as of when the prices of a region are; ok is false for a region that is not known. refreshed tells that they
// come from the data folder.
func (t *Table) At(region string) (at time.Time, refreshed, ok bool) {
	r := t.regions[region]
	if r == nil {
		return time.Time{}, false, false
	}
	return r.At, t.refreshed[region], true
}

// Regions lists the regions with prices, by name.
func (t *Table) Regions() []string { return slices.Sorted(maps.Keys(t.regions)) }

// handful is how many types Fitting returns at most.
const handful = 5

// Families whose types are suggested: the general ones that give their CPUs without a limit. Burstable (t) and flex types,
// those for HPC, with FPGAs or other accelerators, and the ones with many terabytes of memory (u) have limits or quotas of
// their own. GPUs come with families of their own, of which the oldest (g2, g3, p2) are left behind by today's drivers.
var (
	generalForm = regexp.MustCompile(`^[cmrxiz][0-9][a-z]*\.`)
	gpuForm     = regexp.MustCompile(`^(g[4-9]|gr[0-9]|p[3-9])[a-z]*\.`)
)

// Fitting lists a handful of types of a region that have at least so many CPUs, GPUs, and so much memory for tasks, the
// cheapest first. Where GPUs are not asked for, none are offered. Bare metal, which boots for many minutes, and types that
// have a successor are left out.
func (t *Table) Fitting(region string, arm64 bool, cpus int, memoryMiB int64, gpus int) []platform.InstanceOffer {
	r := t.regions[region]
	if r == nil {
		return nil
	}
	form := generalForm
	if gpus > 0 {
		form = gpuForm
	}
	var offers []platform.InstanceOffer
	for name, h := range r.Hours {
		it := t.types[name]
		if form.MatchString(name) && !strings.Contains(name, ".metal") && !it.Previous && it.ARM64 == arm64 &&
			it.CPUs >= cpus && it.UsableMemoryMiB() >= memoryMiB && it.GPUs >= gpus {
			offers = append(offers, platform.InstanceOffer{InstanceType: it, Price: platform.Price{Hour: h.OnDemand()}})
		}
	}
	slices.SortFunc(offers, func(a, b platform.InstanceOffer) int {
		return cmp.Or(cmp.Compare(a.Price.Hour, b.Price.Hour), cmp.Compare(a.Name, b.Name))
	})
	return offers[:min(handful, len(offers))]
}
