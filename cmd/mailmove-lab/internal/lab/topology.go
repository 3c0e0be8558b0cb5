package lab

import (
	"fmt"
	"net/netip"
)

// The names and addresses of a lab. RFC 5737 keeps 198.51.100.0/24 for documentation, so that nothing real is meant by
// them; RFC 2606 keeps the names.
const (
	MovingDomain    = "example.com"
	NeighbourDomain = "other.example" // a second domain on both servers, whom the move must not touch
	SenderDomain    = "sender.example"
	StaleDomain     = "stale.example"
	prefix          = 24
)

// A role is one host of the topology.
type role struct {
	name, fqdn, address string
	trees               []string // the folders of files/ that make its disk, in order; a mail server has one more for its users
}

// roles lists the hosts in the order in which they are started.
var roles = [...]role{
	{"dns", "ns1." + MovingDomain, "198.51.100.53", []string{"common", "names"}},
	{"dns2", "ns2." + MovingDomain, "198.51.100.54", []string{"common", "names"}},
	{"old", "mail-old." + MovingDomain, "198.51.100.10", []string{"common", "postfix", "mail"}},
	{"new", "mail-new." + MovingDomain, "198.51.100.20", []string{"common", "postfix", "mail"}},
	{"op", "op.operator.example", "198.51.100.5", []string{"common", "operator"}},
	{"sender", "mail." + SenderDomain, "198.51.100.100", []string{"common", "postfix", "outside"}},
	{"stale", "mail." + StaleDomain, "198.51.100.101", []string{"common", "postfix", "outside"}},
}

// ServiceNames are the names of the moving domain by which its users' programs find the server.
func ServiceNames() []string {
	return []string{"imap", "smtp", "pop", "mail", "webmail", "autoconfig", "autodiscover"}
}

// MailServer returns the name by which the programs of an account's user find its server: home is "" for an account that
// moves, or the server of a neighbour's.
func MailServer(home string) string {
	switch home {
	case "old":
		return "mail." + NeighbourDomain
	case "new":
		return FQDN("new")
	}
	return "imap." + MovingDomain
}

func roleOf(name string) (role, error) {
	for _, r := range roles {
		if r.name == name {
			return r, nil
		}
	}
	return role{}, fmt.Errorf("there is no host %q: it is one of %v", name, HostNames())
}

// HostNames lists the hosts of a lab.
func HostNames() []string {
	var names []string
	for _, r := range roles {
		names = append(names, r.name)
	}
	return names
}

// Address returns the address of host name, which must exist.
func Address(name string) netip.Addr {
	r, err := roleOf(name)
	if err != nil {
		panic(err)
	}
	return netip.MustParseAddr(r.address)
}

// FQDN returns the full name of host name, which must exist.
func FQDN(name string) string {
	r, err := roleOf(name)
	if err != nil {
		panic(err)
	}
	return r.fqdn
}
