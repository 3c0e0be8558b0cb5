package mail

import (
	"context"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func claimSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "mailmove's place on a server: the hooks that routes, logins and trust are written to. Installed once, first, and removed last.",
		Attributes: providers.Attributes{
			"platform": computed(cty.String, "What the server runs."),
		},
	}
}

type claimValue struct {
	Platform *string `cty:"platform"`
}

// claim is the type mail_claim.
type claim struct{ *Types }

var _ providers.TypedResource[claimValue] = claim{}

// Observe implements [providers.TypedResource]. The hooks serve all domains that
// move by way of the server: one that has done with them sees none, though they
// stay for the others.
func (c claim) Observe(ctx context.Context, desired, _ *claimValue) (*claimValue, error) {
	claimer, err := ability[Claimer](c.Types, "be claimed")
	if err != nil {
		return nil, err
	}
	claimed, err := once(c.cache, "claimed", func() (bool, error) { return claimer.Claimed(ctx) })
	if err != nil || !claimed {
		return nil, err
	}
	if desired == nil {
		if needed, err := c.needed(ctx); err != nil || needed {
			return nil, err
		}
	}
	return c.value(), nil
}

// needed reports whether another domain's migration still needs the hooks: its
// trust ends before its claim.
func (c claim) needed(ctx context.Context) (bool, error) {
	store, ok := providers.As[TrustStore](c.server)
	if !ok {
		return false, nil
	}
	trusts, err := once(c.cache, "trusts", func() ([]Trust, error) { return store.Trusts(ctx) })
	return len(trusts) > 0, err
}

func (c claim) value() *claimValue { return &claimValue{Platform: new(c.server.Platform())} }

func (c claim) Apply(ctx context.Context, change providers.TypedChange[claimValue], _ providers.TypedLog[claimValue]) (providers.Outcome, *claimValue, error) {
	claimer, err := ability[Claimer](c.Types, "be claimed")
	if err != nil {
		return refuse[claimValue](err)
	}
	defer c.cache.reset()
	if change.After == nil {
		c.cache.reset()
		if needed, err := c.needed(ctx); err != nil || needed {
			return outcome(err), nil, err
		}
		err = claimer.Unclaim(ctx, change.Op)
		return outcome(err), nil, err
	}
	if err := claimer.Claim(ctx, change.Op); err != nil {
		return fail[claimValue](err)
	}
	return providers.Applied, c.value(), nil
}
