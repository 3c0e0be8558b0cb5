package mail

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// failureAge is how long a failure to read is taken for the answer to the same
// question: a server that is down costs one timeout, not one for each account.
const failureAge = 5 * time.Second

// A snapshot shares what the observations of one walk read from a server: the
// first question about a domain reads all of it. What we write ourselves is
// forgotten; the engine forgets the rest between walks.
type snapshot struct {
	now   func() time.Time
	mu    sync.Mutex
	cells map[string]*cell
	// dirty are accounts that we wrote to, which are read one by one from then on.
	dirty map[Address]bool
}

// A cell is one answer. Who asks while it is being read waits for it.
type cell struct {
	mu    sync.Mutex
	read  bool
	value any
	err   error
	at    time.Time
}

func newSnapshot(now func() time.Time) *snapshot {
	s := &snapshot{now: now}
	s.reset()
	return s
}

// reset forgets everything. A reading under way ends in a cell that nobody asks.
func (s *snapshot) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cells = map[string]*cell{}
	s.dirty = map[Address]bool{}
}

// touch forgets what depends on the routes, logins or messages of an account.
func (s *snapshot) touch(account Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty[account] = true
}

func (s *snapshot) touched(account Address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirty[account]
}

func (s *snapshot) cell(key string) *cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cells[key]
	if c == nil {
		c = &cell{}
		s.cells[key] = c
	}
	return c
}

// once returns the answer to key, read if nobody has.
func once[V any](s *snapshot, key string, read func() (V, error)) (V, error) {
	c := s.cell(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read && (c.err == nil || s.now().Sub(c.at) < failureAge) {
		value, _ := c.value.(V)
		return value, c.err
	}
	value, err := read()
	c.read = !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	c.value, c.err, c.at = value, err, s.now()
	return value, err
}

// accounts returns the accounts of a domain.
func (t *Types) accounts(ctx context.Context, domain string) (map[Address]Account, error) {
	store, err := ability[AccountStore](t, "list its accounts")
	if err != nil {
		return nil, err
	}
	return once(t.cache, "accounts "+domain, func() (map[Address]Account, error) {
		list, err := store.Accounts(ctx, domain)
		found := make(map[Address]Account, len(list))
		for _, a := range list {
			found[a.Address] = a
		}
		return found, err
	})
}

// known returns the addresses of the accounts of a domain, in order.
func (t *Types) known(ctx context.Context, domain string) ([]Address, error) {
	return once(t.cache, "known "+domain, func() ([]Address, error) {
		all, err := t.accounts(ctx, domain)
		return slices.Sorted(maps.Keys(all)), err
	})
}

// credentials returns the hashes of the accounts of a domain.
func (t *Types) credentials(ctx context.Context, domain string) (map[Address]Credential, error) {
	store, err := ability[AccountStore](t, "read its accounts")
	if err != nil {
		return nil, err
	}
	all, err := t.accounts(ctx, domain)
	if err != nil {
		return nil, err
	}
	return once(t.cache, "credentials "+domain, func() (map[Address]Credential, error) {
		return store.Credentials(ctx, slices.Sorted(maps.Keys(all)))
	})
}

// aliases returns the aliases of a domain.
func (t *Types) aliases(ctx context.Context, domain string) (map[Address]Alias, error) {
	store, err := ability[AliasStore](t, "list its aliases")
	if err != nil {
		return nil, err
	}
	return once(t.cache, "aliases "+domain, func() (map[Address]Alias, error) {
		list, err := store.Aliases(ctx, domain)
		found := make(map[Address]Alias, len(list))
		for _, a := range list {
			found[a.Address] = a
		}
		return found, err
	})
}

// route returns the route of an account; with it are read those of the accounts
// that known names.
func (t *Types) route(ctx context.Context, account Address, known []Address) (Route, error) {
	router, err := ability[Router](t, "route the mail of single accounts")
	if err != nil {
		return Route{}, err
	}
	return one(t.cache, "routes "+account.Domain(), account, known, func(accounts []Address) (map[Address]Route, error) {
		return router.Routes(ctx, accounts)
	})
}

// login returns the login mode of an account, as route does.
func (t *Types) login(ctx context.Context, account Address, known []Address) (Login, error) {
	keeper, err := ability[Doorkeeper](t, "direct the logins of single accounts")
	if err != nil {
		return Login{}, err
	}
	return one(t.cache, "logins "+account.Domain(), account, known, func(accounts []Address) (map[Address]Login, error) {
		return keeper.Logins(ctx, accounts)
	})
}

// one returns the answer for one account out of a reading of many.
func one[V any](s *snapshot, key string, account Address, known []Address, read func([]Address) (map[Address]V, error)) (V, error) {
	if !s.touched(account) {
		all, err := once(s, key, func() (map[Address]V, error) {
			if !slices.Contains(known, account) {
				known = append(slices.Clone(known), account)
			}
			return read(known)
		})
		if err != nil {
			var none V
			return none, err
		}
		if v, ok := all[account]; ok {
			return v, nil
		}
	}
	single, err := read([]Address{account})
	return single[account], err
}
