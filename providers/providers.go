// Package providers is the contract between the engine and everything that
// mailmove changes: mail servers, DNS hosts, people. It holds that contract and
// nothing else, and imports nothing of mailmove.
//
// Words. A [Provider] is one kind of remote system ("rfc2136",
// "postfix_dovecot"). A [System] is an open connection to one of them, as a
// provider block of the configuration describes it. A [Resource] observes and
// changes the objects of one type ("dns_rrset", "mail_account"). A [Change] is
// one step from what an object is to what it shall be.
//
// Promises. The engine calls [Resource.Observe] before and after every
// [Resource.Apply], never trusts an error alone, and never repeats an effect
// whose outcome is unknown before it has observed. A provider promises that
// Observe has no effects and is complete, and that Apply is safe to repeat after
// an interruption at any instant.
//
// Values are [cty.Value] objects whose attributes are those of the type's
// [ResourceSchema]; most authors write Go structs instead and wrap them with
// [Typed]. A null attribute in a desired value means "not managed".
//
// Growth comes by optional interfaces (optional.go), found with [As].
package providers

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// A Provider is one kind of remote system.
type Provider interface {
	// Schema returns the configuration and the resource types. It is pure.
	Schema() Schema

	// Open returns a connection to the system that config describes. It is
	// cheap and has no effects: a System connects when it is first used. The
	// error names the attribute of config that cannot be right.
	Open(ctx context.Context, config cty.Value, env Env) (System, error)
}

// A System is an open connection to one remote system. It is safe for
// concurrent use.
type System interface {
	// Resource returns the implementation of a resource type, or nil if this
	// system does not have that type.
	Resource(typ string) Resource

	// Close ends the connections. The System is not used afterwards.
	Close() error
}

// A Resource observes and changes the objects of one type on one System. It is
// safe for concurrent use on different objects.
type Resource interface {
	// Observe reads the object that desired (or, where desired is null, last)
	// names, in normal form, or returns a null value if it does not exist. last is
	// what was recorded for the object, null if nothing was: for what cannot be read
	// back from the system itself. Observe has no effects. What it returns is
	// complete, or it returns an error: absence is a fact, never a failure to look.
	Observe(ctx context.Context, desired, last cty.Value) (cty.Value, error)

	// Apply makes the object equal to change.After, or removes it if that is null.
	// It must be safe to repeat after an interruption at any instant. It returns
	// what is known of the outcome, and, with Applied, the object as it is now. The
	// error says why the outcome is not Applied; a [*WaitError] that it waits for a
	// person.
	Apply(ctx context.Context, change Change, log Log) (Outcome, cty.Value, error)
}

// An Outcome says what is known of an effect that was tried.
type Outcome int

const (
	// Unknown: the effect may or may not have happened, now or later. The engine
	// settles it by observing.
	Unknown Outcome = iota
	// NotApplied: nothing has changed.
	NotApplied
	// Partial: some of it happened; Apply may be called again to go on.
	Partial
	// Applied: all of it happened and is durable.
	Applied
)

func (o Outcome) String() string {
	switch o {
	case NotApplied:
		return "not applied"
	case Partial:
		return "partial"
	case Applied:
		return "applied"
	default:
		return "unknown"
	}
}

// An Action is the verb of a change.
type Action string

const (
	// Create: the object does not exist and shall.
	Create Action = "create"
	// Update: the object exists and shall be different.
	Update Action = "update"
	// Remove: the object exists and shall not.
	Remove Action = "remove"
	// Adopt: the object is as it shall be and becomes ours; nothing is done.
	Adopt Action = "adopt"
	// Forget: the object stays as it is and is ours no longer; nothing is done.
	Forget Action = "forget"
)

// Effects reports whether the action changes anything outside the state.
func (a Action) Effects() bool { return a == Create || a == Update || a == Remove }

// A Change is one step of one object.
type Change struct {
	// Op is unique to this change. It is made and recorded before the first
	// attempt and is the same at every repetition.
	Op string
	// Address is the object's place in the configuration, such as
	// module.example_com.mail_account.new["murphy"].
	Address string
	Action  Action
	// Before is what was observed just now, After what is desired; null where the
	// object does not or shall not exist.
	Before, After cty.Value
	// Last is the latest checkpoint of this change, or else what was recorded for
	// the object; null if nothing was.
	Last cty.Value
	// Back is true while the migration goes back to an earlier phase.
	Back bool
}

// Log receives the course of a change. A returned error means that the record
// could not be made durable: the caller has no further effect and returns.
type Log interface {
	// Progress reports done of total units ("messages", "bytes"); total is 0 if unknown.
	Progress(done, total int64, unit string)
	// Step records that the named step of [Stepper] begins.
	Step(name string) error
	// Checkpoint makes v durable before it returns; after a crash it is Change.Last.
	Checkpoint(v cty.Value) error
}

// Env is what a System gets from the engine.
type Env struct {
	// Now is the engine's clock.
	Now func() time.Time
	// Peer returns the open System of another provider block, by the address that
	// an attribute with [Attribute.System] holds. It must not be called within Open.
	Peer func(address string) (System, error)
	// Lineage identifies the migration (a UUID, the same for the life of the state).
	Lineage string
	// Transcript, if not nil, gets a line for each command that is run on a server:
	// when, where, which, how it ended and how long it took; never a secret.
	Transcript io.Writer
}

// Error is an error that helps: what to do next, and whether the same call may be
// repeated as it is. Errors of remote systems implement it.
type Error interface {
	error
	Hint() string
	Temporary() bool
}

// Fault is the plain implementation of [Error].
type Fault struct {
	Err   error
	Next  string // the next step for a person, a sentence
	Retry bool
}

func (f *Fault) Error() string   { return f.Err.Error() }
func (f *Fault) Unwrap() error   { return f.Err }
func (f *Fault) Hint() string    { return f.Next }
func (f *Fault) Temporary() bool { return f.Retry }

// Faultf makes a Fault that must not be repeated as it is; next says what to do.
func Faultf(next, format string, args ...any) error {
	return &Fault{Err: fmt.Errorf(format, args...), Next: next}
}

var _ Error = (*Fault)(nil)

// A WaitError says that a change waits for a person. Nothing is wrong, and nothing
// was done: Apply returns it with NotApplied. The turn ends in a wait instead of a
// failure, and the next one tries the same change.
type WaitError struct {
	// Task is what the person is to do, in a few words.
	Task string
	// Next says how, and how to say that it is done.
	Next string
}

func (e *WaitError) Error() string   { return e.Task + ": waits for a person" }
func (e *WaitError) Hint() string    { return e.Next }
func (e *WaitError) Temporary() bool { return false }

var _ Error = (*WaitError)(nil)
