package mail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailmove/mailmove/providers"
)

// A stage is how far a move has come.
type stage int

const (
	fresh   stage = iota
	keeping       // the home is right, not all else is
	unready       // to be handed over; the target is to be sent away first
	ahead         // to be copied ahead
	ready         // to be armed
	armed         // mail is to be held
	held          // to be decided
	decided       // to be completed
	ended
)

// A move is one account's change of home.
//
// Until the decision the server that the account leaves (the source) is the
// truth. The one it goes to (the target) is away all the time: it relays and
// proxies to the source, where mail is held and logins are parked, and keeps only
// what the source hands over, which is nothing yet. The decision is one call,
// Commit: with it the source leaves, handing over everything, and the target is the
// truth, by way of the source at first and then by itself. Nothing after the
// decision is needed for mail and logins to arrive, so mailmove may fail at any
// instant.
type move struct {
	pair
	op       string
	from, to home
	method   *string
	timeout  time.Duration
	// recorded says that the account had been handed over or kept away before.
	recorded bool
	log      providers.Log
	env      providers.Env

	stage   stage
	began   time.Time
	pause   time.Duration
	outcome providers.Outcome
	err     error
}

func (m *move) source() *Types { return m.server(m.from) }
func (m *move) target() *Types { return m.server(m.to) }

// end ends the move.
func (m *move) end(outcome providers.Outcome, err error) {
	m.stage, m.outcome, m.err = ended, outcome, err
}

// value is the object after the move.
func (m *move) value(change providers.TypedChange[handoffValue]) *handoffValue {
	done := *change.After
	if change.Last != nil {
		done.Pause = change.Last.Pause
	}
	if m.pause > 0 {
		done.Pause = new(m.pause.Round(time.Millisecond).String())
	}
	return &done
}

func (m *move) sentry() (Sentry, error) {
	return ability[Sentry](m.source(), "hand over an account")
}

// look finds out where the account is, and what there is to do.
func (m *move) look(ctx context.Context) {
	old, new, err := m.now(ctx)
	if err != nil {
		m.end(providers.NotApplied, err)
		return
	}
	found, settled := homeOf(old, new)
	switch {
	case found == homeUnset && m.recorded, found == homeNone:
		m.end(providers.NotApplied, m.unclear(found))
	case found == m.to && settled:
		m.end(providers.Applied, nil)
	case found == homeUnset && m.to == homeOld:
		m.stage = keeping
	case found == m.to:
		m.finish(ctx)
	default:
		m.plan(ctx, old, new)
	}
}

// finish goes on after a decision for the target that was not completed: by this
// change, which its sentry knows, or by something else.
func (m *move) finish(ctx context.Context) {
	sentry, err := m.sentry()
	if err != nil {
		m.end(providers.NotApplied, err)
		return
	}
	state, err := sentry.Handoff(ctx, m.op)
	switch {
	case err != nil:
		m.end(providers.Unknown, fmt.Errorf("asking %s for the handoff of %s: %w", m.source().name(), m.account, err))
	case state == Committed:
		m.stage = decided
	default:
		m.stage = keeping
	}
}

// plan chooses where a handoff begins, or goes on after an interruption.
func (m *move) plan(ctx context.Context, old, new presence) {
	sentry, err := m.sentry()
	if err != nil {
		m.end(providers.NotApplied, err)
		return
	}
	state, err := sentry.Handoff(ctx, m.op)
	if err != nil {
		m.end(providers.Unknown, fmt.Errorf("asking %s for the handoff of %s: %w", m.source().name(), m.account, err))
		return
	}
	source, target := old, new
	if m.from == homeNew {
		source, target = new, old
	}
	switch {
	case state == Committed:
		m.stage = decided
	case target != away:
		m.stage = unready
	case source == atHome:
		m.stage = ahead
	default:
		// Waiting. Whether an earlier handoff was decided, only arming can tell, and
		// until then nothing may be copied.
		m.stage = ready
	}
}

// copyAhead brings the copy close while the account is in use, and checks all that
// can be checked before anybody has to wait.
func (m *move) copyAhead(ctx context.Context) {
	if err := m.tryAhead(ctx); err != nil {
		m.end(providers.NotApplied, err)
		return
	}
	m.stage = ready
}

func (m *move) tryAhead(ctx context.Context) error {
	if err := m.log.Step(stepAhead); err != nil {
		return err
	}
	for _, at := range []*Types{m.source(), m.target()} {
		all, err := at.accounts(ctx, m.account.Domain())
		if err != nil {
			return err
		}
		if _, ok := all[m.account]; !ok {
			return providers.Faultf("Declare a mail_account for it.", "handing over %s: %s has no such account", m.account, at.name())
		}
	}
	route, login, err := m.source().presence(ctx, m.account)
	if err != nil {
		return err
	}
	if !serves(route, login) {
		return nil // an interrupted handoff; see plan
	}
	job, copier, err := m.job(ctx)
	if err != nil {
		return err
	}
	if err := m.target().outOfUse(ctx, m.account); err != nil {
		return err
	}
	if _, err := copier.Copy(ctx, job, m.log); err != nil {
		return fmt.Errorf("copying %s ahead: %w", m.account, err)
	}
	if m.to == homeNew {
		return nil // mail_copy has compared every message
	}
	return m.prove(ctx, copier, job)
}

// aheadPasses and aheadLag bound what a proof of a copy that is in use wants:
// what users do meanwhile differs, and the last difference carries it.
const (
	aheadPasses = 4
	aheadLag    = 50
)

