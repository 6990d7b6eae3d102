package web

import (
	"net"
	"net/netip"

	"github.com/labstack/echo/v4"
)

// clientAddress is how the address of a request is found: where it comes from, and behind a trusted proxy what that says. X-Forwarded-For is
// read from its end, up to the first address that is no trusted proxy's: what is before that anyone may have written.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		options = append(options, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
