package prices

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// listColumns are the names of the columns as AWS wrote them in September 2025.
const listColumns = `"SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange","EndingRange","Unit","PricePerUnit","Currency","RelatedTo","LeaseContractLength","PurchaseOption","OfferingClass","Product Family","serviceCode","Location","Location Type","Instance Type","Current Generation","Instance Family","vCPU","Physical Processor","Clock Speed","Memory","Storage","Network Performance","Processor Architecture","Storage Media","Volume Type","Max Volume Size","Max IOPS/volume","Max IOPS Burst Performance","Max throughput/volume","Provisioned","Tenancy","EBS Optimized","Operating System","License Model","Group","Group Description","Transfer Type","From Location","From Location Type","To Location","To Location Type","usageType","operation","AvailabilityZone","CapacityStatus","ClassicNetworkingSupport","Dedicated EBS Throughput","ECU","Elastic Graphics Type","Enhanced Networking Supported","From Region Code","GPU","GPU Memory","Instance","Instance Capacity - 10xlarge","Instance Capacity - 12xlarge","Instance Capacity - 16xlarge","Instance Capacity - 18xlarge","Instance Capacity - 24xlarge","Instance Capacity - 2xlarge","Instance Capacity - 32xlarge","Instance Capacity - 4xlarge","Instance Capacity - 8xlarge","Instance Capacity - 9xlarge","Instance Capacity - large","Instance Capacity - medium","Instance Capacity - metal","Instance Capacity - xlarge","instanceSKU","Intel AVX2 Available","Intel AVX Available","Intel Turbo Available","MarketOption","Normalization Size Factor","Physical Cores","Pre Installed S/W","Processor Features","Product Type","Region Code","Resource Type","serviceName","SnapshotArchiveFeeType","To Region Code","Volume API Name","VPCNetworkingSupport"`

const listHead = `"FormatVersion","v1.0"
"Disclaimer","This pricing list is for informational purposes only. All prices are subject to the additional terms included in the pricing pages on http://aws.amazon.com."
"Publication Date","2027-02-03T17:07:46Z"
"Version","20270203170746"
"OfferCode","AmazonEC2"
` + listColumns + "\n"

