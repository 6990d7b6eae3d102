package outbound

import (
	"net/netip"
)

// kind is what an address is for.
type kind int

const (
	public  kind = iota
	private      // reachable only from inside; allowed where an operator says so
	never        // nothing there that a request of ours is for
)

// neverNetworks are refused whatever an operator allows: a machine's metadata services, which give away the credentials of the
// host, and addresses that are not those of one host elsewhere. The registries are IANA's of special-purpose addresses.
var neverNetworks = networks(
	"0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "ff00::/8",
	"fd00:ec2::/32",      // AWS: the metadata service is fd00:ec2::254
	"fd20:ce::254/128",   // Google Cloud
	"100.100.100.200/32", // Alibaba Cloud
	"192.0.0.192/32",     // Oracle Cloud
	"168.63.129.16/32",   // Azure
	"64:ff9b:1::/48",     // local NAT64 (RFC 8215): where the IPv4 address stands in it is not known
	"2001::/32",          // Teredo: the IPv4 address in it is the relay's and the client's
)

// privateNetworks are those of a host, a site or a laboratory.
var privateNetworks = networks(
	"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
	"192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "192.88.99.0/24",
	"::1/128", "fc00::/7", "fec0::/10", "2001:db8::/32", "3fff::/20", "100::/64", "5f00::/16",
)

// embeddings are the networks whose addresses lead to an IPv4 address that stands in them from this byte on.
var embeddings = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"):    12, // NAT64 (RFC 6052)
	netip.MustParsePrefix("2002::/16"):       2,  // 6to4 (RFC 3056)
	netip.MustParsePrefix("::/96"):           12, // IPv4-compatible (RFC 4291)
	netip.MustParsePrefix("::ffff:0:0:0/96"): 12, // IPv4-translated (RFC 2765)
}

func networks(list ...string) (all []netip.Prefix) {
	for _, text := range list {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// kindOf tells what an address is for. What leads to an IPv4 address is what that one is.
func kindOf(address netip.Addr) kind {
	address = address.WithZone("").Unmap()
	switch {
	case in(address, neverNetworks):
		return never
	case in(address, privateNetworks):
		return private
	}
	for network, at := range embeddings {
		if bytes := address.As16(); address.Is6() && network.Contains(address) {
			return kindOf(netip.AddrFrom4([4]byte(bytes[at : at+4])))
		}
	}
	return public
}

func in(address netip.Addr, list []netip.Prefix) bool {
	for _, network := range list {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// IsLoopback tells whether a host of a URL is this host by its address or as localhost. Other names are not asked for.
func IsLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}
