package dnstest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	"github.com/zclconf/go-cty/cty"
)

func testCreate(t *testing.T, o *operator) {
	desired := o.rrset(t, "_dmarc", "TXT", 300, "v=DMARC1; p=none")
	if observed := o.observe(t, "dns_rrset", desired, none); !observed.IsNull() {
		t.Fatalf("before: got %#v, want null", observed)
	}
	got := o.apply(t, "dns_rrset", desired, none)
	if got, want := text(got, "name"), "_dmarc.example.com."; got != want {
		t.Errorf("name: got %q, want %q", got, want)
	}
	if got, want := text(got, "cached_until"), at(NegativeTTL); got != want {
		t.Errorf("cached_until: got %q, want %q: resolvers may remember that the name did not exist", got, want)
	}
	servers := got.GetAttr("servers").AsValueMap()
	if len(servers) != len(o.fixture.Servers) {
		t.Errorf("servers: got %v, want %d", servers, len(o.fixture.Servers))
	}
	for address, says := range servers {
		if says.AsString() != "ok" {
			t.Errorf("server %s: got %q, want ok", address, says.AsString())
		}
	}
}

func testUpdate(t *testing.T, o *operator) {
	first := o.apply(t, "dns_rrset", o.rrset(t, "mail", "A", -1, "198.51.100.10"), none)
	o.now = o.now.Add(time.Hour)
	second := o.apply(t, "dns_rrset", o.rrset(t, "mail", "A", 60, "198.51.100.20", "198.51.100.21"), first)
	if got, want := text(second, "cached_until"), at(2*time.Hour); got != want {
		t.Errorf("cached_until: got %q, want %q", got, want)
	}
}

func testTTL(t *testing.T, o *operator) {
	lowered := o.apply(t, "dns_rrset", o.rrset(t, "@", "MX", 300, "10 mail.example.com."), none)
	if got, want := text(lowered, "cached_until"), at(time.Hour); got != want {
		t.Errorf("cached_until: got %q, want %q", got, want)
	}
	// Lowered again at once: the first set may still be cached, and says until when.
	o.now = o.now.Add(time.Minute)
	again := o.apply(t, "dns_rrset", o.rrset(t, "@", "MX", 60, "10 mail.example.com."), lowered)
	if got, want := text(again, "cached_until"), at(time.Hour); got != want {
		t.Errorf("cached_until after the second time: got %q, want %q", got, want)
	}
}

func testOwned(t *testing.T, o *operator) {
	desired := o.rrset(t, "example.com", "TXT", -1, "v=spf1 ip4:198.51.100.10 -all")
	first := o.apply(t, "dns_rrset", desired, none)
	if got, want := texts(first, "others"), "site-verification=abc"; got != want {
		t.Errorf("others: got %q, want %q", got, want)
	}
	o.apply(t, "dns_rrset", o.rrset(t, "example.com", "TXT", 300, "v=spf1 ip4:198.51.100.10 ip4:198.51.100.20 -all"), first)
	set := o.stored(t, Zone, "TXT")
	if got, want := strings.Join(set.Texts(), " | "), "site-verification=abc | v=spf1 ip4:198.51.100.10 ip4:198.51.100.20 -all"; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
	if got, want := set.Records[0].Raw, `"site-verification=" "abc"`; got != want {
		t.Errorf("the other's strings: got %s, want %s", got, want)
	}
}

func testExclusive(t *testing.T, o *operator) {
	o.byHand(t, "@", "MX", 3600, "10 mail.example.com.", "20 backup.example.net.")
	values := o.rrset(t, "@", "MX", 300, "10 new.example.com.").AsValueMap()
	values["exclusive"] = cty.True
	desired := cty.ObjectVal(values)
	observed := o.observe(t, "dns_rrset", desired, none)
	if got, want := texts(observed, "records"), "10 mail.example.com. | 20 backup.example.net."; got != want {
		t.Errorf("records: got %q, want %q", got, want)
	}
	o.apply(t, "dns_rrset", desired, none)
	if got, want := strings.Join(o.stored(t, Zone, "MX").Texts(), " | "), "10 new.example.com."; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
}

