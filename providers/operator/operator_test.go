package operator

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

type confirmed map[string]Confirmation

func (c confirmed) Confirmation(title string) (Confirmation, bool) {
	found, ok := c[title]
	return found, ok
}

func TestStep(t *testing.T) {
	ctx := context.Background()
	record := confirmed{}
	sys, err := New(record).Open(ctx, cty.EmptyObjectVal, providers.Env{})
	if err != nil {
		t.Fatal(err)
	}
	step := sys.Resource("operator_step")
	null := cty.NullVal(stepSchema().Attributes.Type())
	desired, err := providers.Encode(stepSchema(), &stepValue{Title: "tell the users", Instructions: new("Write to them.")})
	if err != nil {
		t.Fatal(err)
	}
	observed, err := step.Observe(ctx, desired, null)
	if err != nil || !observed.IsNull() {
		t.Fatalf("before anybody confirmed: observed %#v, %v; want null", observed, err)
	}
	outcome, _, err := step.Apply(ctx, providers.Change{Address: "operator_step.x", Action: providers.Create, Before: null, After: desired}, nil)
	fault, ok := err.(providers.Error)
	if outcome != providers.NotApplied || !ok || !strings.Contains(fault.Hint(), "Write to them.") || !strings.Contains(fault.Hint(), "mailmove approve") {
		t.Fatalf("Apply = %v, %v; want not applied, with the instructions and the command", outcome, err)
	}
	record["tell the users"] = Confirmation{By: "ada", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	observed, err = step.Observe(ctx, desired, null)
	if err != nil || observed.IsNull() || observed.GetAttr("confirmed_by").AsString() != "ada" || observed.GetAttr("confirmed_at").AsString() != "2026-01-02T03:04:05Z" {
		t.Fatalf("after: observed %#v, %v; want confirmed by ada", observed, err)
	}
	if differs := stepSchema().Differs(desired, observed); len(differs) != 0 {
		t.Errorf("differs in %q, want nothing to do", differs)
	}
}
