package mail

import (
	"context"
	"fmt"
	"time"

	"github.com/mailmove/mailmove/providers"
)

// A move is one account's change of home.
//
// Before the decision, the server that the account leaves is the truth, and
// nothing reaches the store on the other one but the copy: there mail is held and
// logins are parked first of all, so that neither what that server relays nor
// whom it proxies can come in between. The decision is one call, Commit. After
// it the other server is the truth, and all that is left is done in any order, by
// us or by the server that decided.
type move struct {
	pair
	op       string
	from, to home
	method   *string
	timeout  time.Duration
	log      providers.Log
	env      providers.Env
	pause    time.Duration
}

func (m *move) source() *Types { return m.server(m.from) }
func (m *move) target() *Types { return m.server(m.to) }

// handOver moves the home from m.from, which it is, to m.to. settled says that the
// other server relays and proxies to it, as it should.
func (m *move) handOver(ctx context.Context, settled bool) (providers.Outcome, error) {
	sentry, err := ability[Sentry](m.source(), "hand over an account")
	if err != nil {
		return providers.NotApplied, err
	}
	state, err := sentry.Handoff(ctx, m.op)
	if err != nil {
		return providers.Unknown, fmt.Errorf("asking for the state of the handoff: %w", err)
	}
	if state == Committed {
		return m.switchOver(ctx, sentry)
	}
	if !settled && state != Armed {
		if err := m.leave(ctx, m.op, m.target(), m.source()); err != nil {
			return providers.NotApplied, err
		}
	}
	if err := m.ready(ctx); err != nil {
		return providers.NotApplied, err
	}
	began := m.env.Now()
	if err := m.prepare(ctx, sentry); err != nil {
		return m.abort(ctx, sentry, err)
	}
	if err := m.log.Step(stepCommit); err != nil {
		return m.abort(ctx, sentry, err)
	}
	if err := sentry.Commit(ctx, m.op); err != nil {
		if outcome, done := m.undecided(ctx, sentry, err); !done {
			return outcome, err
		}
	}
	outcome, err := m.switchOver(ctx, sentry)
	m.pause = m.env.Now().Sub(began)
	return outcome, err
}

