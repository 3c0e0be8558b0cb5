package mailtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// A fault is what happens to one call of the abilities.
type fault string

const (
	// lostRequest: the call fails without an effect.
	lostRequest fault = "lost request"
	// lostAnswer: the call has its effect, and fails.
	lostAnswer fault = "lost answer"
	// crashBefore and crashAfter: mailmove dies there; no call after it has an effect.
	crashBefore fault = "crash before"
	crashAfter  fault = "crash after"
)

var errFault = errors.New("injected fault")

// faults counts the calls that change something, on both servers, and lets the
// one numbered at fail.
type faults struct {
	mu    sync.Mutex
	kind  fault
	at    int
	calls int
	names []string
	dead  bool
	// between, if set, runs after a call with its name.
	between func(name string)
}

// call lets do happen, or not.
func (f *faults) call(name string, do func() error) error {
	f.mu.Lock()
	dead := f.dead
	hit := !dead && f.kind != "" && f.calls == f.at
	f.calls++
	f.names = append(f.names, name)
	if hit && (f.kind == crashBefore || f.kind == crashAfter) {
		f.dead = true
	}
	f.mu.Unlock()
	if dead || hit && (f.kind == lostRequest || f.kind == crashBefore) {
		return errFault
	}
	err := do()
	if f.between != nil {
		f.between(name)
	}
	if hit {
		return errFault
	}
	return err
}

// read fails once mailmove is dead.
func (f *faults) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errFault
	}
	return nil
}

// faulty is a server whose calls may fail. It has every ability that the suite
// needs of a platform.
type faulty struct {
	*mail.Types
	inner  mail.Server
	faults *faults
}

// newFaulty wraps a server.
func newFaulty(inner mail.Server, f *faults, env providers.Env) *faulty {
	s := &faulty{inner: inner, faults: f}
	s.Types = mail.NewTypes(s, env)
	return s
}

func (s *faulty) Unwrap() any             { return s.inner }
func (s *faulty) Platform() string        { return s.inner.Platform() }
func (s *faulty) Endpoint() mail.Endpoint { return s.inner.Endpoint() }
func (s *faulty) Close() error            { return nil }

// of returns an ability of the inner server, which the suite has found before.
func of[A any](s *faulty) A {
	a, _ := providers.As[A](s.inner)
	return a
}

func (s *faulty) Routes(ctx context.Context, a []mail.Address) (map[mail.Address]mail.Route, error) {
	if err := s.faults.read(); err != nil {
		return nil, err
	}
	return of[mail.Router](s).Routes(ctx, a)
}

func (s *faulty) SetRoutes(ctx context.Context, op string, routes map[mail.Address]mail.Route) error {
	return s.faults.call("SetRoutes", func() error { return of[mail.Router](s).SetRoutes(ctx, op, routes) })
}

func (s *faulty) Logins(ctx context.Context, a []mail.Address) (map[mail.Address]mail.Login, error) {
	if err := s.faults.read(); err != nil {
		return nil, err
	}
	return of[mail.Doorkeeper](s).Logins(ctx, a)
}

func (s *faulty) SetLogins(ctx context.Context, op string, logins map[mail.Address]mail.Login) error {
	return s.faults.call("SetLogins", func() error { return of[mail.Doorkeeper](s).SetLogins(ctx, op, logins) })
}

func (s *faulty) Arm(ctx context.Context, op string, a mail.Address, peer mail.Endpoint, within time.Duration) error {
	return s.faults.call("Arm", func() error { return of[mail.Sentry](s).Arm(ctx, op, a, peer, within) })
}

func (s *faulty) Commit(ctx context.Context, op string) error {
	return s.faults.call("Commit", func() error { return of[mail.Sentry](s).Commit(ctx, op) })
}

func (s *faulty) Disarm(ctx context.Context, op string) error {
	return s.faults.call("Disarm", func() error { return of[mail.Sentry](s).Disarm(ctx, op) })
}

func (s *faulty) Handoff(ctx context.Context, op string) (mail.HandoffState, error) {
	if err := s.faults.read(); err != nil {
		return "", err
	}
	return of[mail.Sentry](s).Handoff(ctx, op)
}

func (s *faulty) Methods(ctx context.Context, peer mail.Server) ([]mail.Method, error) {
	return of[mail.Copier](s).Methods(ctx, peer)
}

func (s *faulty) Copy(ctx context.Context, job mail.CopyJob, log providers.Log) (pass mail.Pass, err error) {
	err = s.faults.call("Copy", func() error {
		pass, err = of[mail.Copier](s).Copy(ctx, job, log)
		return err
	})
	return pass, err
}

func (s *faulty) Compare(ctx context.Context, peer mail.Server, a []mail.Address, depth mail.Depth) (map[mail.Address]mail.Comparison, error) {
	if err := s.faults.read(); err != nil {
		return nil, err
	}
	return of[mail.Copier](s).Compare(ctx, peer, a, depth)
}

func (s *faulty) Accounts(ctx context.Context, domain string) ([]mail.Account, error) {
	return of[mail.AccountStore](s).Accounts(ctx, domain)
}

func (s *faulty) Credentials(ctx context.Context, a []mail.Address) (map[mail.Address]mail.Credential, error) {
	return of[mail.AccountStore](s).Credentials(ctx, a)
}

func (s *faulty) PutAccounts(ctx context.Context, op string, edits []mail.AccountEdit) error {
	return s.faults.call("PutAccounts", func() error { return of[mail.AccountStore](s).PutAccounts(ctx, op, edits) })
}
