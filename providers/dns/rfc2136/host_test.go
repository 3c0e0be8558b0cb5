package rfc2136_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	"github.com/mailmove/mailmove/providers/dns/dnstest"
	"github.com/mailmove/mailmove/providers/dns/rfc2136"
	"github.com/mailmove/mailmove/providers/providertest"
	"github.com/zclconf/go-cty/cty"
)

const primaryZone = `zone "example.com" {
	type primary; file "zone"; allow-transfer { key mailmove; };
	update-policy { grant mailmove zonesub ANY; grant mailmove name example.com. ANY; };
};`

func secondaryZone(primary string) string {
	host, port, _ := net.SplitHostPort(primary)
	return fmt.Sprintf(`zone "example.com" { type secondary; file "copy"; primaries { %s port %s key mailmove; }; allow-notify { any; }; };`, host, port)
}

// key refers to the secret of a key by an environment variable.
func key(t *testing.T, name, value string) *rfc2136.Key {
	t.Helper()
	t.Setenv("MAILMOVE_TEST_TSIG", value)
	reference, err := providers.NewSecret("env:MAILMOVE_TEST_TSIG")
	if err != nil {
		t.Fatal(err)
	}
	return &rfc2136.Key{Name: name, Secret: reference}
}

// TestConformance runs the suite on a real BIND with a secondary.
func TestConformance(t *testing.T) {
	dnstest.Run(t, func(t *testing.T) dnstest.Fixture {
		primary := startBind(t, primaryZone)
		secondary := startBind(t, secondaryZone(primary.address))
		follower := follow(t, primary, secondary)
		proxy := startLossy(t, primary.address)
		config := rfc2136.Config{
			Zone: dnstest.Zone, Server: proxy.listener.Addr().String(), AXFR: true,
			Nameservers: []string{primary.address, secondary.address}, Key: key(t, keyName, secret),
		}
		host, err := rfc2136.NewHost(config)
		if err != nil {
			t.Fatal(err)
		}
		return dnstest.Fixture{
			Host: host,
			Open: func(options dns.Options) *dns.System {
				options.Nameservers = config.Nameservers
				return dns.NewSystem(host, options)
			},
			Servers:    config.Nameservers,
			Hold:       func() { follower.held.Store(true) },
			Release:    func() { follower.held.Store(false) },
			LoseAnswer: func() { proxy.lose.Store(1) },
		}
	})
}

// TestServer pins what BIND does that the host relies on.
func TestServer(t *testing.T) {
	dnstest.RunServer(t, startBind(t, primaryZone).address, keyName, secret)
}

// TestResources runs every resource type through the suite of all providers.
func TestResources(t *testing.T) {
	primary := startBind(t, primaryZone)
	config := rfc2136.Config{Zone: dnstest.Zone, Server: primary.address, AXFR: true, Key: key(t, keyName, secret)}
	host, err := rfc2136.NewHost(config)
	if err != nil {
		t.Fatal(err)
	}
	system := dns.NewSystem(host, dns.Options{Env: providers.Env{Lineage: "one"}, Nameservers: []string{primary.address}})
	if err := system.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "the test"}); err != nil {
		t.Fatal(err)
	}
	strings := func(texts ...string) cty.Value {
		var values []cty.Value
		for _, text := range texts {
			values = append(values, cty.StringVal(text))
		}
		return cty.SetVal(values)
	}
	for _, test := range []struct {
		name, typ string
		desired   map[string]cty.Value
		keep      bool
	}{
		{name: "claim", typ: "dns_claim", keep: true, desired: map[string]cty.Value{"watch": strings("mail.example.com", "198.51.100.10"), "ignore": strings("imap cname")}},
		{name: "new set", typ: "dns_rrset", desired: map[string]cty.Value{
			"name": cty.StringVal("Staging"), "type": cty.StringVal("mx"), "ttl": cty.NumberIntVal(60), "records": strings("10 new", "20 mail.example.com")}},
		{name: "value beside others", typ: "dns_rrset", desired: map[string]cty.Value{
			"name": cty.StringVal("@"), "type": cty.StringVal("TXT"), "records": strings("v=spf1 -all")}},
		{name: "set that is there", typ: "dns_rrset", keep: true, desired: map[string]cty.Value{
			"name": cty.StringVal("@"), "type": cty.StringVal("MX"), "ttl": cty.NumberIntVal(60), "records": strings("10 new"), "exclusive": cty.True}},
		{name: "claim that goes", typ: "dns_claim"},
	} {
		t.Run(test.name, func(t *testing.T) {
			providertest.Run(t, providertest.Case{
				Resource: system.Resource(test.typ), Schema: dns.Resources()[test.typ], Desired: test.desired, Keep: test.keep,
			})
		})
	}
}
