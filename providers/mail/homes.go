package mail

import (
	"context"
	"fmt"

	"github.com/mailmove/mailmove/providers"
)

// A presence is what an account is on one server.
type presence string

const (
	// atHome: mail is delivered and logins are served there.
	atHome presence = "home"
	// away: mail is relayed and logins are proxied to the other server.
	away presence = "away"
	// waiting: neither; mail is held, logins are parked, or half of something.
	waiting presence = "waiting"
)

// A home is which of two servers is an account's home, as both say.
type home string

const (
	homeOld home = "old"
	homeNew home = "new"
	// homeUnset: both serve the account, as without mailmove.
	homeUnset home = "unset"
	// homeUndecided: a handoff is under way, and only its server knows.
	homeUndecided home = "undecided"
	// homeNone: both are away.
	homeNone home = "none"
)

func (h home) other() home {
	if h == homeOld {
		return homeNew
	}
	return homeOld
}

// serves reports whether a server is an account's home.
func serves(r Route, l Login) bool { return r.Mode == Local && l.Mode == Open }

// presenceOf reads what routes and logins mean; peer is the other server.
func presenceOf(r Route, l Login, peer Endpoint) presence {
	switch {
	case serves(r, l):
		return atHome
	case r.Mode == Relay && l.Mode == Proxied && r.Peer.Address == peer.Address && l.Peer.Address == peer.Address:
		return away
	}
	return waiting
}

// homeOf says which server an account's home is, and whether everything is as it
// should be then (the home serves, the other is away).
//
//	old      new      home       settled
//	home     away     old        yes
//	away     home     new        yes
//	home     waiting  old        no: a handoff was broken off, or one to new has just begun
//	away     waiting  new        no: a handoff was decided, new is not open yet
//	waiting  home     new        no
//	waiting  away     old        no
//	home     home     unset
//	waiting  waiting  undecided: the dead-man's timer will tell
//	away     away     none
//
// A handoff makes the server it leads to wait before it touches the other one, so
// that "waiting, away" cannot be one of its instants: it is a hand's work, or the
// server it leads away from just opening again.
func homeOf(old, new presence) (h home, settled bool) {
	switch {
	case old == atHome && new == atHome:
		return homeUnset, false
	case old == away && new == away:
		return homeNone, false
	case old == waiting && new == waiting:
		return homeUndecided, false
	case old == atHome || new == away:
		return homeOld, old == atHome && new == away
	default:
		return homeNew, new == atHome && old == away
	}
}

// A pair is the two servers of a handoff.
type pair struct {
	old, new *Types
	account  Address
}

func (p pair) server(h home) *Types {
	if h == homeOld {
		return p.old
	}
	return p.new
}

// now asks both servers what the account's home is, just now.
func (p pair) now(ctx context.Context) (home, bool, error) {
	route, login, err := p.old.presence(ctx, p.account)
	if err != nil {
		return "", false, err
	}
	old := presenceOf(route, login, p.new.server.Endpoint())
	if route, login, err = p.new.presence(ctx, p.account); err != nil {
		return "", false, err
	}
	h, settled := homeOf(old, presenceOf(route, login, p.old.server.Endpoint()))
	return h, settled, nil
}

// seen is what now would say, out of the snapshots.
func (p pair) seen(ctx context.Context) (home, bool, error) {
	known, err := p.old.known(ctx, p.account.Domain())
	if err != nil {
		return "", false, err
	}
	presence := func(at, peer *Types) (presence, error) {
		route, err := at.route(ctx, p.account, known)
		if err != nil {
			return "", err
		}
		login, err := at.login(ctx, p.account, known)
		return presenceOf(route, login, peer.server.Endpoint()), err
	}
	old, err := presence(p.old, p.new)
	if err != nil {
		return "", false, err
	}
	new, err := presence(p.new, p.old)
	if err != nil {
		return "", false, err
	}
	h, settled := homeOf(old, new)
	return h, settled, nil
}

// set makes the route and login of the account so on one server. Logins come
// first where people are to be kept out, mail first where they are let in.
func (p pair) set(ctx context.Context, op string, at *Types, route Route, login Login) error {
	router, err := ability[Router](at, "route the mail of single accounts")
	if err != nil {
		return notApplied(err)
	}
	keeper, err := ability[Doorkeeper](at, "direct the logins of single accounts")
	if err != nil {
		return notApplied(err)
	}
	defer at.cache.touch(p.account)
	setRoute := func() error { return router.SetRoutes(ctx, op, map[Address]Route{p.account: route}) }
	setLogin := func() error { return keeper.SetLogins(ctx, op, map[Address]Login{p.account: login}) }
	first, second := setLogin, setRoute
	if login.Mode == Open {
		first, second = setRoute, setLogin
	}
	if err := first(); err != nil {
		return fmt.Errorf("setting %s to %s and %s on %s: %w", p.account, route.Mode, login.Mode, at.name(), err)
	}
	if err := second(); err != nil {
		return fmt.Errorf("setting %s to %s and %s on %s: %w", p.account, route.Mode, login.Mode, at.name(), err)
	}
	return nil
}

// open makes a server serve the account.
func (p pair) open(ctx context.Context, op string, at *Types) error {
	return p.set(ctx, op, at, Route{Mode: Local}, Login{Mode: Open})
}

// leave makes a server relay and proxy to the other one.
func (p pair) leave(ctx context.Context, op string, at, peer *Types) error {
	e := peer.server.Endpoint()
	return p.set(ctx, op, at, Route{Mode: Relay, Peer: e}, Login{Mode: Proxied, Peer: e})
}

// wait makes a server hold mail and park logins.
func (p pair) wait(ctx context.Context, op string, at *Types) error {
	return p.set(ctx, op, at, Route{Mode: Hold}, Login{Mode: Parked})
}

// unclear is the error of two homes, or none: no machine can know which store is the truth.
func (p pair) unclear(h home) error {
	hint := "Find out which server has the account's newest mail, and make the other one relay and proxy to it with mail_route and mail_login; then take these out again. docs/runbook.md tells how to compare the stores."
	if h == homeNone {
		return providers.Faultf(hint, "the account %s has no home: both servers relay and proxy it to each other", p.account)
	}
	return providers.Faultf(hint, "both servers serve the account %s, which had been handed over: somebody removed mailmove's route from one of them, and mail may have arrived on both", p.account)
}
