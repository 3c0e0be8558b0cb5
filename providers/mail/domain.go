package mail

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func domainSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "A domain whose mail the server accepts. Every account and alias that the server has for it must be declared or ignored.",
		Attributes: providers.Attributes{
			"domain": identity("The domain."),
			"accept": defaults(cty.True, "Whether mail for the domain is accepted; with false the server is told to stop, and accounts stay."),
			"ignore": optional(cty.Set(cty.String), "Addresses on the server that nobody moves."),
		},
	}
}

type domainValue struct {
	Domain string   `cty:"domain"`
	Accept bool     `cty:"accept"`
	Ignore []string `cty:"ignore"`
}

// domains is the type mail_domain.
type domains struct{ *Types }

var (
	_ providers.TypedResource[domainValue] = domains{}
	_ providers.Normalizer                 = domains{}
	_ providers.Lister                     = domains{}
)

// Normalize implements [providers.Normalizer].
func (d domains) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[domainValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	if v.Domain, err = ParseDomain(v.Domain); err != nil {
		return cty.NilVal, err
	}
	for i, s := range v.Ignore {
		address, err := ParseAddress(s)
		if err != nil {
			return cty.NilVal, fmt.Errorf("ignore: %w", err)
		}
		v.Ignore[i] = string(address)
	}
	return providers.Encode(domainSchema(), v)
}

func (d domains) Observe(ctx context.Context, desired, last *domainValue) (*domainValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	store, err := ability[DomainStore](d.Types, "say which domains it accepts")
	if err != nil {
		return nil, err
	}
	accepts, err := once(d.cache, "domain "+v.Domain, func() (bool, error) { return store.Accepts(ctx, v.Domain) })
	if err != nil || !accepts && (desired == nil || desired.Accept) {
		return nil, err
	}
	// What is ignored is kept nowhere but in the configuration.
	return &domainValue{Domain: v.Domain, Accept: accepts, Ignore: v.Ignore}, nil
}

func (d domains) Apply(ctx context.Context, change providers.TypedChange[domainValue], _ providers.TypedLog[domainValue]) (providers.Outcome, *domainValue, error) {
	store, err := ability[DomainStore](d.Types, "change the domains it accepts")
	if err != nil {
		return refuse[domainValue](err)
	}
	v := change.After
	if v == nil {
		v = change.Before
	}
	defer d.cache.reset()
	if err := store.PutDomain(ctx, change.Op, v.Domain, change.After != nil && change.After.Accept); err != nil {
		return fail[domainValue](err)
	}
	return providers.Applied, change.After, nil
}

// List implements [providers.Lister]: the accounts and aliases of the domain.
func (d domains) List(ctx context.Context, desired cty.Value) ([]providers.Listed, error) {
	v, err := providers.Decode[domainValue](desired)
	if err != nil || v == nil {
		return nil, err
	}
	ignored := func(a Address) bool { return slices.Contains(v.Ignore, string(a)) }
	var listed []providers.Listed
	add := func(typ string, address Address, value cty.Value, err error) error {
		listed = append(listed, providers.Listed{Type: typ, Values: value, Ignored: ignored(address)})
		return err
	}
	accounts, err := d.accounts(ctx, v.Domain)
	if err != nil {
		return nil, err
	}
	for _, address := range slices.Sorted(maps.Keys(accounts)) {
		value, err := providers.Encode(accountSchema(), &accountValue{Address: string(address)})
		if err := add("mail_account", address, value, err); err != nil {
			return nil, err
		}
	}
	aliases, err := d.aliases(ctx, v.Domain)
	if err != nil {
		return nil, err
	}
	for _, address := range slices.Sorted(maps.Keys(aliases)) {
		value, err := providers.Encode(aliasSchema(), aliasOf(aliases[address]))
		if err := add("mail_alias", address, value, err); err != nil {
			return nil, err
		}
	}
	return listed, nil
}
