package mailtest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/providertest"
)

func testClaim(t *testing.T, b *bench) {
	b.Old.AddDomain(t, Domain)
	b.Old.AddAccount(t, user("murphy"), password)
	mustSend(t, b.Old, user("murphy"), "before")
	providertest.Run(t, providertest.Case{Resource: b.wrapped[oldName].Resource("mail_claim"), Schema: schema("mail_claim")})
	// The administrator's server is as it was, with the claim and without.
	b.make(t, oldName, "mail_claim", nil)
	mustSend(t, b.Old, user("murphy"), "after")
	arrives(t, b.Old, user("murphy"), "before")
	arrives(t, b.Old, user("murphy"), "after")
	// A claim is not removed from under what needs it.
	b.make(t, newName, "mail_claim", nil)
	b.make(t, oldName, "mail_trust", map[string]cty.Value{"peer": str(newName), "domain": str(Domain)})
	if err := does[mail.Claimer](t, b.old()).Unclaim(t.Context(), b.op()); err == nil {
		t.Error("removing a claim while trust is in force: got no error")
	}
	// As an object it is done with, and the hooks stay for who needs them.
	r, s := b.wrapped[oldName].Resource("mail_claim"), schema("mail_claim")
	null := cty.NullVal(s.Attributes.Type())
	claimed := providertest.Observe(t, r, providertest.Value(s, nil), null)
	providertest.Apply(t, r, providers.Change{Op: b.op(), Action: providers.Remove, Before: claimed, After: null, Last: claimed})
	if left := providertest.Observe(t, r, null, claimed); !left.IsNull() {
		t.Errorf("a claim that is done with: observed %#v, want nothing", left)
	}
	if still, err := does[mail.Claimer](t, b.old()).Claimed(t.Context()); err != nil || !still {
		t.Errorf("the hooks are gone (%v) while trust is in force: %v", still, err)
	}
}

