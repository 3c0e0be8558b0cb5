package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// The model: a world of things with a name and a colour, in which every effect
// can be stopped before it happens, after it, or after half of it.

type thing struct {
	Name   string  `cty:"name"`
	Colour *string `cty:"colour"`
	Note   string  `cty:"note"`
}

var thingSchema = providers.ResourceSchema{Attributes: providers.Attributes{
	"name":   {Type: cty.String, Required: true, Identity: true},
	"colour": {Type: cty.String},
	"note":   {Type: cty.String, Computed: true},
}}

func schemaOf(change func(*providers.ResourceSchema)) providers.ResourceSchema {
	s := thingSchema
	change(&s)
	return s
}

// errCrash is what a stopped process leaves behind.
var errCrash = errors.New("crash")

// world is both Provider and System of the model.
type world struct {
	mu     sync.Mutex
	things map[string]string // name to colour
	// effects counts changes to things, and log names them.
	log []string
	// ops are the operations that had an effect, to see that none is made twice.
	ops map[string]int
	// points counts the points at which something can go wrong; at fault it does.
	points int
	fault  func(point int) bool
	// onEffect runs before an effect.
	onEffect    func(name string)
	unreachable map[string]bool
	// fickle things are never seen in the colour they were given.
	fickle map[string]bool
	// unseen things are in no record: a crash came before.
	unseen map[string]bool
	// personal things are changed by people only.
	personal map[string]bool
	epoch    int64
}

func newWorld(names ...string) *world {
	w := &world{things: map[string]string{}, ops: map[string]int{}, unreachable: map[string]bool{}, fickle: map[string]bool{}, fault: func(int) bool { return false }}
	for _, n := range names {
		w.things[n] = "grey"
	}
	return w
}

func (w *world) point() bool {
	w.points++
	return w.fault(w.points)
}

func (w *world) Schema() providers.Schema {
	return providers.Schema{Kind: "model", Resources: map[string]providers.ResourceSchema{
		"thing":     thingSchema,
		"permanent": schemaOf(func(s *providers.ResourceSchema) { s.Permanent = true }),
		"recurring": schemaOf(func(s *providers.ResourceSchema) { s.Recurring = true }),
	}}
}

func (w *world) Open(context.Context, cty.Value, providers.Env) (providers.System, error) {
	return w, nil
}
func (w *world) Resource(typ string) providers.Resource {
	return providers.Typed(w.Schema().Resources[typ], things{w})
}
func (w *world) Close() error { return nil }

// Claim implements [providers.Fencer].
func (w *world) Claim(_ context.Context, e providers.Epoch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Number <= w.epoch {
		return &providers.StaleError{System: "the model", Ours: e, Theirs: providers.Epoch{Number: w.epoch, Holder: "somebody"}}
	}
	w.epoch = e.Number
	return nil
}

type things struct{ *world }

func (w things) Observe(_ context.Context, desired, last *thing) (*thing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if desired != nil && last != nil && w.unseen[desired.Name] {
		return nil, fmt.Errorf("%s is said to have been seen before", desired.Name)
	}
	if desired == nil {
		desired = last
	}
	if w.unreachable[desired.Name] {
		return nil, &providers.Fault{Err: errors.New(desired.Name + " is unreachable")}
	}
	colour, ok := w.things[desired.Name]
	if !ok {
		return nil, nil
	}
	if w.fickle[desired.Name] {
		colour = "faded"
	}
	return &thing{Name: desired.Name, Colour: &colour, Note: "seen"}, nil
}

func (w things) Apply(_ context.Context, c providers.TypedChange[thing], log providers.TypedLog[thing]) (providers.Outcome, *thing, error) {
	w.mu.Lock()
	hook := w.onEffect
	w.mu.Unlock()
	if hook != nil {
		hook(c.Address)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.personal[c.Address] {
		return providers.NotApplied, nil, &providers.WaitError{Task: "paint " + c.Address, Next: "Take a brush."}
	}
	if w.point() {
		return providers.Unknown, nil, errCrash
	}
	name := ""
	if c.After != nil {
		name = c.After.Name
		w.things[name] = *c.After.Colour
	} else {
		name = c.Before.Name
		delete(w.things, name)
	}
	w.ops[c.Op]++
	w.log = append(w.log, fmt.Sprintf("%s %s", c.Action, c.Address))
	if w.point() {
		return providers.Unknown, nil, errCrash
	}
	return providers.Applied, c.After, nil
}

// program is a configuration of the model: for each clock phases, and for each
// phase the colours of its things.
type program struct {
	clocks []plan.Clock
	// worlds[clock][phase][address] is a thing.
	worlds map[string]map[string]map[string]spec
	gates  map[string]func(observed map[string]cty.Value, now time.Time) plan.Reading
	digest string
	moves  []config.Move
}

type spec struct {
	typ, name, colour string
	after             []string
	keep              bool
}

func (p *program) Digest() string       { return p.digest }
func (p *program) Clocks() []plan.Clock { return p.clocks }
func (p *program) Moves() []config.Move { return p.moves }
func (p *program) Providers() []config.Provider {
	return []config.Provider{{Address: "provider.model.m", Type: "model", Kind: "model", Config: cty.EmptyObjectVal}}
}
func (p *program) Outputs(plan.Position, map[string]cty.Value) ([]config.Output, error) {
	return nil, nil
}

func (p *program) Checks(plan.Position, map[string]cty.Value) ([]config.CheckResult, error) {
	return nil, nil
}

func (p *program) Desired(at plan.Position) (map[string]plan.World, error) {
	worlds := map[string]plan.World{}
	for path := range at {
		if !slices.ContainsFunc(p.clocks, func(c plan.Clock) bool { return c.Path == path }) {
			return nil, fmt.Errorf("there is no clock %q", path)
		}
	}
	for clock, phases := range p.worlds {
		for _, address := range slices.Sorted(maps.Keys(phases[at[clock]])) {
			s := phases[at[clock]][address]
			typ := s.typ
			if typ == "" {
				typ = "thing"
			}
			values := cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(s.name), "colour": cty.StringVal(s.colour), "note": cty.NullVal(cty.String)})
			worlds[clock] = append(worlds[clock], plan.Resource{Address: address, Type: typ, Provider: "provider.model.m", Values: values, DependsOn: s.after, Keep: s.keep, Where: "model:1"})
		}
	}
	return worlds, nil
}

