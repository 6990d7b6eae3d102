package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wherry/cloud/aws"
	"wherry/cloud/aws/prices"
	"wherry/db"
	"wherry/platform"
)

// withoutPrices are regions that are younger than the shipped table.
var withoutPrices = map[string]bool{"ap-east-2": true}

func TestEveryRegionThatIsOfferedHasPrices(t *testing.T) {
	t.Parallel()
	table, err := prices.Load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range aws.New(aws.Config{}).Regions() {
		if _, _, ok := table.At(r.Name); ok == withoutPrices[r.Name] {
			t.Errorf("%s (%s): prices are known: %v", r.Name, r.Place, ok)
		}
	}
}

func TestPricesOfATypeAreShown(t *testing.T) {
	t.Parallel()
	table, err := prices.Load("")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := showPrices(&out, table, []string{"eu-west-1", "ap-southeast-4"}, []string{"m5d.large", "g4dn.xlarge"}); err != nil {
		t.Fatal(err)
	}
	const want = `eu-west-1        as of 2025-05-28, shipped with this version
  m5d.large: CPUs: 2, 8 GiB, x86_64, 75 GB local NVMe; On-Demand $0.126 an hour, Spot about $0.058 an hour (estimate)
  g4dn.xlarge: CPUs: 4, 16 GiB, x86_64, GPUs: 1, 125 GB local NVMe; On-Demand $0.587 an hour, Spot about $0.27 an hour (estimate)
ap-southeast-4   as of 2025-05-28, shipped with this version
`
	if !strings.HasPrefix(out.String(), want) || !strings.Contains(out.String(), "g4dn.xlarge: CPUs: 4, 16 GiB, x86_64, GPUs: 1, 125 GB local NVMe; not offered there") {
		t.Errorf("it shows\n%s\nand should begin with\n%s", out.String(), want)
	}
	for _, c := range []struct{ region, name, want string }{{"mars-1", "m5d.large", "wherry prices refresh --region mars-1"}, {"eu-west-1", "m5d.tiny", "not known"}} {
		if err := showPrices(io.Discard, table, []string{c.region}, []string{c.name}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s in %s: %v", c.name, c.region, err)
		}
	}
}

// portalFolder is a data folder with an environment in each of these regions, and one on this host.
func portalFolder(t *testing.T, regions ...string) string {
	t.Helper()
	dir := t.TempDir()
	d, err := db.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m, err := d.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "hash")
	if err != nil {
		t.Fatal(err)
	}
	envs := []platform.ComputeEnv{{Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w"}}
	for i, region := range regions {
		envs = append(envs, platform.ComputeEnv{Name: fmt.Sprint("there-", i), Platform: platform.PlatformAWSCloud, Region: region, WorkDir: "s3://rivers/work"})
	}
	for _, e := range envs {
		e.WorkspaceID, e.Status = m.Workspace.ID, platform.ComputeEnvAvailable
		if err := d.AddComputeEnv(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// smallList is a price list of one type.
const smallList = `"FormatVersion","v1.0"
"Publication Date","2027-02-03T17:07:46Z"
"SKU","TermType","Unit","PricePerUnit","Currency","Product Family","Instance Type","Current Generation","Instance Family","vCPU","Physical Processor","Memory","Storage","Tenancy","Operating System","operation","CapacityStatus","GPU","Pre Installed S/W","Region Code"
"A","OnDemand","Hrs","0.1450000000","USD","Compute Instance","m5d.large","Yes","General purpose","2","Intel Xeon Platinum 8175","8 GiB","1 x 75 NVMe SSD","Shared","Linux","RunInstances","Used",,"NA","ap-east-2"
`

func TestRefreshFetchesTheRegionsOfEnvironmentsAndTellsEachThatFailed(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if !strings.Contains(r.URL.Path, "/ap-east-2/") {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, smallList)
	}))
	defer server.Close()
	t.Setenv("WHERRY_PRICE_LIST_URL", server.URL+"/mirror/")
	dir := portalFolder(t, "eu-west-1", "ap-east-2", "eu-west-1")
	var out bytes.Buffer
	err := refreshPrices(t.Context(), []string{"--data", dir}, &out)
	if err == nil || strings.Count(err.Error(), "404") != 1 || !strings.Contains(err.Error(), "eu-west-1") {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(out.String(), "ap-east-2: as of 2027-02-03, instance types: 1") {
		t.Errorf("it says %q", out.String())
	}
	if len(asked) != 2 || !strings.HasPrefix(asked[0], "/mirror/offers/v1.0/") {
		t.Errorf("it asked for %v", asked)
	}
	table, err := prices.Load(dir)
	got, _ := table.Hour("ap-east-2", "m5d.large", false)
	if _, refreshed, _ := table.At("ap-east-2"); err != nil || !refreshed || got.Hour != 145_000 {
		t.Errorf("then the price is %v, refreshed %v, %v", got, refreshed, err)
	}
}

func TestRefreshWithoutRegionsSaysWhatToName(t *testing.T) {
	t.Parallel()
	for what, dir := range map[string]string{"no portal": t.TempDir(), "no environment on AWS": portalFolder(t)} {
		if err := refreshPrices(t.Context(), []string{"--data", dir}, io.Discard); err == nil || !strings.Contains(err.Error(), "--region") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := refreshPrices(t.Context(), []string{"--data", t.TempDir(), "eu-west-1"}, io.Discard); err == nil || !strings.Contains(err.Error(), "--region") {
		t.Errorf("a region without its option: %v", err)
	}
}