// testMXNeverEmpty asks for the MX all the time while it is exchanged.
func testMXNeverEmpty(t *testing.T, o *operator) {
	stop, done := make(chan struct{}), make(chan struct{})
	polls, bad := 0, []string{}
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			set, err := o.fixture.Host.Get(t.Context(), Zone, "MX")
			polls++
			if got := strings.Join(set.Texts(), " | "); err != nil || (got != "10 mail.example.com." && got != "10 new.example.com.") {
				bad = append(bad, got)
			}
		}
	}()
	last := o.observe(t, "dns_rrset", o.rrset(t, "@", "MX", -1, "10 mail.example.com."), none)
	for i := range 10 {
		target := []string{"10 new.example.com.", "10 mail.example.com."}[i%2]
		last = o.apply(t, "dns_rrset", o.rrset(t, "@", "MX", int64(60+i), target), last)
	}
	close(stop)
	<-done
	if polls == 0 || len(bad) > 0 {
		t.Errorf("got %d bad answers of %d, such as %q; want none", len(bad), polls, slices.Compact(bad))
	}
}

func testLastMX(t *testing.T, o *operator) {
	desired := o.rrset(t, "@", "MX", -1, "10 mail.example.com.")
	before := o.observe(t, "dns_rrset", desired, none)
	outcome, _, err := o.try(t, "dns_rrset", before, cty.NullVal(desired.Type()), before)
	if outcome != providers.NotApplied || err == nil {
		t.Errorf("removing the last MX: outcome %v, error %v; want not applied", outcome, err)
	}
	if !o.stored(t, Zone, "MX").Exists() {
		t.Error("the MX is gone")
	}
}

func testConflict(t *testing.T, o *operator) {
	last := o.apply(t, "dns_rrset", o.rrset(t, "mail", "A", -1, "198.51.100.10"), none)
	desired := o.rrset(t, "mail", "A", -1, "198.51.100.20")
	before := o.observe(t, "dns_rrset", desired, last)
	o.byHand(t, "mail", "A", 3600, "198.51.100.99")
	outcome, _, err := o.try(t, "dns_rrset", before, desired, last)
	var conflict *dns.Conflict
	if outcome != providers.NotApplied || !errors.As(err, &conflict) {
		t.Fatalf("outcome %v, error %v; want not applied, a conflict", outcome, err)
	}
	if got, want := strings.Join(conflict.Found.Texts(), " | "), "198.51.100.99"; got != want {
		t.Errorf("found: got %q, want %q", got, want)
	}
	if got, want := strings.Join(o.stored(t, "mail.example.com.", "A").Texts(), " | "), "198.51.100.99"; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
}

// testSwap asks the host alone: an expectation that does not hold changes nothing.
func testSwap(t *testing.T, o *operator) {
	if !o.fixture.Host.Capabilities().Swap {
		t.Skip("the host cannot compare and swap")
	}
	set := func(texts ...string) dns.RRset {
		s := dns.RRset{Name: "mail.example.com.", Type: "A", TTL: 3600}
		for _, text := range texts {
			s.Records = append(s.Records, dns.Record{Text: text, Raw: text})
		}
		return s
	}
	for _, test := range []struct {
		name     string
		expected dns.RRset
	}{
		{"other member", set("198.51.100.11")},
		{"one member more", set("198.51.100.10", "198.51.100.11")},
		{"none", set()},
	} {
		outcome, err := o.fixture.Host.Replace(t.Context(), []dns.Edit{{Expected: test.expected, Wanted: set("198.51.100.77")}})
		var conflict *dns.Conflict
		if outcome != providers.NotApplied || !errors.As(err, &conflict) {
			t.Errorf("%s: outcome %v, error %v; want not applied, a conflict", test.name, outcome, err)
		}
	}
	if got, want := strings.Join(o.stored(t, "mail.example.com.", "A").Texts(), " | "), "198.51.100.10"; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
}

