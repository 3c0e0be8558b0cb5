package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// Target says where a plan leads.
type Target struct {
	// Back makes a plan that goes back.
	Back bool
	// Clock and Phase are where to go back to; "" for Phase is the start, where
	// everything is as it was found. Only with Back.
	Clock, Phase string
}

// Plan observes everything and makes a plan. It has no effects and takes no
// lock. Dangers that forbid the plan are in it; see [plan.Plan.Fatal].
func (e *Engine) Plan(ctx context.Context, target Target) (*plan.Plan, error) {
	s, _, err := e.load()
	if err != nil {
		return nil, err
	}
	return e.plan(ctx, s, target)
}

func (e *Engine) plan(ctx context.Context, s *state.Snapshot, target Target) (_ *plan.Plan, err error) {
	for _, move := range e.moves(s) {
		if err := s.Apply(move); err != nil {
			return nil, err
		}
	}
	if len(s.Intents) > 0 {
		e.notify(Notice{Kind: NoticeObserving, Text: fmt.Sprintf("%d changes of an earlier turn have no recorded outcome; the next apply settles them by observing", len(s.Intents))})
	}
	sys := e.systems(s.Lineage)
	sys.readOnly = true
	defer func() { err = errors.Join(err, sys.close()) }()
	planner := planner{engine: e, state: s, systems: sys, schemas: e.schemas(), at: e.position(s)}
	if planner.recorded, err = s.Records(planner.schemas); err != nil {
		return nil, err
	}
	routes, err := planner.routes(ctx, target)
	if err != nil {
		return nil, err
	}
	observed, err := planner.observe(ctx, routes)
	if err != nil {
		return nil, err
	}
	p, err := plan.Make(plan.Input{
		Mailmove: e.Version, Lineage: s.Lineage, Serial: s.Serial, Config: e.Program.Digest(),
		Now: e.Now(), Validity: e.Validity, Back: target.Back, Routes: routes,
		Observed: observed, Recorded: planner.recorded, Begun: s.Begun(), Schemas: planner.schemas,
		Steps: planner.steps(ctx), Estimate: planner.estimate(ctx),
	})
	if err != nil {
		return nil, err
	}
	listed, err := planner.list(ctx, routes)
	if err != nil {
		return nil, err
	}
	outlook, err := planner.outlook(p, routes, observed, listed)
	if err != nil {
		return nil, err
	}
	checks, err := e.Program.Checks(planner.at, observed)
	if err != nil {
		return nil, err
	}
	p.Dangers = slices.Concat(e.dangers(outlook), farewells(p), failedChecks(checks))
	return p, nil
}

// failedChecks returns the checks that failed, for people: a check stops nothing.
func failedChecks(checks []config.CheckResult) []plan.Danger {
	var dangers []plan.Danger
	for _, c := range checks {
		if c.Status == config.CheckFailed {
			dangers = append(dangers, plan.Danger{Code: "CHECK", Severity: providers.Warning, Address: c.Address, Summary: c.Message})
		}
	}
	return dangers
}

// planner gathers what a plan is made of.
type planner struct {
	engine   *Engine
	state    *state.Snapshot
	systems  *systems
	schemas  plan.Schemas
	recorded map[string]plan.Record
	at       plan.Position
}

// routes returns the way of every clock.
func (p *planner) routes(ctx context.Context, target Target) ([]plan.Route, error) {
	clocks := p.engine.Program.Clocks()
	var routes []plan.Route
	for _, clock := range clocks {
		from := p.at[clock.Path]
		stages, err := stages(clock, from, target)
		if err != nil {
			return nil, err
		}
		if target.Back && len(stages) > 0 && from != "" && p.halfDone(clock.Path) {
			stages = slices.Insert(stages, 0, plan.Stage{Phase: plan.Phase{Name: from}, Entered: true, Settle: true})
		}
		for i := range stages {
			if stages[i].World, err = p.world(ctx, clock.Path, stages[i].Phase.Name); err != nil {
				return nil, err
			}
		}
		routes = append(routes, plan.Route{Path: clock.Path, From: from, Stages: stages})
	}
	if target.Back {
		return routes, hasClock(clocks, target.Clock)
	}
	gone, err := p.gone(routes)
	return append(routes, gone...), err
}

// hasClock checks that there is a clock to go back with.
func hasClock(clocks []plan.Clock, path string) error {
	var known []string
	for _, c := range clocks {
		if c.Path == path {
			return nil
		}
		known = append(known, c.Path)
	}
	return fmt.Errorf("going back: there is no module instance %q with phases; there are %q", path, known)
}

// halfDone reports whether a change of the clock was begun and has no outcome.
func (p *planner) halfDone(clock string) bool {
	for _, intent := range p.state.Intents {
		if intent.Clock == clock {
			return true
		}
	}
	return false
}

// world returns what shall exist when a clock stands in a phase and all others
// stand where they do.
func (p *planner) world(ctx context.Context, clock, phase string) (plan.World, error) {
	at := maps.Clone(p.at)
	if at == nil {
		at = plan.Position{}
	}
	at[clock] = phase
	if phase == "" && hasPhases(p.engine.Program, clock) {
		return nil, nil
	}
	worlds, err := p.engine.Program.Desired(at)
	if err != nil {
		return nil, err
	}
	return p.systems.normal(ctx, worlds[clock])
}

