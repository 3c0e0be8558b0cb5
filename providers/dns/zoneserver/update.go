package zoneserver

import (
	"slices"

	miekg "github.com/miekg/dns"
)

// update carries out an RFC 2136 message and fills in the reply. It reports
// whether to answer at all.
func (s *Server) update(request, reply *miekg.Msg) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.LoseUpdate > 0 {
		s.faults.LoseUpdate--
		return false
	}
	reply.Rcode = s.apply(request)
	if reply.Rcode == miekg.RcodeSuccess && s.faults.LoseAnswer > 0 {
		s.faults.LoseAnswer--
		return false
	}
	return true
}

// apply returns the response code. Either the whole update is in the zone when it
// returns, or nothing of it. s.mu is held.
func (s *Server) apply(request *miekg.Msg) int {
	question := request.Question[0]
	if question.Qtype != miekg.TypeSOA { // section 3.1.1
		return miekg.RcodeFormatError
	}
	z := s.zones[miekg.CanonicalName(question.Name)]
	if z == nil || s.primary != nil {
		return miekg.RcodeNotAuth
	}
	if s.faults.Refuse || !s.authorised(request) {
		return miekg.RcodeRefused
	}
	if code := z.prerequisites(request.Answer); code != miekg.RcodeSuccess {
		return code
	}
	next := z.copy()
	changed := false
	for _, rr := range request.Ns {
		if !miekg.IsSubDomain(z.origin, miekg.CanonicalName(rr.Header().Name)) {
			return miekg.RcodeNotZone
		}
		did, code := next.change(rr)
		if code != miekg.RcodeSuccess {
			return code
		}
		changed = changed || did
	}
	if !next.sound(request.Ns) {
		return miekg.RcodeRefused
	}
	if changed {
		next.bump()
		s.zones[z.origin] = next
		s.notify()
	}
	return miekg.RcodeSuccess
}

// prerequisites checks section 2.4 in the order of section 3.2.5.
func (z *zone) prerequisites(rrs []miekg.RR) int {
	values := map[setKey][]miekg.RR{}
	for _, rr := range rrs {
		header, key := rr.Header(), keyOf(rr)
		if header.Ttl != 0 {
			return miekg.RcodeFormatError
		}
		if !miekg.IsSubDomain(z.origin, key.name) {
			return miekg.RcodeNotZone
		}
		switch header.Class {
		case miekg.ClassANY:
			if key.typ == miekg.TypeANY && !z.has(key.name) {
				return miekg.RcodeNameError
			}
			if key.typ != miekg.TypeANY && len(z.sets[key]) == 0 {
				return miekg.RcodeNXRrset
			}
		case miekg.ClassNONE:
			if key.typ == miekg.TypeANY && z.has(key.name) {
				return miekg.RcodeYXDomain
			}
			if key.typ != miekg.TypeANY && len(z.sets[key]) > 0 {
				return miekg.RcodeYXRrset
			}
		case miekg.ClassINET:
			values[key] = append(values[key], rr)
		default:
			return miekg.RcodeFormatError
		}
	}
	for key, want := range values {
		if !sameSet(want, z.sets[key]) {
			return miekg.RcodeNXRrset
		}
	}
	return miekg.RcodeSuccess
}

func sameSet(a, b []miekg.RR) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(rr miekg.RR) bool {
		return !slices.ContainsFunc(b, func(other miekg.RR) bool { return sameData(rr, other) })
	})
}

// change carries out one record of the update section: section 3.4.2.
func (z *zone) change(rr miekg.RR) (changed bool, code int) {
	key := keyOf(rr)
	apex := key.name == z.origin
	switch rr.Header().Class {
	case miekg.ClassINET:
		return z.insert(rr, key), miekg.RcodeSuccess
	case miekg.ClassANY:
		for existing := range z.sets {
			if existing.name != key.name || (key.typ != miekg.TypeANY && existing.typ != key.typ) {
				continue
			}
			if apex && (existing.typ == miekg.TypeSOA || existing.typ == miekg.TypeNS) {
				continue
			}
			delete(z.sets, existing)
			changed = true
		}
		return changed, miekg.RcodeSuccess
	case miekg.ClassNONE:
		set := z.sets[key]
		if apex && (key.typ == miekg.TypeSOA || (key.typ == miekg.TypeNS && len(set) == 1)) {
			return false, miekg.RcodeSuccess
		}
		left := slices.DeleteFunc(slices.Clone(set), func(other miekg.RR) bool { return sameData(other, rr) })
		if len(left) == len(set) {
			return false, miekg.RcodeSuccess
		}
		if z.sets[key] = left; len(left) == 0 {
			delete(z.sets, key)
		}
		return true, miekg.RcodeSuccess
	}
	return false, miekg.RcodeFormatError
}

// insert adds a record unless it would stand beside an alias: section 3.4.2.2
// ignores that silently.
func (z *zone) insert(rr miekg.RR, key setKey) bool {
	if key.typ == miekg.TypeSOA {
		return false
	}
	for existing := range z.sets {
		if existing.name == key.name && (existing.typ == miekg.TypeCNAME) != (key.typ == miekg.TypeCNAME) {
			return false
		}
	}
	if key.typ == miekg.TypeCNAME {
		delete(z.sets, key)
	}
	z.add(rr)
	return true
}

// sound reports whether every exchanger and service host that the update added
// has an address, if it is in the zone: BIND's check-integrity.
func (z *zone) sound(added []miekg.RR) bool {
	for _, rr := range added {
		if rr.Header().Class != miekg.ClassINET {
			continue
		}
		var target string
		switch rr := rr.(type) {
		case *miekg.MX:
			target = miekg.CanonicalName(rr.Mx)
		case *miekg.SRV:
			target = miekg.CanonicalName(rr.Target)
		default:
			continue
		}
		if target == "." || !miekg.IsSubDomain(z.origin, target) {
			continue
		}
		source, ok := z.source(target)
		if !ok || len(z.find(source, target, miekg.TypeA))+len(z.find(source, target, miekg.TypeAAAA)) == 0 {
			return false
		}
	}
	return true
}
