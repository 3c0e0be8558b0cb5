package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/zclconf/go-cty/cty"
)

// What [claimValue.Listing] says.
const (
	listingZone  = "zone"
	listingNames = "names"
)

// usual are the names at which a mail domain has records, by type. Where a host
// cannot list its zone these are what is looked at.
var usual = map[string][]string{
	"MX": {"@"},
	"A":  usualHosts, "AAAA": usualHosts, "CNAME": usualHosts[1:],
	"TXT": {"@", "_dmarc", "_mta-sts", "_smtp._tls"},
	"SRV": {"_autodiscover._tcp", "_imap._tcp", "_imaps._tcp", "_pop3._tcp", "_pop3s._tcp", "_sieve._tcp", "_submission._tcp", "_submissions._tcp"},
}

var usualHosts = []string{"@", "autoconfig", "autodiscover", "imap", "mail", "mta-sts", "mx", "mx1", "mx2", "pop", "pop3", "smtp", "webmail"}

// A watch is one name or address of the old server.
type watch struct {
	name    string
	address netip.Addr
}

func newWatch(text, zone string) (watch, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return watch{address: address.Unmap()}, nil
	}
	name, err := Target(text, zone)
	return watch{name: name}, err
}

func (w watch) String() string {
	if w.address.IsValid() {
		return w.address.String()
	}
	return w.name
}

// listing says how the zone is searched.
func (c *claims) listing() string {
	if _, ok := c.system.host.(Transferer); ok && c.system.host.Capabilities().List {
		return listingZone
	}
	return listingNames
}

// List implements [providers.Lister]: every record that names the old server, as
// a dns_rrset that must be declared.
func (c *claims) List(ctx context.Context, desired cty.Value) ([]providers.Listed, error) {
	v, err := providers.Decode[claimValue](desired)
	if err != nil || v == nil {
		return nil, err
	}
	zone := c.system.host.Zone()
	var watches []watch
	for _, text := range v.Watch {
		w, err := newWatch(text, zone)
		if err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		watches = append(watches, w)
	}
	if len(watches) == 0 {
		return nil, nil
	}
	sets, err := c.sets(ctx)
	if err != nil {
		return nil, err
	}
	var listed []providers.Listed
	for _, set := range sets {
		naming := mentions(set, watches, zone)
		if !naming.Exists() || webOnly(set) {
			continue
		}
		ttl := int64(set.TTL)
		value, err := providers.Encode(rrsetSchema(), &rrsetValue{Name: set.Name, Type: set.Type, TTL: &ttl, Records: naming.Texts()})
		if err != nil {
			return nil, err
		}
		listed = append(listed, providers.Listed{Type: "dns_rrset", Values: value, Ignored: v.ignores(set)})
	}
	return listed, nil
}

// sets returns the sets of the whole zone, or of the usual names.
func (c *claims) sets(ctx context.Context) ([]RRset, error) {
	if transferer, ok := c.system.host.(Transferer); ok {
		sets, err := transferer.Transfer(ctx)
		if !errors.Is(err, ErrNoTransfer) {
			if err != nil {
				return nil, fmt.Errorf("listing the zone %s: %w", c.system.host.Zone(), err)
			}
			return sets, nil
		}
	}
	var sets []RRset
	for _, typ := range []string{"A", "AAAA", "CNAME", "MX", "SRV", "TXT"} {
		for _, label := range usual[typ] {
			name, err := Absolute(label, c.system.host.Zone())
			if err != nil {
				return nil, err
			}
			set, err := c.system.host.Get(ctx, name, typ)
			if err != nil {
				return nil, fmt.Errorf("reading %s %s: %w", name, typ, err)
			}
			if set.Exists() {
				sets = append(sets, set)
			}
		}
	}
	slices.SortFunc(sets, func(a, b RRset) int { return strings.Compare(a.Name+" "+a.Type, b.Name+" "+b.Type) })
	return sets, nil
}

// webOnly says that a set is nobody's business here: the web server that shares
// the old server's address.
func webOnly(set RRset) bool {
	switch set.Type {
	case "A", "AAAA", "CNAME":
		return strings.HasPrefix(set.Name, "www.")
	}
	return false
}

// mentions returns the members of set that name one of the watched.
func mentions(set RRset, watches []watch, zone string) RRset {
	found := RRset{Name: set.Name, Type: set.Type, TTL: set.TTL}
	for _, record := range set.Records {
		if slices.ContainsFunc(watches, func(w watch) bool { return w.in(set.Type, record.Text, zone) }) {
			found.add(record)
		}
	}
	return found
}

// in reports whether a record names w.
func (w watch) in(typ, text, zone string) bool {
	switch typ {
	case "A", "AAAA":
		address, err := netip.ParseAddr(text)
		return err == nil && w.address.IsValid() && address.Unmap() == w.address
	case "CNAME", "MX", "NS", "PTR", "SRV":
		fields := strings.Fields(text)
		return w.name != "" && len(fields) > 0 && fields[len(fields)-1] == w.name
	case "TXT":
		return w.inSPF(text, zone)
	}
	return false
}

// inSPF reports whether an SPF record authorises w by name or address: RFC 7208
// sections 5.3 to 5.6 and 6.1.
func (w watch) inSPF(text, zone string) bool {
	terms := strings.Fields(strings.ToLower(text))
	if len(terms) == 0 || terms[0] != "v=spf1" {
		return false
	}
	for _, term := range terms[1:] {
		mechanism, value, ok := strings.Cut(strings.TrimLeft(term, "+-~?"), ":")
		if !ok {
			mechanism, value, ok = strings.Cut(term, "=")
		}
		if !ok {
			continue
		}
		switch mechanism {
		case "ip4", "ip6":
			if prefix, err := netip.ParsePrefix(value); err == nil && w.address.IsValid() && prefix.Contains(w.address) {
				return true
			}
			if address, err := netip.ParseAddr(value); err == nil && address == w.address {
				return true
			}
		case "a", "mx", "include", "exists", "redirect":
			name, _, _ := strings.Cut(value, "/")
			if target, err := Target(name, zone); err == nil && w.name != "" && target == w.name {
				return true
			}
		}
	}
	return false
}
