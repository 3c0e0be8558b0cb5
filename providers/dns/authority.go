package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers"
	miekg "github.com/miekg/dns"
)

// A Server is one address of one authoritative name server.
type Server struct {
	// Name is the server's name in the zone's NS set, or how the configuration calls it.
	Name string
	// Address is host:port.
	Address string
}

// String returns the address, without the port where that is 53.
func (s Server) String() string {
	if host, port, err := net.SplitHostPort(s.Address); err == nil && port == "53" {
		return host
	}
	return s.Address
}

const (
	// askTimeout bounds one attempt to ask one server.
	askTimeout = 3 * time.Second
	// askAttempts is how often a server is asked before it counts as unreachable.
	askAttempts = 3
)

// authority finds the authoritative servers of a zone and asks them.
type authority struct {
	host Host
	// fixed are the addresses of the configuration; empty means discover.
	fixed []string

	mu    sync.Mutex
	found []Server
}

// forget makes the next look discover the servers anew.
func (a *authority) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found = nil
}

// servers returns every address of every authoritative server, in order.
func (a *authority) servers(ctx context.Context) ([]Server, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.found != nil {
		return a.found, nil
	}
	found, err := a.discover(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding the name servers of %s: %w", a.host.Zone(), err)
	}
	a.found = found
	return found, nil
}

func (a *authority) discover(ctx context.Context) ([]Server, error) {
	var servers []Server
	names := a.fixed
	if len(names) == 0 {
		set, err := a.host.Get(ctx, a.host.Zone(), "NS")
		if err != nil {
			return nil, err
		}
		if !set.Exists() {
			return nil, providers.Faultf("Check the zone's name, or list the servers in nameservers of the provider block.", "the zone has no NS records")
		}
		names = set.Texts()
	}
	for _, name := range names {
		addresses, err := a.addresses(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			servers = append(servers, Server{Name: name, Address: address})
		}
	}
	slices.SortFunc(servers, func(x, y Server) int { return strings.Compare(x.Address, y.Address) })
	return slices.CompactFunc(servers, func(x, y Server) bool { return x.Address == y.Address }), nil
}

// addresses returns host:port for every address of a server that is called by
// name or address, with or without a port.
func (a *authority) addresses(ctx context.Context, name string) ([]string, error) {
	host, port := splitPort(name)
	if addr, err := netip.ParseAddr(host); err == nil {
		return []string{netip.AddrPortFrom(addr, port).String()}, nil
	}
	var found []string
	absolute, err := canonical(host)
	if err != nil {
		return nil, err
	}
	if InZone(absolute, a.host.Zone()) {
		for _, typ := range []string{"A", "AAAA"} {
			set, err := a.host.Get(ctx, absolute, typ)
			if err != nil {
				return nil, err
			}
			found = append(found, set.Texts()...)
		}
	}
	if len(found) == 0 {
		// Only where to ask comes from a resolver; what the zone holds never does.
		found, err = net.DefaultResolver.LookupHost(ctx, strings.TrimSuffix(absolute, "."))
		if err != nil {
			return nil, providers.Faultf("Correct the zone's NS records, or list the addresses to ask in nameservers of the provider block.",
				"looking up the name server %s: %w", absolute, err)
		}
	}
	for i, address := range found {
		addr, err := netip.ParseAddr(address)
		if err != nil {
			return nil, fmt.Errorf("looking up the name server %s: %w", absolute, err)
		}
		found[i] = netip.AddrPortFrom(addr, port).String()
	}
	return found, nil
}

// splitPort takes "host", "host:port", "address", "[v6]:port" or "v6" apart; the
// port is 53 unless said otherwise.
func splitPort(s string) (string, uint16) {
	if addr, err := netip.ParseAddrPort(s); err == nil {
		return addr.Addr().String(), addr.Port()
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return s, 53
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return s, 53
	}
	number, err := net.LookupPort("udp", port)
	if err != nil {
		return s, 53
	}
	return host, uint16(number)
}

// read asks one server for one set, without recursion.
func (a *authority) read(ctx context.Context, server Server, name, typ string) (RRset, error) {
	var reply *miekg.Msg
	var err error
	for range askAttempts {
		if reply, err = ask(ctx, server.Address, name, typ); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return RRset{}, fmt.Errorf("asking %v (%s): %w", server, server.Name, err)
	}
	switch {
	case reply.Rcode != miekg.RcodeSuccess && reply.Rcode != miekg.RcodeNameError:
		return RRset{}, fmt.Errorf("asking %v (%s): it answers %s", server, server.Name, miekg.RcodeToString[reply.Rcode])
	case !reply.Authoritative:
		return RRset{}, fmt.Errorf("asking %v (%s): it is not authoritative for %s", server, server.Name, a.host.Zone())
	}
	return FromRRs(name, typ, reply.Answer), nil
}

// ask sends one question. TCP comes first: nobody off the path can forge its
// answer (RFC 5452 section 4), and it is never cut short. UDP serves where TCP does not.
func ask(ctx context.Context, address, name, typ string) (*miekg.Msg, error) {
	question := new(miekg.Msg).SetQuestion(name, miekg.StringToType[typ])
	question.RecursionDesired = false
	question.SetEdns0(1232, false)
	var errs []error
	for _, network := range []string{"tcp", "udp"} {
		client := miekg.Client{Net: network, Timeout: askTimeout}
		reply, _, err := client.ExchangeContext(ctx, question, address)
		switch {
		case err != nil:
			errs = append(errs, err)
		case reply.Truncated:
			errs = append(errs, errors.New("the answer does not fit into UDP and TCP does not work"))
		case len(reply.Question) != 1 || !strings.EqualFold(reply.Question[0].Name, name):
			errs = append(errs, errors.New("the answer is not one to the question"))
		default:
			return reply, nil
		}
	}
	return nil, errors.Join(errs...)
}

// negativeTTL returns for how long a resolver may remember that a name or set
// does not exist: RFC 2308 section 5.
func (a *authority) negativeTTL(ctx context.Context) (uint32, error) {
	servers, err := a.servers(ctx)
	if err != nil {
		return 0, err
	}
	var longest uint32
	for _, server := range servers {
		set, err := a.read(ctx, server, a.host.Zone(), "SOA")
		if err != nil {
			return 0, err
		}
		rrs, err := set.RRs()
		if err != nil {
			return 0, err
		}
		for _, rr := range rrs {
			longest = max(longest, min(set.TTL, rr.(*miekg.SOA).Minttl))
		}
	}
	return longest, nil
}
