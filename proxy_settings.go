package main

import (
	"fmt"
	"net/netip"
)

// readTrustedProxies reads WHERRY_TRUSTED_PROXIES: the addresses, or ranges of them, whose word about where a request comes from
// counts.
func readTrustedProxies() (list []netip.Prefix, err error) {
	for _, text := range listSetting("WHERRY_TRUSTED_PROXIES") {
		prefix, err := netip.ParsePrefix(text)
		if address, err2 := netip.ParseAddr(text); err2 == nil && address.Zone() == "" {
			prefix, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("WHERRY_TRUSTED_PROXIES has %q; it must be addresses or ranges of them, such as 10.0.0.5 or 10.1.0.0/16, with commas between them", text)
		}
		if prefix.Bits() == 0 {
			return nil, fmt.Errorf("WHERRY_TRUSTED_PROXIES has %q, which is everybody: whoever asks could claim any address; name the proxies alone", text)
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}
