package main

import "testing"

func TestWhatMachinesInAWSReach(t *testing.T) {
	t.Parallel()
	const here, there = "http://127.0.0.1:8080", "http://10.0.0.5:8080"
	for _, c := range []struct {
		address, endpoint string
		want              bool
	}{{here, "", false}, {there, "", true}, {here, "https://ec2.example.org", false}, {here, "http://127.0.0.1:5000", true}} {
		if got := reachedByMachines(c.address, c.endpoint); got != c.want {
			t.Errorf("%s, with AWS at %q: %v", c.address, c.endpoint, got)
		}
	}
}

func TestWhichAddressesAreOfUseOnThisHostAlone(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://10.0.0.5:8080": false, "http://[fd00::1]:8080": false, "://": false} {
		if got := isLoopback(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
