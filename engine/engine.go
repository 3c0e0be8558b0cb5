// Package engine is the flow of a migration: plan, take a turn, go back, say how
// things stand. It knows phases, objects, changes and gates, and nothing of what
// they are: that knowledge is behind the package providers.
//
// Reading order: engine.go (what there is), planning.go (Plan), turn.go (one turn
// as a single-threaded step over events), clock.go (one clock within it; its parts
// are compare.go, change.go and gates.go), run.go (the goroutines that carry a
// turn's commands out), systems.go (open providers).
//
// A turn is one run of apply: lock the state, settle what an earlier turn left
// open, then for each clock observe the objects of its phase, compare, refuse
// what the approved plan does not permit, make the changes, evaluate the gates,
// enter the next phase, until every clock is done, waits or has failed. Every
// effect follows one protocol: observe, decide, journal the intent, do, verify by
// observing, journal the outcome.
package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// A Program is what a configuration means. All of it is pure.
type Program interface {
	// Digest identifies the configuration with its modules and variables.
	Digest() string
	Clocks() []plan.Clock
	Providers() []config.Provider
	// Desired returns what shall exist, by clock.
	Desired(at plan.Position) (map[string]plan.World, error)
	// Gates evaluates the gates before a phase.
	Gates(at plan.Position, clock, phase string, observed map[string]cty.Value, now time.Time) ([]plan.Reading, error)
	// Outputs evaluates the outputs.
	Outputs(at plan.Position, observed map[string]cty.Value) ([]config.Output, error)
	// Checks evaluates the assertions that stop nothing.
	Checks(at plan.Position, observed map[string]cty.Value) ([]config.CheckResult, error)
	// Moves are the renamings since an earlier version of the configuration.
	Moves() []config.Move
}

// Engine carries a program out. Its fields are set once; its methods are used one
// at a time.
type Engine struct {
	Program Program
	// Registry holds the providers by type.
	Registry map[string]providers.Provider
	Store    state.Store
	Now      func() time.Time
	// Version is mailmove's own.
	Version string
	// Transcript, if not nil, gets a line for each command that is run on a server.
	Transcript io.Writer
	Holder     state.Holder
	// Parallelism is how many batches of changes run at once.
	Parallelism int
	// TakeOver lets a turn begin although a later one has been taken with another
	// copy of the state, which is then the one that is out of date. Only a person can
	// know that this is right.
	TakeOver bool
	// LockTimeout is how long to wait for the state's lock.
	LockTimeout time.Duration
	// Validity is how long a plan can be accepted.
	Validity time.Duration
	// Notify receives what happens, for people. It is called from several
	// goroutines and must not block; nil is silence.
	Notify func(Notice)
}

// A Notice is something that happened during a turn.
type Notice struct {
	Kind    NoticeKind
	Clock   string
	Phase   string
	Address string
	Action  providers.Action
	// Text is a step's name, a gate's evidence, a person's task or an error.
	Text        string
	Done, Total int64
	Unit        string
	Elapsed     time.Duration
}

// NoticeKind says what a Notice is about.
type NoticeKind string

// The kinds of notices.
const (
	NoticeObserving NoticeKind = "observing"
	NoticeEnter     NoticeKind = "enter"
	NoticeDone      NoticeKind = "phase_done"
	NoticeGate      NoticeKind = "gate"
	NoticeTask      NoticeKind = "task"
	NoticeBegin     NoticeKind = "begin"
	NoticeStep      NoticeKind = "step"
	NoticeProgress  NoticeKind = "progress"
	NoticeApplied   NoticeKind = "applied"
	NoticeFailed    NoticeKind = "failed"
	NoticeRetry     NoticeKind = "retry"
)

func (e *Engine) notify(n Notice) {
	if e.Notify != nil {
		e.Notify(n)
	}
}

// Errors that callers test.
var (
	// ErrNoContract says that there is no approved plan to go on with.
	ErrNoContract = errors.New("there is no approved plan")
	// ErrStale says that a plan does not fit the state or configuration any more.
	ErrStale = errors.New("the plan is stale")
)

