// Package people says who has mail in a lab: accounts, aliases and the catch-all of the domain that moves, and one
// account on each server of a neighbour domain that must notice nothing.
//
// It also knows Postfix's rules by which an address becomes the addresses that are delivered to, and so how many copies
// of a message there have to be (see [Population.Expand]).
package people

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// File is the name of the record that holds a lab's population.
const File = "people.json"

// An Account is one person's store and login.
type Account struct {
	Local, Domain string
	Password      string
	Home          string // the server of a neighbour's account, which never changes; "" for one that moves
	Quota         int64  // bytes; 0 for the server's default
	Full          bool   // holds more than its quota allows: nothing can be delivered to it
}

// Address returns the account's address, which is its login name, too.
func (a Account) Address() string { return a.Local + "@" + a.Domain }

// An Alias replaces an address by its members.
type Alias struct {
	Address string // "@domain" for the catch-all of the domain
	Members []string
}

// A Population is everybody.
type Population struct {
	Domain   string
	Accounts []Account
	Aliases  []Alias
	// SystemUsers are the addresses of the servers whose accounts are users of the system: there local(8) expands aliases,
	// not cleanup(8).
	SystemUsers []string
	// ShortLogins says that people come from a server where their name alone is enough to log in.
	ShortLogins bool
}

// names of the first accounts; some are of the kinds that break a careless program.
var names = []string{"murphy", "office", "anna.maria", "jean-luc", "o_brien", "x", "4711", "support", "berta", "carlos",
	"dora", "emil", "frida", "gustav", "hanna", "ivan"}

// New invents n accounts for domain and a neighbour on each server, by chance but for the same seed always the same.
// With two accounts or more the last has a full mailbox.
//
// Where one of the servers has system users, nobody has what /etc/passwd and /etc/aliases cannot hold: a name that is a
// number, a limit of one's own (and so a full mailbox), and a catch-all for one domain. There is an alias for root instead.
func New(domain, neighbour string, n int, seed uint64, systemUsers ...string) *Population {
	random := rand.New(rand.NewPCG(seed, 1))
	p := &Population{Domain: domain, SystemUsers: systemUsers}
	account := func(local, domain, home string) {
		p.Accounts = append(p.Accounts, Account{Local: local, Domain: domain, Home: home, Password: password(random)})
	}
	for i := range n {
		local := fmt.Sprintf("user%04d", i)
		if i < len(names) {
			local = names[i]
		}
		if len(systemUsers) > 0 && strings.Trim(local, "0123456789") == "" {
			local = "u" + local
		}
		account(local, domain, "")
	}
	if n > 1 && len(systemUsers) == 0 {
		p.Accounts[n-1].Full = true
	}
	moving := slices.Clone(p.Accounts)
	account("nora", neighbour, "old")
	account("nils", neighbour, "new")
	p.addAliases(moving)
	return p
}

// addAliases gives the domain what real ones have: plain aliases, a chain of them, a group that holds an alias, and a
// catch-all. The full account is in none of them.
func (p *Population) addAliases(accounts []Account) {
	var open []string
	for _, a := range accounts {
		if !a.Full {
			open = append(open, a.Address())
		}
	}
	at := "@" + p.Domain
	nth := func(i int) string { return open[i%len(open)] }
	p.Aliases = []Alias{
		{"info" + at, []string{nth(0)}},
		{"sales" + at, []string{"info" + at}},
		{"verkauf" + at, []string{"sales" + at}}, // alias of an alias of an alias
		{"postmaster" + at, []string{nth(0)}},
		{"team" + at, []string{nth(0), nth(1), nth(2), "info" + at}}, // one member twice
		{"all" + at, slices.Clone(open)},
	}
	if len(p.SystemUsers) == 0 {
		p.Aliases = append(p.Aliases, Alias{at, []string{nth(1)}})
		return
	}
	for i, alias := range p.Aliases {
		if alias.Address == "postmaster"+at { // as Debian has it
			p.Aliases[i].Members = []string{"root" + at}
		}
	}
	p.Aliases = append(p.Aliases, Alias{"root" + at, []string{nth(0)}})
}

