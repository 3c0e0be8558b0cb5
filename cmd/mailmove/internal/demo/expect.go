package demo

import (
	"slices"

	"github.com/mailmove/mailmove/providers/mail"
)

// A wanted message must be at its place.
type wanted struct {
	message
	old   bool     // it was there before
	acted bool     // a user did something to it
	given []string // flags that a user set
	// Because an answer never came, it may have these flags, be in another folder, be
	// gone.
	maybe    []string
	anywhere bool
	optional bool
}

// An expectation is what must be found of one account.
type expectation struct {
	places  map[place]*wanted
	removed map[string]int // by digest: how many a user removed
	// extra are drafts, by digest, which may be there because an answer never came.
	extra map[string]int
	// pairs are the copies that servers promised, removedPairs those of them that a
	// user removed.
	pairs        map[pair]count
	removedPairs map[pair]int
	// contradictions are places at which a user saw another message than before.
	contradictions []place
}

// A count is how many copies there may be; more than least only where a sender
// could not know.
type count struct{ least, most int }

// expect replays what a user did over what there was before, and adds what servers
// promised to senders.
func expect(before *store, actions []action, promised map[pair]count) *expectation {
	e := &expectation{places: map[place]*wanted{}, removed: map[string]int{}, extra: map[string]int{}, pairs: promised, removedPairs: map[pair]int{}}
	for name, f := range before.folders {
		for uid, m := range f.messages {
			m.flags = slices.Clone(m.flags)
			e.places[place{name, uid}] = &wanted{message: m, old: true}
		}
	}
	for _, a := range actions {
		e.replay(a)
	}
	return e
}

func (e *expectation) replay(a action) {
	if a.verb == write {
		if a.unknown {
			e.extra[a.message.digest]++
		} else {
			e.places[a.place] = &wanted{message: a.message, acted: true}
		}
		return
	}
	w := e.seen(a.place, a.message)
	w.acted = true
	switch {
	case a.verb == flag && a.unknown:
		w.maybe = append(w.maybe, a.flag)
	case a.verb == flag:
		w.given = append(w.given, a.flag)
		if !slices.Contains(w.flags, a.flag) {
			w.flags = append(w.flags, a.flag)
		}
	case a.verb == move && a.unknown:
		w.anywhere = true
	case a.verb == move:
		delete(e.places, a.place)
		e.places[a.to] = w
	case a.verb == remove && a.unknown:
		w.optional, w.maybe = true, append(w.maybe, `\Deleted`)
	case a.verb == remove:
		delete(e.places, a.place)
		e.removed[w.digest]++
		if w.pair != (pair{}) {
			e.removedPairs[w.pair]++
		}
	}
}

// seen returns what is expected where a user saw a message. Of a message that came
// during the demonstration, this is the first that is heard of its place. Seeing
// also settles what an answer that never came had left open.
func (e *expectation) seen(p place, m message) *wanted {
	if w := e.places[p]; w != nil {
		if w.digest != m.digest {
			e.contradictions = append(e.contradictions, p)
		}
		w.anywhere, w.optional = false, false
		w.settle(m)
		return w
	}
	for from, w := range e.places {
		if w.anywhere && w.digest == m.digest && p.folder == filed {
			delete(e.places, from)
			w.anywhere = false
			w.settle(m)
			e.places[p] = w
			return w
		}
	}
	e.extra[m.digest] = max(0, e.extra[m.digest]-1)
	w := &wanted{message: m}
	w.flags = slices.Clone(m.flags)
	e.places[p] = w
	return w
}

// settle makes flags that may be there flags that are, if they were seen.
func (w *wanted) settle(m message) {
	for _, f := range w.maybe {
		if slices.Contains(m.flags, f) && !slices.Contains(w.flags, f) {
			w.flags = append(w.flags, f)
		}
	}
	w.maybe = nil
}

// promised returns, by account, the copies that servers promised to senders.
func (d *Demo) promised() map[mail.Address]map[pair]count {
	all := map[mail.Address]map[pair]count{}
	for _, a := range d.world.people.accounts {
		all[a.address] = map[pair]count{}
	}
	for _, t := range d.ledger.transactions {
		for _, final := range d.world.people.finals(t.recipients...) {
			account, _ := plain(final)
			n := all[account][pair{t.marker, final}]
			n.most++
			if !t.unknown {
				n.least++
			}
			all[account][pair{t.marker, final}] = n
		}
	}
	return all
}
