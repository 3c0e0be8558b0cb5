package engine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// This file is the core of a turn: a single-threaded machine that receives events
// and answers with commands. It has no goroutine, no clock and no input or output
// of its own, so that a simulation can drive it through any order of events.

// An event is something that happened to the turn.
type event interface{ isEvent() }

type (
	// begin starts the turn.
	begin struct{}
	// observed answers an observe command.
	observed struct {
		token   string
		results []observation
	}
	// applied answers an apply command, after every object was observed again.
	applied struct{ results []result }
	// stepped and checkpointed come from a running change.
	stepped      struct{ op, name string }
	checkpointed struct {
		op    string
		value cty.Value
	}
	// interrupt asks the turn to end as soon as nothing is under way.
	interrupt struct{}
)

func (begin) isEvent()        {}
func (observed) isEvent()     {}
func (applied) isEvent()      {}
func (stepped) isEvent()      {}
func (checkpointed) isEvent() {}
func (interrupt) isEvent()    {}

// A command is something the turn wants done. Commands are carried out in order;
// an append is durable before the next command begins.
type command interface{ isCommand() }

type (
	appendEntries struct{ entries []state.Entry }
	// observe asks for objects, afresh.
	observe struct {
		token    string
		requests []request
	}
	// apply carries the jobs out as one batch, answered by one applied event.
	apply struct{ jobs []job }
	// fold writes the snapshot.
	fold   struct{}
	notice struct{ Notice }
)

func (appendEntries) isCommand() {}
func (observe) isCommand()       {}
func (apply) isCommand()         {}
func (fold) isCommand()          {}
func (notice) isCommand()        {}

// A job is one change on its way to a provider.
type job struct {
	typ, provider string
	change        providers.Change
}

// A result is what became of a job.
type result struct {
	op      string
	outcome providers.Outcome
	err     error
	// value is the object as observed afterwards, unless blind says why it could not
	// be observed.
	value cty.Value
	blind error
}

// turnInput is what a turn works on.
type turnInput struct {
	program  Program
	state    *state.Snapshot
	contract *plan.Plan
	schemas  plan.Schemas
	// position is where the clocks stand that the program has.
	position func(*state.Snapshot) plan.Position
	// normal returns a world in normal form.
	normal func(plan.World) (plan.World, error)
	// batch returns the key of a job's batch, "" if it goes alone, and how many may
	// go together, 0 for any number.
	batch       func(job) (key string, limit int)
	newID       func() string
	parallelism int
}

// turn is the machine.
type turn struct {
	turnInput
	now       time.Time
	clocks    []*clockRun
	observed  map[string]cty.Value
	inFlight  int // batches
	stopping  bool
	finished  bool
	out       []command
	ops       map[string]*clockRun // running operations
	pending   map[string]func([]observation) error
	nextToken int
}

func newTurn(in turnInput) *turn {
	t := &turn{turnInput: in, observed: map[string]cty.Value{}, ops: map[string]*clockRun{}, pending: map[string]func([]observation) error{}}
	for i := range in.contract.Clocks {
		t.clocks = append(t.clocks, newClockRun(t, &in.contract.Clocks[i]))
	}
	return t
}

// step takes one event and returns what is to be done.
func (t *turn) step(now time.Time, e event) ([]command, error) {
	t.now, t.out = now.UTC(), nil
	if err := t.handle(e); err != nil {
		return nil, err
	}
	if err := t.schedule(); err != nil {
		return nil, err
	}
	if err := t.end(); err != nil {
		return nil, err
	}
	return t.out, nil
}

func (t *turn) handle(e event) error {
	switch e := e.(type) {
	case begin:
		for _, c := range t.clocks {
			if err := c.observe(); err != nil {
				return err
			}
		}
	case observed:
		take := t.pending[e.token]
		delete(t.pending, e.token)
		for _, o := range e.results {
			if o.err == nil {
				t.observed[o.address] = o.value
			}
		}
		return take(e.results)
	case applied:
		t.inFlight--
		for _, r := range e.results {
			c := t.ops[r.op]
			delete(t.ops, r.op)
			c.applied(r)
		}
	case stepped:
		t.append(state.Entry{Step: &state.Step{Op: e.op, Name: e.name}})
		if c := t.ops[e.op]; c != nil {
			t.notify(Notice{Kind: NoticeStep, Clock: c.path, Phase: c.phase(), Address: c.running[e.op].change.Address, Text: e.name})
		}
	case checkpointed:
		t.append(state.Entry{Checkpoint: &state.Checkpoint{Op: e.op, Value: plan.NewValue(e.value)}})
	case interrupt:
		t.stopping = true
	default:
		return fmt.Errorf("unknown event %T", e)
	}
	return nil
}

// schedule lets every clock go on as far as it can without an answer.
func (t *turn) schedule() error {
	for progress := true; progress; {
		progress = false
		for _, c := range t.clocks {
			moved, err := c.advance()
			if err != nil {
				return err
			}
			progress = progress || moved
		}
	}
	return nil
}

// end finishes the turn when no clock can go on.
func (t *turn) end() error {
	if t.finished || t.inFlight > 0 || len(t.pending) > 0 {
		return nil
	}
	for _, c := range t.clocks {
		if !c.mode.rests() && !t.stopping {
			return nil
		}
	}
	outputs, err := t.outputs()
	if err != nil {
		return err
	}
	t.append(state.Entry{Outputs: &state.Outputs{Values: outputs}})
	t.out = append(t.out, fold{})
	t.finished = true
	return nil
}

func (t *turn) outputs() (map[string]state.Output, error) {
	list, err := t.program.Outputs(t.position(t.state), t.observed)
	if err != nil {
		return nil, err
	}
	outputs := map[string]state.Output{}
	for _, o := range list {
		if o.Sensitive {
			outputs[o.Name] = state.Output{Sensitive: true}
			continue
		}
		data, err := encodeOutput(o.Value)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		outputs[o.Name] = state.Output{Value: data}
	}
	return outputs, nil
}

// append applies entries to the state in memory and journals them, before any
// command that comes later.
func (t *turn) append(entries ...state.Entry) {
	for i := range entries {
		entries[i].At = t.now
		if err := t.state.Apply(entries[i]); err != nil {
			panic("engine: an entry that was just made does not fit the state: " + err.Error())
		}
	}
	t.out = append(t.out, appendEntries{entries})
}

func (t *turn) notify(n Notice) { t.out = append(t.out, notice{n}) }

// ask sends an observe command; take gets the answers.
func (t *turn) ask(requests []request, take func([]observation) error) {
	t.nextToken++
	token := fmt.Sprint(t.nextToken)
	t.pending[token] = take
	t.out = append(t.out, observe{token: token, requests: requests})
}

// recorded returns what the state knows of one clock's objects.
func (t *turn) recorded(path string) (map[string]plan.Record, error) {
	all, err := t.state.Records(t.schemas)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(_ string, rec plan.Record) bool { return rec.Clock != path })
	return all, nil
}

// wake makes waiting clocks look again: something that their gates may read has changed.
func (t *turn) wake(except *clockRun) error {
	for _, c := range t.clocks {
		if c != except && c.mode == waiting && !t.stopping {
			if err := c.observe(); err != nil {
				return err
			}
		}
	}
	return nil
}

// busy reports whether no other batch may start.
func (t *turn) busy() bool { return t.stopping || t.inFlight >= max(1, t.parallelism) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
