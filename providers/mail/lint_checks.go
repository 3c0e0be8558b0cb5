package mail

import (
	"fmt"
	"maps"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// undeclared: what a server has and nobody declared is what moves lose most often.
func undeclared(o providers.Outlook) []providers.Danger {
	declared := map[string]bool{} // "type provider address"
	at := map[string]string{}     // listing resource to its provider
	for _, phase := range o.Phases {
		for _, r := range phase.Resources {
			if a := text(r.Values, "address"); a != "" {
				declared[r.Type+" "+r.Provider+" "+a] = true
			}
			if r.Type == "mail_domain" {
				at[r.Address] = r.Provider
			}
		}
	}
	var found []providers.Danger
	for _, lister := range slices.Sorted(maps.Keys(at)) {
		missing := map[string][]string{}
		for _, listed := range o.Listed[lister] {
			address := text(listed.Values, "address")
			if !listed.Ignored && !declared[listed.Type+" "+at[lister]+" "+address] {
				missing[listed.Type] = append(missing[listed.Type], address)
			}
		}
		for _, typ := range slices.Sorted(maps.Keys(missing)) {
			list := missing[typ]
			what := map[string]string{"mail_account": "account", "mail_alias": "alias"}[typ]
			found = append(found, providers.Danger{
				Code: "MAIL-UNDECLARED", Severity: providers.Fatal, Address: lister,
				Summary: fmt.Sprintf("%s has the %s %s, which nothing declares: its mail would be lost.", at[lister], what, names(list)),
				Fix:     fmt.Sprintf("Declare %s:\n%sor name it in the ignore list of the domain.", verb(list, "it", "each"), block(typ, at[lister], o.Listed[lister], list[0])),
			})
		}
	}
	return found
}

// block is the HCL of one undeclared object: what std/live takes, and the resource.
func block(typ, provider string, listed []providers.Listed, address string) string {
	local := Address(address).Local()
	if typ == "mail_account" {
		return fmt.Sprintf("  accounts = { %q = {} }   # std/live\n  resource %q %q {\n    provider = %s\n    address  = %q\n  }\n", local, typ, local, provider, address)
	}
	var members []string
	for _, l := range listed {
		if l.Type == typ && text(l.Values, "address") == address {
			for it := l.Values.GetAttr("members").ElementIterator(); it.Next(); {
				_, m := it.Element()
				members = append(members, m.AsString())
			}
		}
	}
	if local == "" {
		return fmt.Sprintf("  catch_all = %q   # std/live\n", members)
	}
	return fmt.Sprintf("  aliases = { %q = %q }   # std/live\n  resource %q %q {\n    provider = %s\n    address  = %q\n    members  = %q\n  }\n", local, members, typ, local, provider, address, members)
}

// aliasCode: programs are never copied silently.
func aliasCode(o providers.Outlook) []providers.Danger {
	var found []providers.Danger
	for _, lister := range slices.Sorted(maps.Keys(o.Listed)) {
		var list []string
		for _, l := range o.Listed[lister] {
			if l.Type == "mail_alias" && !l.Ignored && !l.Values.GetAttr("code").IsNull() && l.Values.GetAttr("code").LengthInt() > 0 {
				list = append(list, text(l.Values, "address"))
			}
		}
		if len(list) > 0 {
			found = append(found, providers.Danger{
				Code: "MAIL-ALIAS-CODE", Severity: providers.Fatal, Address: lister,
				Summary: fmt.Sprintf("The alias %s runs a program, writes a file or reads a list; mailmove copies addresses only.", names(list)),
				Fix:     "Set it up on the new server by hand, then name it in the ignore list of the domain on both.",
			})
		}
	}
	return found
}

// notOnNew: an address that the old server knows and the new one will not.
func notOnNew(o providers.Outlook) []providers.Danger {
	known := map[string]map[string]bool{} // provider to addresses
	pairs := map[[3]string]bool{}         // old, new, domain
	for _, phase := range o.Phases {
		for _, r := range phase.Resources {
			switch r.Type {
			case "mail_account", "mail_alias":
				if known[r.Provider] == nil {
					known[r.Provider] = map[string]bool{}
				}
				known[r.Provider][text(r.Values, "address")] = true
			case "mail_handoff":
				pairs[[3]string{text(r.Values, "old"), text(r.Values, "new"), domainOf(text(r.Values, "account"))}] = true
			}
		}
	}
	var found []providers.Danger
	for pair := range pairs {
		var list []string
		for address := range known[pair[0]] {
			if domainOf(address) == pair[2] && !known[pair[1]][address] {
				list = append(list, address)
			}
		}
		if len(list) > 0 {
			found = append(found, providers.Danger{
				Code: "MAIL-NOT-ON-NEW", Severity: providers.Fatal, Address: "",
				Summary: fmt.Sprintf("%s %s declared on %s and not on %s: mail for it would be refused there.", names(list), verb(list, "is", "are"), pair[0], pair[1]),
				Fix:     "Declare it on the new server too.",
			})
		}
	}
	slices.SortFunc(found, func(a, b providers.Danger) int { return len(a.Summary) - len(b.Summary) })
	return found
}

// noReturn: from some phase on there is no way back.
func noReturn(o providers.Outlook) []providers.Danger {
	var found []providers.Danger
	for _, phase := range o.Phases {
		touches := slices.ContainsFunc(phase.Changes, func(c providers.OutlookChange) bool { return domainOfType(c.Type) })
		if phase.NoReturn && touches && !phase.Back {
			found = append(found, providers.Danger{
				Code: "MAIL-NO-RETURN", Severity: providers.Warning, Address: phase.Clock,
				Summary: fmt.Sprintf("PHASE %q IS A POINT OF NO RETURN: from then on mailmove rollback cannot make the old server the home again.", phase.Phase),
				Fix:     "Be sure of the new server before the gates of this phase open.",
			})
		}
	}
	return found
}

func domainOfType(typ string) bool { _, ok := schemas()[typ]; return ok }

// loops: two servers that pass one address to each other.
func loops(w *world) []providers.Danger {
	relays := map[string]string{}
	for _, r := range w.byType["mail_route"] {
		if peer := text(r.Values, "peer"); peer != "" {
			relays[text(r.Values, "address")+" "+r.Provider+" "+peer] = r.Address
		}
	}
	var found []providers.Danger
	for _, r := range w.byType["mail_route"] {
		address, peer := text(r.Values, "address"), text(r.Values, "peer")
		if other, ok := relays[address+" "+peer+" "+r.Provider]; ok && peer != "" && r.Address < other {
			found = append(found, providers.Danger{
				Code: "MAIL-LOOP", Severity: providers.Fatal, Address: r.Address,
				Summary: fmt.Sprintf("%s and %s relay %s to each other: a message would go round until it is bounced.", r.Provider, peer, address),
				Fix:     "Remove one of the two routes, or use one mail_handoff instead of both.",
			})
		}
	}
	return found
}

// twoOwners: what a handoff changes is no other resource's business.
func twoOwners(w *world) []providers.Danger {
	handed := map[string]string{}
	for _, r := range w.byType["mail_handoff"] {
		handed[text(r.Values, "account")] = r.Address
	}
	var found []providers.Danger
	for _, typ := range []string{"mail_route", "mail_login"} {
		for _, r := range w.byType[typ] {
			account := text(r.Values, "address") + text(r.Values, "account")
			if owner, ok := handed[account]; ok {
				found = append(found, providers.Danger{
					Code: "MAIL-TWO-OWNERS", Severity: providers.Fatal, Address: r.Address,
					Summary: fmt.Sprintf("%s and %s both decide where mail and logins of %s go.", r.Address, owner, account),
					Fix:     "Remove " + r.Address + "; the handoff does all of it.",
				})
			}
		}
	}
	return found
}

// over reports whether the other server than an account's home accepts no mail for
// its domain any more. Then it hands over no mail, and the home serves the logins it
// proxies as anybody's: only its own hooks are needed, to proxy.
func (w *world) over(handoff providers.OutlookResource) bool {
	v := handoff.Values
	other := string(home(text(v, "home")).other())
	for _, r := range w.byType["mail_domain"] {
		if r.Provider == text(v, other) && text(r.Values, "domain") == domainOf(text(v, "account")) {
			accept := r.Values.GetAttr("accept")
			return !accept.IsNull() && accept.False()
		}
	}
	return false
}

// noTrust: without trust both ways what one server hands over, the other's filters
// refuse, and the outsider gets a bounce.
func noTrust(w *world) []providers.Danger {
	trusts := map[string]bool{}
	for _, r := range w.all("mail_trust") {
		trusts[r.Provider+" "+text(r.Values, "peer")+" "+text(r.Values, "domain")] = true
	}
	missing := map[string]bool{}
	for _, r := range w.byType["mail_handoff"] {
		old, new, domain := text(r.Values, "old"), text(r.Values, "new"), domainOf(text(r.Values, "account"))
		if w.over(r) {
			continue
		}
		for _, way := range [][2]string{{old, new}, {new, old}} {
			if !trusts[way[0]+" "+way[1]+" "+domain] {
				missing[fmt.Sprintf("%s does not trust %s for %s", way[0], way[1], domain)] = true
			}
		}
	}
	var found []providers.Danger
	for _, what := range sortedKeys(missing) {
		found = append(found, providers.Danger{
			Code: "MAIL-NO-TRUST", Severity: providers.Fatal, Address: what,
			Summary: fmt.Sprintf("In phase %q %s: what it is handed could be refused, delayed or handed back.", w.Phase, what),
			Fix:     "Declare mail_trust on both servers for as long as there are handoffs.",
		})
	}
	return found
}

// noClaim: the hooks that handoffs write to must be there.
func noClaim(w *world) []providers.Danger {
	claimed := map[string]bool{}
	for _, r := range w.all("mail_claim") {
		claimed[r.Provider] = true
	}
	missing := map[string]bool{}
	for _, r := range w.byType["mail_handoff"] {
		for _, at := range []string{text(r.Values, "old"), text(r.Values, "new")} {
			if !w.over(r) || at != text(r.Values, text(r.Values, "home")) {
				missing[at] = missing[at] || !claimed[at]
			}
		}
	}
	for _, typ := range []string{"mail_route", "mail_login", "mail_trust"} {
		for _, r := range w.byType[typ] {
			missing[r.Provider] = missing[r.Provider] || !claimed[r.Provider]
		}
	}
	var found []providers.Danger
	for _, at := range sortedKeys(missing) {
		if missing[at] {
			found = append(found, providers.Danger{
				Code: "MAIL-NO-CLAIM", Severity: providers.Fatal, Address: at,
				Summary: fmt.Sprintf("In phase %q handoffs, routes, logins or trust need hooks on %s that no mail_claim installs.", w.Phase, at),
				Fix:     "Declare a mail_claim of it for as long as they exist.",
			})
		}
	}
	return found
}

// comesHome returns the handoffs that this phase leads to the new server.
func (w *world) comesHome() []providers.OutlookChange {
	var list []providers.OutlookChange
	for _, c := range w.Changes {
		if c.Type == "mail_handoff" && c.Action.Effects() && text(c.After, "home") == string(homeNew) && text(c.Before, "home") != string(homeNew) {
			list = append(list, c)
		}
	}
	return list
}

// noAccount: there must be somebody to hand an account over to.
func noAccount(w *world) []providers.Danger {
	exists := map[string]bool{}
	for _, r := range w.all("mail_account") {
		exists[r.Provider+" "+text(r.Values, "address")] = true
	}
	var found []providers.Danger
	for _, c := range w.comesHome() {
		if to := text(c.After, "new"); !exists[to+" "+text(c.After, "account")] {
			found = append(found, providers.Danger{
				Code: "MAIL-NO-ACCOUNT", Severity: providers.Fatal, Address: c.Address,
				Summary: fmt.Sprintf("%s is handed over to %s, where no mail_account declares it.", text(c.After, "account"), to),
				Fix:     "Declare the account there, with password_from set to the old server.",
			})
		}
	}
	return found
}

// noCopy: then the whole account is copied in the handoff, unproved.
func noCopy(w *world) []providers.Danger {
	var found []providers.Danger
	for _, c := range w.comesHome() {
		account, from, to := text(c.After, "account"), text(c.After, "old"), text(c.After, "new")
		if !w.copied[account+" "+from+" "+to] {
			found = append(found, providers.Danger{
				Code: "MAIL-NO-COPY", Severity: providers.Fatal, Address: c.Address,
				Summary: fmt.Sprintf("%s is handed over without a mail_copy before it: nothing has compared its messages on both servers.", account),
				Fix:     "Declare a mail_copy of it in an earlier phase.",
			})
		}
	}
	return found
}

// leavesHandoff: forgetting where an account is would open a store that is out of date.
func leavesHandoff(w *world) []providers.Danger {
	var found []providers.Danger
	for _, c := range w.Changes {
		if c.Type == "mail_handoff" && c.Action == providers.Remove && text(c.Before, "home") == string(homeNew) {
			found = append(found, providers.Danger{
				Code: "MAIL-HANDOFF-LEAVES", Severity: providers.Fatal, Address: c.Address,
				Summary: fmt.Sprintf("In phase %q the handoff of %s is removed while its home is the new server: users with the old address would find a mailbox that is out of date.", w.Phase, text(c.Before, "account")),
				Fix:     "Keep the resource: lifecycle { keep = true }.",
			})
		}
	}
	return found
}

// probeDelivers: a stray message in a user's store is in the way of the copy.
func probeDelivers(w *world) []providers.Danger {
	handed := map[string]bool{}
	for _, r := range w.byType["mail_handoff"] {
		handed[text(r.Values, "account")] = true
	}
	var found []providers.Danger
	for _, r := range w.byType["mail_probe"] {
		addresses := r.Values.GetAttr("addresses")
		if deliver := r.Values.GetAttr("deliver"); deliver.IsNull() || deliver.False() || addresses.IsNull() {
			continue
		}
		for it := addresses.ElementIterator(); it.Next(); {
			_, a := it.Element()
			if a.Type() == cty.String && handed[a.AsString()] {
				found = append(found, providers.Danger{
					Code: "MAIL-PROBE-DELIVERS", Severity: providers.Fatal, Address: r.Address,
					Summary: "The probe would deliver a message to " + a.AsString() + ", a user's account that is being moved.",
					Fix:     "Probe users' addresses without deliver, or an account made for it.",
				})
			}
		}
	}
	return found
}

// rsyncLayout: files can be copied only between stores of one layout.
func rsyncLayout(w *world) []providers.Danger {
	var list []string
	first := ""
	for _, r := range w.byType["mail_copy"] {
		if text(r.Values, "method") == string(Rsync) {
			list = append(list, text(r.Values, "account"))
			if first == "" {
				first = r.Address
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []providers.Danger{{
		Code: "MAIL-RSYNC-LAYOUT", Severity: providers.Warning, Address: first,
		Summary: fmt.Sprintf("%s %s copied file by file, which is right only if both servers keep mail in the same layout.", names(list), verb(list, "is", "are")),
		Fix:     "Leave method out to let mailmove choose one that both servers can.",
	}}
}
