package mail

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// Lint reads a plan and reports what would lose mail or access. A platform's
// Provider returns it from its Lint. Each check is a function of its own in
// lint_checks.go.
func Lint(outlook providers.Outlook) []providers.Danger {
	var found []providers.Danger
	for _, check := range []func(providers.Outlook) []providers.Danger{
		undeclared, aliasCode, notOnNew, noReturn,
	} {
		found = append(found, check(outlook)...)
	}
	seen := map[string]bool{}
	for _, phase := range outlook.Phases {
		w := newWorld(outlook, phase)
		for _, check := range []func(*world) []providers.Danger{
			loops, twoOwners, noTrust, noClaim, noAccount, noCopy, leavesHandoff, probeDelivers, rsyncLayout,
		} {
			for _, d := range check(w) {
				if key := d.Code + " " + d.Address; !seen[key] { // the first phase says it
					seen[key] = true
					found = append(found, d)
				}
			}
		}
	}
	return found
}

// world is one phase, indexed for the checks.
type world struct {
	providers.OutlookPhase
	byType map[string][]providers.OutlookResource
	// around is byType of the other clocks, in whichever phase: what one module
	// instance declares may serve another.
	around map[string][]providers.OutlookResource
	// copied are accounts with a mail_copy in this phase or one before it, as
	// "account from to".
	copied map[string]bool
}

func newWorld(outlook providers.Outlook, phase providers.OutlookPhase) *world {
	w := &world{OutlookPhase: phase, byType: map[string][]providers.OutlookResource{}, around: map[string][]providers.OutlookResource{}, copied: map[string]bool{}}
	for _, r := range phase.Resources {
		w.byType[r.Type] = append(w.byType[r.Type], r)
	}
	passed := false
	for _, earlier := range outlook.Phases {
		if earlier.Clock != phase.Clock {
			for _, r := range earlier.Resources {
				w.around[r.Type] = append(w.around[r.Type], r)
			}
			continue
		}
		if passed {
			continue
		}
		for _, r := range earlier.Resources {
			if r.Type == "mail_copy" {
				w.copied[text(r.Values, "account")+" "+r.Provider+" "+text(r.Values, "to")] = true
			}
		}
		passed = earlier.Phase == phase.Phase
	}
	return w
}

// all returns the resources of a type that exist in the phase or may exist around it.
func (w *world) all(typ string) []providers.OutlookResource {
	return append(slices.Clip(w.byType[typ]), w.around[typ]...)
}

// text returns a string attribute, "" if it is null.
func text(v cty.Value, name string) string {
	if v == cty.NilVal || v.IsNull() || !v.Type().HasAttribute(name) {
		return ""
	}
	attr := v.GetAttr(name)
	if attr.IsNull() || !attr.IsKnown() || attr.Type() != cty.String {
		return ""
	}
	return attr.AsString()
}

// names lists up to ten names for a sentence.
func names(list []string) string {
	slices.Sort(list)
	if len(list) > 10 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:10], ", "), len(list)-10)
	}
	return strings.Join(list, ", ")
}

// verb agrees with a number of names.
func verb(list []string, one, many string) string {
	if len(list) == 1 {
		return one
	}
	return many
}

// domainOf returns the domain of an address.
func domainOf(address string) string { return Address(address).Domain() }

// sortedKeys returns the keys of a set in order.
func sortedKeys(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
