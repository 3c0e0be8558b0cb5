// Package providertest holds the checks that every resource type of every provider
// passes, on a model and on the real thing:
//
//	providertest.Run(t, providertest.Case{
//		Resource: system.Resource("mail_trust"), Schema: schema.Resources["mail_trust"],
//		Desired: map[string]cty.Value{"peer": cty.StringVal("provider.x.old"), "domain": …},
//	})
package providertest

import (
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// A Case is one object that does not exist yet, or is to be changed.
type Case struct {
	Resource providers.Resource
	Schema   providers.ResourceSchema
	// Desired are the arguments that are set; the others are null or have their default.
	Desired map[string]cty.Value
	// Keep leaves the object; otherwise it is removed, unless it is Permanent.
	Keep bool
}

// Value returns an object of a schema with arguments set.
func Value(schema providers.ResourceSchema, set map[string]cty.Value) cty.Value {
	values := map[string]cty.Value{}
	for name, attr := range schema.Attributes {
		values[name] = cty.NullVal(attr.Type)
		if attr.Default != cty.NilVal {
			values[name] = attr.Default
		}
		if v, ok := set[name]; ok {
			values[name] = v
		}
	}
	return cty.ObjectVal(values)
}

// Normal returns desired in the resource's normal form.
func Normal(t testing.TB, r providers.Resource, desired cty.Value) cty.Value {
	t.Helper()
	n, ok := providers.As[providers.Normalizer](r)
	if !ok {
		return desired
	}
	normal, err := n.Normalize(desired)
	if err != nil {
		t.Fatalf("normalising %#v: %v", desired, err)
	}
	again, err := n.Normalize(normal)
	if err != nil || !again.RawEquals(normal) {
		t.Fatalf("normalising twice: got %#v, %v; want %#v", again, err, normal)
	}
	return normal
}

// Run checks that observing has no effects, that applying makes the object as
// desired and may be repeated, and that removing removes.
func Run(t *testing.T, c Case) {
	t.Helper()
	null := cty.NullVal(c.Schema.Attributes.Type())
	desired := Normal(t, c.Resource, Value(c.Schema, c.Desired))
	before := Observe(t, c.Resource, desired, null)
	if again := Observe(t, c.Resource, desired, null); !Same(c.Schema, again, before) {
		t.Fatalf("observing twice: got %#v, want %#v", again, before)
	}
	change := providers.Change{Op: t.Name(), Address: "test", Action: action(before, desired), Before: before, After: desired, Last: null}
	value := Apply(t, c.Resource, change)
	check := func(when string, last cty.Value) cty.Value {
		t.Helper()
		after := Observe(t, c.Resource, desired, last)
		if after.IsNull() {
			t.Fatalf("%s: the object does not exist", when)
		}
		if differs := c.Schema.Differs(desired, after); len(differs) > 0 {
			t.Fatalf("%s: it differs in %q: got %#v, want %#v", when, differs, after, desired)
		}
		return after
	}
	check("after Apply", value)
	// An interruption after the effect: the same change again.
	value = Apply(t, c.Resource, change)
	after := check("after Apply was repeated", value)
	if c.Keep || c.Schema.Permanent {
		return
	}
	remove := providers.Change{Op: t.Name() + "-remove", Address: "test", Action: providers.Remove, Before: after, After: null, Last: value}
	for range 2 {
		Apply(t, c.Resource, remove)
		if left := Observe(t, c.Resource, null, value); !left.IsNull() {
			t.Fatalf("after removing: got %#v, want nothing", left)
		}
	}
}

func action(before, desired cty.Value) providers.Action {
	switch {
	case before.IsNull():
		return providers.Create
	case desired.IsNull():
		return providers.Remove
	}
	return providers.Update
}

// Same reports whether two observations are equal but for what is computed, which
// may tell the time.
func Same(schema providers.ResourceSchema, a, b cty.Value) bool {
	if a.IsNull() || b.IsNull() {
		return a.IsNull() == b.IsNull()
	}
	return len(schema.Differs(a, b)) == 0 && len(schema.Differs(b, a)) == 0
}

// Observe observes or fails the test.
func Observe(t testing.TB, r providers.Resource, desired, last cty.Value) cty.Value {
	t.Helper()
	v, err := r.Observe(t.Context(), desired, last)
	if err != nil {
		t.Fatalf("observing: %v", err)
	}
	return v
}

// Apply applies or fails the test, and returns the object.
func Apply(t testing.TB, r providers.Resource, change providers.Change) cty.Value {
	t.Helper()
	outcome, value, err := r.Apply(t.Context(), change, Log{T: t})
	if err != nil || outcome != providers.Applied {
		t.Fatalf("applying %s: %v, %v", change.Action, outcome, err)
	}
	return value
}

// Log is a [providers.Log] that writes to the test's log.
type Log struct{ T testing.TB }

// Progress implements [providers.Log].
func (Log) Progress(int64, int64, string) {}

// Step implements [providers.Log].
func (l Log) Step(name string) error {
	l.T.Logf("step: %s", name)
	return nil
}

// Checkpoint implements [providers.Log].
func (Log) Checkpoint(cty.Value) error { return nil }
