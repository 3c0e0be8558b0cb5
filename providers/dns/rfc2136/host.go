package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	miekg "github.com/miekg/dns"
)

// Host is one zone on one primary server.
type Host struct {
	zone   string
	server string
	axfr   bool
	key    *Key
	// now is the machine's clock, which signatures carry (RFC 8945 section 5.2.3).
	now func() time.Time

	mu sync.Mutex
	// secret is the key's, by the key's name, once it is needed.
	secret map[string]string
}

var (
	_ dns.Host       = (*Host)(nil)
	_ dns.Transferer = (*Host)(nil)
)

// capabilities: RFC 2136 section 3.4 makes a message atomic, section 3.2
// compares first.
var capabilities = dns.Capabilities{Atomic: true, Swap: true, List: true}

// Zone implements [dns.Host].
func (h *Host) Zone() string { return h.zone }

// Capabilities implements [dns.Host].
func (h *Host) Capabilities() dns.Capabilities {
	c := capabilities
	c.List = h.axfr
	return c
}

// Get implements [dns.Host].
func (h *Host) Get(ctx context.Context, name, typ string) (dns.RRset, error) {
	question := new(miekg.Msg).SetQuestion(name, miekg.StringToType[typ])
	question.RecursionDesired = false
	_, reply, err := h.exchange(ctx, question)
	if err != nil {
		return dns.RRset{}, err
	}
	switch {
	case reply.Rcode != miekg.RcodeSuccess && reply.Rcode != miekg.RcodeNameError:
		return dns.RRset{}, h.refused("asking", reply)
	case !reply.Authoritative:
		return dns.RRset{}, providers.Faultf("Name the zone's primary server in server of the provider block.", "asking %s: it is not authoritative for %s", h.server, h.zone)
	}
	set := dns.FromRRs(name, typ, reply.Answer)
	if !set.Exists() || name == h.zone {
		return set, nil
	}
	return h.withoutWildcard(ctx, set)
}

// withoutWildcard returns no set where the answer came from a wildcard. Only the
// server knows: a prerequisite is about what is stored (RFC 2136 section 2.4.1),
// an answer is not. So an update that has prerequisites alone asks. It is sent
// only where a wildcard could have answered.
func (h *Host) withoutWildcard(ctx context.Context, set dns.RRset) (dns.RRset, error) {
	candidate := false
	for parent := set.Name; parent != h.zone && !candidate; {
		_, parent, _ = strings.Cut(parent, ".")
		question := new(miekg.Msg).SetQuestion("*."+parent, miekg.StringToType[set.Type])
		question.RecursionDesired = false
		if "*."+parent == set.Name {
			return set, nil
		}
		_, reply, err := h.exchange(ctx, question)
		if err != nil {
			return dns.RRset{}, err
		}
		candidate = len(reply.Answer) > 0
	}
	if !candidate {
		return set, nil
	}
	probe := new(miekg.Msg)
	probe.SetUpdate(h.zone)
	probe.RRsetUsed([]miekg.RR{&miekg.ANY{Hdr: miekg.RR_Header{Name: set.Name, Rrtype: miekg.StringToType[set.Type]}}})
	_, reply, err := h.exchange(ctx, probe)
	if err != nil {
		return dns.RRset{}, err
	}
	switch reply.Rcode {
	case miekg.RcodeSuccess:
		return set, nil
	case miekg.RcodeNXRrset:
		return dns.RRset{Name: set.Name, Type: set.Type}, nil
	}
	return dns.RRset{}, h.refused("asking", reply)
}

// Replace implements [dns.Host].
func (h *Host) Replace(ctx context.Context, edits []dns.Edit) (providers.Outcome, error) {
	message := new(miekg.Msg)
	message.SetUpdate(h.zone)
	for _, edit := range edits {
		if err := add(message, edit); err != nil {
			return providers.NotApplied, err
		}
	}
	outcome, reply, err := h.exchange(ctx, message)
	if err != nil {
		return outcome, err
	}
	switch reply.Rcode {
	case miekg.RcodeSuccess:
		return providers.Applied, nil
	case miekg.RcodeNXRrset, miekg.RcodeYXRrset, miekg.RcodeNameError, miekg.RcodeYXDomain:
		return providers.NotApplied, h.conflict(ctx, edits)
	case miekg.RcodeServerFailure:
		// Nothing says whether the server failed before or after it wrote.
		return providers.Unknown, h.refused("updating", reply)
	}
	return providers.NotApplied, h.refused("updating", reply)
}

