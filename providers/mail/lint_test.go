package mail

import (
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/providertest"
)

const (
	oldServer = "provider.x.old"
	newServer = "provider.x.new"
)

func object(typ string, set map[string]string) cty.Value {
	values := map[string]cty.Value{}
	for name, v := range set {
		switch schemas()[typ].Attributes[name].Type {
		case cty.Set(cty.String):
			values[name] = cty.SetVal([]cty.Value{cty.StringVal(v)})
		case cty.Bool:
			values[name] = cty.BoolVal(v == "true")
		default:
			values[name] = cty.StringVal(v)
		}
	}
	return providertest.Value(schemas()[typ], values)
}

func resource(typ, provider string, set map[string]string) providers.OutlookResource {
	name := typ + "." + strings.TrimPrefix(provider, "provider.x.") + set["address"] + set["account"]
	return providers.OutlookResource{Address: name, Type: typ, Provider: provider, Values: object(typ, set)}
}

// sound is a small migration that has no danger: each test breaks one thing.
func sound() providers.Outlook {
	m := "murphy@example.com"
	handoff := func(home string) map[string]string {
		return map[string]string{"account": m, "old": oldServer, "new": newServer, "home": home}
	}
	stage := func(home string) []providers.OutlookResource {
		return []providers.OutlookResource{
			resource("mail_claim", oldServer, nil), resource("mail_claim", newServer, nil),
			resource("mail_trust", oldServer, map[string]string{"peer": newServer, "domain": "example.com"}),
			resource("mail_trust", newServer, map[string]string{"peer": oldServer, "domain": "example.com"}),
			resource("mail_account", oldServer, map[string]string{"address": m}),
			resource("mail_account", newServer, map[string]string{"address": m}),
			resource("mail_domain", oldServer, map[string]string{"domain": "example.com"}),
			resource("mail_copy", oldServer, map[string]string{"account": m, "to": newServer}),
			resource("mail_handoff", oldServer, handoff(home)),
		}
	}
	return providers.Outlook{
		Phases: []providers.OutlookPhase{
			{Phase: "copy", Resources: stage("old")},
			{Phase: "cutover", Resources: stage("new"), Changes: []providers.OutlookChange{{
				Address: "mail_handoff.m", Type: "mail_handoff", Provider: oldServer, Action: providers.Update,
				Before: object("mail_handoff", handoff("old")), After: object("mail_handoff", handoff("new")),
			}}},
		},
		Listed: map[string][]providers.Listed{
			"mail_domain.old": {{Type: "mail_account", Values: object("mail_account", map[string]string{"address": m})}},
		},
	}
}

// without takes the resources of a type and provider out of every phase.
func without(o *providers.Outlook, typ, provider string) {
	for i := range o.Phases {
		var kept []providers.OutlookResource
		for _, r := range o.Phases[i].Resources {
			if r.Type != typ || r.Provider != provider {
				kept = append(kept, r)
			}
		}
		o.Phases[i].Resources = kept
	}
}

func with(o *providers.Outlook, r ...providers.OutlookResource) {
	for i := range o.Phases {
		o.Phases[i].Resources = append(o.Phases[i].Resources, r...)
	}
}

