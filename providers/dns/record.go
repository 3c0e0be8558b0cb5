package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	miekg "github.com/miekg/dns"
	"golang.org/x/text/unicode/norm"
)

// An RRset is all records of one name and type. One without records stands for a
// set that does not exist.
type RRset struct {
	// Name is in normal form, see [Absolute].
	Name string
	// Type is the mnemonic in upper case, such as "MX".
	Type string
	// TTL in seconds; a set has one (RFC 2181 section 5.2).
	TTL uint32
	// Records in the order of their text, each once.
	Records []Record
}

// A Record is one member of an [RRset].
type Record struct {
	// Text is the normal form: "10 mail.example.com.", "198.51.100.20", and for TXT
	// the text itself, unquoted, however long. Members with equal text are the same
	// member.
	Text string
	// Raw is the record in zone file form as the host holds it: with its own cut
	// into character-strings and its own upper case, which a comparison on the
	// host's side may need.
	Raw string
}

// managed are the types a configuration may write. SOA and the records of DNSSEC
// belong to the host.
var managed = []string{"A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SRV", "SSHFP", "SVCB", "TLSA", "TXT"}

// targets says which field of a type's text is a domain name.
var targets = map[string]int{"CNAME": 0, "NS": 0, "PTR": 0, "MX": 1, "SRV": 3}

// NormalType returns a type's mnemonic in normal form.
func NormalType(typ string) (string, error) {
	upper := strings.ToUpper(strings.TrimSpace(typ))
	if !slices.Contains(managed, upper) {
		return "", fmt.Errorf("type %q is not one that mailmove writes: want one of %s", typ, strings.Join(managed, ", "))
	}
	return upper, nil
}

// NewRecord reads what a person wrote as a record of typ in zone.
func NewRecord(typ, text, zone string) (Record, error) {
	if typ == "TXT" {
		if len(text) >= 2 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) {
			return Record{}, fmt.Errorf("TXT record %s: write the text itself, without the quotes of a zone file", text)
		}
		return Record{Text: text, Raw: quoteTXT(text)}, nil
	}
	special := "\\();\""
	if typ == "CAA" || typ == "HTTPS" || typ == "SVCB" {
		special = "" // their values are quoted
	}
	if strings.ContainsAny(text, special) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Record{}, fmt.Errorf("%s record %q: holds a character that does not belong there", typ, text)
	}
	fields := strings.Fields(text)
	if at, ok := targets[typ]; ok {
		if len(fields) != at+1 {
			return Record{}, fmt.Errorf("%s record %q: want %s", typ, text, shapes[typ])
		}
		if _, err := netip.ParseAddr(strings.TrimSuffix(fields[at], ".")); err == nil {
			return Record{}, fmt.Errorf("%s record %q: the target is an address; it must be a name that has an address record (RFC 5321 section 5.1)", typ, text)
		}
		target, err := Target(fields[at], zone)
		if err != nil {
			return Record{}, fmt.Errorf("%s record %q: %w", typ, text, err)
		}
		fields[at] = target
	}
	if len(fields) < least[typ] {
		return Record{}, fmt.Errorf("%s record %q: want %s", typ, text, shapes[typ])
	}
	rr, err := parse(zone, typ, 0, strings.Join(fields, " "))
	if err != nil {
		return Record{}, fmt.Errorf("%s record %q: want %s: %w", typ, text, shapes[typ], err)
	}
	// What reads well may still not fit on the wire: odd hex, too long a string.
	if _, err := miekg.PackRR(rr, make([]byte, miekg.MaxMsgSize), 0, nil, false); err != nil {
		return Record{}, fmt.Errorf("%s record %q: want %s: %w", typ, text, shapes[typ], err)
	}
	record := FromRR(rr)
	if again, err := parse(zone, typ, 0, record.Text); err != nil || FromRR(again).Text != record.Text {
		return Record{}, fmt.Errorf("%s record %q: want %s, without the quoting of a zone file", typ, text, shapes[typ])
	}
	return record, nil
}

// least is how many fields a type's text has at least, where the library takes fewer.
var least = map[string]int{"CAA": 3, "SSHFP": 3, "TLSA": 4, "HTTPS": 2, "SVCB": 2}

// shapes say what a record of a type looks like, for messages.
var shapes = map[string]string{
	"A": `an IPv4 address, such as "198.51.100.20"`, "AAAA": `an IPv6 address, such as "2001:db8::20"`,
	"CNAME": `a name, such as "mail.example.com."`, "NS": `a name, such as "ns1.example.com."`, "PTR": `a name, such as "mail.example.com."`,
	"MX":  `a preference and a name, such as "10 mail.example.com."`,
	"SRV": `priority, weight, port and a name, such as "0 1 993 mail.example.com."`,
	"CAA": `flags, tag and value, such as '0 issue "ca.example.net"'`, "TLSA": `usage, selector, type and hex, such as "3 1 1 d2ab…"`,
	"SSHFP": "algorithm, type and hex", "HTTPS": "priority, target and parameters", "SVCB": "priority, target and parameters",
}

