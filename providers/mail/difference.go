package mail

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

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
	var ours, theirs map[Address]Credential
	both, reading := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		if ours, err = from.Credentials(reading, []Address{m.account}); err != nil {
			return fmt.Errorf("reading the password hash of %s on %s: %w", m.account, m.source().name(), err)
		}
		return nil
	})
	both.Go(func() (err error) {
		if theirs, err = to.Credentials(reading, []Address{m.account}); err != nil {
			return fmt.Errorf("reading the password hash of %s on %s: %w", m.account, m.target().name(), err)
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return err
	}
	if ours[m.account] == theirs[m.account] {
		return nil
	}
	all, err := m.target().accounts(ctx, m.account.Domain())
	if err != nil {
		return err
	}
	account, ok := all[m.account]
	if !ok {
		return fmt.Errorf("handing over %s: %s has no such account", m.account, m.target().name())
	}
	defer m.target().cache.reset()
	if err := to.PutAccounts(ctx, m.op, []AccountEdit{{Account: account, Credential: ours[m.account]}}); err != nil {
		return fmt.Errorf("copying the password hash of %s to %s: %w", m.account, m.target().name(), err)
	}
	return nil
}
