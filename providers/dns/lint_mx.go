package dns

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
)

// lintMXEmpty: a domain without MX gets its mail at its own address (RFC 5321
// section 5.1), which is the web server.
func lintMXEmpty(o outlook) []providers.Danger {
	var dangers []providers.Danger
	report := func(address, name, when string) {
		dangers = append(dangers, providers.Danger{
			Code: "DNS-MX-EMPTY", Severity: providers.Fatal, Address: address,
			Summary: fmt.Sprintf("%s has no MX %s: senders turn to the address of %s itself.", name, when, name),
			Fix:     "Keep at least one record in records in every phase; to stop managing the MX, use lifecycle { keep = true }.",
		})
	}
	for _, p := range o.phases {
		for _, d := range p.sets {
			if d.Type == "MX" && len(d.Records) == 0 {
				report(d.address, d.Name, p.title())
			}
		}
		for _, c := range p.changes {
			// What the migration itself made, such as a staging domain's, it may remove.
			existed := o.observed[c.address] != nil
			if c.action == providers.Remove && c.before != nil && c.before.Type == "MX" && existed && len(o.observed[c.address].Others) == 0 {
				report(c.address, c.before.Name, p.title())
			}
		}
	}
	return dangers
}

// lintMXTarget: an exchanger must be a name with an address of its own.
func lintMXTarget(o outlook) []providers.Danger {
	var dangers []providers.Danger
	declaredNames := o.declaredNames()
	for _, p := range o.phases {
		addresses, aliases := p.names("A", "AAAA"), p.names("CNAME")
		for _, d := range p.sets {
			if d.Type != "MX" {
				continue
			}
			for _, record := range d.Records {
				fields := strings.Fields(record)
				target := fields[len(fields)-1]
				danger := providers.Danger{Severity: providers.Fatal, Address: d.address}
				switch at := (place{d.provider, target}); {
				case aliases[at]:
					danger.Code = "DNS-MX-ALIAS"
					danger.Summary = fmt.Sprintf("The MX of %s points %s at %s, which is an alias; senders may refuse it (RFC 2181 section 10.3).", d.Name, p.title(), target)
					danger.Fix = "Give the exchanger an A or AAAA record of its own instead of the CNAME."
				case declaredNames[at] && !addresses[at] && !o.stands(at):
					danger.Code = "DNS-MX-DANGLING"
					danger.Summary = fmt.Sprintf("The MX of %s points %s at %s, which has no address then.", d.Name, p.title(), target)
					danger.Fix = "Let the address record exist in every phase in which the MX names it: lifecycle { from = … } no later, until no earlier."
				default:
					continue
				}
				dangers = append(dangers, danger)
			}
		}
	}
	return dangers
}

// A place is a name as one provider block sees it.
type place struct{ provider, name string }

// names returns the names that have a set of one of the types in the phase.
func (p phase) names(types ...string) map[place]bool {
	names := map[place]bool{}
	for _, d := range p.sets {
		if slices.Contains(types, d.Type) && len(d.Records) > 0 {
			names[place{d.provider, d.Name}] = true
		}
	}
	return names
}

// declaredNames returns the names that have an address set in any phase: of the
// others the plan knows nothing, and they are nobody's business here.
func (o outlook) declaredNames() map[place]bool {
	all := map[place]bool{}
	for _, p := range o.phases {
		maps.Copy(all, p.names("A", "AAAA"))
	}
	return all
}

// stands reports whether a name has an address now that no phase removes.
func (o outlook) stands(at place) bool {
	for _, p := range o.phases {
		for _, c := range p.changes {
			if c.provider == at.provider && c.action == providers.Remove && c.before != nil && c.before.Name == at.name && (c.before.Type == "A" || c.before.Type == "AAAA") {
				return false
			}
		}
	}
	for _, v := range o.observed {
		if v.Name == at.name && (v.Type == "A" || v.Type == "AAAA") {
			return true
		}
	}
	return false
}

// lintForeign: an exchanger, or an address of a service, that the plan does not
// know goes on taking mail and logins to where it always did.
func lintForeign(o outlook) []providers.Danger {
	var dangers []providers.Danger
	for _, address := range slices.Sorted(maps.Keys(o.observed)) {
		v := o.observed[address]
		if !routes(v.Type) || v.Exclusive {
			continue
		}
		others := o.undeclared(address, v)
		if len(others) == 0 {
			continue
		}
		danger := providers.Danger{
			Code: "DNS-FOREIGN", Severity: providers.Warning, Address: address,
			Summary: fmt.Sprintf("%s %s has members that the plan does not know (%s); a part of the clients goes on using them.", v.Name, v.Type, strings.Join(others, ", ")),
			Fix:     "Write them into records in the phases in which they shall stay, or set exclusive = true to have them removed.",
		}
		if v.Type == "MX" {
			danger.Code, danger.Severity = "DNS-MX-FOREIGN", providers.Fatal
			danger.Summary = fmt.Sprintf("The MX of %s has exchangers that the plan does not know (%s); mail that they take goes where it went before.", v.Name, strings.Join(others, ", "))
		}
		dangers = append(dangers, danger)
	}
	return dangers
}

// undeclared returns the members beside ours that no phase declares.
func (o outlook) undeclared(address string, v *rrsetValue) []string {
	known := map[string]bool{}
	for _, p := range o.phases {
		for _, d := range p.sets {
			if d.address != address {
				continue
			}
			if d.Exclusive {
				return nil
			}
			for _, record := range d.Records {
				known[record] = true
			}
		}
	}
	var others []string
	for _, other := range v.Others {
		if !known[other] {
			others = append(others, other)
		}
	}
	return others
}

// lintMXAtomic: a host that replaces a set in several steps shows a domain
// without MX in between.
func lintMXAtomic(o outlook) []providers.Danger {
	var dangers []providers.Danger
	for _, p := range o.phases {
		for _, c := range p.changes {
			if c.action == providers.Update && c.after != nil && c.after.Type == "MX" && !o.abilities[c.provider].Atomic {
				dangers = append(dangers, providers.Danger{
					Code: "DNS-MX-NOT-ATOMIC", Severity: providers.Fatal, Address: c.address,
					Summary: fmt.Sprintf("This DNS host cannot replace the MX of %s in one step; for a moment there would be none.", c.after.Name),
					Fix:     "Change the MX by hand in the host's console when the plan comes to it (operator_step), or move the zone to another host first.",
				})
			}
		}
	}
	return dangers
}
