package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/graph"
	"github.com/mailmove/mailmove/providers"
)

// Input is all that a plan is made of.
type Input struct {
	Mailmove, Lineage, Config string
	Serial                    int64
	Now                       time.Time
	// Validity is how long the plan can be accepted.
	Validity time.Duration
	Back     bool
	Routes   []Route
	// Observed are the objects as they are now, by address: every object of the
	// routes' worlds and every recorded one.
	Observed map[string]cty.Value
	// Recorded are the objects that the state knows, by address.
	Recorded map[string]Record
	Schemas  Schemas
	// Begun are the addresses at which a change was begun and has no recorded outcome.
	Begun map[string]bool
	// Steps and Estimate ask the provider about a change; either may be nil.
	Steps    func(Change) []string
	Estimate func(Change) Estimate
}

// A Route is the way of one clock through its phases.
type Route struct {
	Path string
	From string
	// Stages are the phases in the order in which they will be passed; the first is
	// the one in which the clock stands, if From is not "".
	Stages []Stage
	// Gone says that the configuration does not have the clock any more, and that its
	// migration is at an end: what is recorded of it is forgotten.
	Gone bool
}

// A Stage is one phase of a route.
type Stage struct {
	// Phase is where the clock will stand; "" is the start of a migration, where
	// everything is as it was found.
	Phase Phase
	// World is what shall exist then.
	World World
	// Entered says that the clock stands there already.
	Entered bool
	// Settle is [StagePlan.Settle].
	Settle   bool
	NoReturn bool
}

// Make makes a plan. An error names what is wrong with the configuration or its
// fit to what was observed.
func Make(in Input) (*Plan, error) {
	p := &Plan{
		FormatVersion: FormatVersion, Mailmove: in.Mailmove, Lineage: in.Lineage, Serial: in.Serial, Config: in.Config,
		Created: in.Now.UTC().Truncate(time.Second), Expires: in.Now.UTC().Truncate(time.Second).Add(in.Validity), Back: in.Back,
	}
	for _, route := range in.Routes {
		if route.Gone {
			p.Clocks = append(p.Clocks, forgotten(in, route))
			continue
		}
		timeline := timeline{in: in, route: route, current: map[string]cty.Value{}, known: map[string]Record{}}
		clock, err := timeline.make()
		if err != nil {
			return nil, err
		}
		p.Clocks = append(p.Clocks, *clock)
	}
	return p, nil
}

// forgotten is the plan of a clock that the configuration does not have any more.
// Nobody looks at its objects: their systems may be gone too.
func forgotten(in Input, route Route) ClockPlan {
	stage := StagePlan{Phase: route.From, Entered: true}
	for _, address := range slices.Sorted(maps.Keys(in.Recorded)) {
		if rec := in.Recorded[address]; rec.Clock == route.Path {
			stage.Changes = append(stage.Changes, Change{Address: address, Type: rec.Type, Provider: rec.Provider, Action: providers.Forget, Before: NewValue(rec.Values)})
		}
	}
	return ClockPlan{Path: route.Path, From: route.From, Stages: []StagePlan{stage}, Gone: true}
}

// timeline walks one route and keeps what every object will be by then.
type timeline struct {
	in      Input
	route   Route
	current map[string]cty.Value
	known   map[string]Record
}

func (t *timeline) make() (*ClockPlan, error) {
	for address, rec := range t.in.Recorded {
		if rec.Clock == t.route.Path {
			t.known[address] = rec
		}
	}
	clock := &ClockPlan{Path: t.route.Path, From: t.route.From}
	for _, stage := range t.route.Stages {
		changes, err := t.changes(stage)
		if err != nil {
			return nil, err
		}
		clock.Stages = append(clock.Stages, StagePlan{
			Phase: stage.Phase.Name, Title: stage.Phase.Title, Entered: stage.Entered, Settle: stage.Settle,
			NoReturn: stage.NoReturn, Gates: gates(stage), Changes: changes,
		})
	}
	return clock, nil
}

func gates(stage Stage) []Gate {
	if stage.Entered {
		return nil
	}
	return stage.Phase.Gates
}

// changes returns the changes that reach a stage, in the order in which they can
// be done, and moves the timeline there.
func (t *timeline) changes(stage Stage) ([]Change, error) {
	found := map[string]*Change{}
	world := Target(stage, t.known, t.in.Schemas)
	departed := Departed(world, t.known)
	if stage.Settle {
		world, departed = Begun(world, departed, t.in.Begun)
	}
	for _, r := range world {
		schema, ok := t.in.Schemas(r.Type)
		if !ok {
			return nil, fmt.Errorf("%s (%s): no provider has the resource type %q", r.Address, r.Where, r.Type)
		}
		before, ok := t.current[r.Address]
		if !ok {
			before = t.in.Observed[r.Address]
		}
		rec, recorded := t.known[r.Address]
		change, err := Diff(schema, r, before, recorded && !rec.Begun)
		if err != nil {
			return nil, err
		}
		if change != nil {
			t.describe(change)
			found[r.Address] = change
		}
		t.current[r.Address] = r.Values
		if rec, ok := t.known[r.Address]; ok {
			rec.DependsOn, rec.Keep, rec.Begun = r.DependsOn, r.Keep, false
			t.known[r.Address] = rec
		} else {
			t.known[r.Address] = Record{Address: r.Address, Type: r.Type, Provider: r.Provider, Clock: t.route.Path, Origin: before, DependsOn: r.DependsOn, Keep: r.Keep}
		}
	}
	for _, rec := range departed {
		schema, ok := t.in.Schemas(rec.Type)
		if !ok {
			return nil, fmt.Errorf("%s: no provider has the resource type %q any more; keep its provider block until the object has been removed", rec.Address, rec.Type)
		}
		before, ok := t.current[rec.Address]
		if !ok {
			before = t.in.Observed[rec.Address]
		}
		change := Leave(schema, rec, before)
		t.describe(change)
		found[rec.Address] = change
		delete(t.known, rec.Address)
		t.current[rec.Address] = cty.NullVal(schema.Attributes.Type())
	}
	order, err := Order(world, found, t.in.Back).Order()
	if err != nil {
		return nil, fmt.Errorf("phase %q: %w", stage.Phase.Name, err)
	}
	var changes []Change
	for _, address := range order {
		if change := found[address]; change != nil {
			changes = append(changes, *change)
		}
	}
	return changes, nil
}

