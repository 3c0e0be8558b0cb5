// Package plan turns desired and observed states into a plan: for each phase of
// a migration the changes that reach it, in an order, with the gates between
// phases. A plan is pure data with a canonical encoding and a digest; it is the
// contract that apply keeps.
//
// The package is pure: it imports no context, os, net or clock. Time enters as a
// value.
//
// Words. A [World] is what shall exist in one phase of one clock. A [Clock] is
// the chain of phases of one module instance; every clock moves by itself. A
// [Change] leads one object from one world to the next.
package plan

import (
	"time"

	"github.com/zclconf/go-cty/cty"
)

// A Resource is one object that shall exist.
type Resource struct {
	// Address is unique, such as module.example_com.mail_account.new["murphy"].
	Address string
	Type    string
	// Provider is the address of the provider block that serves it, such as
	// provider.rfc2136.zone.
	Provider string
	// Values is an object of the type's schema: normalised, defaults filled in,
	// computed attributes null.
	Values cty.Value
	// DependsOn are addresses of resources that come first, sorted.
	DependsOn []string
	// Keep says that the object is forgotten, never removed.
	Keep bool
	// Where is file:line of the block.
	Where string
}

// A World is what shall exist in one phase of one clock, in address order.
type World []Resource

// A Clock is the chain of phases of one module instance, in order. A root module
// without phases is a clock with the one phase "" .
type Clock struct {
	// Path is the module instance's address; "" is the root.
	Path   string
	Phases []Phase
}

// A Phase is one stage of a migration.
type Phase struct {
	Name  string
	Title string
	// Rollback is the phase that the clock goes back to from here; "" makes the
	// phase a point of no return. Entering the first phase can always be undone.
	Rollback string
	// Gates must be open before the phase is entered.
	Gates []Gate
	Where string
}

// GateKind is one of the four kinds of gates.
type GateKind string

const (
	// Condition holds at the moment of entry.
	Condition GateKind = "condition"
	// NotBefore is a moment.
	NotBefore GateKind = "not_before"
	// Window is a recurring span of time.
	Window GateKind = "window"
	// Approval is given by a person.
	Approval GateKind = "approval"
)

// A Gate stands before a phase. Its expressions are evaluated when the clock
// stands before it; Text is their source, for people.
type Gate struct {
	Name  string   `json:"name"`
	Kind  GateKind `json:"kind"`
	Text  string   `json:"text"`
	Title string   `json:"title,omitempty"`
}

// A Reading is a gate evaluated at a moment.
type Reading struct {
	Gate
	Open bool
	// Evidence says why, in a sentence fragment: "behind is 31, tolerance is 20".
	Evidence string
	// Until is when a closed gate may open, zero if only observing can tell.
	Until time.Time
	// Closes is, for an open window, when it closes; else zero.
	Closes time.Time
	// Approvers may open an approval gate; empty means anybody.
	Approvers []string
	// Quorum is how many approvals an approval gate needs.
	Quorum int
}

// Position says in which phase each clock stands: clock path to phase name; ""
// or no entry is before the first.
type Position map[string]string
