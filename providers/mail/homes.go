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
	// away: mail is relayed and logins are proxied to the other server, except what
	// that one hands over, which is kept.
	away presence = "away"
	// left: as away, and what the other server hands over goes back to it. What a
	// server is after it has decided a handoff, so that nothing reaches the store
	// that has just been left, whatever the other one does until it is told.
	left presence = "left"
	// waiting: mail is held, logins are parked, or half of something.
	waiting presence = "waiting"
)

// A home is which of two servers is an account's home, as both say.
type home string

const (
	homeOld home = "old"
	homeNew home = "new"
	// homeUnset: both serve the account, as without mailmove.
	homeUnset home = "unset"
	// homeNone: neither does.
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
	case r.Mode != Relay || l.Mode != Proxied || r.Peer.Address != peer.Address || l.Peer.Address != peer.Address:
		return waiting
	case r.Left || l.Left:
		return left
	}
	return away
}

// homeOf says which server an account's home is, and whether everything is as it
// should be then: the home serves, the other is away, or has been left. "gone"
// below stands for these two.
//
//	old      new      home
//	home     gone     old, settled
//	gone     home     new, settled
//	left     away     new: decided, and not open yet
//	away     left     old: decided, and not open yet
//	waiting  gone     old: the handoff to new is not decided, or it is and old has
//	                  not left yet; its [Sentry] tells
//	gone     waiting  new: likewise
//	home     waiting  old: mailmove has begun to keep new away
//	waiting  home     new: likewise
//	home     home     unset
//	else              none: not of our making
func homeOf(old, new presence) (h home, settled bool) {
	gone := func(p presence) bool { return p == away || p == left }
	switch {
	case old == atHome && new == atHome:
		return homeUnset, false
	case old == new:
		return homeNone, false
	case old == atHome:
		return homeOld, gone(new)
	case new == atHome:
		return homeNew, gone(old)
	case old == waiting, new == left:
		return homeOld, false
	}
	return homeNew, false
}

// A pair is the two servers between which an account moves.
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

// now asks both servers what the account is there, just now.
func (p pair) now(ctx context.Context) (old, new presence, err error) {
	route, login, err := p.old.presence(ctx, p.account)
	if err != nil {
		return "", "", err
	}
	old = presenceOf(route, login, p.new.server.Endpoint())
	if route, login, err = p.new.presence(ctx, p.account); err != nil {
		return "", "", err
	}
	return old, presenceOf(route, login, p.old.server.Endpoint()), nil
}

// seen is what now would say, out of the snapshots.
func (p pair) seen(ctx context.Context) (old, new presence, err error) {
	known := p.old.listed(ctx, p.account.Domain())
	look := func(at, peer *Types) (presence, error) {
		route, err := at.route(ctx, p.account, known)
		if err != nil {
			return "", err
		}
		login, err := at.login(ctx, p.account, known)
		return presenceOf(route, login, peer.server.Endpoint()), err
	}
	if old, err = look(p.old, p.new); err != nil {
		return "", "", err
	}
	new, err = look(p.new, p.old)
	return old, new, err
}

// unclear is the error of two homes, or none: no machine can know which store is
// the truth.
func (p pair) unclear(h home) error {
	hint := "Find out which server has the account's newest mail, and make the other one relay and proxy to it with mail_route and mail_login; then take these out again. docs/runbook.md tells how to compare the stores."
	if h == homeNone {
		return providers.Faultf(hint, "the account %s has no home: neither server serves it", p.account)
	}
	return providers.Faultf(hint, "both servers serve the account %s, which had been handed over: somebody removed mailmove's route from one of them, and mail may have arrived on both", p.account)
}

// open makes a server serve accounts.
func (t *Types) open(ctx context.Context, op string, accounts []Address) error {
	return t.set(ctx, op, accounts, Route{Mode: Local}, Login{Mode: Open})
}

// leave makes a server relay and proxy accounts to a peer.
func (t *Types) leave(ctx context.Context, op string, accounts []Address, peer *Types) error {
	e := peer.server.Endpoint()
	return t.set(ctx, op, accounts, Route{Mode: Relay, Peer: e}, Login{Mode: Proxied, Peer: e})
}

// set makes the routes and logins of accounts so.
func (t *Types) set(ctx context.Context, op string, accounts []Address, route Route, login Login) error {
	if len(accounts) == 0 {
		return nil
	}
	router, err := ability[Router](t, "route the mail of single accounts")
	if err != nil {
		return notApplied(err)
	}
	keeper, err := ability[Doorkeeper](t, "direct the logins of single accounts")
	if err != nil {
		return notApplied(err)
	}
	routes, logins := map[Address]Route{}, map[Address]Login{}
	for _, account := range accounts {
		routes[account], logins[account] = route, login
		defer t.cache.touch(account)
	}
	if err := keeper.SetLogins(ctx, op, logins); err != nil {
		return fmt.Errorf("making logins of %s %s on %s: %w", some(accounts), login.Mode, t.name(), err)
	}
	if err := router.SetRoutes(ctx, op, routes); err != nil {
		return fmt.Errorf("making mail for %s %s on %s: %w", some(accounts), route.Mode, t.name(), err)
	}
	return nil
}

// some names accounts in an error.
func some(accounts []Address) string {
	if len(accounts) == 1 {
		return string(accounts[0])
	}
	return fmt.Sprintf("%s and %d more accounts", accounts[0], len(accounts)-1)
}
