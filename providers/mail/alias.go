package mail

import (
	"context"
	"fmt"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func aliasSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "An address that stands for others (RFC 5321 section 3.9.1). \"@domain\" is the catch-all, or with the one member \"@other\" an alias domain.",
		Attributes: providers.Attributes{
			"address": identity("The address that is replaced."),
			"members": required(optional(cty.Set(cty.String), "The addresses that replace it.")),
			"code":    computed(cty.Set(cty.String), "What the alias executes or reads beside: pipes, files, includes. Never copied."),
		},
	}
}

type aliasValue struct {
	Address string   `cty:"address"`
	Members []string `cty:"members"`
	Code    []string `cty:"code"`
}

// aliases is the type mail_alias.
type aliases struct{ *Types }

var (
	_ providers.TypedResource[aliasValue] = aliases{}
	_ providers.Normalizer                = aliases{}
	_ providers.Batcher                   = aliases{}
)

// Normalize implements [providers.Normalizer].
func (a aliases) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[aliasValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	address, err := ParseAddress(v.Address)
	if err != nil {
		return cty.NilVal, err
	}
	v.Address = string(address)
	if len(v.Members) == 0 {
		return cty.NilVal, fmt.Errorf("alias %s: no members; an alias that leads nowhere refuses mail", address)
	}
	for i, member := range v.Members {
		m, err := ParseAddress(member)
		if err != nil {
			return cty.NilVal, fmt.Errorf("alias %s: member %w", address, err)
		}
		v.Members[i] = string(m)
	}
	return providers.Encode(aliasSchema(), v)
}

func (a aliases) Observe(ctx context.Context, desired, last *aliasValue) (*aliasValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	address := Address(v.Address)
	all, err := a.aliases(ctx, address.Domain())
	if err != nil {
		return nil, err
	}
	alias, ok := all[address]
	if !ok {
		return nil, nil
	}
	return aliasOf(alias), nil
}

func aliasOf(alias Alias) *aliasValue {
	v := &aliasValue{Address: string(alias.Address), Members: []string{}, Code: alias.Code}
	for _, member := range alias.Members {
		v.Members = append(v.Members, string(member))
	}
	return v
}

func (a aliases) Apply(ctx context.Context, change providers.TypedChange[aliasValue], _ providers.TypedLog[aliasValue]) (providers.Outcome, *aliasValue, error) {
	return alone(ctx, change, a.apply)
}

// BatchKey implements [providers.Batcher].
func (a aliases) BatchKey(providers.Change) string { return "aliases" }

// BatchLimit implements [providers.Batcher].
func (a aliases) BatchLimit() int { return 0 }

// ApplyBatch implements [providers.Batcher].
func (a aliases) ApplyBatch(ctx context.Context, changes []providers.Change, _ []providers.Log) []providers.Result {
	return batched(ctx, "mail_alias", changes, a.apply)
}

func (a aliases) apply(ctx context.Context, changes []providers.TypedChange[aliasValue]) []result[aliasValue] {
	return together(changes, a.put(ctx, changes), func(c providers.TypedChange[aliasValue]) *aliasValue {
		return &aliasValue{Address: c.After.Address, Members: c.After.Members}
	})
}

func (a aliases) put(ctx context.Context, changes []providers.TypedChange[aliasValue]) error {
	store, err := ability[AliasStore](a.Types, "write aliases")
	if err != nil {
		return notApplied(err)
	}
	edits := make([]AliasEdit, len(changes))
	for i, c := range changes {
		if c.Before != nil {
			if len(c.Before.Code) > 0 {
				return notApplied(providers.Faultf("Change it by hand, and name it in the ignore list of mail_domain.",
					"changing alias %s: it executes or reads %q, which mailmove does not write", c.Before.Address, c.Before.Code))
			}
			edits[i].Address, edits[i].Expect = Address(c.Before.Address), sorted(c.Before.Members)
		}
		if c.After != nil {
			edits[i].Address, edits[i].Members = Address(c.After.Address), sorted(c.After.Members)
		}
	}
	defer a.cache.reset()
	return store.PutAliases(ctx, changes[0].Op, edits)
}

// sorted returns normal addresses in order.
func sorted(members []string) []Address {
	list := make([]Address, len(members))
	for i, m := range members {
		list[i] = Address(m)
	}
	slices.Sort(list)
	return list
}