// listRow writes a row of eu-west-1: the On-Demand price of m5d.large under Linux, but for what is given.
func listRow(change map[string]string) string {
	names, err := csv.NewReader(strings.NewReader(listColumns)).Read()
	if err != nil {
		panic(err)
	}
	row := map[string]string{"SKU": "2223B6PCG6QAUYY6", "OfferTermCode": "JRTCKXETXF", "TermType": "OnDemand", "Unit": "Hrs", "PricePerUnit": "0.2520000000",
		"PriceDescription": "$0.252 per On Demand Linux m5d.large Instance Hour", "Currency": "USD", "Product Family": "Compute Instance", "Instance Type": "m5d.large",
		"Current Generation": "Yes", "Instance Family": "General purpose", "vCPU": "2", "Physical Processor": "Intel Xeon Platinum 8175", "Memory": "8 GiB",
		"Storage": "1 x 75 NVMe SSD", "Tenancy": "Shared", "Operating System": "Linux", "License Model": "No License required", "usageType": "EU-BoxUsage:m5d.large",
		"operation": "RunInstances", "CapacityStatus": "Used", "Pre Installed S/W": "NA", "Region Code": "eu-west-1", "MarketOption": "OnDemand",
		"Processor Features": "Intel AVX; Intel AVX2; Intel AVX512; Intel Turbo"}
	maps.Copy(row, change)
	fields := make([]string, len(names))
	for i, name := range names {
		if value := row[name]; value != "" {
			fields[i] = `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
		}
	}
	return strings.Join(fields, ",") + "\n"
}

// wholeList is a price list of eu-west-1 with every type that the shipped table has there, at twice the price.
func wholeList(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(listHead)
	hours := shippedOnly(t).regionHours("eu-west-1")
	for _, name := range slices.Sorted(maps.Keys(hours)) {
		for _, other := range []map[string]string{
			{"TermType": "Reserved", "PricePerUnit": "0.01", "PurchaseOption": "All Upfront"}, {"Operating System": "Windows", "PricePerUnit": "0.9"},
			{"Tenancy": "Dedicated", "PricePerUnit": "0.9"}, {"CapacityStatus": "AllocatedCapacityReservation", "PricePerUnit": "0"},
			{"CapacityStatus": "UnusedCapacityReservation", "PricePerUnit": "99"}, {"Pre Installed S/W": "SQL Web", "operation": "RunInstances:0200", "PricePerUnit": "0.9"},
		} {
			other["Instance Type"] = name
			b.WriteString(listRow(other))
		}
		b.WriteString(listRow(map[string]string{"Instance Type": name, "PricePerUnit": fmt.Sprintf("%.10f", 2*hours[name].OnDemand().USD())}))
	}
	return b.String()
}

// server serves price lists by path.
func server(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRefreshWritesPricesThatTheTableTakes(t *testing.T) {
	t.Parallel()
	list := wholeList(t)
	var asked string
	url := server(t, func(w http.ResponseWriter, r *http.Request) { asked = r.URL.Path; io.WriteString(w, list) })
	dir := t.TempDir()
	types, at, err := Refresh(t.Context(), dir, url, "eu-west-1")
	if err != nil || types != len(shippedOnly(t).regionHours("eu-west-1")) || at.Format(time.RFC3339) != "2027-02-03T17:07:46Z" {
		t.Fatalf("%d types as of %v, %v", types, at, err)
	}
	if asked != "/offers/v1.0/aws/AmazonEC2/current/eu-west-1/index.csv" {
		t.Errorf("it asked for %s", asked)
	}
	table, err := Load(dir)
	got, _ := table.Hour("eu-west-1", "m5d.large", false)
	spot, _ := table.Hour("eu-west-1", "m5d.large", true)
	if err != nil || got.Hour != 252_000 || spot.Hour != 115_920 {
		t.Errorf("On-Demand %v, Spot %v, %v", got, spot, err)
	}
	if files, _ := os.ReadDir(filepath.Join(dir, FolderName)); len(files) != 1 {
		t.Errorf("it leaves %v", files)
	}
}

func TestFailedRefreshKeepsWhatWasKnownAndSaysWhy(t *testing.T) {
	t.Parallel()
	list := wholeList(t)
	half := list[:len(list)/2]
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"not found": {http.NotFound, "404"},
		"elsewhere": {http.RedirectHandler("https://elsewhere.invalid/", http.StatusFound).ServeHTTP, "302"},
		"cut off in the middle": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(list)))
			io.WriteString(w, half)
		}, "unexpected EOF"},
		"cut off so that nobody tells": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, half[:strings.LastIndex(half, "\n")+1])
		}, "cut off"},
		"cut off within a line": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list[:strings.LastIndex(list, `"RunInstances"`)])
		}, "fields"},
		"cut off within quotes": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list[:strings.LastIndex(list, `nux","No License`)]+"nux")
		}, "not a price list"},
		"empty":            {func(http.ResponseWriter, *http.Request) {}, "no names of columns"},
		"a page of a wall": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html><body>Sign in</body></html>\n") }, "not a price list"},
		"one endless line": {func(w http.ResponseWriter, _ *http.Request) {
			for range 3 << 20 / 1024 {
				io.WriteString(w, strings.Repeat("x", 1024))
			}
		}, "longer than"},
		"many empty lines":    {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("\n", 1000)) }, "no names of columns"},
		"bytes of no meaning": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "\x00\x01\x02\"\xff\n\"\n") }, "not a price list"},
		"another form": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.ReplaceAll(list, "CapacityStatus", "Capacity"))
		}, `no column "CapacityStatus"`},
		"no date": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.ReplaceAll(list, "Publication Date", "Day"))
		}, "no date"},
		"a date of no calendar": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.ReplaceAll(list, "2027-02-03T", "2027-22-33T"))
		}, "date of publication"},
		"another region": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.ReplaceAll(list, `"eu-west-1"`, `"eu-west-2"`))
		}, "no prices for eu-west-1"},
		"a price that is a word": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list+listRow(map[string]string{"PricePerUnit": "cheap"}))
		}, `"cheap"`},
		"a price that is no price": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list+listRow(map[string]string{"PricePerUnit": "NaN"}))
		}, "NaN"},
		"an infinite price": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list+listRow(map[string]string{"PricePerUnit": "Inf"}))
		}, "not plausible"},
		"a negative price": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, listHead+listRow(map[string]string{"PricePerUnit": "-1"}))
		}, "no prices"},
		"memory without a unit": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list+listRow(map[string]string{"Memory": "8"}))
		}, "memory"},
		"no number of CPUs": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list+listRow(map[string]string{"vCPU": "NA"}))
		}, "CPUs"},
		"a type that is a path": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, list+listRow(map[string]string{"Instance Type": "../x"}))
		}, "not plausible"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			known := refreshedDocument("eu-west-1", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), map[string]Hour{"m5d.large": {200_000}})
			put(t, dir, "eu-west-1", known)
			_, _, err := Refresh(t.Context(), dir, server(t, c.serve), "eu-west-1")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "eu-west-1") {
				t.Errorf("the error is %v, and should have %q", err, c.want)
			}
			table, err := Load(dir)
			if got, _ := table.Hour("eu-west-1", "m5d.large", false); err != nil || got.Hour != 200_000 {
				t.Errorf("then the price is %+v, %v", got, err)
			}
			if files, _ := os.ReadDir(filepath.Join(dir, FolderName)); len(files) != 1 {
				t.Errorf("it leaves %v", files)
			}
		})
	}
}

func TestRefreshGivesUpWhenNothingComes(t *testing.T) {
	t.Parallel()
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, listHead)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	_, _, err := refresher{url: url, stall: 50 * time.Millisecond}.refresh(t.Context(), t.TempDir(), "eu-west-1")
	if err == nil || !strings.Contains(err.Error(), "nothing came for 50ms") {
		t.Errorf("the error is %v", err)
	}
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, listHead)
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if _, _, err := Refresh(ctx, t.TempDir(), url, "eu-west-1"); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("the error is %v", err)
	}
}

func TestRefreshTakesOnlyNamesOfRegions(t *testing.T) {
	t.Parallel()
	for _, region := range []string{"", "../x", "eu-west-1/..", "us-gov-west-1", "EU-WEST-1"} {
		if _, _, err := Refresh(t.Context(), t.TempDir(), "http://127.0.0.1:1", region); err == nil || !strings.Contains(err.Error(), "not the name") {
			t.Errorf("%q: %v", region, err)
		}
	}
}

func TestRefreshSaysWhyItCannotWrite(t *testing.T) {
	t.Parallel()
	list := wholeList(t)
	url := server(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, list) })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FolderName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Refresh(t.Context(), dir, url, "eu-west-1"); err == nil || !strings.Contains(err.Error(), "writing the prices of eu-west-1") {
		t.Errorf("the error is %v", err)
	}
}

// TestRefreshOfALargeListNeedsLittleMemory reads 200 MB, of which nearly all is reservations, as in a true list.
func TestRefreshOfALargeListNeedsLittleMemory(t *testing.T) {
	list := wholeList(t)
	reserved := strings.Repeat(listRow(map[string]string{"TermType": "Reserved", "PurchaseOption": "No Upfront"}), 1000)
	parts := []io.Reader{strings.NewReader(list)}
	size := len(list)
	for ; size < 200<<20; size += len(reserved) {
		parts = append(parts, strings.NewReader(reserved))
	}
	alone, _ := allocated(t, strings.NewReader(list))
	large, types := allocated(t, io.MultiReader(parts...))
	if types < 800 || large > alone+8<<20 {
		t.Errorf("reading %d types in %d MB allocated %d MB, and reading them alone %d MB", types, size>>20, large>>20, alone>>20)
	}
}

// allocated is how many bytes reading a price list allocates, and how many types it has.
func allocated(t *testing.T, r io.Reader) (n uint64, types int) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := readPriceList(r, "eu-west-1")
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	return after.TotalAlloc - before.TotalAlloc, len(d.Types)
}

func TestPriceListDescribesNewTypes(t *testing.T) {
	t.Parallel()
	for want, change := range map[platform.InstanceType]map[string]string{
		{Name: "m9g.8xlarge", CPUs: 32, MemoryMiB: 128 << 10, ARM64: true}:    {"Physical Processor": "AWS Graviton5 Processor", "vCPU": "32", "Memory": "128 GiB", "Storage": "EBS only"},
		{Name: "x9.32xlarge", CPUs: 128, MemoryMiB: 3904 << 10, DiskGB: 3800}: {"vCPU": "128", "Memory": "3,904 GiB", "Storage": "2 x 1,900 NVMe SSD"},
		{Name: "t9.nano", CPUs: 2, MemoryMiB: 512, Previous: true}:            {"Memory": "0.5 GiB", "Storage": "EBS only", "Current Generation": "No"},
		{Name: "g9.xlarge", CPUs: 2, MemoryMiB: 8192, GPUs: 1, DiskGB: 900}:   {"Instance Family": "GPU instance", "GPU": "1", "Storage": "1 x 900 GB NVMe SSD"},
		{Name: "trn9.xlarge", CPUs: 2, MemoryMiB: 8192, DiskGB: 900}:          {"Instance Family": "Machine Learning ASIC Instances", "GPU": "16", "Storage": "900 GB NVMe SSD"},
		{Name: "d9.xlarge", CPUs: 2, MemoryMiB: 8192}:                         {"Storage": "6 x 2000 HDD"},
		{Name: "m9.metal", CPUs: 2, MemoryMiB: 8192, DiskGB: 75}:              {"Product Family": "Compute Instance (bare metal)"},
	} {
		change["Instance Type"] = want.Name
		d, err := readPriceList(strings.NewReader(listHead+listRow(change)), "eu-west-1")
		if err != nil || len(d.Types) != 1 || d.Types[0] != want {
			t.Errorf("%s is %+v, %v, want %+v", want.Name, d.Types, err, want)
		}
	}
}

func TestPriceListTakesTheHigherOfTwoPrices(t *testing.T) {
	t.Parallel()
	rows := listRow(nil) + listRow(map[string]string{"PricePerUnit": "0.3"}) + listRow(map[string]string{"PricePerUnit": "0.1"}) + listRow(map[string]string{"PricePerUnit": "0"})
	d, err := readPriceList(strings.NewReader(listHead+rows), "eu-west-1")
	if err != nil || d.Regions["eu-west-1"].Hours["m5d.large"] != (Hour{300_000}) {
		t.Errorf("%v, %v", d.Regions, err)
	}
}
