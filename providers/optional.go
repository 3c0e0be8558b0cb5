package providers

import (
	"context"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// A Stepper is a Resource whose changes have ordered, named steps. The plan
// shows them, and each is journalled when it begins.
type Stepper interface {
	Steps(change Change) []string
}

// A Normalizer is a Resource that has a normal form for what people write (lower
// case, absolute names). It is pure.
type Normalizer interface {
	Normalize(desired cty.Value) (cty.Value, error)
}

// An Estimator is a Resource that can say beforehand what a change will cost. It
// has no effects.
type Estimator interface {
	Estimate(ctx context.Context, change Change) (Estimate, error)
}

// Estimate is what a change will cost; zero is unknown.
type Estimate struct {
	Bytes    int64
	Messages int64
	Duration time.Duration
}

// A Lister is a Resource whose objects contain others (a domain its accounts, a
// zone its records). List returns all of those that must be declared, so that
// nothing is forgotten: complete, or an error.
type Lister interface {
	List(ctx context.Context, desired cty.Value) ([]Listed, error)
}

// Listed is an object that a system has.
type Listed struct {
	// Type is the resource type that would declare it.
	Type string
	// Values is an object of that type's schema with its arguments set.
	Values cty.Value
	// Ignored says that the containing object's ignore list names it.
	Ignored bool
}

// A Linter is a Provider that reads a whole plan and reports dangers. It is pure.
type Linter interface {
	Lint(plan Outlook) []Danger
}

// Outlook is what a Linter sees: for each phase, what shall exist then and what
// will be done to reach it.
type Outlook struct {
	Phases []OutlookPhase
	// Listed are the objects found on the systems, by the address of the resource
	// that listed them.
	Listed map[string][]Listed
	// Observed are the objects as they are now, by address.
	Observed map[string]cty.Value
	// Providers are the provider blocks, by address.
	Providers map[string]OutlookProvider
}

// OutlookProvider is a provider block: its type and its configuration, in which
// secrets are references.
type OutlookProvider struct {
	Type   string
	Config cty.Value
}

// OutlookPhase is one phase of one module instance.
type OutlookPhase struct {
	Clock, Phase string
	Back         bool
	// NoReturn says that no rollback leads out of the phase.
	NoReturn  bool
	Resources []OutlookResource
	Changes   []OutlookChange
}

// OutlookResource is an object that shall exist in a phase.
type OutlookResource struct {
	Address, Type, Provider string
	Values                  cty.Value
}

// OutlookChange is a planned change.
type OutlookChange struct {
	Address, Type, Provider string
	Action                  Action
	Before, After           cty.Value
}

// Severity of a [Danger].
type Severity string

const (
	// Fatal: mail or access would be lost; there is no plan.
	Fatal Severity = "error"
	// Warning: shown in the plan's summary.
	Warning Severity = "warning"
)

// Danger is something about a plan that a person must know.
type Danger struct {
	// Code is stable, such as MAIL-LOOP.
	Code     string
	Severity Severity
	// Address is the resource concerned, or "".
	Address string
	// Summary is a sentence: what will go wrong. Fix is one: what to do about it.
	Summary, Fix string
}

// A Batcher is a Resource whose changes meet at one object (a thousand accounts
// in one file). The engine groups changes that are ready at the same time by key
// and applies them together; each keeps an outcome of its own. A key of "" means
// that the change goes alone.
type Batcher interface {
	BatchKey(change Change) string
	// BatchLimit is how many changes a batch may have; 0 is any number.
	BatchLimit() int
	ApplyBatch(ctx context.Context, changes []Change, logs []Log) []Result
}

// Result is the outcome of one change of a batch.
type Result struct {
	Outcome Outcome
	Value   cty.Value
	Err     error
}

// A Fencer is a System that can hold and check the operator's epoch, so that an
// operator who does not know that another took over has no effect.
type Fencer interface {
	// Claim raises the epoch that the system holds for env.Lineage to epoch, if it
	// holds one that is lower, and makes every later effect of this System
	// conditional on it. It returns a [StaleError] if the system holds a higher one.
	// Where the migration keeps no mark on the system yet, or no longer, Claim only remembers epoch.
	Claim(ctx context.Context, epoch Epoch) error
}

// Epoch counts the turns of one migration. Holder says who takes this one, for
// the message that the other operator gets.
type Epoch struct {
	Number int64
	Holder string
}

// StaleError says that another operator holds a later epoch.
type StaleError struct {
	System       string
	Ours, Theirs Epoch
}

func (e *StaleError) Error() string {
	return "claiming " + e.System + ": " + e.Theirs.Holder + " has taken a later turn of this migration"
}

// Hint implements [Error].
func (e *StaleError) Hint() string {
	return "This state file is out of date. Go on with the newest one; if it is lost, read docs/runbook.md, section \"The state file is lost\"."
}

// Temporary implements [Error].
func (e *StaleError) Temporary() bool { return false }

// A Refresher is a System that caches what it reads, so that the observations of
// one walk cost one reading. Refresh forgets the cache; the System itself does
// so after its own writes.
type Refresher interface {
	Refresh()
}

// An Upgrader is a Resource that can read values recorded by an older version.
type Upgrader interface {
	Upgrade(recorded []byte) (cty.Value, error)
}

// As finds an optional interface in v or in what v wraps (a value with a method
// Unwrap() any).
func As[I any](v any) (I, bool) {
	for v != nil {
		if found, ok := v.(I); ok {
			return found, true
		}
		wrapper, ok := v.(interface{ Unwrap() any })
		if !ok {
			break
		}
		v = wrapper.Unwrap()
	}
	var none I
	return none, false
}
