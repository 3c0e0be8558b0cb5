package demo

import (
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/mailmove/mailmove/providers/dns/zoneserver"
)

// One resolver follows the zone when the TTL is over, the other never does.
func TestResolver(t *testing.T) {
	zone, err := zoneserver.Start(zoneserver.Config{Zones: map[string]string{domain + ".": "$TTL 1\n" + zoneText + "far 600 IN A 127.0.0.3\n"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { zone.Close() })
	obeys, ignores := newResolver(zone.Address(), false), newResolver(zone.Address(), true)
	set := func(record string) {
		t.Helper()
		rr, err := miekg.NewRR(record)
		if err != nil {
			t.Fatal(err)
		}
		update := new(miekg.Msg).SetUpdate(domain + ".")
		update.RemoveRRset([]miekg.RR{rr})
		update.Insert([]miekg.RR{rr})
		reply, _, err := new(miekg.Client).Exchange(update, zone.Address())
		if err != nil || reply.Rcode != miekg.RcodeSuccess {
			t.Fatalf("updating the zone: %v, %v", reply, err)
		}
	}
	address := func(r *resolver, host string) string {
		t.Helper()
		got, err := r.address(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	set("near." + domain + ". 1 IN A 127.0.0.3")
	for _, r := range []*resolver{obeys, ignores} {
		for _, host := range []string{"near." + domain, "far." + domain} {
			if got := address(r, host); got != "127.0.0.3" {
				t.Fatalf("%s is %s, want 127.0.0.3", host, got)
			}
		}
	}
	set("near." + domain + ". 1 IN A 127.0.0.4")
	set("far." + domain + ". 600 IN A 127.0.0.4")
	for deadline := time.Now().Add(time.Minute); address(obeys, "near."+domain) != "127.0.0.4"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a TTL of a second is not over in a minute")
		}
	}
	if got := address(obeys, "far."+domain); got != "127.0.0.3" {
		t.Errorf("within its TTL a name is asked for again: %s", got)
	}
	if got := address(ignores, "near."+domain); got != "127.0.0.3" {
		t.Errorf("the resolver that ignores TTLs asked again: %s", got)
	}
	if host, err := ignores.exchanger(t.Context(), domain); err != nil || host != "old."+domain+"." {
		t.Errorf("the MX is %s, %v", host, err)
	}
	if _, err := obeys.address(t.Context(), "nowhere."+domain); err == nil {
		t.Error("a name that does not exist has an address")
	}
}
