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

// A snapshot shares what the observations of one walk read from a server: who asks
// for a list reads it once, and who asks for one account after the other reads ever
// more of them at once. What we write ourselves is
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

// route returns the route of an account; known are those about whom one may ask next.
func (t *Types) route(ctx context.Context, account Address, known listing) (Route, error) {
	router, err := ability[Router](t, "route the mail of single accounts")
	if err != nil {
		return Route{}, err
	}
	return one(t.cache, "routes "+account.Domain(), account, known, func(accounts []Address) (map[Address]Route, error) {
		return router.Routes(ctx, accounts)
	})
}

// login returns the login mode of an account, as route does.
func (t *Types) login(ctx context.Context, account Address, known listing) (Login, error) {
	keeper, err := ability[Doorkeeper](t, "direct the logins of single accounts")
	if err != nil {
		return Login{}, err
	}
	return one(t.cache, "logins "+account.Domain(), account, known, func(accounts []Address) (map[Address]Login, error) {
		return keeper.Logins(ctx, accounts)
	})
}

// A listing names accounts in the order in which one asks for them; nil is nobody.
type listing func() ([]Address, error)

// listed returns the listing of the accounts of a domain.
func (t *Types) listed(ctx context.Context, domain string) listing {
	return func() ([]Address, error) { return t.known(ctx, domain) }
}

// answers are what has been read of many accounts.
type answers[V any] struct {
	found map[Address]V
	group int // how many the next reading takes
}

// further is how many times more accounts a reading takes than the one before. Who
// looks at one account reads one, who looks at all of them reads few times, and
// nobody reads more than a few times what he asks for: comparing two stores takes time.
const further = 4

// one returns the answer for one account. With it are read those that come after it
// in known, more of them with every reading.
func one[V any](s *snapshot, key string, account Address, known listing, read func([]Address) (map[Address]V, error)) (V, error) {
	if s.touched(account) {
		single, err := read([]Address{account})
		return single[account], err
	}
	c := s.cell(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	var none V
	all, ok := c.value.(*answers[V])
	if !ok {
		all = &answers[V]{found: map[Address]V{}, group: 1}
		c.value = all
	}
	if v, ok := all.found[account]; ok {
		return v, nil
	}
	if c.read && c.err != nil && s.now().Sub(c.at) < failureAge {
		return none, c.err
	}
	group, err := all.next(account, known)
	if err != nil {
		return none, err
	}
	values, err := read(group)
	c.read = !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	c.err, c.at = err, s.now()
	if err != nil {
		return none, err
	}
	maps.Copy(all.found, values)
	all.found[account] = values[account]
	all.group *= further
	return values[account], nil
}

// next returns whom to read with an account.
func (a *answers[V]) next(account Address, known listing) ([]Address, error) {
	group := []Address{account}
	if a.group == 1 || known == nil {
		return group, nil
	}
	list, err := known()
	if err != nil {
		return nil, err
	}
	for i := max(0, slices.Index(list, account)); i < len(list) && len(group) < a.group; i++ {
		if _, read := a.found[list[i]]; !read && list[i] != account {
			group = append(group, list[i])
		}
	}
	return group, nil
}
