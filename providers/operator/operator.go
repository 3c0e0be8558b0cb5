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
// provider reads that record through [Confirmations]. Until then a turn that has
// come to the step waits ([providers.WaitError]), and says for what.
package operator

import (
	"context"
	"strings"
	"sync"
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
	// Confirmations returns those recorded by now, by the title of their step.
	Confirmations() (map[string]Confirmation, error)
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

// Open implements [providers.Provider]. The confirmations are read once, when they
// are first asked for: while a turn holds the state nobody else adds to them.
func (p *Provider) Open(context.Context, cty.Value, providers.Env) (providers.System, error) {
	if p.confirmations == nil {
		return system{func() (map[string]Confirmation, error) { return nil, nil }}, nil
	}
	return system{sync.OnceValues(p.confirmations.Confirmations)}, nil
}

type system struct {
	recorded func() (map[string]Confirmation, error)
}

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
type steps system

var _ providers.TypedResource[stepValue] = steps{}

func (s steps) Observe(_ context.Context, desired, last *stepValue) (*stepValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	return s.confirmed(v)
}

// confirmed returns the step as it was confirmed, nil if it was not.
func (s steps) confirmed(v *stepValue) (*stepValue, error) {
	recorded, err := s.recorded()
	if err != nil {
		return nil, err
	}
	c, ok := recorded[v.Title]
	if !ok {
		return nil, nil
	}
	return &stepValue{Title: v.Title, Instructions: v.Instructions, ConfirmedBy: new(c.By), ConfirmedAt: new(c.At.UTC().Format(time.RFC3339))}, nil
}

// Apply implements [providers.TypedResource]. Nothing can be done here but to say
// what a person has to do.
func (s steps) Apply(_ context.Context, change providers.TypedChange[stepValue], _ providers.TypedLog[stepValue]) (providers.Outcome, *stepValue, error) {
	if change.After == nil {
		return providers.Applied, nil, nil
	}
	done, err := s.confirmed(change.After)
	switch {
	case err != nil:
		return providers.NotApplied, nil, err
	case done != nil:
		return providers.Applied, done, nil
	}
	return providers.NotApplied, nil, &providers.WaitError{Task: change.After.Title, Next: Next(change.Address, change.After.Instructions)}
}

// Next says how the step at an address is taken and, in words for a shell, how it
// is confirmed; a line each.
func Next(address string, instructions *string) string {
	confirm := "When it is done: mailmove approve '" + strings.ReplaceAll(address, "'", `'\''`) + "', then mailmove apply"
	if instructions == nil {
		return confirm
	}
	return *instructions + "\n" + confirm
}
