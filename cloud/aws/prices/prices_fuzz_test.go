package prices

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

// FuzzPriceList reads what AWS, or whoever answers in its place, sends as a price list. What is taken can be written and read again.
func FuzzPriceList(f *testing.F) {
	head := `"Publication Date","2026-01-01T00:00:00Z"` + "\n" + `"SKU","` + strings.Join(columns, `","`) + `"` + "\n"
	values := make([]string, len(columns))
	for i, name := range columns {
		values[i] = wanted[name]
		switch name {
		case "PricePerUnit":
			values[i] = "0.0960000000"
		case "Instance Type":
			values[i] = "m6i.large"
		case "Product Family":
			values[i] = "Compute Instance"
		case "vCPU":
			values[i] = "2"
		case "Memory":
			values[i] = "8 GiB"
		case "Region Code":
			values[i] = "eu-west-1"
		}
	}
	row := `"X","` + strings.Join(values, `","`) + `"` + "\n"
	for _, text := range []string{head + row, head + row + row, head, head + strings.Replace(row, "0.0960000000", "1e309", 1), head + strings.Replace(row, "8 GiB", "NaN GiB", 1), `"`, "\xff,\x00\n", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readPriceList(strings.NewReader(text), "eu-west-1")
		if err != nil {
			return
		}
		var file bytes.Buffer
		if err := d.Write(&file); err != nil {
			t.Fatalf("%q cannot be written: %v", text, err)
		}
		again, err := readDocument(&file)
		if err != nil || len(again.Types) != len(d.Types) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzDocument reads a file of prices, which somebody may have changed.
func FuzzDocument(f *testing.F) {
	for _, text := range []string{`{"types":[{"name":"m6i.large","cpus":2,"memoryMiB":8192}],"regions":{"eu-west-1":{"at":"2026-01-01T00:00:00Z","hours":{"m6i.large":[96000,0]}}}}`, `{"regions":{"eu-west-1":null}}`, `[]`, `{"regions":{"x":{}}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := readDocument(bytes.NewReader(text)); err == nil {
			t.Logf("%q is a file of prices", text)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(text); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		d, err := readDocument(&packed)
		if err != nil {
			return
		}
		for name, region := range d.Regions {
			for kind, hour := range region.Hours {
				if !IsRegion(name) || hour.OnDemand() <= 0 || hour.OnDemand() > dearest || hour.Spot() < 0 {
					t.Errorf("%s costs %v in %s", kind, hour, name)
				}
			}
		}
	})
}