func (t *timeline) describe(change *Change) {
	if !change.Action.Effects() {
		return
	}
	if t.in.Steps != nil {
		change.Steps = t.in.Steps(*change)
	}
	if t.in.Estimate != nil {
		change.Estimate = t.in.Estimate(*change)
	}
}

// Target returns what shall exist in a stage. At the start of a migration that is
// what we found there: objects we changed are as they were, and what we created
// is left.
func Target(stage Stage, known map[string]Record, schemas Schemas) World {
	if stage.Phase.Name != "" || len(stage.World) > 0 {
		return stage.World
	}
	var world World
	for _, rec := range known {
		schema, ok := schemas(rec.Type)
		if !ok || schema.Permanent || isNull(rec.Origin) {
			continue
		}
		values := rec.Origin.AsValueMap()
		for name, attr := range schema.Attributes {
			if attr.Computed {
				values[name] = cty.NullVal(attr.Type)
			}
		}
		world = append(world, Resource{Address: rec.Address, Type: rec.Type, Provider: rec.Provider, Values: cty.ObjectVal(values), DependsOn: rec.DependsOn, Keep: rec.Keep})
	}
	slices.SortFunc(world, func(a, b Resource) int { return strings.Compare(a.Address, b.Address) })
	return world
}

// Departed returns the known objects that a world does not contain, in address order.
func Departed(world World, known map[string]Record) []Record {
	there := make(map[string]bool, len(world))
	for _, r := range world {
		there[r.Address] = true
	}
	var departed []Record
	for address, rec := range known {
		if !there[address] {
			departed = append(departed, rec)
		}
	}
	slices.SortFunc(departed, func(a, b Record) int { return strings.Compare(a.Address, b.Address) })
	return departed
}

// Begun returns those of a world and of what has left it at which a change was begun.
func Begun(world World, departed []Record, begun map[string]bool) (World, []Record) {
	return slices.DeleteFunc(slices.Clone(world), func(r Resource) bool { return !begun[r.Address] }),
		slices.DeleteFunc(slices.Clone(departed), func(r Record) bool { return !begun[r.Address] })
}

// Order returns the graph in which the changes of a stage are done. Every object
// of the world is a node, changed or not, so that an order holds through what
// does not change. What comes first is created and updated first, and removed
// last; on the way back it is updated last too. Of what stays and what leaves, the
// former comes first unless other dependencies want the reverse: a change may need
// for the last time what it depended on.
func Order(world World, changes map[string]*Change, back bool) *graph.Graph[string] {
	g := graph.New[string]()
	dependencies := map[string][]string{}
	for _, r := range world {
		g.Add(r.Address)
		dependencies[r.Address] = r.DependsOn
	}
	leaving := []string{}
	for address, change := range changes {
		if _, ok := dependencies[address]; !ok {
			leaving = append(leaving, address)
			dependencies[address] = change.DependsOn
		}
	}
	slices.Sort(leaving)
	g.Add(leaving...)
	var stays [][2]string
	for _, address := range append(addresses(world), leaving...) {
		for _, first := range dependencies[address] {
			if _, ok := dependencies[first]; !ok {
				continue
			}
			_, left := slices.BinarySearch(leaving, first)
			switch _, leaves := slices.BinarySearch(leaving, address); {
			case left && !leaves:
				stays = append(stays, [2]string{address, first})
			case backwards(changes[address], changes[first], back):
				g.Connect(address, first)
			default:
				g.Connect(first, address)
			}
		}
	}
	for _, edge := range stays {
		if !g.Precedes(edge[1], edge[0]) {
			g.Connect(edge[0], edge[1])
		}
	}
	return g
}

// backwards reports whether a dependant comes before what it depends on: when
// either is left behind, and, on the way back, unless one of them is made anew.
func backwards(dependant, dependency *Change, back bool) bool {
	is := func(c *Change, actions ...providers.Action) bool {
		return c != nil && slices.Contains(actions, c.Action)
	}
	if is(dependant, providers.Remove, providers.Forget) || is(dependency, providers.Remove, providers.Forget) {
		return true
	}
	if is(dependant, providers.Create) || is(dependency, providers.Create) {
		return false
	}
	return back
}

func addresses(world World) []string {
	list := make([]string, len(world))
	for i, r := range world {
		list[i] = r.Address
	}
	return list
}
