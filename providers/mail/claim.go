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

func (c claim) Observe(ctx context.Context, _, _ *claimValue) (*claimValue, error) {
	claimer, err := ability[Claimer](c.Types, "be claimed")
	if err != nil {
		return nil, err
	}
	claimed, err := once(c.cache, "claimed", func() (bool, error) { return claimer.Claimed(ctx) })
	if err != nil || !claimed {
		return nil, err
	}
	return c.value(), nil
}

func (c claim) value() *claimValue { return &claimValue{Platform: new(c.server.Platform())} }

func (c claim) Apply(ctx context.Context, change providers.TypedChange[claimValue], _ providers.TypedLog[claimValue]) (providers.Outcome, *claimValue, error) {
	claimer, err := ability[Claimer](c.Types, "be claimed")
	if err != nil {
		return refuse[claimValue](err)
	}
	defer c.cache.reset()
	if change.After == nil {
		err = claimer.Unclaim(ctx, change.Op)
		return outcome(err), nil, err
	}
	if err := claimer.Claim(ctx, change.Op); err != nil {
		return fail[claimValue](err)
	}
	return providers.Applied, c.value(), nil
}