// ready brings the copy close while the account is in use, and checks all that
// can be checked before anybody has to wait.
func (m *move) ready(ctx context.Context) error {
	if err := m.log.Step(stepAhead); err != nil {
		return err
	}
	for _, at := range []*Types{m.source(), m.target()} {
		known, err := m.exists(ctx, at)
		if err != nil {
			return err
		}
		if !known {
			return providers.Faultf("Declare a mail_account for it.", "handing over %s: %s has no such account", m.account, at.name())
		}
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

func (m *move) exists(ctx context.Context, at *Types) (bool, error) {
	all, err := at.accounts(ctx, m.account.Domain())
	_, ok := all[m.account]
	return ok, err
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

// prepare makes everything so that Commit can decide.
func (m *move) prepare(ctx context.Context, sentry Sentry) error {
	if err := m.log.Step(stepArm); err != nil {
		return err
	}
	if err := m.wait(ctx, m.op, m.target()); err != nil {
		return err
	}
	if err := sentry.Arm(ctx, m.op, m.account, m.target().server.Endpoint(), m.timeout); err != nil {
		return fmt.Errorf("arming the dead-man's timer for %s on %s: %w", m.account, m.source().name(), err)
	}
	defer m.source().cache.touch(m.account)
	router, err := ability[Router](m.source(), "route the mail of single accounts")
	if err != nil {
		return err
	}
	keeper, err := ability[Doorkeeper](m.source(), "direct the logins of single accounts")
	if err != nil {
		return err
	}
	if err := m.log.Step(stepHold); err != nil {
		return err
	}
	if err := router.SetRoutes(ctx, m.op, map[Address]Route{m.account: {Mode: Hold}}); err != nil {
		return fmt.Errorf("holding mail for %s on %s: %w", m.account, m.source().name(), err)
	}
	if err := m.log.Step(stepPark); err != nil {
		return err
	}
	if err := keeper.SetLogins(ctx, m.op, map[Address]Login{m.account: {Mode: Parked}}); err != nil {
		return fmt.Errorf("parking logins of %s on %s: %w", m.account, m.source().name(), err)
	}
	return m.lastDifference(ctx)
}

// lastPasses is how often the last difference is copied before it must be none.
// Nobody can change the account then: a second pass serves what a listing taken
// from caches may have missed.
const lastPasses = 2

// lastDifference copies what the account and its password still lack, and
// verifies it.
func (m *move) lastDifference(ctx context.Context) error {
	if err := m.log.Step(stepLast); err != nil {
		return err
	}
	if err := m.password(ctx); err != nil {
		return err
	}
	job, copier, err := m.job(ctx)
	if err != nil {
		return err
	}
	var c Comparison
	for range lastPasses {
		if _, err := copier.Copy(ctx, job, m.log); err != nil {
			return fmt.Errorf("copying the last difference of %s: %w", m.account, err)
		}
		if err := m.log.Step(stepEqual); err != nil {
			return err
		}
		all, err := copier.Compare(ctx, m.target().server, []Address{m.account}, Listing)
		if err != nil {
			return fmt.Errorf("verifying the copy of %s: %w", m.account, err)
		}
		if c = all[m.account]; c.Behind() == 0 {
			return nil
		}
	}
	return fmt.Errorf("verifying the copy of %s: %d missing, %d too many, %d different on %s: %q",
		m.account, c.Missing, c.Extra, c.Differing, m.target().name(), c.Examples)
}

// password carries the hash: users change it at their home, and nobody can now.
func (m *move) password(ctx context.Context) error {
	from, err := ability[AccountStore](m.source(), "give password hashes")
	if err != nil {
		return err
	}
	to, err := ability[AccountStore](m.target(), "take password hashes")
	if err != nil {
		return err
	}
	ours, err := from.Credentials(ctx, []Address{m.account})
	if err != nil {
		return fmt.Errorf("reading the password hash of %s on %s: %w", m.account, m.source().name(), err)
	}
	theirs, err := to.Credentials(ctx, []Address{m.account})
	if err != nil {
		return fmt.Errorf("reading the password hash of %s on %s: %w", m.account, m.target().name(), err)
	}
	if ours[m.account] == theirs[m.account] {
		return nil
	}
	all, err := m.target().accounts(ctx, m.account.Domain())
	if err != nil {
		return err
	}
	defer m.target().cache.reset()
	if err := to.PutAccounts(ctx, m.op, []AccountEdit{{Account: all[m.account], Credential: ours[m.account]}}); err != nil {
		return fmt.Errorf("copying the password hash of %s to %s: %w", m.account, m.target().name(), err)
	}
	return nil
}

// switchOver completes a decided handoff.
func (m *move) switchOver(ctx context.Context, sentry Sentry) (providers.Outcome, error) {
	if err := m.log.Step(stepSwitch); err != nil {
		return providers.Partial, err
	}
	defer m.source().cache.touch(m.account)
	if err := m.open(ctx, m.op, m.target()); err != nil {
		return providers.Partial, err
	}
	if err := sentry.Disarm(ctx, m.op); err != nil {
		return providers.Partial, fmt.Errorf("making %s relay and proxy %s: %w", m.source().name(), m.account, err)
	}
	return providers.Applied, nil
}

// undecided finds out what became of a Commit that returned an error. done says
// that the handoff is decided for the peer all the same.
func (m *move) undecided(ctx context.Context, sentry Sentry, cause error) (outcome providers.Outcome, done bool) {
	if isExpired(cause) {
		return m.abortOutcome(ctx, sentry), false
	}
	state, err := sentry.Handoff(ctx, m.op)
	switch {
	case err != nil || state == Armed:
		// The answer is lost, and Commit may yet arrive. Nothing is undone: the timer
		// or Commit decides, and the next attempt finds out which.
		return providers.Unknown, false
	case state == Committed:
		return providers.Partial, true
	}
	return m.abortOutcome(ctx, sentry), false
}

// abortTime is how long breaking off may take, also when the turn was told to stop.
const abortTime = 30 * time.Second

// abort breaks off before the decision: the account is served where it was.
func (m *move) abort(ctx context.Context, sentry Sentry, cause error) (providers.Outcome, error) {
	return m.abortOutcome(ctx, sentry), cause
}

func (m *move) abortOutcome(ctx context.Context, sentry Sentry) providers.Outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	defer m.source().cache.touch(m.account)
	if err := sentry.Disarm(ctx, m.op); err != nil {
		return providers.Unknown
	}
	if state, err := sentry.Handoff(ctx, m.op); err != nil || state == Committed {
		return providers.Unknown
	}
	if err := m.leave(ctx, m.op, m.target(), m.source()); err != nil {
		return providers.Partial
	}
	return providers.NotApplied
}
