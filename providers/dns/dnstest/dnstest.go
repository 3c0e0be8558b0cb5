// Package dnstest is the conformance suite of DNS hosts. A host's test starts the
// real thing, or the nearest there is to it, and hands it to [Run]:
//
//	func TestHost(t *testing.T) {
//		dnstest.Run(t, func(t *testing.T) dnstest.Fixture { … })
//	}
//
// The suite changes the zone as the engine does (observe, apply, observe) and
// looks at it through the authoritative servers, from the side.
package dnstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	"github.com/zclconf/go-cty/cty"
)

// Zone is the name of the zone that every fixture serves.
const Zone = "example.com."

// ZoneFile is its content at the start, in zone file form. Hosts that have name
// servers of their own leave out SOA and NS.
const ZoneFile = `
@            3600 IN SOA ns1 hostmaster 1 3600 600 604800 600
@            3600 IN NS  ns1
@            3600 IN NS  ns2
ns1          3600 IN A   127.0.0.1
ns2          3600 IN A   127.0.0.1
mail         3600 IN A   198.51.100.10
new          3600 IN A   198.51.100.20
www          3600 IN A   198.51.100.10
imap         3600 IN CNAME mail
@            3600 IN MX  10 Mail.EXAMPLE.com.
@             600 IN TXT "v=spf1 ip4:198.51.100.10 -all"
@             600 IN TXT "site-verification=" "abc"
*.wild        300 IN A   198.51.100.30
`

// NegativeTTL is the TTL of what does not exist in the zone.
const NegativeTTL = 600 * time.Second

// A Fixture is one host with the zone as at the start.
type Fixture struct {
	// Host is the host itself.
	Host dns.Host
	// Open opens the zone as another operator would. It asks both servers.
	Open func(options dns.Options) *dns.System
	// Servers are host:port of all authoritative servers.
	Servers []string
	// Hold keeps the last server from following the others, until Release.
	Hold, Release func()
	// LoseAnswer makes the answer to the next update get lost after it was carried out.
	LoseAnswer func()
}

// Run runs the suite; open is called for each test anew.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		run  func(*testing.T, *operator)
	}{
		{"create", testCreate},
		{"update", testUpdate},
		{"TTL alone", testTTL},
		{"values beside ours survive", testOwned},
		{"exclusive set", testExclusive},
		{"MX is never empty", testMXNeverEmpty},
		{"last MX is not removed", testLastMX},
		{"changed by hand in between", testConflict},
		{"compare and swap", testSwap},
		{"several sets at once", testSeveral},
		{"lost answer", testLostAnswer},
		{"crash before the outcome is recorded", testCrash},
		{"crash while a member is added", testCrashAdding},
		{"one policy a name", testPolicy},
		{"exchanger of others", testForeignMX},
		{"remove", testRemove},
		{"texts", testTexts},
		{"wildcard", testWildcard},
		{"label boundaries", testLabels},
		{"alias", testAlias},
		{"second server lags", testLag},
		{"stale operator", testStale},
		{"two operators at the same epoch", testSameEpoch},
		{"list", testList},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, newOperator(t, open(t)))
		})
	}
}

// start is where the suite's clock stands at first.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// An operator works on the zone as the engine would.
type operator struct {
	fixture Fixture
	system  *dns.System
	now     time.Time
	lineage string
}

func newOperator(t *testing.T, fixture Fixture) *operator {
	o := &operator{fixture: fixture, now: start, lineage: "6f1d0f7e-0000-4000-8000-000000000001"}
	o.reopen(t, 30*time.Second)
	return o
}

// reopen opens the zone anew; patience is how long changes wait for servers.
func (o *operator) reopen(t *testing.T, patience time.Duration) {
	t.Helper()
	o.system = o.fixture.Open(dns.Options{
		Env:      providers.Env{Now: func() time.Time { return o.now }, Lineage: o.lineage},
		Patience: patience,
	})
	t.Cleanup(func() {
		if err := o.system.Close(); err != nil {
			t.Errorf("closing the system: %v", err)
		}
	})
}

// another returns a second operator of the same migration.
func (o *operator) another(t *testing.T) *operator {
	second := &operator{fixture: o.fixture, now: o.now, lineage: o.lineage}
	second.reopen(t, 30*time.Second)
	return second
}

// rrset is a desired dns_rrset in normal form; a ttl below 0 is null.
func (o *operator) rrset(t *testing.T, name, typ string, ttl int64, records ...string) cty.Value {
	t.Helper()
	return o.object(t, "dns_rrset", map[string]cty.Value{
		"name": cty.StringVal(name), "type": cty.StringVal(typ), "ttl": number(ttl), "records": stringSet(records), "exclusive": cty.False,
	})
}

func number(n int64) cty.Value {
	if n < 0 {
		return cty.NullVal(cty.Number)
	}
	return cty.NumberIntVal(n)
}

func stringSet(texts []string) cty.Value {
	if len(texts) == 0 {
		return cty.SetValEmpty(cty.String)
	}
	values := make([]cty.Value, 0, len(texts))
	for _, text := range texts {
		values = append(values, cty.StringVal(text))
	}
	return cty.SetVal(values)
}