// staleError is an ErrStale with its reason.
func staleError(format string, args ...any) error {
	return &providers.Fault{
		Err:  fmt.Errorf("%w: %s", ErrStale, fmt.Sprintf(format, args...)),
		Next: "Run mailmove plan again and review it; nothing was changed.",
	}
}

// load returns the state; a new one with a lineage of its own if there is none.
func (e *Engine) load() (*state.Snapshot, bool, error) {
	s, err := e.Store.Load()
	if err != nil {
		return nil, false, err
	}
	if s == nil {
		return state.NewSnapshot(e.Version, rand.Text()), true, nil
	}
	return s, false, nil
}

// schemas returns the schema of a resource type, of whichever provider has it.
func (e *Engine) schemas() plan.Schemas {
	types := map[string]providers.ResourceSchema{}
	for _, p := range e.Registry {
		for name, schema := range p.Schema().Resources {
			types[name] = schema
		}
	}
	return func(typ string) (providers.ResourceSchema, bool) {
		schema, ok := types[typ]
		return schema, ok
	}
}

// State returns the state for showing; nil if there is none.
func (e *Engine) State() (*state.Snapshot, error) { return e.Store.Load() }

// Contract returns the approved plan that is in force, nil if there is none.
func Contract(s *state.Snapshot) (*plan.Plan, error) {
	if s == nil || len(s.Contract) == 0 {
		return nil, nil
	}
	var data bytes.Buffer
	if err := json.Compact(&data, s.Contract); err != nil {
		return nil, fmt.Errorf("reading the plan in force: %w", err)
	}
	data.WriteByte('\n')
	return plan.Decode(data.Bytes())
}

// Approve records a person's approval of a gate of the plan in force.
func (e *Engine) Approve(ctx context.Context, clock, phase, gate, by, note string) error {
	unlock, err := e.Store.Lock(e.Holder, e.LockTimeout)
	if err != nil {
		return err
	}
	return errors.Join(e.approve(clock, phase, gate, by, note), unlock())
}

func (e *Engine) approve(clock, phase, gate, by, note string) error {
	s, err := e.Store.Load()
	if err != nil {
		return err
	}
	contract, err := Contract(s)
	if err != nil {
		return err
	}
	if contract == nil {
		return providers.Faultf("Approve the plan itself first: mailmove plan -out=FILE, review it, mailmove apply FILE.", "approving gate %q: %w", gate, ErrNoContract)
	}
	if err := hasApproval(contract, clock, phase, gate); err != nil {
		return err
	}
	now := e.Now().UTC()
	return state.Commit(e.Store, s, state.Entry{At: now, Approve: &state.Approval{Digest: s.Digest, Gate: state.GateKey(clock, phase, gate), By: by, At: now, Note: note}})
}

// Confirm records that a person has taken a step which no machine can take.
func (e *Engine) Confirm(step, by, note string) error {
	unlock, err := e.Store.Lock(e.Holder, e.LockTimeout)
	if err != nil {
		return err
	}
	return errors.Join(e.confirm(step, by, note), unlock())
}

func (e *Engine) confirm(step, by, note string) error {
	s, fresh, err := e.load()
	if err != nil {
		return err
	}
	if fresh {
		return providers.Faultf("Apply a plan first; a step is confirmed when the migration has come to it.", "confirming step %q: %w", step, ErrNoContract)
	}
	now := e.Now().UTC()
	return state.Commit(e.Store, s, state.Entry{At: now, Confirm: &state.Confirmation{Step: step, By: by, At: now, Note: note}})
}

// hasApproval checks that the plan has an approval gate of that name.
func hasApproval(p *plan.Plan, clock, phase, gate string) error {
	var known []string
	for _, c := range p.Clocks {
		for _, stage := range c.Stages {
			for _, g := range stage.Gates {
				if g.Kind != plan.Approval {
					continue
				}
				if c.Path == clock && stage.Phase == phase && g.Name == gate {
					return nil
				}
				known = append(known, state.GateKey(c.Path, stage.Phase, g.Name))
			}
		}
	}
	return providers.Faultf(fmt.Sprintf("The plan's approval gates are: %q.", known), "approving: the plan in force has no approval gate %q", state.GateKey(clock, phase, gate))
}
