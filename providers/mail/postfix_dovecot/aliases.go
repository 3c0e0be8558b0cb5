package postfix_dovecot

import (
	"context"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

var _ mail.AliasStore = (*System)(nil)

// Aliases implements [mail.AliasStore].
func (s *System) Aliases(ctx context.Context, domain string) ([]mail.Alias, error) {
	files, err := s.aliasFiles(ctx)
	if err != nil {
		return nil, err
	}
	found := map[mail.Address]mail.Alias{}
	for _, f := range files {
		for _, e := range f.entries {
			a, err := mail.ParseAddress(e.key)
			if err != nil || a.Domain() != domain {
				continue
			}
			// The first map that has an entry answers (postconf(5), virtual_alias_maps).
			if _, shadowed := found[a]; shadowed {
				continue
			}
			alias := readAlias(a, e.value)
			if slices.Equal(alias.Members, []mail.Address{a}) && len(alias.Code) == 0 {
				continue
			}
			found[a] = alias
		}
	}
	aliases := make([]mail.Alias, 0, len(found))
	for _, a := range found {
		aliases = append(aliases, a)
	}
	slices.SortFunc(aliases, func(a, b mail.Alias) int { return strings.Compare(string(a.Address), string(b.Address)) })
	return aliases, nil
}

// readAlias reads the right side of an entry of virtual(5): addresses, separated by
// commas or blanks. What is no address is Code: nobody can know what it does.
func readAlias(a mail.Address, value string) mail.Alias {
	alias := mail.Alias{Address: a}
	for _, member := range splitList(value) {
		if m, err := mail.ParseAddress(member); err == nil {
			alias.Members = append(alias.Members, m)
		} else {
			alias.Code = append(alias.Code, member)
		}
	}
	slices.Sort(alias.Members)
	alias.Members = slices.Compact(alias.Members)
	return alias
}

func (s *System) aliasFiles(ctx context.Context) ([]*mapFile, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	return s.mapFiles(ctx, l, "virtual_alias_maps")
}

// PutAliases implements [mail.AliasStore]. With a catch-all come the identity
// entries without which it would take the mailboxes' mail.
func (s *System) PutAliases(ctx context.Context, op string, aliases []mail.AliasEdit) error {
	files, err := s.aliasFiles(ctx)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return providers.Faultf(unsupported, "virtual_alias_maps of %v is empty", s.runner)
	}
	catchAll := map[string]bool{}
	for _, edit := range aliases {
		key := string(edit.Address)
		file := files[0]
		var now []mail.Address
		for _, f := range files {
			if e, found := f.find(key); found {
				file, now = f, readAlias(edit.Address, e.value).Members
				break
			}
		}
		if slices.Equal(now, []mail.Address{edit.Address}) {
			now = nil // an identity entry is no alias
		}
		if slices.Equal(now, edit.Members) {
			continue // an earlier attempt did it
		}
		if !slices.Equal(now, edit.Expect) {
			return &mail.ConflictError{Object: "alias " + key, Expected: members(edit.Expect), Found: members(now)}
		}
		file.set(key, members(edit.Members))
		catchAll[edit.Address.Domain()] = catchAll[edit.Address.Domain()] || edit.Address.Local() == "" || edit.Members == nil
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

// members is the right side of an entry.
func members(addresses []mail.Address) string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = string(a)
	}
	return strings.Join(words, ", ")
}