func testAccounts(t *testing.T, b *bench) {
	b.begin(t, "murphy", "office")
	r := b.wrapped[newName].Resource("mail_account")
	for _, name := range []string{"murphy", "office"} {
		providertest.Run(t, providertest.Case{Resource: r, Schema: schema("mail_account"), Desired: map[string]cty.Value{
			"address": str(string(user(name))), "password_from": str(oldName), "quota": str("1GiB"),
		}})
	}
	// The hash is the same, verbatim.
	var hashes []map[mail.Address]mail.Credential
	for _, s := range []mail.Server{b.old(), b.new()} {
		found, err := does[mail.AccountStore](t, s).Credentials(t.Context(), []mail.Address{user("murphy"), user("office")})
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, found)
	}
	for _, name := range []string{"murphy", "office"} {
		if got, want := hashes[1][user(name)].Reveal(), hashes[0][user(name)].Reveal(); got != want || got == "" {
			t.Errorf("the hash of %s is not the same on both servers", name)
		}
		mustLogin(t, b.New, user(name)).Close()
		if _, err := login(t, b.New, user(name), "wrong"); err == nil {
			t.Errorf("%s: a wrong password opened the account", name)
		}
	}
	// Without a quota of its own, an account keeps the one it has.
	value := b.make(t, newName, "mail_account", map[string]cty.Value{"address": str(string(user("murphy"))), "password_from": str(oldName)})
	if got := value.GetAttr("quota").AsString(); got != "1GiB" {
		t.Errorf("quota = %q, want 1GiB as before", got)
	}
	// A changed password is seen and carried.
	b.Old.AddAccount(t, user("murphy"), "another one")
	b.refresh()
	b.make(t, newName, "mail_account", map[string]cty.Value{"address": str(string(user("murphy"))), "password_from": str(oldName)})
	within(t, "the new password", func() bool {
		c, err := login(t, b.New, user("murphy"), "another one")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// refresh forgets what was read before the administrator changed something.
func (b *bench) refresh() {
	for _, sys := range b.wrapped {
		if r, ok := providers.As[providers.Refresher](sys); ok {
			r.Refresh()
		}
	}
}

func testAliases(t *testing.T, b *bench) {
	b.begin(t, "murphy", "office")
	b.Old.AddAlias(t, user("info"), user("murphy"))
	r := b.wrapped[oldName].Resource("mail_alias")
	alias := func(name string, members ...string) map[string]cty.Value {
		return map[string]cty.Value{"address": str(name + "@" + Domain), "members": strs(members...)}
	}
	m, o := string(user("murphy")), string(user("office"))
	for _, c := range []map[string]cty.Value{
		alias("info", o), alias("sales", m, o), alias("team", "sales@"+Domain, "info@"+Domain), alias("", o),
	} {
		providertest.Run(t, providertest.Case{Resource: r, Schema: schema("mail_alias"), Desired: c, Keep: true})
	}
	within(t, "the catch-all", func() bool { return rcpt(t, b.Old, user("nobody")) == 2 })
	for to, want := range map[string]map[string]int{
		"info": {"office": 1}, "sales": {"murphy": 1, "office": 1}, "team": {"murphy": 1, "office": 1},
		"nobody": {"office": 1}, "murphy": {"murphy": 1}, "murphy+tag": {"murphy": 1},
	} {
		mark := "alias-" + to
		mustSend(t, b.Old, user(to), mark)
		for _, name := range []string{"murphy", "office"} {
			if want[name] > 0 {
				arrives(t, b.Old, user(name), mark)
			} else if got := read(t, b.Old, user(name)).count(mark); got != 0 {
				t.Errorf("mail for %s is %d times in %s, want none", to, got, name)
			}
		}
	}
	listed, err := does[mail.AliasStore](t, b.old()).Aliases(t.Context(), Domain)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range listed {
		names = append(names, string(a.Address))
	}
	want := []string{"@" + Domain, "info@" + Domain, "sales@" + Domain, "team@" + Domain}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	providertest.Run(t, providertest.Case{Resource: r, Schema: schema("mail_alias"), Desired: alias("sales", m)})
	within(t, "the removed alias to be in the catch-all", func() bool { return rcpt(t, b.Old, user("sales")) == 2 })
}

// An alias that somebody changed after it was observed is not overwritten.
func testAliasConflict(t *testing.T, b *bench) {
	b.begin(t, "murphy", "office")
	b.Old.AddAlias(t, user("info"), user("murphy"))
	b.Old.AddAlias(t, user("info"), user("office"))
	err := does[mail.AliasStore](t, b.old()).PutAliases(t.Context(), b.op(), []mail.AliasEdit{
		{Address: user("info"), Expect: []mail.Address{user("murphy")}, Members: []mail.Address{user("murphy"), user("office")}},
	})
	var conflict *mail.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("changing an alias that is not as expected: got %v, want a ConflictError", err)
	}
	mustSend(t, b.Old, user("info"), "kept")
	arrives(t, b.Old, user("office"), "kept")
}

func testDomain(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	b.make(t, newName, "mail_alias", map[string]cty.Value{"address": str("info@" + Domain), "members": strs(string(user("murphy")))})
	r := b.wrapped[newName].Resource("mail_domain")
	s := schema("mail_domain")
	lister, ok := providers.As[providers.Lister](r)
	if !ok {
		t.Fatal("mail_domain lists nothing")
	}
	desired := providertest.Normal(t, r, providertest.Value(s, map[string]cty.Value{"domain": str(Domain), "ignore": strs("info@" + Domain)}))
	listed, err := lister.List(t.Context(), desired)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, l := range listed {
		got[l.Type+" "+l.Values.GetAttr("address").AsString()] = l.Ignored
	}
	want := map[string]bool{"mail_account " + string(user("murphy")): false, "mail_alias info@" + Domain: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if got := rcpt(t, b.New, user("murphy")); got != 2 {
		t.Errorf("the new server answers %dxx for an account of its domain, want 2xx", got)
	}
	if got := rcpt(t, b.New, user("nobody")); got == 2 {
		t.Error("the new server accepts mail for an address it does not have")
	}
	providertest.Run(t, providertest.Case{Resource: r, Schema: s, Desired: map[string]cty.Value{"domain": str(Domain)}})
	within(t, "the domain to be refused", func() bool { return rcpt(t, b.New, user("murphy")) == 5 })
}

func testTrust(t *testing.T, b *bench) {
	b.Old.AddDomain(t, Domain)
	b.make(t, oldName, "mail_claim", nil)
	providertest.Run(t, providertest.Case{
		Resource: b.wrapped[oldName].Resource("mail_trust"), Schema: schema("mail_trust"),
		Desired: map[string]cty.Value{"peer": str(newName), "domain": str(Domain)},
	})
}

func testProbe(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	probe := func(addresses ...string) map[string]cty.Value {
		return map[string]cty.Value{"name": str("test"), "addresses": strs(addresses...)}
	}
	value := b.make(t, newName, "mail_probe", probe(string(user("murphy")), string(user("murphy+tag"))))
	if value.GetAttr("probed_at").IsNull() {
		t.Error("probed_at is not set")
	}
	outcome, _, err := b.try(t, newName, "mail_probe", b.op(), probe(string(user("murphy")), string(user("nobody"))))
	if outcome != providers.NotApplied || err == nil {
		t.Errorf("probing an address that is refused: got %v, %v", outcome, err)
	}
	if v := read(t, b.Old, user("murphy")); len(v.Letters) != 0 {
		t.Errorf("probing delivered %d messages, want none", len(v.Letters))
	}
}

func testStragglers(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	r := b.wrapped[oldName].Resource("mail_stragglers")
	s := schema("mail_stragglers")
	desired := providertest.Normal(t, r, providertest.Value(s, map[string]cty.Value{"domain": str(Domain), "quiet": str("1h")}))
	first := providertest.Observe(t, r, desired, cty.NullVal(s.Attributes.Type()))
	if !first.GetAttr("last").IsNull() {
		t.Errorf("before anybody delivered: last = %#v", first.GetAttr("last"))
	}
	mustSend(t, b.Old, user("murphy"), "straggling")
	within(t, "the delivery to be told", func() bool {
		b.refresh()
		seen := providertest.Observe(t, r, desired, first)
		return !seen.GetAttr("last").IsNull() && seen.GetAttr("hosts").LengthInt() == 1
	})
}