func (p *program) Gates(_ plan.Position, clock, phase string, observed map[string]cty.Value, now time.Time) ([]plan.Reading, error) {
	for _, c := range p.clocks {
		for _, ph := range c.Phases {
			if c.Path != clock || ph.Name != phase {
				continue
			}
			var readings []plan.Reading
			for _, g := range ph.Gates {
				r := p.gates[g.Name](observed, now)
				r.Gate = g
				readings = append(readings, r)
			}
			return readings, nil
		}
	}
	return nil, nil
}

// journey is the usual migration of the tests: sign becomes green after both boxes
// are, and a scaffold stands in between.
func journey() *program {
	return &program{
		digest: "d1",
		clocks: []plan.Clock{{Path: "move", Phases: []plan.Phase{
			{Name: "prepare"}, {Name: "cutover", Rollback: "prepare"}, {Name: "settle"},
		}}},
		worlds: map[string]map[string]map[string]spec{"move": {
			"prepare": {"sign": {name: "sign", colour: "blue", after: []string{"box1", "box2"}}, "box1": {name: "box1", colour: "blue"}, "box2": {name: "box2", colour: "blue"}, "scaffold": {name: "scaffold", colour: "red"}},
			"cutover": {"sign": {name: "sign", colour: "green", after: []string{"box1", "box2"}}, "box1": {name: "box1", colour: "green", after: []string{"scaffold"}}, "box2": {name: "box2", colour: "green", after: []string{"scaffold"}}, "scaffold": {name: "scaffold", colour: "red"}},
			"settle":  {"sign": {name: "sign", colour: "green", after: []string{"box1", "box2"}}, "box1": {name: "box1", colour: "green"}, "box2": {name: "box2", colour: "green"}},
		}},
		gates: map[string]func(map[string]cty.Value, time.Time) plan.Reading{},
	}
}

// faultyStore stops at chosen writes, before or after they are durable.
type faultyStore struct {
	*state.File
	w *world
}

func (f faultyStore) Append(s *state.Snapshot, entries ...state.Entry) error {
	f.w.mu.Lock()
	before, after := f.w.point(), f.w.point()
	f.w.mu.Unlock()
	if before {
		return errCrash
	}
	if err := f.File.Append(s, entries...); err != nil {
		return err
	}
	if after {
		return errCrash
	}
	return nil
}

func (f faultyStore) Fold(s *state.Snapshot) error {
	f.w.mu.Lock()
	before, after := f.w.point(), f.w.point()
	f.w.mu.Unlock()
	if before {
		return errCrash
	}
	if err := f.File.Fold(s); err != nil {
		return err
	}
	if after {
		return errCrash
	}
	return nil
}

// bench is an engine over the model with its state in a folder of its own.
type bench struct {
	t       testing.TB
	path    string
	world   *world
	program *program
	now     time.Time
}

func newBench(t testing.TB, p *program, w *world) *bench {
	return &bench{t: t, path: t.TempDir() + "/state.json", world: w, program: p, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// engine is a new process.
func (b *bench) engine() *Engine {
	return &Engine{
		Program: b.program, Registry: map[string]providers.Provider{"model": b.world},
		Store: faultyStore{state.NewFile(b.path), b.world}, Now: func() time.Time { return b.now },
		Version: "test", Holder: state.Holder{User: "tester", Host: "here"}, Parallelism: 2, Validity: time.Hour,
	}
}

func (b *bench) plan(target Target) *plan.Plan {
	b.t.Helper()
	p, err := b.engine().Plan(context.Background(), target)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// apply takes one turn and wants no failure.
func (b *bench) apply(p *plan.Plan) *Report {
	b.t.Helper()
	r, err := b.engine().Apply(context.Background(), p)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		b.t.Fatal(err)
	}
	return r
}
