// Package mailtest is the conformance suite of mail platforms. A platform's test
// opens two servers of it and calls [Run]:
//
//	func TestConformance(t *testing.T) { mailtest.Run(t, open) }
//
// The suite speaks SMTP and IMAP to the servers as senders and users do, changes
// them through the resource types and abilities as the engine does, and interrupts
// handoffs at every call.
package mailtest

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/providertest"
)

// A Host is one server under test, as its administrator, its senders and its users
// have it.
type Host interface {
	// Open opens the server for a migration.
	Open(t testing.TB, env providers.Env) mail.Server
	AddDomain(t testing.TB, domain string)
	AddAccount(t testing.TB, address mail.Address, password string)
	AddAlias(t testing.TB, address mail.Address, members ...mail.Address)
	// SMTP and IMAP connect as a client out in the world does.
	SMTP(t testing.TB) (net.Conn, error)
	IMAP(t testing.TB) (net.Conn, error)
	// Restart ends the server as a crash does and starts it again.
	Restart(t testing.TB)
}

// A Pair is two servers; neither has anything of the domain "example.com".
type Pair struct {
	Old, New Host
	// Pace is how long the servers may take to put a route in force.
	Pace time.Duration
	// Skip says of tests by name why they are left out.
	Skip map[string]string
}

// Domain is the domain of all accounts of the suite.
const Domain = "example.com"

// Addresses of the provider blocks.
const (
	oldName = "provider.test.old"
	newName = "provider.test.new"
)

// Run runs the suite. open is called for each test that needs servers of its own.
func Run(t *testing.T, open func(t testing.TB) Pair) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"Claim", testClaim},
		{"Accounts", testAccounts},
		{"Aliases", testAliases},
		{"AliasConflict", testAliasConflict},
		{"Domain", testDomain},
		{"Trust", testTrust},
		{"Routes", testRoutes},
		{"HeldMailGoesOnce", testHeldMail},
		{"PeerIsKept", testPeerIsKept},
		{"Logins", testLogins},
		{"ParkedLogin", testParkedLogin},
		{"SessionsEnd", testSessionsEnd},
		{"SentryCommit", testSentryCommit},
		{"SentryExpires", testSentryExpires},
		{"SentryRestart", testSentryRestart},
		{"Copy", testCopy},
		{"CopyAside", testCopyAside},
		{"CopyRefusesAStoreInUse", testCopyInUse},
		{"Handoff", testHandoff},
		{"HandoffBatch", testHandoffBatch},
		{"HandoffBatchInterrupted", testHandoffBatchInterrupted},
		{"HandoffUnderTraffic", testHandoffUnderTraffic},
		{"HandoffInterrupted", testHandoffInterrupted},
		{"TimerBeforePark", testTimerBeforePark},
		{"MailmoveGoneAfterCommit", testGoneAfterCommit},
		{"Probe", testProbe},
		{"Stragglers", testStragglers},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair := open(t)
			if reason := pair.Skip[test.name]; reason != "" {
				t.Skip(reason)
			}
			test.run(t, newBench(t, pair))
		})
	}
}

// A bench is two servers and a migration between them.
type bench struct {
	Pair
	servers map[string]mail.Server
	// wrapped are the servers as the resource types see them.
	wrapped map[string]providers.System
	env     providers.Env
	ops     int
}

func newBench(t testing.TB, pair Pair) *bench {
	b := &bench{Pair: pair, servers: map[string]mail.Server{}, wrapped: map[string]providers.System{}}
	b.env = providers.Env{Now: time.Now, Lineage: "mailtest", Peer: func(address string) (providers.System, error) {
		sys, ok := b.wrapped[address]
		if !ok {
			return nil, fmt.Errorf("no provider %s", address)
		}
		return sys, nil
	}}
	for name, host := range map[string]Host{oldName: pair.Old, newName: pair.New} {
		s := host.Open(t, b.env)
		b.servers[name], b.wrapped[name] = s, s
	}
	return b
}

func (b *bench) old() mail.Server { return b.servers[oldName] }
func (b *bench) new() mail.Server { return b.servers[newName] }

// op returns an operation of its own.
func (b *bench) op() string {
	b.ops++
	return fmt.Sprintf("op%04d", b.ops)
}