func hasPhases(program Program, path string) bool {
	for _, clock := range program.Clocks() {
		if clock.Path == path {
			return len(clock.Phases) > 0 && clock.Phases[0].Name != ""
		}
	}
	return true
}

// stages returns the phases that a clock passes on its way.
func stages(clock plan.Clock, from string, target Target) ([]plan.Stage, error) {
	here := slices.IndexFunc(clock.Phases, func(p plan.Phase) bool { return p.Name == from })
	steady := len(clock.Phases) == 1 && clock.Phases[0].Name == ""
	if from != "" && here < 0 {
		return nil, fmt.Errorf("%s stands in phase %q, which the configuration does not have any more; bring it back, or rename it with a moved block", title(clock.Path), from)
	}
	if steady {
		return []plan.Stage{{Phase: clock.Phases[0], Entered: true}}, nil
	}
	var list []plan.Stage
	add := func(i int, entered bool) {
		list = append(list, plan.Stage{Phase: clock.Phases[i], Entered: entered, NoReturn: i > 0 && clock.Phases[i].Rollback == ""})
	}
	if target.Back {
		if target.Clock != clock.Path {
			return nil, nil
		}
		return back(clock, here, target.Phase)
	}
	if here >= 0 {
		add(here, true)
	}
	for i := here + 1; i < len(clock.Phases); i++ {
		add(i, false)
	}
	return list, nil
}

// back returns the phases from here back to the target. Of what the phase in which the
// clock stands still wants, only what was begun is done first: the rest may be what
// cannot be done.
func back(clock plan.Clock, here int, target string) ([]plan.Stage, error) {
	var list []plan.Stage
	goal := slices.IndexFunc(clock.Phases, func(p plan.Phase) bool { return p.Name == target })
	if target != "" && goal < 0 {
		return nil, fmt.Errorf("going back: %s has no phase %q", title(clock.Path), target)
	}
	if goal > here {
		return nil, fmt.Errorf("going back: %s stands before phase %q; mailmove apply goes forward", title(clock.Path), target)
	}
	for here > goal {
		phase := clock.Phases[here]
		if phase.Rollback == "" && here > 0 {
			return nil, providers.Faultf("From here the way is forward: mailmove plan. To use the old server again, describe a move in the other direction.",
				"going back: phase %q of %s is a point of no return", phase.Name, title(clock.Path))
		}
		here = slices.IndexFunc(clock.Phases, func(p plan.Phase) bool { return p.Name == phase.Rollback })
		if here >= 0 {
			list = append(list, plan.Stage{Phase: plan.Phase{Name: clock.Phases[here].Name, Title: clock.Phases[here].Title}})
		}
	}
	if here < goal {
		return nil, fmt.Errorf("going back: no chain of rollbacks leads from here to phase %q of %s", target, title(clock.Path))
	}
	if goal < 0 {
		list = append(list, plan.Stage{Phase: plan.Phase{Title: "As it was before the migration"}})
	}
	return list, nil
}

func title(path string) string {
	if path == "" {
		return "the root module"
	}
	return path
}

// observe observes every object of the routes and every recorded one.
func (p *planner) observe(ctx context.Context, routes []plan.Route) (map[string]cty.Value, error) {
	var requests []request
	asked, here := map[string]bool{}, map[string]bool{}
	for _, route := range routes {
		here[route.Path] = !route.Gone
		for _, stage := range route.Stages {
			for _, r := range stage.World {
				if !asked[r.Address] {
					asked[r.Address] = true
					requests = append(requests, request{address: r.Address, typ: r.Type, provider: r.Provider, desired: r.Values, last: p.last(r)})
				}
			}
		}
	}
	for _, address := range slices.Sorted(maps.Keys(p.recorded)) {
		if rec := p.recorded[address]; !asked[address] && here[rec.Clock] {
			requests = append(requests, request{address: address, typ: rec.Type, provider: rec.Provider, desired: null(p.schemas, rec.Type), last: rec.Values})
		}
	}
	p.engine.notify(Notice{Kind: NoticeObserving, Total: int64(len(requests)), Unit: "objects"})
	p.systems.refresh()
	observed := make(map[string]cty.Value, len(requests))
	var errs []error
	for _, o := range p.systems.observe(ctx, requests) {
		if o.err != nil {
			errs = append(errs, o.err)
			continue
		}
		observed[o.address] = o.value
	}
	return observed, joined(errs)
}

func (p *planner) last(r plan.Resource) cty.Value {
	if rec, ok := p.recorded[r.Address]; ok {
		return rec.Last(r.Values)
	}
	return null(p.schemas, r.Type)
}

func null(schemas plan.Schemas, typ string) cty.Value {
	if schema, ok := schemas(typ); ok {
		return cty.NullVal(schema.Attributes.Type())
	}
	return cty.NullVal(cty.DynamicPseudoType)
}

