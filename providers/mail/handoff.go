package mail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func handoffSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "Which of two servers is an account's home. The other one relays its mail and proxies its logins to it. A change of home takes seconds, in which mail queues and logins wait.",
		Attributes: providers.Attributes{
			"account": identity("The account's address."),
			"old":     required(server("The server that the migration leads away from.")),
			"new":     required(server("The server that it leads to.")),
			"home":    required(optional(cty.String, "\"old\" or \"new\"; observed as \"between\" while a handoff is not complete.")),
			"method":  optional(cty.String, "How the last difference is copied: \"dsync\", \"rsync\" or \"native\". Left out: the best that both servers can."),
			"timeout": defaults(cty.StringVal("2m"), "After this long without a decision the account is served by its old home again, whatever has failed."),
			"pause":   computed(cty.String, "How long mail queued and logins waited in the last change of home."),
		},
	}
}

// homeBetween is observed when the desired home is not known or not complete.
const homeBetween = "between"

type handoffValue struct {
	Account string  `cty:"account"`
	Old     string  `cty:"old"`
	New     string  `cty:"new"`
	Home    string  `cty:"home"`
	Method  *string `cty:"method"`
	Timeout string  `cty:"timeout"`
	Pause   *string `cty:"pause"`
}

// handoffs is the type mail_handoff.
type handoffs struct{ *Types }

var (
	_ providers.TypedResource[handoffValue] = handoffs{}
	_ providers.Normalizer                  = handoffs{}
	_ providers.Stepper                     = handoffs{}
)

// Normalize implements [providers.Normalizer].
func (h handoffs) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[handoffValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	account, err := parseAccount(v.Account)
	if err != nil {
		return cty.NilVal, err
	}
	v.Account = string(account)
	if v.Home != string(homeOld) && v.Home != string(homeNew) {
		return cty.NilVal, fmt.Errorf("home %q: want old or new", v.Home)
	}
	if v.Old == v.New {
		return cty.NilVal, fmt.Errorf("old and new are both %s", v.Old)
	}
	timeout, err := time.ParseDuration(v.Timeout)
	if err != nil || timeout < 5*time.Second || timeout > time.Hour {
		return cty.NilVal, fmt.Errorf("timeout %q: want a duration between 5s and 1h, such as \"2m\"", v.Timeout)
	}
	v.Timeout = timeout.String()
	if err := checkMethod(v.Method); err != nil {
		return cty.NilVal, err
	}
	return providers.Encode(handoffSchema(), v)
}

// The steps of a handoff.
const (
	stepAhead  = "copy ahead"
	stepArm    = "arm the dead-man's timer"
	stepHold   = "hold new mail"
	stepPark   = "end sessions and park logins"
	stepLast   = "copy the last difference"
	stepEqual  = "verify"
	stepCommit = "commit"
	stepSwitch = "switch"
	// stepKeepAway is all there is to do when the home stays.
	stepKeepAway = "make the other server relay and proxy"
)

// Steps implements [providers.Stepper].
func (h handoffs) Steps(change providers.Change) []string {
	after, err := providers.Decode[handoffValue](change.After)
	before, beforeErr := providers.Decode[handoffValue](change.Before)
	switch {
	case err != nil || beforeErr != nil || after == nil:
		return nil
	case before == nil && after.Home == string(homeOld), before != nil && before.Home == after.Home:
		return []string{stepKeepAway}
	}
	return []string{stepAhead, stepArm, stepHold, stepPark, stepLast, stepEqual, stepCommit, stepSwitch}
}

// pair finds the two servers.
func (h handoffs) pair(v *handoffValue) (pair, error) {
	old, err := h.peer(v.Old)
	if err != nil {
		return pair{}, err
	}
	new, err := h.peer(v.New)
	if err != nil {
		return pair{}, err
	}
	if old.same(new) {
		return pair{}, fmt.Errorf("old and new are the same %s", old.name())
	}
	return pair{old: old, new: new, account: Address(v.Account)}, nil
}

func (h handoffs) Observe(ctx context.Context, desired, last *handoffValue) (*handoffValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	p, err := h.pair(v)
	if err != nil {
		return nil, err
	}
	found, settled, err := p.seen(ctx)
	if err != nil {
		return nil, err
	}
	if found == homeUnset && last == nil {
		return nil, nil
	}
	observed := *v
	observed.Home, observed.Pause = homeBetween, nil
	if last != nil {
		observed.Pause = last.Pause
	}
	if settled {
		observed.Home = string(found)
	}
	if found == homeUnset && desired == nil {
		return nil, nil
	}
	return &observed, nil
}

