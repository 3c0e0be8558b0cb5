package mail

import (
	"context"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func trustSchema() providers.ResourceSchema {
	peer := required(server("The server that is trusted."))
	peer.Identity = true
	return providers.ResourceSchema{
		Doc: "The server takes mail and logins for a domain that its peer hands over, past filters, limits and greylisting, and keeps them: they are never handed back.",
		Attributes: providers.Attributes{
			"peer":   peer,
			"domain": identity("The domain."),
		},
	}
}

type trustValue struct {
	Peer   string `cty:"peer"`
	Domain string `cty:"domain"`
}

// trusts is the type mail_trust.
type trusts struct{ *Types }

var (
	_ providers.TypedResource[trustValue] = trusts{}
	_ providers.Normalizer                = trusts{}
)

// Normalize implements [providers.Normalizer].
func (t trusts) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[trustValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	if v.Domain, err = ParseDomain(v.Domain); err != nil {
		return cty.NilVal, err
	}
	return providers.Encode(trustSchema(), v)
}

func (t trusts) Observe(ctx context.Context, desired, last *trustValue) (*trustValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	store, trust, err := t.find(v)
	if err != nil {
		return nil, err
	}
	all, err := once(t.cache, "trusts", func() ([]Trust, error) { return store.Trusts(ctx) })
	if err != nil || !slices.Contains(all, trust) {
		return nil, err
	}
	return v, nil
}

func (t trusts) find(v *trustValue) (TrustStore, Trust, error) {
	store, err := ability[TrustStore](t.Types, "trust a peer")
	if err != nil {
		return nil, Trust{}, err
	}
	peer, err := t.peer(v.Peer)
	if err != nil {
		return nil, Trust{}, err
	}
	return store, Trust{Peer: peer.server.Endpoint().Address, Domain: v.Domain}, nil
}

func (t trusts) Apply(ctx context.Context, change providers.TypedChange[trustValue], _ providers.TypedLog[trustValue]) (providers.Outcome, *trustValue, error) {
	v := change.After
	if v == nil {
		v = change.Before
	}
	store, trust, err := t.find(v)
	if err != nil {
		return refuse[trustValue](err)
	}
	defer t.cache.reset()
	if err := store.PutTrust(ctx, change.Op, trust, change.After != nil); err != nil {
		return fail[trustValue](err)
	}
	if change.After != nil {
		if err := t.visited(ctx, v); err != nil {
			return providers.Partial, nil, err
		}
	}
	return providers.Applied, change.After, nil
}

// visited has the peer look whether it gets in, before anything relies on it.
func (t trusts) visited(ctx context.Context, v *trustValue) error {
	peer, err := t.peer(v.Peer)
	if err != nil {
		return err
	}
	visitor, ok := providers.As[Visitor](peer.server)
	if !ok {
		return nil
	}
	return visitor.Visit(ctx, t.server.Endpoint(), v.Domain)
}
