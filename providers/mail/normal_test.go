package mail

import (
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/providertest"
)

func TestNormalize(t *testing.T) {
	types := NewTypes(nil, providers.Env{Now: time.Now})
	set := func(list ...string) cty.Value {
		var values []cty.Value
		for _, s := range list {
			values = append(values, cty.StringVal(s))
		}
		return cty.SetVal(values)
	}
	s := cty.StringVal
	type args = map[string]cty.Value
	for _, c := range []struct {
		name, typ string
		in        args
		want      args // nil for an error
	}{
		{"account", "mail_account", args{"address": s("Murphy@Example.com"), "quota": s("1024MiB")}, args{"address": s("murphy@example.com"), "quota": s("1GiB")}},
		{"account with a password", "mail_account", args{"address": s("a@x.y"), "password_from": s("p")}, args{"password": s("same")}},
		{"account without local part", "mail_account", args{"address": s("@x.y")}, nil},
		{"account with a bad quota", "mail_account", args{"address": s("a@x.y"), "quota": s("much")}, nil},
		{"account with a password of its own", "mail_account", args{"address": s("a@x.y"), "password": s("hunter2")}, nil},
		{"account, same as nobody", "mail_account", args{"address": s("a@x.y"), "password": s("same")}, nil},
		{"alias", "mail_alias", args{"address": s("Info@X.y"), "members": set("A@x.y", "b@x.y")}, args{"address": s("info@x.y"), "members": set("a@x.y", "b@x.y")}},
		{"alias to a program", "mail_alias", args{"address": s("info@x.y"), "members": set("|/bin/sh")}, nil},
		{"alias to a newline", "mail_alias", args{"address": s("info@x.y"), "members": set("a@b\nroot: evil@x.y")}, nil},
		{"alias to nobody", "mail_alias", args{"address": s("info@x.y"), "members": cty.SetValEmpty(cty.String)}, nil},
		{"domain", "mail_domain", args{"domain": s("Bücher.example"), "ignore": set("Old@x.y")}, args{"domain": s("xn--bcher-kva.example"), "ignore": set("old@x.y")}},
		{"no domain", "mail_domain", args{"domain": s("a b")}, nil},
		{"trust", "mail_trust", args{"peer": s("p"), "domain": s("X.y")}, args{"domain": s("x.y")}},
		{"route", "mail_route", args{"address": s("A@x.y"), "mode": s("relay"), "peer": s("p")}, args{"address": s("a@x.y")}},
		{"relay to nobody", "mail_route", args{"address": s("a@x.y"), "mode": s("relay")}, nil},
		{"hold with a peer", "mail_route", args{"address": s("a@x.y"), "mode": s("hold"), "peer": s("p")}, nil},
		{"tee to nobody", "mail_route", args{"address": s("a@x.y"), "mode": s("tee")}, nil},
		{"unknown route", "mail_route", args{"address": s("a@x.y"), "mode": s("drop")}, nil},
		{"login", "mail_login", args{"account": s("A@x.y"), "mode": s("closed")}, args{"account": s("a@x.y")}},
		{"proxied to nobody", "mail_login", args{"account": s("a@x.y"), "mode": s("proxied")}, nil},
		{"unknown login", "mail_login", args{"account": s("a@x.y"), "mode": s("ajar")}, nil},
		{"copy", "mail_copy", args{"account": s("A@x.y"), "to": s("p")}, args{"account": s("a@x.y"), "tolerance": cty.NumberIntVal(0), "state": s("complete")}},
		{"copy behind", "mail_copy", args{"account": s("a@x.y"), "to": s("p"), "state": s("behind")}, nil},
		{"copy by hand", "mail_copy", args{"account": s("a@x.y"), "to": s("p"), "method": s("scp")}, nil},
		{"copy tolerates less than nothing", "mail_copy", args{"account": s("a@x.y"), "to": s("p"), "tolerance": cty.NumberIntVal(-1)}, nil},
		{"handoff", "mail_handoff", args{"account": s("A@x.y"), "old": s("o"), "new": s("n"), "home": s("new"), "timeout": s("90s")}, args{"account": s("a@x.y"), "timeout": s("1m30s")}},
		{"handoff to itself", "mail_handoff", args{"account": s("a@x.y"), "old": s("o"), "new": s("o"), "home": s("new")}, nil},
		{"handoff to nowhere", "mail_handoff", args{"account": s("a@x.y"), "old": s("o"), "new": s("n"), "home": s("between")}, nil},
		{"handoff at once", "mail_handoff", args{"account": s("a@x.y"), "old": s("o"), "new": s("n"), "home": s("new"), "timeout": s("1s")}, nil},
		{"handoff for ever", "mail_handoff", args{"account": s("a@x.y"), "old": s("o"), "new": s("n"), "home": s("new"), "timeout": s("2h")}, nil},
		{"probe", "mail_probe", args{"name": s("p"), "addresses": set("A@x.y")}, args{"addresses": set("a@x.y"), "expect": s("accepted")}},
		{"probe of a domain", "mail_probe", args{"name": s("p"), "addresses": set("@x.y")}, nil},
		{"probe for something else", "mail_probe", args{"name": s("p"), "addresses": set("a@x.y"), "expect": s("ok")}, nil},
		{"stragglers", "mail_stragglers", args{"domain": s("X.y"), "quiet": s("48h")}, args{"domain": s("x.y"), "quiet": s("48h0m0s")}},
		{"stragglers for some time", "mail_stragglers", args{"domain": s("x.y"), "quiet": s("some")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := types.Resource(c.typ)
			n, ok := providers.As[providers.Normalizer](r)
			if !ok {
				t.Fatalf("%s has no normal form", c.typ)
			}
			desired := providertest.Value(schemas()[c.typ], c.in)
			got, err := n.Normalize(desired)
			if c.want == nil {
				if err == nil {
					t.Errorf("got %#v, want an error", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if !got.GetAttr(name).RawEquals(want) {
					t.Errorf("%s = %#v, want %#v", name, got.GetAttr(name), want)
				}
			}
			providertest.Normal(t, r, desired) // twice is once
		})
	}
}

// A credential must not get into a plan, a state or a log by any way of printing.
func TestCredentialPrintsAsNothing(t *testing.T) {
	c := NewCredential("{SSHA256}canary")
	text, err := c.MarshalText()
	if err != nil || string(text) != "(hash)" || c.String() != "(hash)" || c.GoString() != "(hash)" {
		t.Errorf("a credential prints as %s, %s, %#v", text, c, c)
	}
}
