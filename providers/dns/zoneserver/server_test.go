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
