// The command sbom looks whether a software bill of materials (CycloneDX, JSON) names every module that is built into programs.
//
//	sbom FILE PROGRAM...
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom FILE PROGRAM...")
		os.Exit(2)
	}
	modules, err := check(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
	fmt.Printf("%s names all %d modules of %s\n", os.Args[1], modules, strings.Join(os.Args[2:], ", "))
}

// check returns how many modules the programs have, or which of them are missing.
func check(file string, programs []string) (int, error) {
	named, err := components(file)
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	var missing []error
	for _, program := range programs {
		list, err := modules(program)
		if err != nil {
			return 0, err
		}
		for _, m := range list {
			if !seen[m] && !named[m] {
				missing = append(missing, fmt.Errorf("%s has no component for %s, which is built into %s", file, m, program))
			}
			seen[m] = true
		}
	}
	if len(seen) == 0 {
		return 0, errors.New("no module is built into these programs, which cannot be")
	}
	return len(seen), errors.Join(missing...)
}

// components reads the package URLs of a bill, as module@version (github.com/package-url/purl-spec, type golang).
func components(file string) (map[string]bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var bill struct {
		BOMFormat  string
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if bill.BOMFormat != "CycloneDX" {
		return nil, fmt.Errorf("%s is no bill of CycloneDX", file)
	}
	named := map[string]bool{}
	for _, c := range bill.Components {
		module, _, _ := strings.Cut(strings.TrimPrefix(c.PURL, "pkg:golang/"), "?")
		if module, err = url.PathUnescape(module); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, c.PURL, err)
		}
		named[module] = true
	}
	return named, nil
}

// modules lists what a program is built from, as the linker has written it into it.
func modules(program string) (list []string, err error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		list = append(list, m.Path+"@"+m.Version)
	}
	return list, nil
}
