package dns

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mailmove/mailmove/providers"
)

// longTTL is the TTL in seconds above which replacing a set in one step leaves the
// old one in caches for longer than people expect.
const longTTL = 3600

// lintTTL: what was cached with a high TTL outlives its replacement.
func lintTTL(o outlook) []providers.Danger {
	var dangers []providers.Danger
	for _, p := range o.phases {
		if p.Back {
			continue // going back cannot choose what was served before
		}
		for _, c := range p.changes {
			if c.action != providers.Update || c.before == nil || c.after == nil || c.before.TTL == nil {
				continue
			}
			before := *c.before.TTL
			if c.after.TTL != nil && *c.after.TTL > before && !p.last {
				dangers = append(dangers, providers.Danger{
					Code: "DNS-TTL-RAISED", Severity: providers.Warning, Address: c.address,
					Summary: fmt.Sprintf("The TTL of %s %s rises from %d to %d %s, while the domain is still moving; going back would take that much longer.", c.after.Name, c.after.Type, before, *c.after.TTL, p.title()),
					Fix:     "Raise TTLs in the last phase only.",
				})
			}
			if before > longTTL && !slices.Equal(keys(c.before.Records), keys(c.after.Records)) {
				dangers = append(dangers, providers.Danger{
					Code: "DNS-TTL-LONG", Severity: providers.Warning, Address: c.address,
					Summary: fmt.Sprintf("%s %s is replaced %s while its TTL is %d seconds: resolvers may use the old records for that long.", c.after.Name, c.after.Type, p.title(), before),
					Fix:     "Lower the TTL in an earlier phase, and wait with a gate: not_before = " + c.address + ".cached_until.",
				})
			}
		}
	}
	return dangers
}

// lintZone: the zone's own servers are not moved together with its mail.
func lintZone(o outlook) []providers.Danger {
	var dangers []providers.Danger
	for _, p := range o.phases {
		for _, c := range p.changes {
			v := c.after
			if v == nil {
				v = c.before
			}
			if v == nil || v.Type != "NS" || !c.action.Effects() {
				continue
			}
			dangers = append(dangers, providers.Danger{
				Code: "DNS-NS", Severity: providers.Fatal, Address: c.address,
				Summary: fmt.Sprintf("The plan changes the name servers of %s %s: a mistake there takes every record away, and no update of ours could repair it.", v.Name, p.title()),
				Fix:     "Move the zone to other name servers before or after the mail, not in the same plan.",
			})
		}
	}
	return dangers
}

// A removal is large from this many sets, if they are more than this share in
// percent of those that exist now.
const (
	largeRemoval      = 3
	largeRemovalShare = 30
)

// lintRemoval: a plan that removes much of what was there is often a mistake in
// the configuration.
func lintRemoval(o outlook) []providers.Danger {
	removed := map[string]bool{}
	for _, p := range o.phases {
		for _, c := range p.changes {
			if c.action == providers.Remove && !p.Back && o.observed[c.address] != nil {
				removed[c.address] = true
			}
		}
	}
	if len(removed) < largeRemoval || len(removed)*100 <= largeRemovalShare*len(o.observed) {
		return nil
	}
	return []providers.Danger{{
		Code: "DNS-LARGE-REMOVAL", Severity: providers.Warning, Address: slices.Sorted(maps.Keys(removed))[0],
		Summary: fmt.Sprintf("The plan removes %d of the %d sets of records that exist now.", len(removed), len(o.observed)),
		Fix:     "Check that the configuration is whole; to stop managing a record without removing it, use lifecycle { keep = true }.",
	}}
}

// lintListing: where the zone cannot be listed, a record under an unusual name
// goes unseen.
func lintListing(o outlook) []providers.Danger {
	var dangers []providers.Danger
	for _, address := range slices.Sorted(maps.Keys(o.claims)) {
		if claim := o.claims[address]; !o.abilities[claim.provider].List && len(claim.Watch) > 0 {
			dangers = append(dangers, providers.Danger{
				Code: "DNS-LISTING", Severity: providers.Warning, Address: address,
				Summary: "The zone cannot be listed: only the names that mail commonly uses were searched for records that name the old server.",
				Fix:     "Let the key transfer the zone, or look through the zone yourself.",
			})
		}
	}
	return dangers
}
