package postfix_dovecot

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// acceptSystemUsers accepts a server whose accounts are users of the system, if each of
// its ways of delivering to them is one that holding and relaying reach.
func (l *layout) acceptSystemUsers(passdbs []setting) error {
	userdbs := l.theirs("userdb")
	if len(passdbs) > 1 || len(userdbs) != 1 || userdbs[0].value("driver") != "passwd" {
		return providers.Faultf("Keep all accounts in one place, with one passdb and userdb { driver = passwd }, or move this server with recipe std/classic over IMAP.",
			"Dovecot knows users of the system and others beside them")
	}
	for _, source := range l.sources {
		if !slices.Contains([]string{"files", "compat", "systemd", "db"}, source) && !strings.HasPrefix(source, "[") {
			return providers.Faultf(unsupported, "users of the system come from %s too (passwd in /etc/nsswitch.conf), which cannot be listed as a whole", source)
		}
	}
	// The proxy of the peer names the whole address, as Postfix does.
	if f := find(l.dovecot, "auth_username_format"); f != "%n" && f != "%Ln" {
		return providers.Faultf("Set auth_username_format = %Ln in Dovecot and reload it: users go on logging in by their name, and by their address too.",
			"Dovecot looks users of the system up by %s, so that nobody can log in by address", orDefault(f, "%Lu"))
	}
	return l.localDelivery()
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// localDelivery accepts local(8) if it hands all mail to Dovecot.
func (l *layout) localDelivery() error {
	if t, _, _ := strings.Cut(l.postfix["local_transport"], ":"); t != "local" {
		return providers.Faultf(unsupported, "local_transport is %q, so that /etc/aliases is not used", l.postfix["local_transport"])
	}
	for _, parameter := range []string{"mailbox_transport_maps", "fallback_transport", "fallback_transport_maps", "mailbox_command_maps"} {
		if v := l.postfix[parameter]; v != "" {
			return providers.Faultf(unsupported, "Postfix delivers to some users by %s = %s", parameter, v)
		}
	}
	for _, p := range splitList(l.postfix["forward_path"]) {
		if !strings.HasPrefix(p, "$home/.forward") {
			return providers.Faultf(unsupported, "users forward mail by %s (forward_path)", p)
		}
	}
	if t := l.postfix["mailbox_transport"]; !strings.HasPrefix(t, "lmtp:") {
		return providers.Faultf("Let Postfix deliver through Dovecot: mailbox_transport = lmtp:unix:private/dovecot-lmtp, with Dovecot's protocol lmtp.",
			"Postfix delivers to users of the system past Dovecot (mailbox_transport = %q), which could not be kept out of a mailbox while it is handed over", t)
	}
	return nil
}

// isLocal reports whether a domain is one of those whose mailboxes are the users
// of the system: one user has an address in each of them.
func (l *layout) isLocal(domain string) bool {
	return slices.ContainsFunc(splitList(l.postfix["mydestination"]), func(d string) bool { return strings.EqualFold(d, domain) })
}

// qualified is a word of an alias as an address of the domain, where that is the
// same mailbox: a name, a name with a backslash (which only says that it is not
// expanded again), and a name at the host itself.
func (l *layout) qualified(word, domain string) string {
	local, at, found := strings.Cut(word, "@")
	host := found && l.isLocal(at) && slices.ContainsFunc([]string{"localhost", l.postfix["myhostname"], l.postfix["myorigin"]},
		func(d string) bool { return strings.EqualFold(d, at) })
	if found && !host {
		return word
	}
	return strings.TrimPrefix(local, `\`) + "@" + domain
}

// splitQuoted splits a list at commas that stand outside of quotes (aliases(5)).
func splitQuoted(value string) []string {
	quoted := false
	var words []string
	for _, word := range strings.FieldsFunc(value, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	}) {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// luserRelay is where mail to unknown names goes (postconf(5)), in all domains.
func (l *layout) luserRelay(a mail.Address) mail.Alias {
	switch relay := l.postfix["luser_relay"]; {
	case relay == "":
		return mail.Alias{Address: a}
	case strings.Contains(relay, "$"): // local(8) makes an address of each name
		return mail.Alias{Address: a, Code: []string{relay}}
	}
	return l.readAlias(&mapFile{local: true}, a, l.postfix["luser_relay"])
}

// addUsersOwn adds what users and the server do with mail beside the aliases. A
// route goes before local(8): what that would do with mail for an account of its
// own is not done once the account is away, and so it is Code, which is never moved.
func (s *System) addUsersOwn(ctx context.Context, l *layout, domain string, found map[mail.Address]mail.Alias) error {
	catchAll := mail.Address("@" + domain)
	if alias := l.luserRelay(catchAll); len(alias.Members)+len(alias.Code) > 0 {
		if _, shadowed := found[catchAll]; !shadowed {
			found[catchAll] = alias
		}
	}
	u, err := s.readUsers(ctx)
	if err != nil {
		return err
	}
	people := u.people(domain)
	var patterns []string
	owners := map[string]mail.Address{}
	for a, user := range people {
		if alias, ok := found[a]; ok && !slices.Equal(alias.Members, []mail.Address{a}) {
			alias.Code = append(alias.Code, "the entry of a user who has a mailbox")
			found[a] = alias
		}
		if path.IsAbs(user.home) && l.postfix["forward_path"] != "" {
			owners[path.Clean(user.home)] = a
			patterns = append(patterns, path.Clean(user.home)+"/.forward*")
		}
	}
	slices.Sort(patterns)
	forwards, err := remote.Glob(ctx, s.runner, patterns...)
	if err != nil {
		return err
	}
	for _, file := range forwards {
		if rest := strings.TrimPrefix(path.Base(file), ".forward"); rest != "" && !strings.ContainsAny(rest[:1], orDefault(l.postfix["recipient_delimiter"], " ")) {
			continue // local(8) does not read it
		}
		a := owners[path.Dir(file)]
		alias := found[a]
		alias.Address, alias.Code = a, append(alias.Code, file)
		found[a] = alias
	}
	return nil
}
