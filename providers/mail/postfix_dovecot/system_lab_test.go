package postfix_dovecot

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

func TestSystemUsersToVirtualUsers(t *testing.T) {
	t.Parallel()
	handOverSystemUser(t, "-users", "system")
}

func TestSystemUsersToSystemUsers(t *testing.T) {
	t.Parallel()
	handOverSystemUser(t, "-users", "system", "-users-new", "system")
}

// handOverSystemUser hands one of several users of the system over, with mail that
// reaches him by all the names that local(8) knows.
func handOverSystemUser(t *testing.T, flags ...string) {
	b, list := prepared(t, 3, 10, flags...)
	ctx := t.Context()
	names := []string{string(murphy), murphy.Local()} // by which he logs in
	before := b.login("198.51.100.10", names[0])      // says how many messages there are
	for _, name := range names {
		if a := b.login("198.51.100.10", name); !strings.HasPrefix(a, "in ") || strings.Fields(a)[3] != strings.Fields(before)[3] {
			t.Errorf("login as %s before the handoff: %s, want %s", name, a, before)
		}
	}
	if through := b.login("198.51.100.20", names[0]); !strings.HasPrefix(through, "in ") || strings.Fields(through)[3] != strings.Fields(before)[3] {
		t.Errorf("login through the new server before the handoff: %s, want %s", through, before)
	}
	var addresses []mail.Address
	for _, a := range list {
		addresses = append(addresses, a.Address)
	}
	ours, err1 := b.old.Credentials(ctx, addresses)
	theirs, err2 := b.new.Credentials(ctx, addresses)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ours[a].IsZero() || ours[a] != theirs[a] {
			t.Errorf("the passwords of %s are not the same on both servers", a)
		}
	}

	b.must(b.begin(ctx, "forth", murphy, b.old, b.new, 5*time.Minute))
	// An alias, a chain of them, a group, the host's own name, a tag.
	for to, marker := range map[string]string{
		string(murphy): "held", "info@" + domain: "held-info", "verkauf@" + domain: "held-chain", "team@" + domain: "held-team",
		"murphy@mail-old." + domain: "held-host", "murphy+tag@" + domain: "held-plus",
	} {
		b.send("198.51.100.10", "a@sender.example", to, marker)
	}
	b.send("198.51.100.20", "a@sender.example", "info@"+domain, "held-new")
	markers := []string{"held", "held-info", "held-chain", "held-team", "held-host", "held-plus", "held-new"}
	b.eventually("others have their copy of the group's mail", func() bool { return b.stored("old", string(office), "held-team") == 1 })
	parked := b.parkedLogin("198.51.100.10", names[1])
	for _, marker := range markers {
		if n := b.stored("old", string(murphy), marker) + b.stored("new", string(murphy), marker); n != 0 {
			t.Errorf("%s is in %d mailboxes although mail is held", marker, n)
		}
	}
	b.copied(ctx, "forth", murphy, b.old, b.new)
	select {
	case a := <-parked:
		t.Fatal("a login did not wait: ", a)
	default:
	}
	b.must(b.old.Commit(ctx, "forth"))
	if a := <-parked; !strings.HasPrefix(a, "in ") {
		t.Error("a login that waited: ", a)
	}
	b.must(b.end(ctx, "forth", murphy, b.old, b.new))
	b.send("198.51.100.10", "a@sender.example", "team@"+domain, "moved")
	b.send("198.51.100.20", "a@sender.example", "info@"+domain, "moved-new")
	for _, marker := range append(markers, "moved", "moved-new") {
		b.eventually(marker+" is at the new home", func() bool { return b.stored("new", string(murphy), marker) > 0 })
		if n, old := b.stored("new", string(murphy), marker), b.stored("old", string(murphy), marker); n != 1 || old != 0 {
			t.Errorf("%s is %d times at the new home and %d times at the old one", marker, n, old)
		}
	}
	for _, name := range names {
		if a := b.login("198.51.100.10", name); !strings.HasPrefix(a, "in ") || strings.Fields(a)[3] == strings.Fields(before)[3] {
			t.Errorf("login as %s at the old server after the handoff: %s", name, a)
		}
	}
	if owners := strings.TrimSpace(b.exec("new", "find $(doveadm user -f home murphy@"+domain+") -printf '%u\\n' | sort -u")); strings.Contains(owners, "\n") || owners == "root" {
		t.Errorf("the files of the new home belong to %q", owners)
	}
}

// What a server with users of the system keeps, and that the hooks leave no trace.
func TestSystemUsersServer(t *testing.T) {
	t.Parallel()
	b := newLab(t, "-users-new", "system")
	ctx := t.Context()
	const state = "cat /etc/postfix/main.cf; postconf -M; postconf -P"
	before := b.exec("new", state)
	b.must(b.new.Claim(ctx, "claim"))
	b.must(b.new.Claim(ctx, "claim"))
	if claimed, err := b.new.Claimed(ctx); err != nil || !claimed {
		t.Errorf("claimed is %v, %v", claimed, err)
	}
	b.must(b.new.Unclaim(ctx, "unclaim"))
	if diff := cmp.Diff(before, b.exec("new", state)); diff != "" {
		t.Errorf("Postfix before and after (-before +after):\n%s", diff)
	}
	for _, accept := range []bool{true, true, false, false, true} {
		b.must(b.new.PutDomain(ctx, "domain", domain, accept))
		if got, err := b.new.Accepts(ctx, domain); err != nil || got != accept {
			t.Errorf("the domain is accepted: %v, %v; want %v", got, err, accept)
		}
	}
	b.accountsOfTheSystem(t)
	b.aliasesOfTheSystem(t)
}

