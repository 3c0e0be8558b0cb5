package demo

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
)

// domain is the domain that moves: a name that nobody can own (RFC 2606).
const domain = "demo.example"

// An account is one person.
type account struct {
	address  mail.Address
	password string
}

// people are those of the domain, and what its addresses stand for.
type people struct {
	accounts []account
	// named are the aliases that the configuration gives at an account, by its local
	// part; shared those with members of their own, as local parts. catchAll takes the
	// rest.
	named    map[string][]string
	shared   map[string][]string
	catchAll string
	// aliases are all of them, as servers have them.
	aliases map[mail.Address][]mail.Address
}

func at(local string) mail.Address { return mail.Address(local + "@" + domain) }

func newPeople(n int) *people {
	locals := []string{"murphy", "ada", "grace", "office", "linus", "marie"}
	for len(locals) < n {
		locals = append(locals, fmt.Sprintf("user%d", len(locals)+1))
	}
	locals = locals[:n]
	p := &people{aliases: map[mail.Address][]mail.Address{}}
	for _, local := range locals {
		p.accounts = append(p.accounts, account{at(local), rand.Text()})
	}
	first, second, last := locals[0], locals[min(1, n-1)], locals[n-1]
	p.catchAll = last
	p.named = map[string][]string{first: {"info"}, second: {"sales"}}
	if first == second {
		p.named = map[string][]string{first: {"info", "sales"}}
	}
	p.shared = map[string][]string{"team": locals[:min(3, n)], "all": {"team", "sales", last}}
	for local, aliases := range p.named {
		for _, alias := range aliases {
			p.aliases[at(alias)] = []mail.Address{at(local)}
		}
	}
	for alias, members := range p.shared {
		for _, member := range members {
			p.aliases[at(alias)] = append(p.aliases[at(alias)], at(member))
		}
	}
	p.aliases[mail.Address("@"+domain)] = []mail.Address{at(last)}
	return p
}

// has reports whether an address is an account's own.
func (p *people) has(address mail.Address) bool {
	return slices.ContainsFunc(p.accounts, func(a account) bool { return a.address == address })
}

// plain returns an address without its plus-extension, and that extension.
func plain(a mail.Address) (base mail.Address, extension string) {
	name, rest, ok := strings.Cut(a.Local(), "+")
	if !ok {
		return a, ""
	}
	return mail.Address(name + "@" + a.Domain()), "+" + rest
}

// finals returns the addresses at which mail to recipients ends: one copy goes to
// each, however many ways lead to it. This is virtual(5) of Postfix with an
// extension passed on to the members of an alias, written down once more here, so
// that the audit does not take a server's word for it.
func (p *people) finals(recipients ...mail.Address) []mail.Address {
	var list []mail.Address
	for _, recipient := range recipients {
		base, extension := plain(recipient)
		switch members, ok := p.aliases[base]; {
		case ok:
			for _, member := range members {
				list = append(list, p.finals(mail.Address(member.Local()+extension+"@"+domain))...)
			}
		case p.has(base):
			list = append(list, recipient)
		default:
			list = append(list, at(p.catchAll))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
