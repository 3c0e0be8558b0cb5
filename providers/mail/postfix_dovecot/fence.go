package postfix_dovecot

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// staleStatus is the status of homes.sh for an operator who was overtaken.
const staleStatus = 77

// A fencer is the System as [providers.Fencer], whose method has the name of one of
// [mail.Claimer]. The mark is a file beside the homes, so there is one while the
// server is claimed; every command that changes something compares it first, under
// the lock where there is one.
type fencer struct{ s *System }

var _ providers.Fencer = fencer{}

// Unwrap leads [providers.As] to the fencer.
func (s *System) Unwrap() any { return fencer{s} }

// validLineage is what can be the name of a file.
var validLineage = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// Claim implements [providers.Fencer].
func (f fencer) Claim(ctx context.Context, epoch providers.Epoch) error {
	s := f.s
	if !validLineage.MatchString(s.env.Lineage) {
		return fmt.Errorf("claiming %v: the lineage %q is not plain", s.runner, s.env.Lineage)
	}
	before := s.held()
	s.hold(&epoch)
	err := s.mark(ctx)
	if err != nil {
		s.hold(before)
	}
	return err
}

func (s *System) hold(epoch *providers.Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = epoch
}

// mark raises the mark on a server that is claimed.
func (s *System) mark(ctx context.Context) error {
	epoch := s.held()
	if epoch == nil {
		return nil
	}
	number := strconv.FormatInt(epoch.Number, 10)
	if _, err := s.homes(ctx, "take the turn", nil, "fence", s.env.Lineage, number, epoch.Holder); err != nil {
		return err
	}
	// A copy that looked at the mark before may still be writing here.
	_, err := s.store(ctx, "end the copies of earlier turns", nil, "end-receivers", s.env.Lineage, number)
	return err
}

// fenced fails if another operator holds a later epoch: for what is not done by
// homes.sh, which looks itself.
func (s *System) fenced(ctx context.Context) error {
	if s.held() == nil {
		return nil
	}
	_, err := s.homes(ctx, "look at the turn", nil, "check")
	return err
}

func (s *System) held() *providers.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// stale is the error for an operator who was overtaken; said is the mark.
func (s *System) stale(ours providers.Epoch, said string) error {
	number, holder, _ := strings.Cut(strings.TrimSpace(said), " ")
	theirs := providers.Epoch{Holder: holder}
	theirs.Number, _ = strconv.ParseInt(number, 10, 64)
	return &mail.OutcomeError{Outcome: providers.NotApplied, Err: &providers.StaleError{System: s.runner.String(), Ours: ours, Theirs: theirs}}
}