// parse reads one record in zone file form.
func parse(name, typ string, ttl uint32, raw string) (miekg.RR, error) {
	rr, err := miekg.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, typ, raw))
	if err != nil {
		return nil, err
	}
	if rr == nil || miekg.TypeToString[rr.Header().Rrtype] != typ {
		return nil, fmt.Errorf("not a record of type %s", typ)
	}
	return rr, nil
}

// FromRR returns the record that rr holds.
func FromRR(rr miekg.RR) Record {
	raw := rdata(rr)
	if txt, ok := rr.(*miekg.TXT); ok {
		return Record{Text: joinTXT(txt.Txt), Raw: raw}
	}
	normal := miekg.Copy(rr)
	switch r := normal.(type) {
	case *miekg.CNAME:
		r.Target = miekg.CanonicalName(r.Target)
	case *miekg.NS:
		r.Ns = miekg.CanonicalName(r.Ns)
	case *miekg.PTR:
		r.Ptr = miekg.CanonicalName(r.Ptr)
	case *miekg.MX:
		r.Mx = miekg.CanonicalName(r.Mx)
	case *miekg.SRV:
		r.Target = miekg.CanonicalName(r.Target)
	case *miekg.TLSA:
		r.Certificate = strings.ToLower(r.Certificate)
	case *miekg.SSHFP:
		r.FingerPrint = strings.ToLower(r.FingerPrint)
	}
	return Record{Text: rdata(normal), Raw: raw}
}

func rdata(rr miekg.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// FromRRs returns the set of name and typ that is among rrs; others are left out.
// The TTL is the highest, which is how long somebody may keep the set.
func FromRRs(name, typ string, rrs []miekg.RR) RRset {
	set := RRset{Name: name, Type: typ}
	for _, rr := range rrs {
		header := rr.Header()
		if miekg.CanonicalName(header.Name) != name || miekg.TypeToString[header.Rrtype] != typ {
			continue
		}
		set.TTL = max(set.TTL, header.Ttl)
		set.add(FromRR(rr))
	}
	set.sort()
	return set
}

// RRs returns the set as records for the wire, from their raw form.
func (s RRset) RRs() ([]miekg.RR, error) {
	rrs := make([]miekg.RR, 0, len(s.Records))
	for _, record := range s.Records {
		rr, err := parse(s.Name, s.Type, s.TTL, record.Raw)
		if err != nil {
			return nil, fmt.Errorf("encoding %s %s %q: %w", s.Name, s.Type, record.Text, err)
		}
		rrs = append(rrs, rr)
	}
	return rrs, nil
}

// Exists reports whether the set has members.
func (s RRset) Exists() bool { return len(s.Records) > 0 }

// Has reports whether text is a member.
func (s RRset) Has(text string) bool {
	return slices.ContainsFunc(s.Records, func(r Record) bool { return key(r.Text) == key(text) })
}

// Texts returns the members' texts.
func (s RRset) Texts() []string {
	texts := make([]string, 0, len(s.Records))
	for _, r := range s.Records {
		texts = append(texts, r.Text)
	}
	return texts
}

// SameRecords reports whether both sets have the same members.
func (s RRset) SameRecords(t RRset) bool {
	return len(s.Records) == len(t.Records) &&
		!slices.ContainsFunc(s.Records, func(r Record) bool { return !t.Has(r.Text) })
}

// Same reports whether both sets have the same members and, if there are any,
// the same TTL.
func (s RRset) Same(t RRset) bool {
	return s.SameRecords(t) && (s.TTL == t.TTL || !s.Exists())
}

func (s RRset) String() string {
	if !s.Exists() {
		return fmt.Sprintf("no %s at %s", s.Type, s.Name)
	}
	quoted := make([]string, 0, len(s.Records))
	for _, r := range s.Records {
		quoted = append(quoted, `"`+printable(r.Text)+`"`)
	}
	return fmt.Sprintf("%s %d %s %s", s.Name, s.TTL, s.Type, strings.Join(quoted, ", "))
}

// add puts r into the set if its text is not a member yet.
func (s *RRset) add(r Record) {
	if !s.Has(r.Text) {
		s.Records = append(s.Records, r)
	}
}

func (s *RRset) sort() {
	slices.SortFunc(s.Records, func(a, b Record) int { return strings.Compare(a.Text, b.Text) })
}

// key makes texts comparable: the language's strings are in Unicode's normal form
// C, a zone's are octets.
func key(text string) string { return norm.NFC.String(text) }
