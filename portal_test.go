package main

import "testing"

func TestWhichAddressesAreOfUseOnThisHostAlone(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://10.0.0.5:8080": false, "http://[fd00::1]:8080": false, "://": false} {
		if got := isLoopback(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