// CatchAll reports whether mail to any address of the domain reaches somebody.
func (p *Population) CatchAll() bool {
	_, found := p.entry("@" + p.Domain)
	return found
}

// Logins returns the names under which somebody logs in.
func (p *Population) Logins(a Account) []string {
	if a.Home == "" && p.ShortLogins {
		return []string{a.Address(), a.Local}
	}
	return []string{a.Address()}
}

func password(random *rand.Rand) string {
	const letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	b := make([]byte, 16)
	for i := range b {
		b[i] = letters[random.IntN(len(letters))]
	}
	return string(b)
}

// Moving returns the accounts that move.
func (p *Population) Moving() []Account {
	return slices.DeleteFunc(slices.Clone(p.Accounts), func(a Account) bool { return a.Home != "" })
}

// Expand returns the addresses to which Postfix delivers a message for recipients that came in one transaction to the
// server at an address, each of which gets a copy. With virtual users they are distinct: virtual(5), TABLE SEARCH ORDER,
// with extensions carried along as propagate_unmatched_extensions says, until an address maps to itself or to nothing.
// Doubles are removed after that, so user@domain and user+tag@domain remain two. With system users local(8) expands each
// recipient by itself and drops the extensions of aliases (aliases(5)).
func (p *Population) Expand(server string, recipients ...string) []string {
	if !slices.ContainsFunc(p.SystemUsers, func(s string) bool { return s == server || strings.HasPrefix(server, s+":") }) {
		return p.expand(recipients...)
	}
	var final, distinct []string
	for _, r := range recipients {
		if r = strings.ToLower(r); slices.Contains(distinct, r) {
			continue
		}
		distinct = append(distinct, r)
		if plain, _ := SplitTag(r); !p.isAccount(plain) {
			r = plain
		}
		final = append(final, p.expand(r)...)
	}
	return final
}

func (p *Population) isAccount(address string) bool {
	return slices.ContainsFunc(p.Accounts, func(a Account) bool { return a.Address() == address })
}

func (p *Population) expand(recipients ...string) []string {
	seen := make(map[string]bool)
	var final []string
	var visit func(address string)
	visit = func(address string) {
		members, found := p.lookup(address)
		if !found || len(members) == 1 && members[0] == address {
			if !seen[address] {
				seen[address] = true
				final = append(final, address)
			}
			return
		}
		for _, member := range members {
			visit(member)
		}
	}
	for _, r := range recipients {
		visit(strings.ToLower(r))
	}
	return final
}

// lookup does one step of the expansion.
func (p *Population) lookup(address string) (members []string, found bool) {
	if members, found := p.entry(address); found {
		return members, true
	}
	plain, tag := SplitTag(address)
	if tag != "" {
		if members, found := p.entry(plain); found {
			members = slices.Clone(members)
			for i, m := range members {
				local, domain, _ := strings.Cut(m, "@")
				members[i] = local + "+" + tag + "@" + domain
			}
			return members, true
		}
	}
	_, domain, _ := strings.Cut(address, "@")
	return p.entry("@" + domain)
}

// entry returns what the alias map has for address. Where there is a catch-all, every account has an entry that maps it
// to itself, or the catch-all would take its mail.
func (p *Population) entry(address string) ([]string, bool) {
	for _, alias := range p.Aliases {
		if alias.Address == address {
			return alias.Members, true
		}
	}
	if p.isAccount(address) {
		return []string{address}, true
	}
	return nil, false
}

// SplitTag splits user+tag@domain into user@domain and tag.
func SplitTag(address string) (plain, tag string) {
	local, domain, _ := strings.Cut(address, "@")
	local, tag, _ = strings.Cut(local, "+")
	return local + "@" + domain, tag
}

// Save writes the population to path.
func (p *Population) Save(path string) error {
	data, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// Load reads what [Population.Save] wrote.
func Load(path string) (*Population, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading population: %w; run `mailmove-lab seed` first", err)
	}
	p := new(Population)
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("reading population: %w", err)
	}
	return p, nil
}
