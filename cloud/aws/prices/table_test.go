package prices

import (
	"bytes"
	"compress/gzip"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

func shippedOnly(t *testing.T) *Table {
	t.Helper()
	table, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestShippedTableKnowsTypesAndPrices(t *testing.T) {
	t.Parallel()
	table := shippedOnly(t)
	for _, want := range []platform.InstanceType{
		{Name: "m5d.large", CPUs: 2, MemoryMiB: 8192, DiskGB: 75},
		{Name: "c7g.4xlarge", CPUs: 16, MemoryMiB: 32768, ARM64: true},
		{Name: "g4dn.12xlarge", CPUs: 48, MemoryMiB: 196608, GPUs: 4, DiskGB: 900},
		{Name: "m3.large", CPUs: 2, MemoryMiB: 7680, Previous: true},
		{Name: "g4ad.xlarge", CPUs: 4, MemoryMiB: 16384, DiskGB: 150}, // its GPU is not of NVIDIA
	} {
		if got, ok := table.Type(want.Name); !ok || got != want {
			t.Errorf("%s is %+v, %v, want %+v", want.Name, got, ok, want)
		}
	}
	for _, c := range []struct {
		region, name string
		spot         bool
		want         platform.Price
		ok           bool
	}{
		{"eu-west-1", "m5d.large", false, platform.Price{Hour: 126_000}, true},
		{"eu-west-1", "m5d.large", true, platform.Price{Hour: 57_960, Estimate: true}, true},
		{"us-east-1", "m5.large", false, platform.Price{Hour: 96_000}, true},
		{"eu-west-1", "m5d.tiny", false, platform.Price{}, false},
		{"eu-north-9", "m5d.large", false, platform.Price{}, false},
		{"us-gov-west-1", "m5d.large", false, platform.Price{}, false},
	} {
		if got, ok := table.Hour(c.region, c.name, c.spot); got != c.want || ok != c.ok {
			t.Errorf("an hour of %s in %s, Spot %v: %+v, %v, want %+v, %v", c.name, c.region, c.spot, got, ok, c.want, c.ok)
		}
	}
	at, refreshed, ok := table.At("eu-west-1")
	if !ok || refreshed || at.Format(time.DateOnly) != "2025-05-28" {
		t.Errorf("eu-west-1 is as of %v, refreshed %v, known %v", at, refreshed, ok)
	}
	if _, _, ok := table.At("eu-north-9"); ok {
		t.Error("it knows a region that is not there")
	}
}

func TestShippedTableIsSmall(t *testing.T) {
	t.Parallel()
	if len(shipped) > 256<<10 {
		t.Errorf("it has %d bytes", len(shipped))
	}
}

func TestSpotWithoutAPriceCostsAtMostOnDemand(t *testing.T) {
	t.Parallel()
	table := &Table{regions: map[string]*Region{"eu-west-1": {Hours: map[string]Hour{"m5.large": {100_000}}}}}
	if got, ok := table.Hour("eu-west-1", "m5.large", true); !ok || got != (platform.Price{Hour: 100_000, Estimate: true}) {
		t.Errorf("%+v, %v", got, ok)
	}
}

func TestFittingTypesHaveWhatWasAskedForCheapestFirst(t *testing.T) {
	t.Parallel()
	table := shippedOnly(t)
	for _, c := range []struct {
		region string
		arm64  bool
		cpus   int
		memory int64
		gpus   int
		some   string // one that must be among them
	}{
		{"eu-west-1", false, 16, 64 << 10, 0, "r5.4xlarge"},
		{"eu-west-1", true, 16, 64 << 10, 0, "r6g.4xlarge"},
		{"eu-west-1", false, 2, 7600, 0, "m5.large"},
		{"us-east-1", false, 4, 8 << 10, 1, "g4dn.xlarge"},
		{"us-east-1", false, 96, 1500 << 10, 0, "x2idn.32xlarge"},
		{"us-west-2", false, 1, 1, 8, "p3.16xlarge"},
	} {
		offers := table.Fitting(c.region, c.arm64, c.cpus, c.memory, c.gpus)
		names := make([]string, len(offers))
		for i, o := range offers {
			names[i] = o.Name
			if o.CPUs < c.cpus || o.MemoryMiB <= c.memory || o.GPUs < c.gpus || o.ARM64 != c.arm64 || !o.Price.Known() || c.gpus == 0 && o.GPUs > 0 {
				t.Errorf("%+v does not fit %+v", o, c)
			}
			if i > 0 && offers[i-1].Price.Hour > o.Price.Hour {
				t.Errorf("%s costs more than %s and comes before it", names[i-1], o.Name)
			}
		}
		if len(offers) == 0 || len(offers) > handful || !slices.Contains(names, c.some) {
			t.Errorf("%+v: %v", c, names)
		}
	}
}

func TestFittingLeavesOutWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	table := shippedOnly(t)
	for _, o := range slices.Concat(table.Fitting("us-east-1", false, 1, 1, 0), table.Fitting("us-east-1", true, 1, 1, 0), table.Fitting("us-east-1", false, 1, 1, 1)) {
		if strings.HasPrefix(o.Name, "t") || strings.Contains(o.Name, "metal") || strings.Contains(o.Name, "-flex") || o.Previous {
			t.Errorf("%s is offered", o.Name)
		}
	}
	if got := table.Fitting("us-east-1", false, 100_000, 1, 0); got != nil {
		t.Errorf("100,000 CPUs: %v", got)
	}
	if got := table.Fitting("nowhere", false, 1, 1, 0); got != nil {
		t.Errorf("an unknown region: %v", got)
	}
	// A type whose memory is just what was asked for does not have it: the kernel keeps some.
	for _, o := range table.Fitting("eu-west-1", false, 8, 64<<10, 0) {
		if o.MemoryMiB <= 64<<10 {
			t.Errorf("%s has %d MiB", o.Name, o.MemoryMiB)
		}
	}
}

// put puts a document into a data folder.
func put(t *testing.T, dir, region string, d Document) {
	t.Helper()
	if err := write(filepath.Join(dir, FolderName), region+fileEnd, d); err != nil {
		t.Fatal(err)
	}
}

func refreshedDocument(region string, at time.Time, hours map[string]Hour) Document {
	d := Document{Regions: map[string]*Region{region: {At: at, Hours: hours}}}
	for name := range hours {
		d.Types = append(d.Types, platform.InstanceType{Name: name, CPUs: 4, MemoryMiB: 4096})
	}
	return d
}

func TestRefreshedRegionGoesOverTheShippedOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	put(t, dir, "eu-west-1", refreshedDocument("eu-west-1", at, map[string]Hour{"m5d.large": {252_000}, "m99.large": {1_000_000}}))
	table, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := table.Hour("eu-west-1", "m5d.large", false); got.Hour != 252_000 {
		t.Errorf("On-Demand is %+v", got)
	}
	if got, _ := table.Hour("eu-west-1", "m5d.large", true); got != (platform.Price{Hour: 115_920, Estimate: true}) {
		t.Errorf("Spot is %+v, and should be in the same proportion as before", got)
	}
	if got, ok := table.Type("m99.large"); !ok || got.CPUs != 4 {
		t.Errorf("the new type is %+v, %v", got, ok)
	}
	if got, _ := table.Type("m5d.large"); got.DiskGB != 75 {
		t.Errorf("what was known of m5d.large is lost: %+v", got)
	}
	if got, refreshed, _ := table.At("eu-west-1"); !got.Equal(at) || !refreshed {
		t.Errorf("it is as of %v, refreshed %v", got, refreshed)
	}
	if got, _ := table.Hour("us-east-1", "m5.large", false); got.Hour != 96_000 {
		t.Errorf("another region is %+v", got)
	}
	if got, _ := shippedOnly(t).Hour("eu-west-1", "m5d.large", false); got.Hour != 126_000 {
		t.Errorf("the shipped table was changed: %+v", got)
	}
}