// testSeveral asks the host alone: of several edits all happen or none.
func testSeveral(t *testing.T, o *operator) {
	if !o.fixture.Host.Capabilities().Swap {
		t.Skip("the host cannot compare and swap")
	}
	mail, other := o.stored(t, "mail.example.com.", "A"), o.stored(t, "new.example.com.", "A")
	changedMail, wrong := mail, other
	changedMail.Records = []dns.Record{{Text: "198.51.100.77", Raw: "198.51.100.77"}}
	wrong.Records = []dns.Record{{Text: "198.51.100.78", Raw: "198.51.100.78"}}
	outcome, err := o.fixture.Host.Replace(t.Context(), []dns.Edit{{Expected: mail, Wanted: changedMail}, {Expected: wrong, Wanted: wrong}})
	var conflict *dns.Conflict
	if outcome != providers.NotApplied || !errors.As(err, &conflict) {
		t.Errorf("outcome %v, error %v; want not applied, a conflict", outcome, err)
	} else if conflict.Found.Name != "new.example.com." {
		t.Errorf("conflict: got %v, want one at new.example.com.", conflict)
	}
	if got := o.stored(t, "mail.example.com.", "A"); !got.Same(mail) {
		t.Errorf("stored: got %v, want %v", got, mail)
	}
}

func testLostAnswer(t *testing.T, o *operator) {
	if o.fixture.LoseAnswer == nil {
		t.Skip("the fixture cannot lose an answer")
	}
	last := o.apply(t, "dns_rrset", o.rrset(t, "@", "MX", -1, "10 mail.example.com."), none)
	desired := o.rrset(t, "@", "MX", 60, "10 new.example.com.")
	before := o.observe(t, "dns_rrset", desired, last)
	o.fixture.LoseAnswer()
	outcome, after, err := o.try(t, "dns_rrset", before, desired, last)
	if outcome != providers.Applied || err != nil {
		t.Fatalf("outcome %v, error %v; want applied, found by reading", outcome, err)
	}
	o.same(t, "dns_rrset", desired, after, "what Apply returned")
}

// testCrash stops after the zone has changed and before that is recorded: the
// checkpoint is what remains.
func testCrash(t *testing.T, o *operator) {
	last := o.apply(t, "dns_rrset", o.rrset(t, "@", "MX", -1, "10 mail.example.com."), none)
	desired := o.rrset(t, "@", "MX", 60, "10 new.example.com.")
	before := o.observe(t, "dns_rrset", desired, last)
	log := &record{t: t}
	change := providers.Change{Op: "1", Address: "dns_rrset.mx", Action: providers.Update, Before: before, After: desired, Last: last}
	if outcome, _, err := o.system.Resource("dns_rrset").Apply(t.Context(), change, log); outcome != providers.Applied {
		t.Fatalf("outcome %v, error %v", outcome, err)
	}
	o.reopen(t, 30*time.Second)
	o.now = o.now.Add(30 * time.Minute)
	observed := o.observe(t, "dns_rrset", desired, log.checkpoint)
	o.same(t, "dns_rrset", desired, observed, "observed after the crash")
	// Nobody saw when the last server changed; it may have been just now.
	if got, want := text(observed, "cached_until"), at(90*time.Minute); got != want {
		t.Errorf("cached_until: got %q, want %q", got, want)
	}
	// And stopped before the effect: nothing has changed, and it can be done.
	log = &record{t: t, stop: func() {}}
	back := o.rrset(t, "@", "MX", 60, "10 mail.example.com.")
	change = providers.Change{Op: "2", Address: "dns_rrset.mx", Action: providers.Update, Before: observed, After: back, Last: observed}
	if outcome, _, err := o.system.Resource("dns_rrset").Apply(t.Context(), change, log); outcome != providers.NotApplied || err == nil {
		t.Fatalf("outcome %v, error %v; want not applied", outcome, err)
	}
	if got, want := strings.Join(o.stored(t, Zone, "MX").Texts(), " | "), "10 new.example.com."; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
	o.apply(t, "dns_rrset", back, log.checkpoint)
}