func TestLint(t *testing.T) {
	list := func(o *providers.Outlook, typ string, set map[string]string, ignored bool) {
		o.Listed["mail_domain.old"] = append(o.Listed["mail_domain.old"], providers.Listed{Type: typ, Values: object(typ, set), Ignored: ignored})
	}
	alias := map[string]string{"address": "info@example.com", "members": "murphy@example.com"}
	for _, c := range []struct {
		name string
		edit func(*providers.Outlook)
		want string // the code, "" for none
		says string
	}{
		{"sound", func(*providers.Outlook) {}, "", ""},
		{"undeclared account", func(o *providers.Outlook) {
			list(o, "mail_account", map[string]string{"address": "eve@example.com"}, false)
		}, "MAIL-UNDECLARED", `accounts = { "eve" = {} }`},
		{"undeclared alias", func(o *providers.Outlook) { list(o, "mail_alias", alias, false) }, "MAIL-UNDECLARED", `"info" = ["murphy@example.com"]`},
		{"ignored", func(o *providers.Outlook) { list(o, "mail_alias", alias, true) }, "", ""},
		{"declared elsewhere", func(o *providers.Outlook) {
			list(o, "mail_alias", alias, false)
			with(o, resource("mail_alias", newServer, alias))
		}, "MAIL-UNDECLARED", "info@example.com"},
		{"code", func(o *providers.Outlook) {
			a := map[string]string{"address": "run@example.com", "members": "murphy@example.com", "code": "|/bin/sh"}
			list(o, "mail_alias", a, false)
			with(o, resource("mail_alias", oldServer, a), resource("mail_alias", newServer, a))
		}, "MAIL-ALIAS-CODE", "run@example.com"},
		{"not on new", func(o *providers.Outlook) { with(o, resource("mail_alias", oldServer, alias)) }, "MAIL-NOT-ON-NEW", "info@example.com"},
		{"no return", func(o *providers.Outlook) { o.Phases[1].NoReturn = true }, "MAIL-NO-RETURN", "cutover"},
		{"loop", func(o *providers.Outlook) {
			with(o,
				resource("mail_route", oldServer, map[string]string{"address": "eve@example.com", "mode": "relay", "peer": newServer}),
				resource("mail_route", newServer, map[string]string{"address": "eve@example.com", "mode": "relay", "peer": oldServer}))
		}, "MAIL-LOOP", "eve@example.com"},
		{"two owners", func(o *providers.Outlook) {
			with(o, resource("mail_route", oldServer, map[string]string{"address": "murphy@example.com", "mode": "hold"}))
		}, "MAIL-TWO-OWNERS", "murphy@example.com"},
		{"no trust", func(o *providers.Outlook) { without(o, "mail_trust", newServer) }, "MAIL-NO-TRUST", "provider.x.new does not trust provider.x.old"},
		{"no claim", func(o *providers.Outlook) { without(o, "mail_claim", oldServer) }, "MAIL-NO-CLAIM", "provider.x.old"},
		{"claimed and trusted by another module", func(o *providers.Outlook) {
			root := providers.OutlookPhase{Clock: "root", Phase: "prepare"}
			for _, r := range o.Phases[0].Resources {
				if r.Type == "mail_claim" || r.Type == "mail_trust" {
					root.Resources = append(root.Resources, r)
				}
			}
			for _, server := range []string{oldServer, newServer} {
				without(o, "mail_claim", server)
				without(o, "mail_trust", server)
			}
			o.Phases = append(o.Phases, root)
		}, "", ""},
		{"over", func(o *providers.Outlook) {
			settle := o.Phases[1]
			settle.Phase, settle.Changes = "settle", nil
			settle.Resources = nil
			for _, r := range o.Phases[1].Resources {
				switch {
				case r.Type == "mail_trust", r.Type == "mail_claim" && r.Provider == newServer:
					continue
				case r.Type == "mail_domain":
					r.Values = object("mail_domain", map[string]string{"domain": "example.com", "accept": "false"})
				}
				settle.Resources = append(settle.Resources, r)
			}
			o.Phases = append(o.Phases, settle)
		}, "", ""},
		{"no account", func(o *providers.Outlook) {
			without(o, "mail_account", newServer)
			without(o, "mail_account", oldServer)
			o.Listed = nil
		}, "MAIL-NO-ACCOUNT", "murphy@example.com"},
		{"no copy", func(o *providers.Outlook) { without(o, "mail_copy", oldServer) }, "MAIL-NO-COPY", "murphy@example.com"},
		{"handoff leaves", func(o *providers.Outlook) {
			change := o.Phases[1].Changes[0]
			o.Phases = append(o.Phases, providers.OutlookPhase{Phase: "settle", Changes: []providers.OutlookChange{{
				Address: change.Address, Type: change.Type, Provider: change.Provider, Action: providers.Remove,
				Before: change.After, After: cty.NullVal(change.After.Type()),
			}}})
		}, "MAIL-HANDOFF-LEAVES", "settle"},
		{"probe delivers", func(o *providers.Outlook) {
			with(o, resource("mail_probe", newServer, map[string]string{"name": "p", "addresses": "murphy@example.com", "deliver": "true"}))
		}, "MAIL-PROBE-DELIVERS", "murphy@example.com"},
		{"rsync", func(o *providers.Outlook) {
			without(o, "mail_copy", oldServer)
			with(o, resource("mail_copy", oldServer, map[string]string{"account": "murphy@example.com", "to": newServer, "method": "rsync"}))
		}, "MAIL-RSYNC-LAYOUT", "murphy@example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := sound()
			c.edit(&o)
			var codes []string
			for _, d := range Lint(o) {
				codes = append(codes, d.Code)
				if d.Code == c.want && !strings.Contains(d.Summary+d.Fix, c.says) {
					t.Errorf("%s says %q; %q: want %q in it", d.Code, d.Summary, d.Fix, c.says)
				}
				if d.Summary == "" || d.Fix == "" || d.Severity == "" {
					t.Errorf("%s lacks a sentence, a fix or a severity: %+v", d.Code, d)
				}
			}
			if got := strings.Join(codes, " "); got != c.want {
				t.Errorf("dangers are %q, want %q", got, c.want)
			}
		})
	}
}
