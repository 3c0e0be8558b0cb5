package audit

import (
	"slices"
	"strings"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

// A place is where a message is for an IMAP client that caches.
type place struct {
	folder string
	uid    uint32
}

// A wanted message must be at its place.
type wanted struct {
	Message           // what it must be; without Digest for one that came during the trial
	old      bool     // was in the snapshot
	acted    bool     // a user did something to it
	maybe    []string // flags it may have, because an answer never came
	anywhere bool     // it may have been moved, because an answer never came
	optional bool     // it may be gone, or never have been, because an answer never came
}

// matches reports whether found is the wanted message.
func (w *wanted) matches(found Message) bool {
	if w.Marker != "" {
		return found.Marker == w.Marker
	}
	return found.Digest == w.Digest
}

// An expectation is what must be found of one account.
type expectation struct {
	messages   map[place]*wanted
	validities map[string]uint32 // UIDVALIDITY of each folder
	expunged   map[string]int    // how often a user removed a message of this digest or marker
	copies     map[string]*count // of each message that came during the trial, by marker
}

// A count is how many copies there may be: more than least only where a sender could not know.
type count struct{ least, most int }

// expect replays what a user did over what there was before.
func expect(before *Store, actions []users.Action) *expectation {
	e := &expectation{messages: make(map[place]*wanted), validities: make(map[string]uint32), expunged: make(map[string]int),
		copies: make(map[string]*count)}
	for name, folder := range before.Folders {
		e.validities[name] = folder.UIDValidity
		for uid, message := range folder.Messages {
			message.Flags = slices.Clone(message.Flags)
			e.messages[place{name, uid}] = &wanted{Message: message, old: true}
		}
	}
	for _, action := range actions {
		e.replay(action)
	}
	return e
}

// copiesOf returns the count of a marker.
func (e *expectation) copiesOf(marker string) *count {
	if e.copies[marker] == nil {
		e.copies[marker] = new(count)
	}
	return e.copies[marker]
}

func (e *expectation) replay(a users.Action) {
	if a.Result == users.Denied {
		return
	}
	at := place{a.Folder, a.UID}
	if a.Verb == users.Append {
		e.replayAppend(a, at)
		return
	}
	w := e.messages[at]
	if w == nil { // it came during the trial and this is the first that is heard of its UID
		w = &wanted{Message: Message{Marker: a.Marker}}
		e.messages[at] = w
	}
	if e.validities[a.Folder] == 0 {
		e.validities[a.Folder] = a.UIDValidity
	}
	unknown := a.Result == users.Unknown
	w.acted = w.acted || a.Verb != users.See
	switch {
	case a.Verb == users.Flag && unknown:
		w.maybe = append(w.maybe, a.Flag)
	case a.Verb == users.Flag:
		w.Flags = addFlag(w.Flags, a.Flag)
	case a.Verb == users.Move && unknown:
		w.anywhere = true
	case a.Verb == users.Move:
		delete(e.messages, at)
		e.messages[place{a.To, a.ToUID}] = w
		if e.validities[a.To] == 0 {
			e.validities[a.To] = a.ToValidity
		}
	case a.Verb == users.Expunge && unknown:
		w.optional, w.maybe = true, append(w.maybe, `\Deleted`)
		if w.Marker != "" {
			e.copiesOf(w.Marker).least--
		}
	case a.Verb == users.Expunge:
		delete(e.messages, at)
		e.expunged[identity(w.Message)]++
		if w.Marker != "" {
			e.copiesOf(w.Marker).least--
			e.copiesOf(w.Marker).most--
		}
	}
}

func (e *expectation) replayAppend(a users.Action, at place) {
	copies := e.copiesOf(a.Marker)
	copies.most++
	if a.Result == users.Unknown {
		return
	}
	copies.least++
	if e.validities[a.Folder] == 0 {
		e.validities[a.Folder] = a.UIDValidity
	}
	e.messages[at] = &wanted{Message: Message{Marker: a.Marker}, acted: true}
}

// identity is what a message is recognised by wherever it is.
func identity(m Message) string {
	if m.Marker != "" {
		return m.Marker
	}
	return m.Digest
}

func addFlag(flags []string, flag string) []string {
	if !hasFlag(flags, flag) {
		flags = append(flags, flag)
		slices.Sort(flags)
	}
	return flags
}

// hasFlag compares as IMAP does, without regard to case (RFC 9051 section 9).
func hasFlag(flags []string, flag string) bool {
	return slices.ContainsFunc(flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

// addTraffic counts how many copies of each accepted message every account must have.
func addTraffic(expected map[string]*expectation, population *people.Population, ledger []traffic.Entry) {
	type transaction struct {
		marker  string
		attempt int
	}
	outcomes := make(map[transaction]map[string]traffic.Outcome)
	servers := make(map[transaction]string) // how many copies a server makes is its own affair
	for _, entry := range ledger {
		t := transaction{entry.Marker, entry.Attempt}
		if outcomes[t] == nil {
			outcomes[t] = make(map[string]traffic.Outcome)
		}
		outcomes[t][entry.Recipient] = entry.Outcome // the last one counts
		servers[t] = entry.Server
	}
	for t, recipients := range outcomes {
		var accepted, unknown []string
		for recipient, outcome := range recipients {
			switch outcome {
			case traffic.Accepted:
				accepted = append(accepted, recipient)
			case traffic.Unknown:
				unknown = append(unknown, recipient)
			}
		}
		for _, address := range population.Expand(servers[t], accepted...) {
			account, _ := people.SplitTag(address)
			if e := expected[account]; e != nil {
				e.copiesOf(t.marker).least++
				e.copiesOf(t.marker).most++
			}
		}
		for _, address := range population.Expand(servers[t], unknown...) {
			account, _ := people.SplitTag(address)
			if e := expected[account]; e != nil {
				e.copiesOf(t.marker).most++
			}
		}
	}
}