// testCrashAdding: where only a member was added, what is recorded beforehand and
// what is found afterwards hold the same members; it was a change all the same.
func testCrashAdding(t *testing.T, o *operator) {
	last := o.apply(t, "dns_rrset", o.rrset(t, "mail", "A", -1, "198.51.100.10"), none)
	o.now = o.now.Add(time.Hour)
	desired := o.rrset(t, "mail", "A", -1, "198.51.100.10", "198.51.100.20")
	before := o.observe(t, "dns_rrset", desired, last)
	log := &record{t: t}
	change := providers.Change{Op: "1", Address: "dns_rrset.mail", Action: providers.Update, Before: before, After: desired, Last: last}
	if outcome, _, err := o.system.Resource("dns_rrset").Apply(t.Context(), change, log); outcome != providers.Applied {
		t.Fatalf("outcome %v, error %v", outcome, err)
	}
	o.now = o.now.Add(30 * time.Minute)
	observed := o.observe(t, "dns_rrset", desired, log.checkpoint)
	if got, want := text(observed, "cached_until"), at(150*time.Minute); got != want {
		t.Errorf("cached_until: got %q, want %q", got, want)
	}
	again := o.observe(t, "dns_rrset", desired, observed)
	if got, want := text(again, "cached_until"), text(observed, "cached_until"); got != want {
		t.Errorf("cached_until at the next look: got %q, want %q", got, want)
	}
}

// testPolicy: of the records that say by a version what they are, a name has one.
// The one that is there is replaced, though nobody told us of it.
func testPolicy(t *testing.T, o *operator) {
	desired := o.rrset(t, "@", "TXT", -1, "v=spf1 ip4:198.51.100.10 ip4:198.51.100.20 -all")
	observed := o.observe(t, "dns_rrset", desired, none)
	if observed.IsNull() {
		t.Fatal("got null, want the policy that is there")
	}
	if got, want := texts(observed, "records")+" / "+texts(observed, "others"), "v=spf1 ip4:198.51.100.10 -all / site-verification=abc"; got != want {
		t.Errorf("records / others: got %q, want %q", got, want)
	}
	o.apply(t, "dns_rrset", desired, none)
	if got, want := strings.Join(o.stored(t, Zone, "TXT").Texts(), " | "), "site-verification=abc | v=spf1 ip4:198.51.100.10 ip4:198.51.100.20 -all"; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
	verification := o.rrset(t, "@", "TXT", -1, "other-verification=x")
	if observed := o.observe(t, "dns_rrset", verification, none); !observed.IsNull() {
		t.Errorf("a text that is no policy: got %#v, want null", observed)
	}
}

// testForeignMX: an exchanger of others is seen before ours is put beside it.
func testForeignMX(t *testing.T, o *operator) {
	observed := o.observe(t, "dns_rrset", o.rrset(t, "@", "MX", -1, "10 new.example.com."), none)
	if observed.IsNull() {
		t.Fatal("got null, want the set with the others in it")
	}
	if got, want := texts(observed, "records")+" / "+texts(observed, "others"), " / 10 mail.example.com."; got != want {
		t.Errorf("records / others: got %q, want %q", got, want)
	}
}

func testRemove(t *testing.T, o *operator) {
	spf := o.apply(t, "dns_rrset", o.rrset(t, "@", "TXT", -1, "v=spf1 ip4:198.51.100.10 -all"), none)
	o.apply(t, "dns_rrset", cty.NullVal(spf.Type()), spf)
	if got, want := strings.Join(o.stored(t, Zone, "TXT").Texts(), " | "), "site-verification=abc"; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
	alone := o.apply(t, "dns_rrset", o.rrset(t, "temp", "A", 60, "198.51.100.20"), none)
	o.apply(t, "dns_rrset", cty.NullVal(alone.Type()), alone)
	if set := o.stored(t, "temp.example.com.", "A"); set.Exists() {
		t.Errorf("stored: got %v, want none", set)
	}
}
