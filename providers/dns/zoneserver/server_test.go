package zoneserver_test

import (
	"testing"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	"github.com/mailmove/mailmove/providers/dns/dnstest"
	"github.com/mailmove/mailmove/providers/dns/rfc2136"
	"github.com/mailmove/mailmove/providers/dns/zoneserver"
)

const secret = "bWFpbG1vdmUtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ=="

func open(t *testing.T) dnstest.Fixture {
	t.Setenv("MAILMOVE_TEST_TSIG", secret)
	server, err := zoneserver.Start(zoneserver.Config{
		Zones: map[string]string{dnstest.Zone: dnstest.ZoneFile},
		Keys:  map[string]string{"mailmove.": secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
	})
	second, err := server.Secondary(0)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := providers.NewSecret("env:MAILMOVE_TEST_TSIG")
	if err != nil {
		t.Fatal(err)
	}
	config := rfc2136.Config{
		Zone: dnstest.Zone, Server: server.Address(), AXFR: true,
		Nameservers: []string{server.Address(), second.Address()},
		Key:         &rfc2136.Key{Name: "mailmove", Secret: reference},
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
		Hold:       second.Hold,
		Release:    second.Release,
		LoseAnswer: func() { server.SetFaults(zoneserver.Faults{LoseAnswer: 1}) },
	}
}

func TestConformance(t *testing.T) { dnstest.Run(t, open) }

func TestServer(t *testing.T) {
	server, err := zoneserver.Start(zoneserver.Config{
		Zones: map[string]string{dnstest.Zone: dnstest.ZoneFile},
		Keys:  map[string]string{"mailmove.": secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
	})
	dnstest.RunServer(t, server.Address(), "mailmove", secret)
}

// TestBadConfig: what cannot be served is refused at the start.
func TestBadConfig(t *testing.T) {
	for name, config := range map[string]zoneserver.Config{
		"no SOA":      {Zones: map[string]string{"example.com.": "@ NS ns1\nns1 A 127.0.0.1\n"}},
		"no NS":       {Zones: map[string]string{"example.com.": "@ SOA ns1 h 1 1 1 1 1\n"}},
		"not a zone":  {Zones: map[string]string{"example.com.": "@ MX\n"}},
		"no address":  {Address: "198.51.100.256:0"},
		"not a local": {Address: "198.51.100.1:0"},
	} {
		server, err := zoneserver.Start(config)
		if err == nil {
			t.Errorf("%s: got a server, want an error", name)
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