func (b *bench) accountsOfTheSystem(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	put := func(a mail.Account, hash string) error {
		return b.new.PutAccounts(ctx, "accounts", []mail.AccountEdit{{Account: a, Credential: mail.NewCredential(hash)}})
	}
	// An attempt that was interrupted after the user was made is taken up.
	b.exec("new", "mkdir -p /var/lib/mailmove && echo office >/var/lib/mailmove/users && useradd -m office")
	b.must(put(mail.Account{Address: office}, passwordHash))
	yescrypt := cryptMethods[slices.IndexFunc(cryptMethods, func(m cryptMethod) bool { return m.prefix == "$y$" })].vector
	b.must(put(mail.Account{Address: murphy}, "{CRYPT}"+yescrypt))
	b.must(put(mail.Account{Address: murphy}, "")) // as it is
	for _, name := range []string{string(murphy), murphy.Local()} {
		if a := b.loginAs("198.51.100.20", name, vectorPassword); !strings.HasPrefix(a, "in ") {
			t.Errorf("login as %s: %s", name, a)
		}
	}
	if a := b.login("198.51.100.20", string(office)); !strings.HasPrefix(a, "in ") {
		t.Error("login of an account that was made at the second attempt: ", a)
	}
	accounts, err := b.new.Accounts(ctx, domain)
	if err != nil || !slices.Contains(accounts, mail.Account{Address: murphy}) || !slices.Contains(accounts, mail.Account{Address: office}) || len(accounts) != 2 {
		t.Errorf("the accounts are %v, %v", accounts, err)
	}
	hashes, err := b.new.Credentials(ctx, []mail.Address{murphy, office, "nobody@" + domain})
	if err != nil || len(hashes) != 2 || hashes[murphy].Reveal() != "{CRYPT}"+yescrypt || hashes[office].Reveal() != passwordHash {
		t.Errorf("the hashes of %d accounts are not those that were put, %v", len(hashes), err)
	}
	if got, want := strings.TrimSpace(b.exec("new", "stat -c '%a %U' /home/murphy; getent passwd murphy | cut -d : -f 7")), "700 murphy\n/usr/sbin/nologin"; got != want {
		t.Errorf("the new user has %q, want %q", got, want)
	}
	for _, c := range []struct {
		account mail.Account
		hash    string
		fails   string
	}{
		{mail.Account{Address: "anna@" + domain}, "{PLAIN}secret", "is of a form that users of the system"},
		{mail.Account{Address: "anna@" + domain}, "", "no password hash"},
		{mail.Account{Address: "anna@" + domain, Quota: 1 << 30}, passwordHash, "no limit of its own"},
		{mail.Account{Address: "admin@" + domain}, passwordHash, "without a password"},
		{mail.Account{Address: "mail@" + domain}, passwordHash, "belongs to the system"},
	} {
		err := put(c.account, c.hash)
		if err == nil || !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "secret") {
			t.Errorf("putting %s: got %v, want an error with %q", c.account.Address, err, c.fails)
		}
	}
	if users := b.exec("new", "getent passwd anna; :"); users != "" {
		t.Error("a refused account was made: ", users)
	}
}

func (b *bench) aliasesOfTheSystem(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	const info = mail.Address("info@" + domain)
	aliases := func() map[mail.Address]mail.Alias {
		t.Helper()
		list, err := b.new.Aliases(ctx, domain)
		b.must(err)
		found := map[mail.Address]mail.Alias{}
		for _, a := range list {
			found[a.Address] = a
		}
		return found
	}
	put := func(a mail.Address, expect, members []mail.Address) error {
		return b.new.PutAliases(ctx, "aliases", []mail.AliasEdit{{Address: a, Expect: expect, Members: members}})
	}
	if got := aliases()["postmaster@"+domain].Members; !slices.Equal(got, []mail.Address{"root@" + domain}) {
		t.Errorf("postmaster, as Debian has it, leads to %v", got)
	}
	b.must(put(info, nil, []mail.Address{murphy, office}))
	b.must(put(info, nil, []mail.Address{murphy, office}))
	var conflict *mail.ConflictError
	if err := put(info, []mail.Address{office}, []mail.Address{murphy}); !errors.As(err, &conflict) {
		t.Errorf("changing an alias that somebody changed: %v, want a conflict", err)
	}
	b.send("198.51.100.20", "a@sender.example", string(info), "to-both")
	b.eventually("both members have the mail", func() bool {
		return b.stored("new", string(murphy), "to-both") == 1 && b.stored("new", string(office), "to-both") == 1
	})
	b.must(put(info, []mail.Address{murphy, office}, nil))
	if a, found := aliases()[info]; found {
		t.Errorf("an alias that was removed is %v", a)
	}
	if err := put("@"+domain, nil, []mail.Address{office}); err == nil || !strings.Contains(err.Error(), "no catch-all of one domain") {
		t.Errorf("making a catch-all: %v", err)
	}
	b.exec("new", "echo peter@example.org >/home/murphy/.forward; echo x >/home/murphy/.forward.bak; echo 'office: office, murphy' >>/etc/aliases; newaliases; postconf -e luser_relay=office")
	b.new.Refresh()
	found := aliases()
	if diff := cmp.Diff([]string{"/home/murphy/.forward"}, found[murphy].Code); diff != "" {
		t.Errorf("what murphy does with mail (-want +got):\n%s", diff)
	}
	if len(found[office].Code) != 1 || len(found[office].Members) != 2 {
		t.Errorf("an alias beside a mailbox of its name is %+v, want code", found[office])
	}
	if got := found["@"+domain].Members; !slices.Equal(got, []mail.Address{office}) {
		t.Errorf("luser_relay leads to %v", got)
	}
}
