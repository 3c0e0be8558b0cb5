package dns

import (
	"slices"

	"github.com/mailmove/mailmove/providers"
	"github.com/zclconf/go-cty/cty"
)

// Lint reads a whole plan and reports what would lose mail or surprise people. It
// looks at the objects of provider blocks of one type, such as "rfc2136"; each
// host's provider calls it with its own name.
//
// abilities tells from a block's configuration what its host can do.
func Lint(plan providers.Outlook, provider string, abilities func(config cty.Value) Capabilities) []providers.Danger {
	o := newOutlook(plan, provider, abilities)
	var dangers []providers.Danger
	for _, check := range []func(outlook) []providers.Danger{
		lintMXEmpty, lintMXTarget, lintForeign, lintMXAtomic, lintTTL, lintZone, lintRemoval, lintListing,
	} {
		for _, danger := range check(o) {
			if !slices.Contains(dangers, danger) {
				dangers = append(dangers, danger)
			}
		}
	}
	return dangers
}

// An outlook is a plan's part that concerns sets of records.
type outlook struct {
	phases   []phase
	observed map[string]*rrsetValue
	// claims are the declared claims, by address.
	claims map[string]claimed
	// abilities are what each provider block's host can do, by address.
	abilities map[string]Capabilities
}

type claimed struct {
	provider string
	*claimValue
}

// A phase is what shall exist in one phase, and what is done to reach it.
type phase struct {
	providers.OutlookPhase
	sets    []declared
	changes []changed
	// last says that the clock does not go on from here.
	last bool
}

type declared struct {
	address, provider string
	*rrsetValue
}

type changed struct {
	address, provider string
	action            providers.Action
	before, after     *rrsetValue
}

func newOutlook(plan providers.Outlook, provider string, abilities func(cty.Value) Capabilities) outlook {
	o := outlook{observed: map[string]*rrsetValue{}, claims: map[string]claimed{}, abilities: map[string]Capabilities{}}
	for address, block := range plan.Providers {
		if block.Type == provider {
			o.abilities[address] = abilities(block.Config)
		}
	}
	ours := func(address, typ, want string) bool {
		_, ok := o.abilities[address]
		return ok && typ == want
	}
	last := map[string]int{}
	for i, p := range plan.Phases {
		if !p.Back {
			last[p.Clock] = i
		}
	}
	for i, p := range plan.Phases {
		next := phase{OutlookPhase: p, last: !p.Back && last[p.Clock] == i}
		for _, r := range p.Resources {
			if ours(r.Provider, r.Type, "dns_rrset") {
				if v, err := providers.Decode[rrsetValue](r.Values); err == nil && v != nil {
					next.sets = append(next.sets, declared{r.Address, r.Provider, v})
				}
				if v, err := providers.Decode[rrsetValue](plan.Observed[r.Address]); err == nil && v != nil {
					o.observed[r.Address] = v
				}
			}
			if ours(r.Provider, r.Type, "dns_claim") {
				if v, err := providers.Decode[claimValue](r.Values); err == nil && v != nil {
					o.claims[r.Address] = claimed{r.Provider, v}
				}
			}
		}
		for _, c := range p.Changes {
			if !ours(c.Provider, c.Type, "dns_rrset") {
				continue
			}
			before, err := providers.Decode[rrsetValue](c.Before)
			after, afterErr := providers.Decode[rrsetValue](c.After)
			if err == nil && afterErr == nil {
				next.changes = append(next.changes, changed{c.Address, c.Provider, c.Action, before, after})
			}
		}
		o.phases = append(o.phases, next)
	}
	return o
}

// title names a phase for people.
func (p phase) title() string {
	name := "phase." + p.Phase
	if p.Clock != "" {
		name = p.Clock + "." + name
	}
	if p.Back {
		return "on the way back to " + name
	}
	return "in " + name
}
