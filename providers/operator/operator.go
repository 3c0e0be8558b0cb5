// Package operator is the kind "operator": what no machine can do. A resource
// operator_step is a step that a person takes and then confirms; until then the
// phase that it stands in is not done.
//
//	resource "operator_step" "pop3" {
//	  title        = "POP3 clients keep their mail"
//	  instructions = "Tell the users of POP3 to switch off \"leave mail on server\" for the day of the move."
//	}
//
// A person confirms it with `mailmove approve`, which records who and when; the
// provider reads that record through [Confirmations].
package operator

import (
	"context"
	"fmt"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// A Confirmation says that a person has done a step.
type Confirmation struct {
	By string
	At time.Time
}

// Confirmations are the recorded confirmations of a migration.
type Confirmations interface {
	// Confirmation returns the confirmation of the step with a title, and whether
	// there is one. It is safe for concurrent use.
	Confirmation(title string) (Confirmation, bool)
}

// Provider is the provider "operator".
type Provider struct{ confirmations Confirmations }

var _ providers.Provider = (*Provider)(nil)

// New returns the provider; without confirmations (nil) no step is done.
func New(confirmations Confirmations) *Provider { return &Provider{confirmations} }

// Schema implements [providers.Provider].
func (*Provider) Schema() providers.Schema {
	return providers.Schema{
		Kind: "operator", Doc: "People: steps that no machine can take.",
		Config:    providers.Attributes{},
		Resources: map[string]providers.ResourceSchema{"operator_step": stepSchema()},
	}
}

func stepSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "A step that a person takes and confirms.",
		Attributes: providers.Attributes{
			"title":        {Type: cty.String, Required: true, Identity: true, Doc: "What is to be done, in a few words; it names the step."},
			"instructions": {Type: cty.String, Doc: "How to do it."},
			"confirmed_by": {Type: cty.String, Computed: true, Doc: "Who confirmed it."},
			"confirmed_at": {Type: cty.String, Computed: true, Doc: "When."},
		},
		Permanent: true,
	}
}

// Open implements [providers.Provider].
func (p *Provider) Open(context.Context, cty.Value, providers.Env) (providers.System, error) {
	return system{p.confirmations}, nil
}

type system struct{ confirmations Confirmations }

func (s system) Resource(typ string) providers.Resource {
	if typ != "operator_step" {
		return nil
	}
	return providers.Typed(stepSchema(), steps(s))
}

func (system) Close() error { return nil }

type stepValue struct {
	Title        string  `cty:"title"`
	Instructions *string `cty:"instructions"`
	ConfirmedBy  *string `cty:"confirmed_by"`
	ConfirmedAt  *string `cty:"confirmed_at"`
}

// steps is the type operator_step.
type steps struct{ confirmations Confirmations }

var _ providers.TypedResource[stepValue] = steps{}

func (s steps) Observe(_ context.Context, desired, last *stepValue) (*stepValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	return s.confirmed(v), nil
}

// confirmed returns the step as it was confirmed, nil if it was not.
func (s steps) confirmed(v *stepValue) *stepValue {
	if s.confirmations == nil {
		return nil
	}
	c, ok := s.confirmations.Confirmation(v.Title)
	if !ok {
		return nil
	}
	return &stepValue{Title: v.Title, Instructions: v.Instructions, ConfirmedBy: new(c.By), ConfirmedAt: new(c.At.UTC().Format(time.RFC3339))}
}

// Apply implements [providers.TypedResource]. Nothing can be done here but to say
// what a person has to do.
func (s steps) Apply(_ context.Context, change providers.TypedChange[stepValue], _ providers.TypedLog[stepValue]) (providers.Outcome, *stepValue, error) {
	if change.After == nil {
		return providers.Applied, nil, nil
	}
	if done := s.confirmed(change.After); done != nil {
		return providers.Applied, done, nil
	}
	next := fmt.Sprintf("When it is done, confirm it: mailmove approve %q, then run mailmove apply again.", change.Address)
	if change.After.Instructions != nil {
		next = *change.After.Instructions + " " + next
	}
	return providers.NotApplied, nil, providers.Faultf(next, "step %q waits for a person", change.After.Title)
}
