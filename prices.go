package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wherry/cloud/aws/prices"
	"wherry/db"
	"wherry/platform"
)

// listFlag is an option that may be given several times, with commas too.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(value string) error {
	for _, v := range strings.Split(value, ",") {
		if v = strings.TrimSpace(v); v != "" && !slices.Contains(*l, v) {
			*l = append(*l, v)
		}
	}
	return nil
}

// pricesCommand shows what is known of prices, or refreshes it.
func pricesCommand(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "refresh" {
		return refreshPrices(ctx, args[1:], os.Stdout)
	}
	var regions listFlag
	s, types, err := readSettings("prices", args, func(f *flag.FlagSet) {
		f.Var(&regions, "region", "show the prices of this `region`; may be repeated")
	})
	if err != nil {
		return err
	}
	table, err := prices.Load(s.data)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wherry prices:", err)
	}
	return showPrices(os.Stdout, table, regions, types)
}

// showPrices writes the date of each region's prices, and those of types where some are named.
func showPrices(w io.Writer, table *prices.Table, regions, types []string) error {
	if len(regions) == 0 {
		regions = table.Regions()
	}
	for _, region := range regions {
		at, refreshed, ok := table.At(region)
		if !ok {
			return fmt.Errorf("no prices are known for the region %q; \"wherry prices refresh --region %s\" fetches them if it is there", region, region)
		}
		origin := "shipped with this version"
		if refreshed {
			origin = "refreshed"
		}
		fmt.Fprintf(w, "%-16s as of %s, %s\n", region, at.Format(time.DateOnly), origin)
		for _, name := range types {
			t, ok := table.Type(name)
			if !ok {
				return fmt.Errorf("the instance type %q is not known; options come before types", name)
			}
			fmt.Fprintf(w, "  %s: %s; %s\n", name, describeType(t), hourOf(table, region, name))
		}
	}
	return nil
}

func describeType(t platform.InstanceType) string {
	arch := "x86_64"
	if t.ARM64 {
		arch = "arm64"
	}
	text := fmt.Sprintf("CPUs: %d, %g GiB, %s", t.CPUs, float64(t.MemoryMiB)/1024, arch)
	if t.GPUs > 0 {
		text += fmt.Sprintf(", GPUs: %d", t.GPUs)
	}
	if t.DiskGB > 0 {
		text += fmt.Sprintf(", %d GB local NVMe", t.DiskGB)
	}
	return text
}

func hourOf(table *prices.Table, region, name string) string {
	price, ok := table.Hour(region, name, false)
	if !ok {
		return "not offered there"
	}
	spot, _ := table.Hour(region, name, true)
	return fmt.Sprintf("On-Demand %s, Spot %s (estimate)", price, spot)
}

// refreshPrices fetches the prices of the regions that are named, or else of those that environments use.
func refreshPrices(ctx context.Context, args []string, w io.Writer) error {
	var regions listFlag
	s, rest, err := readSettings("prices refresh", args, func(f *flag.FlagSet) {
		f.Var(&regions, "region", "fetch the prices of this `region`; may be repeated. Without it, those that compute environments use")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("refresh takes no arguments, but got %q: regions are named with --region", rest)
	}
	if len(regions) == 0 {
		if regions, err = usedRegions(ctx, s); err != nil {
			return err
		}
	}
	var failures []error
	for _, region := range regions {
		started := time.Now()
		types, at, err := prices.Refresh(ctx, s.data, s.priceURL, region)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		fmt.Fprintf(w, "%s: as of %s, instance types: %d, in %s\n", region, at.Format(time.DateOnly), types, time.Since(started).Round(time.Second))
	}
	return errors.Join(failures...)
}

// usedRegions lists the regions of the environments in a data folder.
func usedRegions(ctx context.Context, s settings) (regions []string, err error) {
	if _, err := os.Stat(filepath.Join(s.data, db.FileName)); err != nil {
		return nil, fmt.Errorf("there is no portal in %s whose regions could be refreshed: name regions with --region, or the data folder with --data", s.data)
	}
	d, err := db.OpenWith(ctx, s.data, s.key)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	envs, err := d.SweptComputeEnvs(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range envs {
		if e.Platform == platform.PlatformAWSCloud && e.Status != platform.ComputeEnvDeleted && !slices.Contains(regions, e.Region) {
			regions = append(regions, e.Region)
		}
	}
	if len(regions) == 0 {
		return nil, errors.New("no compute environment is on AWS: name regions with --region")
	}
	return regions, nil
}