func (h handoffs) Apply(ctx context.Context, change providers.TypedChange[handoffValue], log providers.TypedLog[handoffValue]) (providers.Outcome, *handoffValue, error) {
	v := change.After
	if v == nil {
		v = change.Before
	}
	p, err := h.pair(v)
	if err != nil {
		return refuse[handoffValue](err)
	}
	if change.After == nil {
		return p.dissolve(ctx, change.Op)
	}
	timeout, err := time.ParseDuration(v.Timeout)
	if err != nil {
		return refuse[handoffValue](err)
	}
	m := &move{pair: p, op: change.Op, to: home(v.Home), from: home(v.Home).other(), method: v.Method, timeout: timeout, log: log.Log, env: h.env}
	outcome, err := m.run(ctx, change.Last != nil && change.Before != nil)
	if err != nil {
		return outcome, nil, err
	}
	done := *v
	if change.Last != nil {
		done.Pause = change.Last.Pause
	}
	if m.pause > 0 {
		done.Pause = new(m.pause.Round(time.Millisecond).String())
	}
	return outcome, &done, nil
}

// dissolve undoes the first step: the new server is as it was, the old one serves.
func (p pair) dissolve(ctx context.Context, op string) (providers.Outcome, *handoffValue, error) {
	found, _, err := p.now(ctx)
	if err != nil {
		return refuse[handoffValue](err)
	}
	switch found {
	case homeUnset:
		return providers.Applied, nil, nil
	case homeOld:
	default:
		return refuse[handoffValue](providers.Faultf("Go back to a phase in which home is \"old\" first, or keep the resource: lifecycle { keep = true }.",
			"removing the handoff of %s: its home is not the old server; the old server would serve a store that is out of date", p.account))
	}
	if err := p.open(ctx, op, p.old); err != nil {
		return fail[handoffValue](err)
	}
	if err := p.open(ctx, op, p.new); err != nil {
		return providers.Partial, nil, err
	}
	return providers.Applied, nil, nil
}

// run brings the account to m.to from wherever it is. recorded says that the
// account had been handed over or kept away before.
func (m *move) run(ctx context.Context, recorded bool) (providers.Outcome, error) {
	found, settled, err := m.settle(ctx)
	if err != nil {
		return providers.NotApplied, err
	}
	switch {
	case found == homeUnset && recorded, found == homeNone:
		return providers.NotApplied, m.unclear(found)
	case found == m.to && settled:
		return providers.Applied, nil
	case found == m.to, found == homeUnset && m.to == homeOld:
		return m.keep(ctx)
	case found == homeUnset:
		// As without mailmove, the old server is the home; a handoff begins there.
		if err := m.leave(ctx, m.op, m.new, m.old); err != nil {
			return outcome(err), err
		}
	}
	return m.handOver(ctx, settled)
}

// keep completes what makes m.to the home, which it is already.
func (m *move) keep(ctx context.Context) (providers.Outcome, error) {
	if err := m.log.Step(stepKeepAway); err != nil {
		return providers.NotApplied, err
	}
	sentry, err := ability[Sentry](m.source(), "hand over an account")
	if err != nil {
		return providers.NotApplied, err
	}
	// A handoff of this change that was decided and not completed is completed by
	// the server that decided it.
	state, err := sentry.Handoff(ctx, m.op)
	if err != nil {
		return providers.Unknown, err
	}
	if state == Committed {
		return m.switchOver(ctx, sentry)
	}
	if err := m.open(ctx, m.op, m.target()); err != nil {
		return providers.Unknown, err
	}
	if err := m.leave(ctx, m.op, m.source(), m.target()); err != nil {
		return providers.Unknown, err
	}
	return providers.Applied, nil
}

// undecidedPoll is how often an undecided handoff of another change is looked at.
const undecidedPoll = 250 * time.Millisecond

// settle returns the account's home, after waiting for the end of a handoff that
// another change began and did not finish: its dead-man's timer ends it.
func (m *move) settle(ctx context.Context) (home, bool, error) {
	deadline := m.env.Now().Add(m.timeout + time.Minute)
	for {
		found, settled, err := m.now(ctx)
		if err != nil || found != homeUndecided {
			return found, settled, err
		}
		for _, at := range []*Types{m.old, m.new} {
			sentry, err := ability[Sentry](at, "hand over an account")
			if err != nil {
				return "", false, err
			}
			state, err := sentry.Handoff(ctx, m.op)
			if err != nil {
				return "", false, err
			}
			// Our own: it goes on where it stopped.
			if state != NeverArmed {
				return m.homeDeciding(at), false, nil
			}
		}
		if m.env.Now().After(deadline) {
			return "", false, providers.Faultf("Look at both servers: docs/runbook.md, section \"An account that waits\".",
				"the account %s waits on both servers, and no dead-man's timer has ended it", m.account)
		}
		select {
		case <-ctx.Done():
			return "", false, context.Cause(ctx)
		case <-time.After(undecidedPoll):
		}
	}
}

func (m *move) homeDeciding(at *Types) home {
	if at == m.old {
		return homeOld
	}
	return homeNew
}

// isExpired reports whether the dead-man's timer came first.
func isExpired(err error) bool { return errors.Is(err, ErrExpired) }
