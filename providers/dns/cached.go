package dns

import "time"

// A past is what an earlier look at a set found, as far as it matters for what
// resolvers may still hold.
type past struct {
	// until is the answer that the earlier look gave.
	until time.Time
	// print identifies the set, its TTL included.
	print string
	// served is the highest TTL with which any server served the set.
	served uint32
	// settled says that every server answered alike and no change was under way.
	settled bool
}

// cachedUntil returns the latest moment at which a resolver that obeys TTLs may
// still hold a set that has been replaced, as far as this past and a look at now
// can tell. It never returns less than the past did: a clock that jumps back
// makes waits longer, never shorter.
//
//   - What was seen then and is not seen now was replaced, at the latest just now, and
//     lives on for the TTL that it was served with.
//   - The same holds where the past saw servers that differed, or a change under way.
//   - What one server still serves although the host holds something else can be
//     fetched at this very moment.
func (p past) cachedUntil(now time.Time, head RRset, answers []RRset) time.Time {
	until := p.until
	later := func(ttl uint32) {
		if t := now.Add(time.Duration(ttl) * time.Second); t.After(until) {
			until = t
		}
	}
	if !p.settled || fingerprint(head) != p.print {
		later(p.served)
	}
	for _, set := range answers {
		if !set.Same(head) {
			later(set.TTL)
		}
	}
	return until
}

// firstLook is the past of a set that was never looked at: nothing is known to
// have been replaced.
func firstLook(now time.Time, head RRset) past {
	return past{until: now, print: fingerprint(head), settled: true}
}

// wholeSecond rounds up to the second, which is what the state holds.
func wholeSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}
