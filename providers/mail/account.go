package mail

import (
	"context"
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func accountSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "One person's store and login. It is never removed, only forgotten.",
		Attributes: providers.Attributes{
			"address":       identity("The account's address."),
			"quota":         optional(cty.String, "The limit of the store, such as \"10GiB\", or \"none\". Left out: as it is, or none in a new account."),
			"password_from": server("The server whose password hash the account has, copied verbatim from server to server and never shown."),
			"password":      optional(cty.String, "With password_from: \"same\" (the only value that can be set), observed as \"same\" or \"differs\"."),
		},
		Permanent: true,
		Recurring: true, // users change their passwords on the server they are copied from
	}
}

type accountValue struct {
	Address      string  `cty:"address"`
	Quota        *string `cty:"quota"`
	PasswordFrom *string `cty:"password_from"`
	Password     *string `cty:"password"`
}

const (
	passwordSame    = "same"
	passwordDiffers = "differs"
)

// accounts is the type mail_account.
type accounts struct{ *Types }

var (
	_ providers.TypedResource[accountValue] = accounts{}
	_ providers.Normalizer                  = accounts{}
	_ providers.Batcher                     = accounts{}
)

// Normalize implements [providers.Normalizer].
func (a accounts) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[accountValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	address, err := parseAccount(v.Address)
	if err != nil {
		return cty.NilVal, err
	}
	v.Address = string(address)
	if v.Quota != nil {
		bytes, err := ParseQuota(*v.Quota)
		if err != nil {
			return cty.NilVal, err
		}
		v.Quota = new(FormatQuota(bytes))
	}
	switch {
	case v.Password != nil && *v.Password != passwordSame:
		return cty.NilVal, fmt.Errorf("password %q: passwords are copied, not set; leave the attribute out or say %q", *v.Password, passwordSame)
	case v.PasswordFrom != nil:
		v.Password = new(passwordSame)
	case v.Password != nil:
		return cty.NilVal, fmt.Errorf("password: it is compared with that of password_from, which is not set")
	}
	return providers.Encode(accountSchema(), v)
}

// parseAccount reads the address of an account.
func parseAccount(s string) (Address, error) {
	address, err := ParseAddress(s)
	if err == nil && address.Local() == "" {
		err = fmt.Errorf("address %q: an account has a local part", s)
	}
	return address, err
}

func (a accounts) Observe(ctx context.Context, desired, last *accountValue) (*accountValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	address := Address(v.Address)
	all, err := a.accounts(ctx, address.Domain())
	if err != nil {
		return nil, err
	}
	account, ok := all[address]
	if !ok {
		return nil, nil
	}
	observed := &accountValue{Address: v.Address, Quota: new(FormatQuota(account.Quota)), PasswordFrom: v.PasswordFrom}
	if v.PasswordFrom == nil {
		return observed, nil
	}
	source, err := a.peer(*v.PasswordFrom)
	if err != nil {
		return nil, err
	}
	// People change their password at their home: a source that is not it has nothing
	// to say any more.
	if sealed, err := (copies{source}).sealed(ctx, address); err != nil || sealed {
		observed.Password = new(passwordSame)
		return observed, err
	}
	theirs, err := source.credentials(ctx, address.Domain())
	if err != nil {
		return nil, fmt.Errorf("comparing password hashes: %w", err)
	}
	ours, err := a.credentials(ctx, address.Domain())
	if err != nil {
		return nil, fmt.Errorf("comparing password hashes: %w", err)
	}
	observed.Password = new(passwordDiffers)
	// An account that the source does not have any more has nothing to be equal to.
	if hash, ok := theirs[address]; !ok || hash == ours[address] {
		observed.Password = new(passwordSame)
	}
	return observed, nil
}

func (a accounts) Apply(ctx context.Context, change providers.TypedChange[accountValue], _ providers.TypedLog[accountValue]) (providers.Outcome, *accountValue, error) {
	return alone(ctx, change, a.apply)
}

// BatchKey implements [providers.Batcher].
func (a accounts) BatchKey(providers.Change) string { return "accounts" }

// BatchLimit implements [providers.Batcher].
func (a accounts) BatchLimit() int { return 0 }

// ApplyBatch implements [providers.Batcher].
func (a accounts) ApplyBatch(ctx context.Context, changes []providers.Change, _ []providers.Log) []providers.Result {
	return batched(ctx, "mail_account", changes, a.apply)
}

func (a accounts) apply(ctx context.Context, changes []providers.TypedChange[accountValue]) []result[accountValue] {
	done := func(c providers.TypedChange[accountValue]) *accountValue {
		v := *c.After
		if v.Quota == nil {
			v.Quota = new(noQuota)
			if c.Before != nil {
				v.Quota = c.Before.Quota
			}
		}
		return &v
	}
	return together(changes, a.put(ctx, changes), done)
}

// put makes the accounts so in one edit.
func (a accounts) put(ctx context.Context, changes []providers.TypedChange[accountValue]) error {
	store, err := ability[AccountStore](a.Types, "create accounts")
	if err != nil {
		return notApplied(err)
	}
	hashes, err := a.hashes(ctx, changes)
	if err != nil {
		return notApplied(err)
	}
	edits := make([]AccountEdit, len(changes))
	for i, c := range changes {
		if c.After == nil {
			return notApplied(fmt.Errorf("removing account %s: accounts are never removed", c.Before.Address))
		}
		edits[i] = AccountEdit{Account: Account{Address: Address(c.After.Address)}, Credential: hashes[Address(c.After.Address)]}
		quota := c.After.Quota
		if quota == nil && c.Before != nil {
			quota = c.Before.Quota
		}
		if quota != nil {
			if edits[i].Quota, err = ParseQuota(*quota); err != nil {
				return notApplied(err)
			}
		}
		if c.Before == nil && edits[i].Credential.IsZero() {
			return notApplied(providers.Faultf("Set password_from to the server that has the account's password.",
				"creating account %s: nothing says which password it has", c.After.Address))
		}
	}
	defer a.cache.reset()
	return store.PutAccounts(ctx, changes[0].Op, edits)
}

// hashes reads the hashes to be copied, just now, each source once. An account that
// is there keeps its own if the source is not its home any more.
func (a accounts) hashes(ctx context.Context, changes []providers.TypedChange[accountValue]) (map[Address]Credential, error) {
	from, fresh := map[string][]Address{}, map[Address]bool{}
	for _, c := range changes {
		if c.After != nil && c.After.PasswordFrom != nil {
			fresh[Address(c.After.Address)] = c.Before == nil
			from[*c.After.PasswordFrom] = append(from[*c.After.PasswordFrom], Address(c.After.Address))
		}
	}
	found := map[Address]Credential{}
	for source, addresses := range from {
		peer, err := a.peer(source)
		if err != nil {
			return nil, err
		}
		store, err := ability[AccountStore](peer, "give password hashes")
		if err != nil {
			return nil, err
		}
		hashes, err := store.Credentials(ctx, addresses)
		if err != nil {
			return nil, fmt.Errorf("reading password hashes: %w", err)
		}
		routes, logins, err := peer.presences(ctx, addresses)
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			if !serves(routes[address], logins[address]) && !fresh[address] {
				continue
			}
			if hashes[address].IsZero() {
				return nil, providers.Faultf("Take it out of the configuration, or create it there.", "copying the password hash of %s: %s has no such account", address, peer.name())
			}
			found[address] = hashes[address]
		}
	}
	return found, nil
}

// notApplied marks an error that came before any effect.
func notApplied(err error) error {
	return &OutcomeError{Outcome: providers.NotApplied, Err: err}
}
