package operator

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

type confirmed map[string]Confirmation

func (c confirmed) Confirmations() (map[string]Confirmation, error) { return maps.Clone(c), nil }

func TestStep(t *testing.T) {
	ctx := context.Background()
	record := confirmed{}
	provider := New(record)
	open := func() providers.Resource {
		t.Helper()
		sys, err := provider.Open(ctx, cty.EmptyObjectVal, providers.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return sys.Resource("operator_step")
	}
	step := open()
	null := cty.NullVal(stepSchema().Attributes.Type())
	desired, err := providers.Encode(stepSchema(), &stepValue{Title: "tell the users", Instructions: new("Write to them.")})
	if err != nil {
		t.Fatal(err)
	}
	observed, err := step.Observe(ctx, desired, null)
	if err != nil || !observed.IsNull() {
		t.Fatalf("before anybody confirmed: observed %#v, %v; want null", observed, err)
	}
	outcome, _, err := step.Apply(ctx, providers.Change{Address: `operator_step.x["it's"]`, Action: providers.Create, Before: null, After: desired}, nil)
	want := "Write to them.\nWhen it is done: mailmove approve 'operator_step.x[\"it'\\''s\"]', then mailmove apply"
	var wait *providers.WaitError
	if outcome != providers.NotApplied || !errors.As(err, &wait) || wait.Task != "tell the users" || wait.Next != want {
		t.Fatalf("Apply = %v, %#v; want not applied, and a wait with the instructions and the command %s", outcome, err, want)
	}
	record["tell the users"] = Confirmation{By: "ada", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	observed, err = open().Observe(ctx, desired, null) // as the next turn does
	if err != nil || observed.IsNull() || observed.GetAttr("confirmed_by").AsString() != "ada" || observed.GetAttr("confirmed_at").AsString() != "2026-01-02T03:04:05Z" {
		t.Fatalf("after: observed %#v, %v; want confirmed by ada", observed, err)
	}
	if differs := stepSchema().Differs(desired, observed); len(differs) != 0 {
		t.Errorf("differs in %q, want nothing to do", differs)
	}
}