// providerChange converts a planned change for the provider.
func providerChange(schemas plan.Schemas, c plan.Change, back bool) (providers.Change, error) {
	schema, ok := schemas(c.Type)
	if !ok {
		return providers.Change{}, fmt.Errorf("%s: no provider has the resource type %q", c.Address, c.Type)
	}
	typ := schema.Attributes.Type()
	before, err := c.Before.As(typ)
	if err != nil {
		return providers.Change{}, fmt.Errorf("%s: %w", c.Address, err)
	}
	after, err := c.After.As(typ)
	if err != nil {
		return providers.Change{}, fmt.Errorf("%s: %w", c.Address, err)
	}
	return providers.Change{Address: c.Address, Action: c.Action, Before: before, After: after, Last: cty.NullVal(typ), Back: back}, nil
}

// steps asks the provider for the steps of a change.
func (p *planner) steps(ctx context.Context) func(plan.Change) []string {
	return func(c plan.Change) []string {
		r, err := p.systems.resource(ctx, c.Provider, c.Type)
		if err != nil {
			return nil
		}
		stepper, ok := providers.As[providers.Stepper](r)
		if !ok {
			return nil
		}
		change, err := providerChange(p.schemas, c, false)
		if err != nil {
			return nil
		}
		return stepper.Steps(change)
	}
}

// estimate asks the provider what a change will cost. Not to know is no error.
func (p *planner) estimate(ctx context.Context) func(plan.Change) plan.Estimate {
	return func(c plan.Change) plan.Estimate {
		r, err := p.systems.resource(ctx, c.Provider, c.Type)
		if err != nil {
			return plan.Estimate{}
		}
		estimator, ok := providers.As[providers.Estimator](r)
		if !ok {
			return plan.Estimate{}
		}
		change, err := providerChange(p.schemas, c, false)
		if err != nil {
			return plan.Estimate{}
		}
		estimate, err := estimator.Estimate(ctx, change)
		if err != nil {
			return plan.Estimate{}
		}
		return plan.Estimate(estimate)
	}
}

// list asks every object that contains others for what it contains.
func (p *planner) list(ctx context.Context, routes []plan.Route) (map[string][]providers.Listed, error) {
	listed := map[string][]providers.Listed{}
	for _, route := range routes {
		for _, stage := range route.Stages {
			for _, r := range stage.World {
				if _, done := listed[r.Address]; done {
					continue
				}
				res, err := p.systems.resource(ctx, r.Provider, r.Type)
				if err != nil {
					return nil, err
				}
				lister, ok := providers.As[providers.Lister](res)
				if !ok {
					continue
				}
				objects, err := lister.List(ctx, r.Values)
				if err != nil {
					return nil, fmt.Errorf("listing what %s contains: %w", r.Address, err)
				}
				listed[r.Address] = objects
			}
		}
	}
	return listed, nil
}

// outlook converts the plan for the linters.
func (p *planner) outlook(made *plan.Plan, routes []plan.Route, observed map[string]cty.Value, listed map[string][]providers.Listed) (providers.Outlook, error) {
	out := providers.Outlook{Listed: listed, Observed: observed, Providers: map[string]providers.OutlookProvider{}}
	for _, block := range p.engine.Program.Providers() {
		out.Providers[block.Address] = providers.OutlookProvider{Type: block.Type, Config: block.Config}
	}
	for i, route := range routes {
		if route.Gone {
			continue
		}
		for j, stage := range route.Stages {
			planned := made.Clocks[i].Stages[j]
			phase := providers.OutlookPhase{Clock: route.Path, Phase: stage.Phase.Name, Back: made.Back, NoReturn: stage.NoReturn}
			for _, r := range stage.World {
				phase.Resources = append(phase.Resources, providers.OutlookResource{Address: r.Address, Type: r.Type, Provider: r.Provider, Values: r.Values})
			}
			for _, c := range planned.Changes {
				change, err := providerChange(p.schemas, c, made.Back)
				if err != nil {
					return out, err
				}
				phase.Changes = append(phase.Changes, providers.OutlookChange{Address: c.Address, Type: c.Type, Provider: c.Provider, Action: c.Action, Before: change.Before, After: change.After})
			}
			out.Phases = append(out.Phases, phase)
		}
	}
	return out, nil
}

// dangers asks every kind of provider once; providers of one kind share their
// linter and would say the same.
func (e *Engine) dangers(outlook providers.Outlook) []plan.Danger {
	var found []plan.Danger
	seen := map[plan.Danger]bool{}
	for _, name := range slices.Sorted(maps.Keys(e.Registry)) {
		linter, ok := e.Registry[name].(providers.Linter)
		if !ok {
			continue
		}
		for _, d := range linter.Lint(outlook) {
			danger := plan.Danger(d)
			if !seen[danger] {
				seen[danger] = true
				found = append(found, danger)
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if a.Severity != b.Severity {
			return a.Severity == providers.Fatal
		}
		return strings.Compare(a.Code+a.Address, b.Code+b.Address) < 0
	})
	return found
}