// add puts one edit into an update: its expectation as a prerequisite, its wish
// as the exchange of the whole set, so that the TTL changes too.
func add(message *miekg.Msg, edit dns.Edit) error {
	expected, err := edit.Expected.RRs()
	if err != nil {
		return err
	}
	wanted, err := edit.Wanted.RRs()
	if err != nil {
		return err
	}
	set := []miekg.RR{&miekg.ANY{Hdr: miekg.RR_Header{Name: edit.Wanted.Name, Rrtype: miekg.StringToType[edit.Wanted.Type]}}}
	if len(expected) == 0 {
		message.RRsetNotUsed(set)
	} else {
		message.Used(expected)
	}
	if edit.Expected.Same(edit.Wanted) {
		return nil
	}
	message.RemoveRRset(set)
	message.Insert(wanted)
	return nil
}

// conflict says which expectation does not hold.
func (h *Host) conflict(ctx context.Context, edits []dns.Edit) error {
	for _, edit := range edits {
		found, err := h.Get(ctx, edit.Expected.Name, edit.Expected.Type)
		if err != nil {
			return fmt.Errorf("updating %s at %s: a set is not as expected, and reading it: %w", h.zone, h.server, err)
		}
		if !found.SameRecords(edit.Expected) || !sameRaw(found, edit.Expected) {
			return &dns.Conflict{Expected: edit.Expected, Found: found}
		}
	}
	// Between the refusal and this reading it was changed back.
	last := edits[len(edits)-1]
	return &dns.Conflict{Expected: last.Expected, Found: last.Expected}
}

// sameRaw compares sets whose members have the same texts by how the texts are
// cut into character-strings.
func sameRaw(a, b dns.RRset) bool {
	return slices.EqualFunc(a.Records, b.Records, func(x, y dns.Record) bool { return strings.EqualFold(x.Raw, y.Raw) })
}

// Transfer implements [dns.Transferer] by AXFR.
func (h *Host) Transfer(ctx context.Context) ([]dns.RRset, error) {
	if !h.axfr {
		return nil, dns.ErrNoTransfer
	}
	secrets, err := h.secrets(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := dial(ctx, h.server)
	if err != nil {
		return nil, h.unreachable(err)
	}
	defer connection.Close()
	question := new(miekg.Msg).SetAxfr(h.zone)
	h.sign(question)
	transfer := &miekg.Transfer{Conn: &miekg.Conn{Conn: connection}, ReadTimeout: timeout, WriteTimeout: timeout, TsigSecret: secrets}
	envelopes, err := transfer.In(question, h.server)
	if err != nil {
		return nil, fmt.Errorf("transferring %s from %s: %w", h.zone, h.server, err)
	}
	var rrs []miekg.RR
	for envelope := range envelopes {
		if envelope.Error != nil {
			err = errors.Join(err, envelope.Error)
		}
		rrs = append(rrs, envelope.RR...)
	}
	if err != nil {
		return nil, providers.Faultf("Let the key transfer the zone (BIND: allow-transfer { key mailmove; };), or write axfr = false in the provider block.",
			"transferring %s from %s: %w", h.zone, h.server, err)
	}
	return sets(rrs), nil
}

// sets groups a transfer's records; those of DNSSEC are the server's own.
func sets(rrs []miekg.RR) []dns.RRset {
	type id struct{ name, typ string }
	groups := map[id][]miekg.RR{}
	var order []id
	for _, rr := range rrs {
		switch rr.Header().Rrtype {
		case miekg.TypeRRSIG, miekg.TypeNSEC, miekg.TypeNSEC3, miekg.TypeNSEC3PARAM, miekg.TypeDNSKEY, miekg.TypeCDS, miekg.TypeCDNSKEY, miekg.TypeTSIG:
			continue
		}
		of := id{miekg.CanonicalName(rr.Header().Name), miekg.TypeToString[rr.Header().Rrtype]}
		if groups[of] == nil {
			order = append(order, of)
		}
		groups[of] = append(groups[of], rr)
	}
	out := make([]dns.RRset, 0, len(order))
	for _, of := range order {
		out = append(out, dns.FromRRs(of.name, of.typ, groups[of]))
	}
	return out
}

const timeout = 15 * time.Second

func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(timeout)
	if until, ok := ctx.Deadline(); ok && until.Before(deadline) {
		deadline = until
	}
	if err := connection.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	return connection, nil
}