// prove compares the content of every message of an account that no mail_copy
// has proved, on the way back.
func (m *move) prove(ctx context.Context, copier Copier, job CopyJob) error {
	var c Comparison
	for range aheadPasses {
		all, err := copier.Compare(ctx, m.target().server, []Address{m.account}, Content)
		if err != nil {
			return fmt.Errorf("comparing %s: %w", m.account, err)
		}
		if c = all[m.account]; c.Behind() <= aheadLag {
			return nil
		}
		if _, err := copier.Copy(ctx, job, m.log); err != nil {
			return fmt.Errorf("copying %s ahead: %w", m.account, err)
		}
	}
	return fmt.Errorf("copying %s ahead: %d things differ: %q", m.account, c.Behind(), c.Examples)
}

func (m *move) job(ctx context.Context) (CopyJob, Copier, error) {
	copier, err := ability[Copier](m.source(), "copy accounts")
	if err != nil {
		return CopyJob{}, nil, err
	}
	method, err := m.source().method(ctx, m.target(), m.method)
	// On the way back the old server's store is kept aside: until now nothing had
	// been taken away there.
	return CopyJob{Op: m.op, Account: m.account, Peer: m.target().server, Method: method, Aside: m.to == homeOld}, copier, err
}

// arm arms the dead-man's timer, or moves its deadline.
func (m *move) arm(ctx context.Context) {
	if err := m.log.Step(stepArm); err != nil {
		m.end(providers.NotApplied, err)
		return
	}
	if err := m.tryArm(ctx); err != nil {
		m.abort(ctx, err)
		return
	}
	m.began = m.env.Now()
	m.stage = armed
}

func (m *move) tryArm(ctx context.Context) error {
	sentry, err := m.sentry()
	if err != nil {
		return err
	}
	if err := sentry.Arm(ctx, m.op, m.account, m.target().server.Endpoint(), m.timeout); err != nil {
		return fmt.Errorf("arming the dead-man's timer for %s on %s: %w", m.account, m.source().name(), err)
	}
	return nil
}

// decide parks logins, copies and verifies the last difference, and commits.
func (m *move) decide(ctx context.Context) {
	defer m.source().cache.touch(m.account)
	if err := m.park(ctx); err != nil {
		m.abort(ctx, err)
		return
	}
	if err := m.lastDifference(ctx); err != nil {
		m.abort(ctx, err)
		return
	}
	if err := m.log.Step(stepCommit); err != nil {
		m.abort(ctx, err)
		return
	}
	sentry, err := m.sentry()
	if err != nil {
		m.abort(ctx, err)
		return
	}
	if err := sentry.Commit(ctx, m.op); err != nil {
		m.settle(ctx, sentry, fmt.Errorf("handing over %s: %w", m.account, err))
		return
	}
	m.pause = m.env.Now().Sub(m.began)
	m.stage = decided
}

// park makes logins wait and ends sessions. The accounts of a batch may have
// waited for each other since they were armed.
func (m *move) park(ctx context.Context) error {
	if err := m.log.Step(stepPark); err != nil {
		return err
	}
	if err := m.tryArm(ctx); err != nil {
		return err
	}
	// If the timer came before that, mail flows again, and would flow until the commit.
	route, _, err := m.source().presence(ctx, m.account)
	if err != nil {
		return err
	}
	if route.Mode != Hold {
		return fmt.Errorf("parking logins of %s on %s: its mail is not held any more: %w", m.account, m.source().name(), ErrExpired)
	}
	keeper, err := ability[Doorkeeper](m.source(), "direct the logins of single accounts")
	if err != nil {
		return err
	}
	if err := keeper.SetLogins(ctx, m.op, map[Address]Login{m.account: {Mode: Parked}}); err != nil {
		return fmt.Errorf("parking logins of %s on %s: %w", m.account, m.source().name(), err)
	}
	return nil
}

// settle finds out what became of a Commit that returned an error.
func (m *move) settle(ctx context.Context, sentry Sentry, cause error) {
	if errors.Is(cause, ErrExpired) {
		m.abort(ctx, cause)
		return
	}
	state, err := sentry.Handoff(ctx, m.op)
	switch {
	case err != nil || state == Armed:
		// The answer is lost, and Commit may yet arrive. Nothing is undone: the timer
		// or Commit decides, and the next attempt finds out which.
		m.end(providers.Unknown, cause)
	case state == Committed:
		m.stage = decided
	default:
		m.abort(ctx, cause)
	}
}

// disarm completes a decided handoff on the server that the account has left.
func (m *move) disarm(ctx context.Context) {
	defer m.source().cache.touch(m.account)
	sentry, err := m.sentry()
	if err == nil {
		err = sentry.Disarm(ctx, m.op)
	}
	if err != nil {
		m.end(providers.Partial, fmt.Errorf("making %s relay and proxy %s: %w", m.source().name(), m.account, err))
		return
	}
	m.end(providers.Applied, nil)
}

// abortTime is how long breaking off may take, also when the turn was told to stop.
const abortTime = 30 * time.Second

// abort breaks off before the decision: the account is served where it was, and
// the other server stays away.
func (m *move) abort(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	defer m.source().cache.touch(m.account)
	result := providers.Unknown
	if sentry, err := m.sentry(); err == nil && sentry.Disarm(ctx, m.op) == nil {
		// Disarming completes a handoff that was decided after all.
		if state, err := sentry.Handoff(ctx, m.op); err == nil && state != Committed {
			result = providers.NotApplied
		}
	}
	m.end(result, cause)
}
