package mailtest

import (
	"fmt"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/providertest"
)

// handOver hands accounts over in one batch, each with an operation of its own, and
// returns the results in order.
func (b *bench) handOver(t testing.TB, ops map[string]string, home string, names ...string) []providers.Result {
	t.Helper()
	r := b.wrapped[newName].Resource("mail_handoff")
	batcher, ok := providers.As[providers.Batcher](r)
	if !ok {
		t.Fatal("mail_handoff takes no batches")
	}
	s := schema("mail_handoff")
	null := cty.NullVal(s.Attributes.Type())
	var changes []providers.Change
	var logs []providers.Log
	for _, name := range names {
		desired := providertest.Normal(t, r, providertest.Value(s, handoffOf(name, home)))
		before := providertest.Observe(t, r, desired, null)
		change := providers.Change{Op: ops[name], Address: name, Action: providers.Update, Before: before, After: desired, Last: null}
		if key := batcher.BatchKey(change); len(changes) > 0 && key != batcher.BatchKey(changes[0]) {
			t.Fatalf("accounts that go the same way have the batch keys %q and %q", batcher.BatchKey(changes[0]), key)
		}
		changes, logs = append(changes, change), append(logs, providertest.Log{T: t})
	}
	return batcher.ApplyBatch(t.Context(), changes, logs)
}

// A batch is handed over together; an account that cannot be is left where it is,
// and holds nobody up.
func testHandoffBatch(t *testing.T, b *bench) {
	names := []string{"a", "b", "c", "d", "e"}
	b.prepare(t, names...)
	b.Old.AddAccount(t, user("stranger"), password) // who has no account on the new server
	b.refresh()
	b.handoff(t, "stranger", "old")
	all := append(names, "stranger")
	ops := map[string]string{}
	for _, name := range all {
		ops[name] = b.op()
		mustSend(t, b.Old, user(name), "before-"+name)
		arrives(t, b.Old, user(name), "before-"+name)
	}
	results := b.handOver(t, ops, "new", all...)
	for i, name := range names {
		if results[i].Err != nil || results[i].Outcome != providers.Applied {
			t.Errorf("%s: %v, %v; want applied", name, results[i].Outcome, results[i].Err)
		}
		wantHome(t, b, b.new(), name)
		wantServed(t, b, name, "before-"+name)
	}
	if last := results[len(names)]; last.Err == nil || last.Outcome != providers.NotApplied {
		t.Errorf("an account that the new server does not have: %v, %v; want not applied", last.Outcome, last.Err)
	}
	wantHome(t, b, b.old(), "stranger")
	arrives(t, b.Old, user("stranger"), "before-stranger")
}

// Mailmove dies at any call of a batch; the batch that is tried again brings all
// accounts home.
func testHandoffBatchInterrupted(t *testing.T, b *bench) {
	names := []string{"a", "b", "c"}
	b.prepare(t, names...)
	plain := map[string]providers.System{oldName: b.wrapped[oldName], newName: b.wrapped[newName]}
	stride := 2
	if b.Pace > 0 { // a sample of the calls
		stride = 8
	}
	for at := 0; ; at += stride {
		home := []string{"new", "old"}[at/stride%2]
		for _, name := range names {
			b.handoff(t, name, map[string]string{"new": "old", "old": "new"}[home])
		}
		f := &faults{kind: []fault{crashBefore, crashAfter}[at/stride/2%2], at: at}
		ops := map[string]string{}
		for _, name := range names {
			ops[name] = b.op()
		}
		for name, s := range b.servers {
			b.wrapped[name] = newFaulty(s, f, b.env)
		}
		b.handOver(t, ops, home, names...)
		for name, sys := range plain {
			b.wrapped[name] = sys
		}
		b.refresh()
		for _, name := range names {
			mustSend(t, b.Old, user(name), fmt.Sprintf("old-%s-%d", name, at))
			mustSend(t, b.New, user(name), fmt.Sprintf("new-%s-%d", name, at))
		}
		for i, result := range b.handOver(t, ops, home, names...) {
			if result.Err != nil || result.Outcome != providers.Applied {
				t.Fatalf("dead at call %d of %v: %s, tried again: %v, %v", at, f.names, names[i], result.Outcome, result.Err)
			}
		}
		for _, name := range names {
			arrives(t, b.New, user(name), fmt.Sprintf("old-%s-%d", name, at))
			arrives(t, b.Old, user(name), fmt.Sprintf("new-%s-%d", name, at))
		}
		if at >= f.calls {
			if at < 10 {
				t.Errorf("the batch makes %d calls only: the faults do not reach it", f.calls)
			}
			return
		}
	}
}
