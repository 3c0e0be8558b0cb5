package zoneserver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	miekg "github.com/miekg/dns"
)

// A zone is one version of a zone. It is never changed once it is served: an
// update makes the next version, so that a query sees all of an update or none.
type zone struct {
	origin string
	sets   map[setKey][]miekg.RR
}

type setKey struct {
	name string
	typ  uint16
}

// clone copies the table of zones; the versions themselves do not change.
func clone(zones map[string]*zone) map[string]*zone { return maps.Clone(zones) }

func parseZone(origin, text string) (*zone, error) {
	z := &zone{origin: origin, sets: map[setKey][]miekg.RR{}}
	parser := miekg.NewZoneParser(strings.NewReader(text), origin, "")
	parser.SetDefaultTTL(3600)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		z.add(rr)
	}
	if err := parser.Err(); err != nil {
		return nil, err
	}
	if len(z.sets[setKey{origin, miekg.TypeSOA}]) != 1 || len(z.sets[setKey{origin, miekg.TypeNS}]) == 0 {
		return nil, errors.New("the zone needs one SOA and at least one NS at its apex")
	}
	return z, nil
}

// copy returns a version that can be changed.
func (z *zone) copy() *zone {
	next := &zone{origin: z.origin, sets: make(map[setKey][]miekg.RR, len(z.sets))}
	for key, set := range z.sets {
		next.sets[key] = slices.Clone(set)
	}
	return next
}

func keyOf(rr miekg.RR) setKey {
	return setKey{miekg.CanonicalName(rr.Header().Name), rr.Header().Rrtype}
}

// add puts a record into its set; the TTL becomes that of the whole set, as RFC
// 2181 section 5.2 wants it and BIND does it.
func (z *zone) add(rr miekg.RR) {
	rr = miekg.Copy(rr)
	rr.Header().Class = miekg.ClassINET
	key := keyOf(rr)
	set := slices.DeleteFunc(z.sets[key], func(other miekg.RR) bool { return sameData(other, rr) })
	for i, other := range set {
		other = miekg.Copy(other)
		other.Header().Ttl = rr.Header().Ttl
		set[i] = other
	}
	z.sets[key] = append(set, rr)
}

// sameData compares the data of two records octet by octet, names within it
// without regard to case.
func sameData(a, b miekg.RR) bool { return miekg.IsDuplicate(inClass(a), inClass(b)) }

// inClass returns rr with the class IN: an update says NONE for what it deletes.
func inClass(rr miekg.RR) miekg.RR {
	rr = miekg.Copy(rr)
	rr.Header().Class = miekg.ClassINET
	return rr
}

// has reports whether name has any record.
func (z *zone) has(name string) bool {
	for key := range z.sets {
		if key.name == name {
			return true
		}
	}
	return false
}

// exists reports whether name exists: it has a record or a name below it does.
func (z *zone) exists(name string) bool {
	for key := range z.sets {
		if key.name == name || strings.HasSuffix(key.name, "."+name) {
			return true
		}
	}
	return false
}

// source returns the name whose records answer for name, and whether there is
// one: itself, or the wildcard at its closest encloser (RFC 4592 section 3.3.1).
func (z *zone) source(name string) (string, bool) {
	if z.exists(name) {
		return name, true
	}
	for encloser := name; encloser != z.origin; {
		_, parent, ok := strings.Cut(encloser, ".")
		if !ok {
			break
		}
		encloser = parent
		if z.exists(encloser) {
			wildcard := "*." + encloser
			return wildcard, z.has(wildcard)
		}
	}
	return "", false
}

// find returns the records of a set as they answer for name.
func (z *zone) find(source, name string, typ uint16) []miekg.RR {
	var found []miekg.RR
	for key, set := range z.sets {
		if key.name != source || (key.typ != typ && typ != miekg.TypeANY) {
			continue
		}
		for _, rr := range set {
			rr = miekg.Copy(rr)
			rr.Header().Name = name
			found = append(found, rr)
		}
	}
	return found
}

func (z *zone) withoutSOA() []miekg.RR {
	var all []miekg.RR
	keys := slices.SortedFunc(maps.Keys(z.sets), func(a, b setKey) int {
		return strings.Compare(fmt.Sprintf("%s %05d", a.name, a.typ), fmt.Sprintf("%s %05d", b.name, b.typ))
	})
	for _, key := range keys {
		if key.typ != miekg.TypeSOA {
			all = append(all, z.sets[key]...)
		}
	}
	return all
}

// bump raises the SOA's serial, RFC 1982.
func (z *zone) bump() {
	key := setKey{z.origin, miekg.TypeSOA}
	soa := miekg.Copy(z.sets[key][0]).(*miekg.SOA)
	soa.Serial++
	if soa.Serial == 0 {
		soa.Serial = 1
	}
	z.sets[key] = []miekg.RR{soa}
}

// aliasLimit bounds a chain of aliases.
const aliasLimit = 8

// query answers a question from the zone: RFC 1034 section 4.3.2.
func (s *Server) query(request, reply *miekg.Msg, udp bool) {
	question := request.Question[0]
	name := miekg.CanonicalName(question.Name)
	s.mu.Lock()
	z := s.zoneOf(name)
	s.mu.Unlock()
	if z == nil {
		reply.Rcode = miekg.RcodeRefused
		return
	}
	reply.Authoritative = true
	for range aliasLimit {
		source, ok := z.source(name)
		if !ok {
			reply.Rcode = miekg.RcodeNameError
			break
		}
		found := z.find(source, name, question.Qtype)
		reply.Answer = append(reply.Answer, found...)
		alias := z.find(source, name, miekg.TypeCNAME)
		if len(found) > 0 || len(alias) == 0 {
			break
		}
		reply.Answer = append(reply.Answer, alias...)
		name = miekg.CanonicalName(alias[0].(*miekg.CNAME).Target)
		if !miekg.IsSubDomain(z.origin, name) {
			break
		}
	}
	if len(reply.Answer) == 0 {
		reply.Ns = z.sets[setKey{z.origin, miekg.TypeSOA}]
	}
	if opt := request.IsEdns0(); opt != nil {
		reply.SetEdns0(1232, false)
	}
	if udp {
		size := miekg.MinMsgSize
		if opt := request.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		reply.Truncate(size)
	}
}