// does returns an ability of a server or fails the test.
func does[A any](t testing.TB, s mail.Server) A {
	t.Helper()
	a, ok := providers.As[A](s)
	if !ok {
		t.Fatalf("the platform %s lacks the ability %T", s.Platform(), *new(A))
	}
	return a
}

// schema returns the schema of a type.
func schema(typ string) providers.ResourceSchema { return mail.Schema("", nil).Resources[typ] }

// make makes an object as the engine does and checks that it is so then.
func (b *bench) make(t testing.TB, provider, typ string, set map[string]cty.Value) cty.Value {
	t.Helper()
	outcome, value, err := b.try(t, provider, typ, b.op(), set)
	if err != nil || outcome != providers.Applied {
		t.Fatalf("making %s of %s: %v, %v", typ, provider, outcome, err)
	}
	return value
}

// try observes an object, changes it if it differs, and checks that it does not
// any more if the change was applied.
func (b *bench) try(t testing.TB, provider, typ, op string, set map[string]cty.Value) (providers.Outcome, cty.Value, error) {
	t.Helper()
	r := b.wrapped[provider].Resource(typ)
	if r == nil {
		t.Fatalf("%s has no type %s", provider, typ)
	}
	s := schema(typ)
	null := cty.NullVal(s.Attributes.Type())
	desired := providertest.Normal(t, r, providertest.Value(s, set))
	before, err := r.Observe(t.Context(), desired, null)
	if err != nil {
		return providers.NotApplied, null, err
	}
	change := providers.Change{Op: op, Address: typ, Action: providers.Create, Before: before, After: desired, Last: null}
	if !before.IsNull() {
		if len(s.Differs(desired, before)) == 0 {
			return providers.Applied, before, nil
		}
		change.Action = providers.Update
	}
	outcome, value, err := r.Apply(t.Context(), change, providertest.Log{T: t})
	if err != nil || outcome != providers.Applied {
		return outcome, value, err
	}
	after := providertest.Observe(t, r, desired, value)
	if after.IsNull() || len(s.Differs(desired, after)) > 0 {
		t.Fatalf("after applying %s: got %#v, want %#v", typ, after, desired)
	}
	return outcome, value, nil
}

// str and strs make values.
func str(s string) cty.Value { return cty.StringVal(s) }

func strs(list ...string) cty.Value {
	values := make([]cty.Value, len(list))
	for i, s := range list {
		values[i] = cty.StringVal(s)
	}
	return cty.SetVal(values)
}

// password is that of every account.
const password = "correct horse"

// user returns an address of the domain.
func user(name string) mail.Address { return mail.Address(name + "@" + Domain) }

// begin brings the bench to where a move begins: the domain, accounts and, if the
// migration goes on, all that precedes the copy.
func (b *bench) begin(t testing.TB, names ...string) {
	t.Helper()
	b.Old.AddDomain(t, Domain)
	for _, name := range names {
		b.Old.AddAccount(t, user(name), password)
	}
	for _, at := range []string{oldName, newName} {
		b.make(t, at, "mail_claim", nil)
	}
	b.make(t, oldName, "mail_trust", map[string]cty.Value{"peer": str(newName), "domain": str(Domain)})
	b.make(t, newName, "mail_trust", map[string]cty.Value{"peer": str(oldName), "domain": str(Domain)})
}

// prepare is begin and what else the phase prepare of std/live makes.
func (b *bench) prepare(t testing.TB, names ...string) {
	t.Helper()
	b.begin(t, names...)
	for _, name := range names {
		b.handoff(t, name, "old")
	}
	for _, name := range names {
		b.make(t, newName, "mail_account", map[string]cty.Value{"address": str(string(user(name))), "password_from": str(oldName)})
	}
	b.make(t, newName, "mail_domain", map[string]cty.Value{"domain": str(Domain)})
}

func handoffOf(name, home string) map[string]cty.Value {
	return map[string]cty.Value{
		"account": str(string(user(name))), "old": str(oldName), "new": str(newName), "home": str(home), "timeout": str("1m"),
	}
}

func (b *bench) handoff(t testing.TB, name, home string) {
	t.Helper()
	b.make(t, newName, "mail_handoff", handoffOf(name, home))
}

// within waits for a condition, generously.
func within(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
