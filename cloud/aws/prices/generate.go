//go:build ignore

// This program makes prices.json.gz from the data of ec2instances.info, which a Go module carries. It fetches the module by
// itself and is no part of Wherry: go generate ./cloud/aws/prices
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"wherry/cloud/aws/prices"
	"wherry/platform"
)

// The module's version tells when its data was taken.
const (
	module  = "github.com/cristim/ec2-instances-info"
	version = "v0.0.0-20250528091325-32acf84f42eb"
	source  = "https://instances.vantage.sh (ec2instances.info), by " + module + " " + version
)

var taken = time.Date(2025, 5, 28, 9, 13, 25, 0, time.UTC)

// instance is what is read of one type in instances.json.
type instance struct {
	Name       string   `json:"instance_type"`
	CPUs       int      `json:"vCPU"`
	Memory     float64  `json:"memory"` // GiB
	Arch       []string `json:"arch"`
	GPUs       int      `json:"GPU"`
	GPUModel   string   `json:"GPU_model"`
	Generation string   `json:"generation"`
	Storage    *struct {
		Devices int     `json:"devices"`
		Size    float64 `json:"size"` // GB each
		NVMe    bool    `json:"nvme_ssd"`
	} `json:"storage"`
	Pricing map[string]struct {
		Linux struct {
			OnDemand string `json:"ondemand"`
			SpotAvg  string `json:"spot_avg"`
		} `json:"linux"`
	} `json:"pricing"`
}

func main() {
	log.SetFlags(0)
	list, err := read()
	if err != nil {
		log.Fatal(err)
	}
	d := prices.Document{Source: source, Regions: map[string]*prices.Region{}}
	for _, i := range list {
		d = add(d, i)
	}
	slices.SortFunc(d.Types, func(a, b platform.InstanceType) int { return strings.Compare(a.Name, b.Name) })
	file, err := os.Create("prices.json.gz")
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Write(file); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d types, %d regions\n", len(d.Types), len(d.Regions))
}

func read() (list []instance, err error) {
	out, err := exec.Command("go", "mod", "download", "-json", module+"@"+version).Output()
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w: %s", module, err, out)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(found.Dir, "data", "instances.json"))
	if err != nil {
		return nil, err
	}
	return list, json.Unmarshal(text, &list)
}

// add adds a type and its prices, if it runs Linux in a commercial region.
func add(d prices.Document, i instance) prices.Document {
	arm := slices.Contains(i.Arch, "arm64")
	if !arm && !slices.Contains(i.Arch, "x86_64") {
		return d // a Mac
	}
	t := platform.InstanceType{Name: i.Name, CPUs: i.CPUs, MemoryMiB: int64(math.Round(i.Memory * 1024)), ARM64: arm, Previous: i.Generation != "current"}
	if strings.HasPrefix(i.GPUModel, "NVIDIA") {
		t.GPUs = i.GPUs
	}
	if i.Storage != nil && i.Storage.NVMe {
		t.DiskGB = int(math.Round(float64(i.Storage.Devices) * i.Storage.Size))
	}
	priced := false
	for region, p := range i.Pricing {
		if !prices.IsRegion(region) || p.Linux.OnDemand == "" {
			continue
		}
		if d.Regions[region] == nil {
			d.Regions[region] = &prices.Region{At: taken, Hours: map[string]prices.Hour{}}
		}
		d.Regions[region].Hours[i.Name] = prices.Hour{money(p.Linux.OnDemand), money(p.Linux.SpotAvg)}
		priced = true
	}
	if priced {
		d.Types = append(d.Types, t)
	}
	return d
}

func money(text string) platform.Money {
	if text == "" || text == "N/A" {
		return 0
	}
	dollars, err := strconv.ParseFloat(text, 64)
	if err != nil {
		log.Fatalf("%q is not a price: %v", text, err)
	}
	return platform.USD(dollars)
}
