package mail

import (
	"context"
	"fmt"
	"sync"

	"github.com/mailmove/mailmove/providers"
)

// A batch is moves between the same two servers in the same direction. What costs
// a server seconds however many accounts it is for (to be certain that no delivery
// by the old route is under way) is done once for all; the rest account by
// account, several at a time. A move that fails ends, and the others go on.
type batch struct{ moves []*move }

// atOnce is how many accounts of a batch are worked on side by side; parkedAtOnce, how
// many whose users wait meanwhile: fewer, since every one slows the others down.
const (
	atOnce       = 4
	parkedAtOnce = 2
)

// run brings every account to its home, from wherever it is.
func (b *batch) run(ctx context.Context) {
	b.each(fresh, func(m *move) { m.look(ctx) })
	b.keep(ctx)
	b.sendAway(ctx)
	b.each(ahead, func(m *move) { m.copyAhead(ctx) })
	b.each(ready, func(m *move) { m.arm(ctx) })
	b.hold(ctx)
	b.several(held, parkedAtOnce, func(m *move) { m.decide(ctx) })
	b.switchOver(ctx)
}

// each calls f for the moves that are at a stage, several at a time.
func (b *batch) each(at stage, f func(*move)) { b.several(at, atOnce, f) }

func (b *batch) several(at stage, n int, f func(*move)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, n)
	for _, m := range b.at(at) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(m)
		})
	}
	wg.Wait()
}

// at returns the moves at a stage.
func (b *batch) at(at stage) []*move {
	var list []*move
	for _, m := range b.moves {
		if m.stage == at {
			list = append(list, m)
		}
	}
	return list
}

func accountsOf(moves []*move) []Address {
	accounts := make([]Address, len(moves))
	for i, m := range moves {
		accounts[i] = m.account
	}
	return accounts
}

// keep completes what makes a server the home which is it already: it serves, and
// the other one stays away.
func (b *batch) keep(ctx context.Context) {
	moves := b.at(keeping)
	if len(moves) == 0 {
		return
	}
	for _, m := range moves {
		if err := m.log.Step(stepKeepAway); err != nil {
			m.end(providers.NotApplied, err)
		}
	}
	moves = b.at(keeping)
	if len(moves) == 0 {
		return
	}
	first, accounts := moves[0], accountsOf(moves)
	err := first.target().open(ctx, first.op, accounts)
	if err == nil {
		err = first.source().leave(ctx, first.op, accounts, first.target())
	}
	for _, m := range moves {
		m.end(outcome(err), err)
	}
}

// sendAway makes the servers that accounts go to relay and proxy to the one they
// come from, and keep what that one hands over: also where they had left before.
func (b *batch) sendAway(ctx context.Context) {
	moves := b.at(unready)
	if len(moves) == 0 {
		return
	}
	first := moves[0]
	err := first.target().leave(ctx, first.op, accountsOf(moves), first.source())
	for _, m := range moves {
		if err != nil {
			m.end(outcome(err), err)
			continue
		}
		m.stage = ahead
	}
}

// hold makes mail for the accounts wait on the server that they leave.
func (b *batch) hold(ctx context.Context) {
	moves := b.at(armed)
	if len(moves) == 0 {
		return
	}
	for _, m := range moves {
		if err := m.log.Step(stepHold); err != nil {
			m.abort(ctx, err)
		}
	}
	if moves = b.at(armed); len(moves) == 0 {
		return
	}
	source := moves[0].source()
	router, err := ability[Router](source, "route the mail of single accounts")
	if err == nil {
		routes := map[Address]Route{}
		for _, m := range moves {
			routes[m.account] = Route{Mode: Hold}
		}
		err = router.SetRoutes(ctx, moves[0].op, routes)
	}
	if err != nil {
		b.each(armed, func(m *move) {
			m.abort(ctx, fmt.Errorf("holding mail for %s on %s: %w", m.account, source.name(), err))
		})
		return
	}
	for _, m := range moves {
		m.stage = held
	}
}

// switchOver completes decided handoffs. Nothing waits for it: what reaches either
// server gets to the new home by way of the old one.
func (b *batch) switchOver(ctx context.Context) {
	moves := b.at(decided)
	if len(moves) == 0 {
		return
	}
	for _, m := range moves {
		if err := m.log.Step(stepSwitch); err != nil {
			m.end(providers.Partial, err)
		}
	}
	if moves = b.at(decided); len(moves) == 0 {
		return
	}
	first := moves[0]
	if err := first.target().open(ctx, first.op, accountsOf(moves)); err != nil {
		for _, m := range moves {
			m.end(providers.Partial, err)
		}
		return
	}
	b.each(decided, func(m *move) { m.disarm(ctx) })
}

// dissolve undoes the first step: both servers are as they were without us.
func (b *batch) dissolve(ctx context.Context) {
	b.each(fresh, func(m *move) {
		old, new, err := m.now(ctx)
		if err != nil {
			m.end(providers.NotApplied, err)
			return
		}
		switch found, _ := homeOf(old, new); found {
		case homeUnset:
			m.end(providers.Applied, nil)
		case homeOld:
			m.stage = keeping
		default:
			m.end(providers.NotApplied, providers.Faultf("Go back to a phase in which home is \"old\" first, or keep the resource: lifecycle { keep = true }.",
				"removing the handoff of %s: its home is not the old server, which would serve a store that is out of date", m.account))
		}
	})
	moves := b.at(keeping)
	if len(moves) == 0 {
		return
	}
	first, accounts := moves[0], accountsOf(moves)
	err := first.old.open(ctx, first.op, accounts)
	if err == nil {
		err = first.new.open(ctx, first.op, accounts)
	}
	for _, m := range moves {
		m.end(outcome(err), err)
	}
}
