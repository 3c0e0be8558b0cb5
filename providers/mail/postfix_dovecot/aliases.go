package postfix_dovecot

import (
	"context"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

var _ mail.AliasStore = (*System)(nil)

// An aliasTable is a map as Postfix asks it for the aliases of a domain: for whole
// addresses, or for names alone.
type aliasTable struct {
	*mapFile
	names bool
}

// aliasTables are the tables in the order in which Postfix asks them. Names alone
// stand for addresses of all domains of mydestination (virtual(5), TABLE SEARCH
// ORDER; aliases(5)).
func (s *System) aliasTables(ctx context.Context, l *layout) ([]aliasTable, error) {
	virtual, err := s.mapFiles(ctx, l, "virtual_alias_maps")
	if err != nil {
		return nil, err
	}
	var tables []aliasTable
	for _, f := range virtual {
		tables = append(tables, aliasTable{f, false})
	}
	if !l.system() {
		return tables, nil
	}
	for _, f := range virtual {
		tables = append(tables, aliasTable{f, true})
	}
	local, err := s.mapFiles(ctx, l, "alias_maps")
	for _, f := range local {
		tables = append(tables, aliasTable{f, true})
	}
	return tables, err
}

func (t aliasTable) key(a mail.Address) string {
	if t.names {
		return a.Local()
	}
	return string(a)
}

// address is what an entry with the key is for, if it is of the domain.
func (t aliasTable) address(key, domain string) (mail.Address, bool) {
	if t.names {
		if strings.Contains(key, "@") {
			return "", false
		}
		key += "@" + domain
	}
	a, err := mail.ParseAddress(key)
	return a, err == nil && a.Domain() == domain
}

// Aliases implements [mail.AliasStore].
func (s *System) Aliases(ctx context.Context, domain string) ([]mail.Alias, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := s.aliasTables(ctx, l)
	if err != nil {
		return nil, err
	}
	found := map[mail.Address]mail.Alias{}
	for _, t := range tables {
		for _, e := range t.entries {
			a, ok := t.address(e.key, domain)
			if !ok {
				continue
			}
			// The first map that has an entry answers (postconf(5), virtual_alias_maps).
			if _, shadowed := found[a]; !shadowed {
				found[a] = l.readAlias(t.mapFile, a, e.value)
			}
		}
	}
	if l.system() {
		if err := s.addUsersOwn(ctx, l, domain, found); err != nil {
			return nil, err
		}
	}
	aliases := make([]mail.Alias, 0, len(found))
	for a, alias := range found {
		if !slices.Equal(alias.Members, []mail.Address{a}) || len(alias.Code) > 0 {
			aliases = append(aliases, alias)
		}
	}
	slices.SortFunc(aliases, func(a, b mail.Alias) int { return strings.Compare(string(a.Address), string(b.Address)) })
	return aliases, nil
}

// readAlias reads the right side of an entry: addresses, separated by commas, and
// in virtual(5) also by blanks. What is no address is Code: nobody can know what it
// does.
func (l *layout) readAlias(f *mapFile, a mail.Address, value string) mail.Alias {
	alias := mail.Alias{Address: a}
	words := splitList(value)
	if f.local {
		words = splitQuoted(value)
		if _, found := f.find("owner-" + a.Local()); found {
			// local(8) puts the owner in the sender's place, as for a mailing list.
			alias.Code = append(alias.Code, "owner-"+a.Local())
		}
	}
	for _, word := range words {
		address := word
		if l.system() {
			address = l.qualified(word, a.Domain())
		}
		if m, err := mail.ParseAddress(address); err == nil {
			alias.Members = append(alias.Members, m)
		} else {
			alias.Code = append(alias.Code, word)
		}
	}
	slices.Sort(alias.Members)
	alias.Members = slices.Compact(alias.Members)
	return alias
}

// aliasOf is an address in the tables: its entry, and what it leads to. One that
// leads to itself is no alias.
func (l *layout) aliasOf(tables []aliasTable, a mail.Address) (aliasTable, []mail.Address) {
	for _, t := range tables {
		if e, found := t.find(t.key(a)); found {
			now := l.readAlias(t.mapFile, a, e.value).Members
			if slices.Equal(now, []mail.Address{a}) {
				now = nil
			}
			return t, now
		}
	}
	return aliasTable{}, nil
}

// PutAliases implements [mail.AliasStore]. With a catch-all come the identity
// entries without which it would take the mailboxes' mail.
func (s *System) PutAliases(ctx context.Context, op string, aliases []mail.AliasEdit) error {
	l, err := s.look(ctx)
	if err != nil {
		return err
	}
	tables, err := s.aliasTables(ctx, l)
	if err != nil {
		return err
	}
	catchAll := map[string]bool{}
	for _, edit := range aliases {
		table, now := l.aliasOf(tables, edit.Address)
		if table.mapFile == nil && edit.Address.Local() == "" && l.system() {
			now = l.luserRelay(edit.Address).Members
		}
		if slices.Equal(now, edit.Members) {
			continue // an earlier attempt did it
		}
		if !slices.Equal(now, edit.Expect) {
			return &mail.ConflictError{Object: "alias " + string(edit.Address), Expected: members(edit.Expect), Found: members(now)}
		}
		if table.mapFile == nil {
			if table, err = s.aliasTableFor(l, tables, edit.Address); err != nil {
				return &mail.OutcomeError{Outcome: providers.NotApplied, Err: err}
			}
		}
		table.set(table.key(edit.Address), members(edit.Members))
		domain := edit.Address.Domain()
		catchAll[domain] = catchAll[domain] || edit.Address.Local() == "" || edit.Members == nil
	}
	var files []*mapFile
	for _, t := range tables {
		if !slices.Contains(files, t.mapFile) {
			files = append(files, t.mapFile)
		}
	}
	for domain := range catchAll {
		accounts, err := s.Accounts(ctx, domain)
		if err != nil {
			return err
		}
		for _, a := range accounts {
			protect(files, a.Address)
		}
	}
	return s.write(ctx, op, files...)
}

// aliasTableFor is where a new alias goes.
func (s *System) aliasTableFor(l *layout, tables []aliasTable, a mail.Address) (aliasTable, error) {
	if l.system() && a.Local() == "" {
		return aliasTable{}, providers.Faultf("Leave catch_all out, or set luser_relay in main.cf yourself, which takes the mail of every domain of the server.",
			"writing alias %s: a server with users of the system has no catch-all of one domain", a)
	}
	for _, t := range tables {
		if t.local || !l.system() {
			return t, nil
		}
	}
	return aliasTable{}, providers.Faultf(unsupported, "there is no map of aliases on %v", s.runner)
}

// members is the right side of an entry.
func members(addresses []mail.Address) string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = string(a)
	}
	return strings.Join(words, ", ")
}
