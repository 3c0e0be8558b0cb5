package rfc2136_test

import (
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns/rfc2136"
	"github.com/zclconf/go-cty/cty"
)

// block is a provider block with everything in it, then changed by set.
func block(t *testing.T, set map[string]cty.Value) cty.Value {
	t.Helper()
	reference, err := providers.NewSecret("env:MAILMOVE_TEST_TSIG")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]cty.Value{
		"zone":        cty.StringVal("Example.com"),
		"server":      cty.StringVal("198.51.100.53"),
		"nameservers": cty.NullVal(cty.List(cty.String)),
		"axfr":        cty.True,
		"tsig": cty.ObjectVal(map[string]cty.Value{
			"name": cty.StringVal("MailMove"), "algorithm": cty.StringVal("hmac-sha512"), "secret": providers.SecretVal(reference),
		}),
	}
	for name, value := range set {
		values[name] = value
	}
	value := cty.ObjectVal(values)
	if want := (rfc2136.Provider{}).Schema().Config.Type(); !value.Type().Equals(want) {
		t.Fatalf("the block's type: got %s, want %s", value.Type().FriendlyName(), want.FriendlyName())
	}
	return value
}

func tsig(algorithm string, secret cty.Value) cty.Value {
	return cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("k"), "algorithm": cty.StringVal(algorithm), "secret": secret})
}

// TestOpen: a block that cannot be right is refused before anything is reached,
// by the name of the attribute; nothing is resolved or connected.
func TestOpen(t *testing.T) {
	reference, err := providers.NewSecret("env:MAILMOVE_TEST_NO_SUCH_VARIABLE")
	if err != nil {
		t.Fatal(err)
	}
	typ := (rfc2136.Provider{}).Schema().Config["tsig"].Type
	for _, test := range []struct {
		name string
		set  map[string]cty.Value
		want string
	}{
		{"all", nil, ""},
		{"no key", map[string]cty.Value{"tsig": cty.NullVal(typ)}, ""},
		{"secret that is not there yet", map[string]cty.Value{"tsig": tsig("hmac-sha256", providers.SecretVal(reference))}, ""},
		{"no zone", map[string]cty.Value{"zone": cty.StringVal("exa mple")}, "zone"},
		{"unknown algorithm", map[string]cty.Value{"tsig": tsig("hmac-md5", providers.SecretVal(reference))}, "tsig.algorithm"},
		{"no secret", map[string]cty.Value{"tsig": tsig("hmac-sha256", cty.NullVal(providers.SecretType))}, "tsig.secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			system, err := rfc2136.Provider{}.Open(t.Context(), block(t, test.set), providers.Env{})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for typ := range (rfc2136.Provider{}).Schema().Resources {
				if system.Resource(typ) == nil {
					t.Errorf("resource type %s is not served", typ)
				}
			}
			if system.Resource("mail_account") != nil {
				t.Error("mail_account is served")
			}
			if err := system.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLintKnowsTheBlock: what the linter may expect of the host is in the block.
func TestLintKnowsTheBlock(t *testing.T) {
	schema := (rfc2136.Provider{}).Schema().Resources["dns_claim"]
	values := map[string]cty.Value{}
	for name, attribute := range schema.Attributes {
		values[name] = cty.NullVal(attribute.Type)
	}
	values["watch"] = cty.SetVal([]cty.Value{cty.StringVal("198.51.100.10")})
	for axfr, want := range map[cty.Value]int{cty.True: 0, cty.False: 1} {
		dangers := rfc2136.Provider{}.Lint(providers.Outlook{
			Providers: map[string]providers.OutlookProvider{"provider.rfc2136.zone": {Type: rfc2136.Name, Config: block(t, map[string]cty.Value{"axfr": axfr})}},
			Phases: []providers.OutlookPhase{{Phase: "one", Resources: []providers.OutlookResource{
				{Address: "dns_claim.zone", Type: "dns_claim", Provider: "provider.rfc2136.zone", Values: cty.ObjectVal(values)},
			}}},
		})
		if len(dangers) != want {
			t.Errorf("axfr %v: got %v, want %d", axfr.True(), dangers, want)
		}
	}
}
