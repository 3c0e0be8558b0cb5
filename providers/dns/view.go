package dns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers"
)

// A view is what the host holds of one set and what every authoritative server
// answers for it.
type view struct {
	head    RRset
	answers []answer
	// at is when the last answer had come.
	at time.Time
}

// An answer is what one server says, or why it says nothing.
type answer struct {
	server Server
	set    RRset
	err    error
}

// look reads a set from the host and from every authoritative server.
func (s *System) look(ctx context.Context, name, typ string) (view, error) {
	head, err := s.host.Get(ctx, name, typ)
	if err != nil {
		return view{}, fmt.Errorf("reading %s %s: %w", name, typ, err)
	}
	servers, err := s.authority.servers(ctx)
	if err != nil {
		return view{}, err
	}
	v := view{head: head, answers: make([]answer, len(servers))}
	var wait sync.WaitGroup
	for i, server := range servers {
		wait.Go(func() {
			set, err := s.authority.read(ctx, server, name, typ)
			if err == nil && set.Exists() && !head.Exists() {
				set, err = s.authority.withoutWildcard(ctx, server, set)
			}
			v.answers[i] = answer{server: server, set: set, err: err}
		})
	}
	wait.Wait()
	v.at = s.now()
	return v, nil
}

// withoutWildcard returns no set where a wildcard made the answer: RFC 4592. The
// answer itself does not say so; but a name that is answered for by a wildcard
// does not exist, and the host said that this set does not.
func (a *authority) withoutWildcard(ctx context.Context, server Server, set RRset) (RRset, error) {
	for _, wildcard := range wildcards(set.Name, a.host.Zone()) {
		source, err := a.read(ctx, server, wildcard, set.Type)
		if err != nil {
			return RRset{}, err
		}
		if source.Exists() && source.SameRecords(set) {
			return RRset{Name: set.Name, Type: set.Type}, nil
		}
	}
	return set, nil
}

// unreachable returns an error that names every server that gave no answer, or
// nil. Nothing is known to be done while there is one: a sender may ask just that
// server next.
func (v view) unreachable() error {
	var errs []error
	for _, a := range v.answers {
		if a.err != nil {
			errs = append(errs, a.err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &providers.Fault{
		Err:   fmt.Errorf("reading %s %s from every authoritative server: %w", v.head.Name, v.head.Type, errors.Join(errs...)),
		Next:  "Repair the server, take it out of the zone's NS records, or list in nameservers of the provider block the addresses that can be reached from here.",
		Retry: true,
	}
}

// sets returns what the servers answered.
func (v view) sets() []RRset {
	var sets []RRset
	for _, a := range v.answers {
		if a.err == nil {
			sets = append(sets, a.set)
		}
	}
	return sets
}

// same counts the servers that answer what the host holds.
func (v view) same() int {
	n := 0
	for _, a := range v.answers {
		if a.err == nil && a.set.Same(v.head) {
			n++
		}
	}
	return n
}

// answerOK is what [view.servers] says of a server that answers what the host holds.
const answerOK = "ok"

// servers returns, by address, what each server answers, in a few words.
func (v view) servers() map[string]string {
	texts := make(map[string]string, len(v.answers))
	for _, a := range v.answers {
		switch {
		case a.err != nil:
			texts[a.server.String()] = "no answer: " + printable(a.err.Error())
		case a.set.Same(v.head):
			texts[a.server.String()] = answerOK
		default:
			texts[a.server.String()] = a.set.String()
		}
	}
	return texts
}