// object is a desired object in normal form.
func (o *operator) object(t *testing.T, typ string, set map[string]cty.Value) cty.Value {
	t.Helper()
	values := map[string]cty.Value{}
	for name, attribute := range dns.Resources()[typ].Attributes {
		values[name] = cty.NullVal(attribute.Type)
	}
	for name, value := range set {
		values[name] = value
	}
	normalizer, ok := providers.As[providers.Normalizer](o.system.Resource(typ))
	if !ok {
		t.Fatalf("%s has no normal form", typ)
	}
	normal, err := normalizer.Normalize(cty.ObjectVal(values))
	if err != nil {
		t.Fatalf("normalising: %v", err)
	}
	return normal
}

// none is no object.
var none = cty.NullVal(cty.DynamicPseudoType)

func (o *operator) observe(t *testing.T, typ string, desired, last cty.Value) cty.Value {
	t.Helper()
	value, err := o.system.Resource(typ).Observe(t.Context(), desired, last)
	if err != nil {
		t.Fatalf("observing: %v", err)
	}
	return value
}

// try applies desired once and returns what comes of it.
func (o *operator) try(t *testing.T, typ string, before, desired, last cty.Value) (providers.Outcome, cty.Value, error) {
	t.Helper()
	action := providers.Update
	switch {
	case before.IsNull():
		action = providers.Create
	case desired.IsNull():
		action = providers.Remove
	}
	change := providers.Change{Op: "1", Address: typ + ".test", Action: action, Before: before, After: desired, Last: last}
	return o.system.Resource(typ).Apply(t.Context(), change, &record{t: t})
}

// apply brings the object to desired and checks that it is there: observed again
// it does not differ, and a second Apply changes nothing. It returns the object.
func (o *operator) apply(t *testing.T, typ string, desired, last cty.Value) cty.Value {
	t.Helper()
	before := o.observe(t, typ, desired, last)
	outcome, after, err := o.try(t, typ, before, desired, last)
	if err != nil || outcome != providers.Applied {
		t.Fatalf("applying: outcome %v, error %v; want applied", outcome, err)
	}
	o.same(t, typ, desired, after, "what Apply returned")
	if after.IsNull() {
		after = before // what is gone is still named by what was
	}
	observed := o.observe(t, typ, desired, after)
	o.same(t, typ, desired, observed, "what Observe returned afterwards")
	if outcome, _, err := o.try(t, typ, before, desired, after); err != nil || outcome != providers.Applied {
		t.Errorf("applying again: outcome %v, error %v; want applied", outcome, err)
	}
	return observed
}

// same fails the test if observed is not as desired.
func (o *operator) same(t *testing.T, typ string, desired, observed cty.Value, what string) {
	t.Helper()
	if desired.IsNull() || observed.IsNull() {
		if desired.IsNull() != observed.IsNull() {
			t.Fatalf("%s: got %#v, want %#v", what, observed, desired)
		}
		return
	}
	if names := dns.Resources()[typ].Differs(desired, observed); len(names) > 0 {
		t.Fatalf("%s differs in %v: got %#v, want %#v", what, names, observed, desired)
	}
}

// byHand replaces a set as somebody at the host's console would.
func (o *operator) byHand(t *testing.T, name, typ string, ttl uint32, records ...string) {
	t.Helper()
	absolute, err := dns.Absolute(name, Zone)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := o.fixture.Host.Get(t.Context(), absolute, typ)
	if err != nil {
		t.Fatal(err)
	}
	wanted := dns.RRset{Name: absolute, Type: typ, TTL: ttl}
	for _, text := range records {
		r, err := dns.NewRecord(typ, text, Zone)
		if err != nil {
			t.Fatal(err)
		}
		wanted.Records = append(wanted.Records, r)
	}
	if outcome, err := o.fixture.Host.Replace(t.Context(), []dns.Edit{{Expected: expected, Wanted: wanted}}); outcome != providers.Applied {
		t.Fatalf("changing by hand: outcome %v, error %v", outcome, err)
	}
}

// stored returns what the host holds.
func (o *operator) stored(t *testing.T, name, typ string) dns.RRset {
	t.Helper()
	set, err := o.fixture.Host.Get(t.Context(), name, typ)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// text returns a string attribute.
func text(v cty.Value, name string) string {
	if v.IsNull() || v.GetAttr(name).IsNull() {
		return ""
	}
	return v.GetAttr(name).AsString()
}

// texts returns a set attribute's members.
func texts(v cty.Value, name string) string {
	var all []string
	for _, member := range v.GetAttr(name).AsValueSlice() {
		all = append(all, member.AsString())
	}
	return strings.Join(all, " | ")
}

// record is a Log that keeps what it is told.
type record struct {
	t          *testing.T
	steps      []string
	checkpoint cty.Value
	// stop makes the checkpoint the last thing that happens.
	stop context.CancelFunc
}

func (r *record) Progress(done, total int64, unit string) {
	if done > total || unit == "" {
		r.t.Errorf("progress %d of %d %q", done, total, unit)
	}
}

func (r *record) Step(name string) error {
	r.steps = append(r.steps, name)
	return nil
}

func (r *record) Checkpoint(v cty.Value) error {
	r.checkpoint = v
	if r.stop != nil {
		r.stop()
		return fmt.Errorf("stopped at the checkpoint")
	}
	return nil
}

// at is the clock's start plus d, as cached_until shows it.
func at(d time.Duration) string { return start.Add(d).Format(time.RFC3339) }

// wraps is errors.As, false for nil.
func wraps[E error](err error, target *E) bool { return err != nil && errors.As(err, target) }

// sameLines compares without regard to order.
func sameLines(got, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}