func TestRefreshedRegionThatIsOlderThanTheReleaseIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "eu-west-1", refreshedDocument("eu-west-1", time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), map[string]Hour{"m5d.large": {252_000}}))
	table, err := Load(dir)
	if got, _ := table.Hour("eu-west-1", "m5d.large", false); err != nil || got.Hour != 126_000 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDamagedFilesAreLeftOutAndTold(t *testing.T) {
	t.Parallel()
	zip := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		return b.Bytes()
	}
	var whole bytes.Buffer
	if err := refreshedDocument("eu-west-2", time.Now(), map[string]Hour{"m5.large": {1}}).Write(&whole); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":            {},
		"no gzip":          []byte("hello"),
		"cut":              whole.Bytes()[:whole.Len()/2],
		"no JSON":          zip("hello"),
		"nothing in it":    zip("{}"),
		"no date":          zip(`{"types":[{"name":"m5.large","cpus":2,"memoryMiB":1}],"regions":{"eu-west-2":{"hours":{"m5.large":[1,0]}}}}`),
		"null region":      zip(`{"regions":{"eu-west-2":null}}`),
		"negative price":   zip(`{"types":[{"name":"m5.large","cpus":2,"memoryMiB":1}],"regions":{"eu-west-2":{"at":"2027-01-01T00:00:00Z","hours":{"m5.large":[-1,0]}}}}`),
		"price of riches":  zip(`{"types":[{"name":"m5.large","cpus":2,"memoryMiB":1}],"regions":{"eu-west-2":{"at":"2027-01-01T00:00:00Z","hours":{"m5.large":[99999999999,0]}}}}`),
		"unknown type":     zip(`{"regions":{"eu-west-2":{"at":"2027-01-01T00:00:00Z","hours":{"m5.large":[1,0]}}}}`),
		"type of no CPUs":  zip(`{"types":[{"name":"m5.large","memoryMiB":1}],"regions":{"eu-west-2":{"at":"2027-01-01T00:00:00Z","hours":{"m5.large":[1,0]}}}}`),
		"name with a path": zip(`{"types":[{"name":"../x.large","cpus":1,"memoryMiB":1}],"regions":{}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			put(t, dir, "eu-west-1", refreshedDocument("eu-west-1", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), map[string]Hour{"m5d.large": {252_000}}))
			if err := os.WriteFile(filepath.Join(dir, FolderName, "eu-west-2"+fileEnd), content, 0o600); err != nil {
				t.Fatal(err)
			}
			table, err := Load(dir)
			if err == nil || !strings.Contains(err.Error(), "eu-west-2"+fileEnd) {
				t.Errorf("the error is %v", err)
			}
			whole, _ := table.Hour("eu-west-1", "m5d.large", false)
			shipped, _ := table.Hour("eu-west-2", "m5.large", false)
			if whole.Hour != 252_000 || shipped.Hour != 111_000 {
				t.Errorf("the other file gives %+v, and the shipped table %+v", whole, shipped)
			}
		})
	}
}

func TestSourceSeesARefreshWithinAMinuteAndLogsABadFileOnce(t *testing.T) {
	t.Parallel()
	dir, log, now := t.TempDir(), &bytes.Buffer{}, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	s := NewSource(dir, slog.New(slog.NewTextHandler(log, nil)))
	s.now = func() time.Time { return now }
	price := func() platform.Money {
		p, _ := s.Table().Hour("eu-west-1", "m5d.large", false)
		return p.Hour
	}
	if got := price(); got != 126_000 {
		t.Fatalf("at first it is %v", got)
	}
	put(t, dir, "eu-west-1", refreshedDocument("eu-west-1", now, map[string]Hour{"m5d.large": {252_000}}))
	now = now.Add(lookEvery - 1)
	if got := price(); got != 126_000 {
		t.Errorf("it looked before a minute was over: %v", got)
	}
	now = now.Add(1)
	if got := price(); got != 252_000 {
		t.Errorf("after the refresh it is %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, FolderName, "eu-west-2"+fileEnd), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(lookEvery)
		if got := price(); got != 252_000 {
			t.Errorf("with a bad file beside it it is %v", got)
		}
	}
	if n := strings.Count(log.String(), "eu-west-2"); n != 1 {
		t.Errorf("the bad file is logged %d times: %s", n, log)
	}
	now = now.Add(-time.Hour) // a clock that jumps back must not stop the looking
	if err := os.RemoveAll(filepath.Join(dir, FolderName)); err != nil {
		t.Fatal(err)
	}
	if got := price(); got != 126_000 {
		t.Errorf("after the folder is gone it is %v", got)
	}
}
