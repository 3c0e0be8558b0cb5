package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/graph"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// mode is what a clock is doing.
type mode string

const (
	observing mode = "observing"
	walking   mode = "walking"
	checking  mode = "checking" // all is as it shall be; the gates are next
	waiting   mode = "waiting"
	done      mode = "done"
	failed    mode = "failed"
)

func (m mode) rests() bool { return m == waiting || m == done || m == failed }

const (
	// attempts is how often a change is tried in one turn when its error is temporary.
	attempts = 3
	// rounds is how often the objects of a phase are put right in one turn before
	// they count as not holding still.
	rounds = 3
)

// clockRun is one clock within a turn: observe the phase, walk its changes,
// observe again, check the gates, enter the next phase.
type clockRun struct {
	t    *turn
	path string
	plan *plan.ClockPlan
	// stage is the index in plan.Stages of the phase the clock stands in; -1 is
	// before the first.
	stage int
	mode  mode

	world    []plan.Resource
	resource map[string]plan.Resource // of world, by address
	known    map[string]plan.Record
	changes  map[string]*plan.Change
	blind    map[string]error // what could not be observed
	frontier *graph.Frontier[string]
	running  map[string]job // by operation
	tries    map[string]int
	keys     map[string]grouping // of the changes of this walk
	// renewed are recurring objects that this turn has brought up to date.
	renewed map[string]bool
	round   int
	worked  bool // something was changed in this round

	// shut says that the window of the phase is closed: nothing more is begun. closes
	// is when an open one closes; zero is never.
	shut     bool
	closes   time.Time
	failures []Failure
	wait     Wait
}

func newClockRun(t *turn, p *plan.ClockPlan) *clockRun {
	c := &clockRun{
		t: t, path: p.Path, plan: p, running: map[string]job{}, tries: map[string]int{}, renewed: map[string]bool{},
		keys: map[string]grouping{},
	}
	c.stage = StageOf(p, t.state.Clocks[p.Path].Phase)
	return c
}

// StageOf returns the index of the stage in which a clock stands that is in the
// phase; -1 is before the first stage.
func StageOf(p *plan.ClockPlan, phase string) int {
	for i, stage := range p.Stages {
		if stage.Phase == phase && (stage.Entered || phase != p.From) {
			return i
		}
	}
	return -1
}

func (c *clockRun) phase() string {
	if c.stage < 0 {
		return ""
	}
	return c.plan.Stages[c.stage].Phase
}

// observe asks for all objects of the phase and for those that have left it.
func (c *clockRun) observe() error {
	if c.stage < 0 {
		c.mode = checking
		return nil
	}
	c.mode, c.worked = observing, false
	if err := c.load(); err != nil {
		return err
	}
	var requests []request
	for _, r := range c.world {
		requests = append(requests, c.request(r.Address, r.Type, r.Provider))
	}
	departed := plan.Departed(c.world, c.known)
	for _, rec := range departed {
		requests = append(requests, c.request(rec.Address, rec.Type, rec.Provider))
	}
	c.t.notify(Notice{Kind: NoticeObserving, Clock: c.path, Phase: c.phase(), Total: int64(len(requests)), Unit: "objects"})
	c.t.ask(requests, func(results []observation) error {
		c.blind = map[string]error{}
		for _, o := range results {
			if o.err != nil {
				c.blind[o.address] = o.err
			}
		}
		return c.compare(departed)
	})
	return nil
}

// load evaluates what shall exist in the phase, and what is known.
func (c *clockRun) load() (err error) {
	if c.known, err = c.t.recorded(c.path); err != nil {
		return err
	}
	stage := plan.Stage{Phase: plan.Phase{Name: c.phase()}}
	if c.phase() != "" || !hasPhases(c.t.program, c.path) {
		worlds, err := c.t.program.Desired(c.t.state.Position())
		if err != nil {
			return err
		}
		if stage.World, err = c.t.normal(worlds[c.path]); err != nil {
			return err
		}
	}
	c.world = plan.Target(stage, c.known, c.t.schemas)
	c.resource = make(map[string]plan.Resource, len(c.world))
	for _, r := range c.world {
		c.resource[r.Address] = r
	}
	return nil
}

// request asks for one object with what is remembered of it.
func (c *clockRun) request(address, typ, provider string) request {
	none := null(c.t.schemas, typ)
	r := request{address: address, typ: typ, provider: provider, desired: none, last: none}
	if res, ok := c.resource[address]; ok {
		r.desired = res.Values
	}
	if rec, ok := c.known[address]; ok {
		r.last = rec.Values
	}
	if intent, ok := c.t.state.Intent(address); ok {
		if v, err := intent.Checkpoint.As(none.Type()); err == nil && !v.IsNull() {
			r.last = v
		}
	}
	return r
}

// compare finds the changes of the phase. One that the plan does not permit stops
// the clock before anything is begun.
func (c *clockRun) compare(departed []plan.Record) error {
	c.changes, c.failures = map[string]*plan.Change{}, nil
	for _, r := range c.world {
		if c.blind[r.Address] == nil {
			c.consider(r.Address, c.t.observed[r.Address])
		}
	}
	for _, rec := range departed {
		if c.blind[rec.Address] == nil {
			c.consider(rec.Address, c.t.observed[rec.Address])
		}
	}
	if len(c.failures) > 0 {
		c.mode = failed
		return nil
	}
	if c.round++; c.round > rounds && len(c.changes) > 0 {
		for _, address := range sortedKeys(c.changes) {
			c.failure(address, fmt.Errorf("it was put right %d times in this turn and is different again; something else changes it", rounds))
		}
		c.mode = failed
		return nil
	}
	c.frontier = plan.Order(c.world, c.changes, c.t.contract.Back).Frontier()
	clear(c.keys)
	c.mode = walking
	return c.readWindow()
}

// consider compares one object with what it shall be, and notes the change that
// is needed, if the plan permits it. It reports whether there is one.
func (c *clockRun) consider(address string, value cty.Value) bool {
	delete(c.changes, address)
	change, err := c.diff(address, value)
	if err != nil {
		c.failure(address, err)
		return false
	}
	if change == nil {
		return false
	}
	schema, _ := c.t.schemas(change.Type)
	if err := c.plan.Permit(schema, c.stage, *change, c.begun(schema, *change)); err != nil {
		c.failure(address, err)
		return false
	}
	c.changes[address] = change
	return true
}

// diff returns the change that an object needs, nil for none; then what was
// observed is recorded.
func (c *clockRun) diff(address string, value cty.Value) (*plan.Change, error) {
	r, ok := c.resource[address]
	if !ok {
		rec := c.known[address]
		schema, _ := c.t.schemas(rec.Type)
		return plan.Leave(schema, rec, value), nil
	}
	schema, _ := c.t.schemas(r.Type)
	_, recorded := c.known[address]
	change, err := plan.Diff(schema, r, value, recorded)
	if err != nil {
		return nil, err
	}
	if change == nil || !change.Action.Effects() || c.renewed[address] {
		c.record(r, value)
		return nil, nil
	}
	return change, nil
}

// begun reports whether a change to the same end was begun and interrupted.
func (c *clockRun) begun(schema providers.ResourceSchema, change plan.Change) bool {
	intent, ok := c.t.state.Intent(change.Address)
	if !ok {
		return false
	}
	typ := schema.Attributes.Type()
	was, err := intent.After.As(typ)
	if err != nil {
		return false
	}
	is, err := change.After.As(typ)
	return err == nil && was.RawEquals(is)
}

// record records an object that is as it shall be, and settles what was begun of it.
func (c *clockRun) record(r plan.Resource, value cty.Value) {
	rec, ok := c.known[r.Address]
	recorded := c.recordOf(r, value)
	if intent, open := c.t.state.Intent(r.Address); open {
		c.t.append(state.Entry{End: &state.End{Op: intent.Op, Outcome: providers.Applied.String(), Value: plan.NewValue(value)}})
	} else if !ok || !rec.Values.RawEquals(value) || !slices.Equal(rec.DependsOn, r.DependsOn) || rec.Keep != r.Keep {
		c.t.append(state.Entry{Record: &state.Record{Address: r.Address, Resource: recorded}})
	}
	c.remember(r, value)
}

// remember keeps the object for the rest of the turn.
func (c *clockRun) remember(r plan.Resource, value cty.Value) {
	origin := value
	if rec, ok := c.known[r.Address]; ok {
		origin = rec.Origin
	}
	c.known[r.Address] = plan.Record{Address: r.Address, Type: r.Type, Provider: r.Provider, Clock: c.path, Values: value, Origin: origin, DependsOn: r.DependsOn, Keep: r.Keep}
}

// recordOf returns what to record of an object that is, or was found to be, value.
func (c *clockRun) recordOf(r plan.Resource, value cty.Value) state.Resource {
	origin := value
	if rec, ok := c.known[r.Address]; ok {
		origin = rec.Origin
	}
	return state.Resource{Type: r.Type, Provider: r.Provider, Clock: c.path, Values: plan.NewValue(value), Origin: plan.NewValue(origin), DependsOn: r.DependsOn, Keep: r.Keep}
}

func (c *clockRun) failure(address string, err error) {
	c.failures = append(c.failures, Failure{Clock: c.path, Phase: c.phase(), Address: address, Err: err})
	c.t.notify(Notice{Kind: NoticeFailed, Clock: c.path, Phase: c.phase(), Address: address, Text: err.Error()})
}

// advance does what can be done without an answer, and reports whether the clock moved.
func (c *clockRun) advance() (bool, error) {
	switch {
	case c.mode == walking:
		return c.walk()
	case c.mode == checking && !c.t.stopping:
		return true, c.passGates()
	}
	return false, nil
}

// walk starts what is ready, and ends the walk when nothing is left.
func (c *clockRun) walk() (bool, error) {
	if !c.closes.IsZero() && !c.t.now.Before(c.closes) {
		if err := c.readWindow(); err != nil {
			return false, err
		}
	}
	moved := c.skip()
	ready := c.frontier.Ready()
	if len(ready) == 0 || c.shut || c.t.stopping {
		if c.frontier.Running() > 0 || c.t.stopping {
			return moved, nil
		}
		return true, c.endWalk()
	}
	if c.t.busy() {
		return moved, nil
	}
	for _, batch := range c.batches(ready) {
		if c.t.busy() {
			break
		}
		c.prepare(batch)
		moved = true
	}
	return moved, nil
}

// skip passes the nodes at which nothing is to be done, or nothing can be.
func (c *clockRun) skip() bool {
	moved := false
	for again := true; again; {
		again = false
		for _, address := range c.frontier.Ready() {
			change := c.changes[address]
			switch {
			case c.blind[address] != nil:
				c.frontier.Start(address)
				c.frontier.Fail(address)
				c.failure(address, c.blind[address])
			case change == nil:
				c.frontier.Start(address)
				c.frontier.Finish(address)
			case change.Action == providers.Forget:
				c.frontier.Start(address)
				c.forget(address)
				c.frontier.Finish(address)
			default:
				continue
			}
			moved, again = true, true
		}
	}
	return moved
}

// forget drops what is recorded of an object that is gone or no longer ours, and
// settles what was begun of it.
func (c *clockRun) forget(address string) {
	if intent, open := c.t.state.Intent(address); open {
		outcome := providers.NotApplied
		if intent.Action == providers.Remove {
			outcome = providers.Applied
		}
		c.t.append(state.Entry{End: &state.End{Op: intent.Op, Outcome: outcome.String()}})
	}
	c.t.append(state.Entry{Forget: &state.Forget{Address: address}})
	delete(c.known, address)
}

// batches groups what is ready, in the order of what is first in each.
func (c *clockRun) batches(ready []string) [][]string {
	var batches [][]string
	open := map[batchKey]int{} // the index of the batch that is not full
	for _, address := range ready {
		key, limit := c.key(address)
		i, ok := open[key]
		if !ok || key.key == "" || limit > 0 && len(batches[i]) >= limit {
			i = len(batches)
			batches = append(batches, nil)
			open[key] = i
		}
		batches[i] = append(batches[i], address)
	}
	return batches
}

// batchKey groups changes; without a key a change goes alone.
type batchKey struct{ provider, typ, key string }

// grouping is a provider's answer about one change.
type grouping struct {
	batchKey
	limit int
}

// key returns what groups a change with others, and how many may go together.
// Asked once a walk: a provider's answer depends on the change alone.
func (c *clockRun) key(address string) (batchKey, int) {
	k, ok := c.keys[address]
	if !ok {
		change := c.changes[address]
		k.batchKey = batchKey{provider: change.Provider, typ: change.Type}
		k.batchKey.key, k.limit = c.t.batch(c.job(*change, ""))
		c.keys[address] = k
	}
	return k.batchKey, k.limit
}

// prepare observes the objects of a batch once more, just before it starts.
func (c *clockRun) prepare(addresses []string) {
	c.t.inFlight++
	requests := make([]request, len(addresses))
	for i, address := range addresses {
		c.frontier.Start(address)
		requests[i] = c.request(address, c.changes[address].Type, c.changes[address].Provider)
	}
	c.t.ask(requests, func(results []observation) error {
		c.start(results)
		return nil
	})
}

// start begins the jobs of a batch, as the last look at its objects demands.
func (c *clockRun) start(results []observation) {
	var jobs []job
	var begins []state.Entry
	for _, o := range results {
		failures := len(c.failures)
		switch {
		case o.err != nil:
			c.frontier.Fail(o.address)
			c.failure(o.address, o.err)
		case c.consider(o.address, o.value) && c.changes[o.address].Action.Effects():
			j, begin := c.begin(*c.changes[o.address])
			jobs = append(jobs, j)
			begins = append(begins, begin...)
		case len(c.failures) > failures:
			c.frontier.Fail(o.address)
		default:
			if _, there := c.resource[o.address]; !there {
				c.forget(o.address)
			}
			c.frontier.Finish(o.address)
		}
	}
	if len(jobs) == 0 {
		c.t.inFlight--
		return
	}
	if len(begins) > 0 {
		c.t.append(begins...)
	}
	c.t.out = append(c.t.out, apply{jobs})
}

// begin returns the job for a change and what to journal before it starts. An
// operation that was begun and is not settled goes on under its name.
func (c *clockRun) begin(change plan.Change) (job, []state.Entry) {
	c.t.notify(Notice{Kind: NoticeBegin, Clock: c.path, Phase: c.phase(), Address: change.Address, Action: change.Action})
	c.worked = true
	last := c.request(change.Address, change.Type, change.Provider).last
	if open, ok := c.t.state.Intent(change.Address); ok {
		return c.run(change, open.Op, last), nil
	}
	j := c.run(change, c.t.newID(), last)
	resource := state.Resource{Type: change.Type, Provider: change.Provider, Clock: c.path}
	if r, ok := c.resource[change.Address]; ok {
		resource = c.recordOf(r, j.change.Before)
	}
	return j, []state.Entry{{Begin: &state.Intent{
		Op: j.change.Op, Clock: c.path, Phase: c.phase(), Address: change.Address, Action: change.Action,
		Back: c.t.contract.Back, After: change.After, Resource: resource, Begun: c.t.now,
	}}}
}

// run notes a job as running.
func (c *clockRun) run(change plan.Change, op string, last cty.Value) job {
	j := c.job(change, op)
	j.change.Last = last
	c.running[op] = j
	c.t.ops[op] = c
	return j
}

func (c *clockRun) job(change plan.Change, op string) job {
	converted, err := providerChange(c.t.schemas, change, c.t.contract.Back)
	if err != nil {
		panic("engine: a change that was just made does not fit its schema: " + err.Error())
	}
	converted.Op = op
	return job{typ: change.Type, provider: change.Provider, change: converted}
}

// applied takes the outcome of a change. What was observed afterwards decides.
func (c *clockRun) applied(r result) {
	j := c.running[r.op]
	delete(c.running, r.op)
	address := j.change.Address
	outcome, err := verdict(c.t.schemas, j, r)
	c.t.append(state.Entry{End: &state.End{Op: r.op, Outcome: outcome.String(), Value: plan.NewValue(r.value), Error: message(err)}})
	if r.blind == nil {
		c.t.observed[address] = r.value
	}
	switch {
	case outcome == providers.Applied:
		c.t.notify(Notice{Kind: NoticeApplied, Clock: c.path, Phase: c.phase(), Address: address, Action: j.change.Action})
		c.succeed(j, r.value)
	case temporary(err) && c.tries[address]+1 < attempts && !c.t.stopping:
		c.tries[address]++
		c.t.notify(Notice{Kind: NoticeRetry, Clock: c.path, Phase: c.phase(), Address: address, Text: err.Error()})
		c.frontier.Retry(address)
	default:
		c.frontier.Fail(address)
		c.failure(address, err)
	}
}

func (c *clockRun) succeed(j job, value cty.Value) {
	address := j.change.Address
	if schema, _ := c.t.schemas(j.typ); schema.Recurring {
		c.renewed[address] = true
	}
	if r, ok := c.resource[address]; ok {
		if _, known := c.known[address]; !known {
			c.remember(r, j.change.Before) // what it was is the origin
		}
		c.remember(r, value)
	} else {
		delete(c.known, address)
	}
	c.frontier.Finish(address)
}

// verdict is the outcome of a job in the light of what was observed afterwards.
func verdict(schemas plan.Schemas, j job, r result) (providers.Outcome, error) {
	if r.blind != nil {
		return providers.Unknown, errors.Join(r.err, r.blind)
	}
	after := j.change.After
	if isNull(after) {
		if isNull(r.value) {
			return providers.Applied, nil
		}
		return unless(r, "it is still there")
	}
	if isNull(r.value) {
		return unless(r, "it is not there")
	}
	schema, _ := schemas(j.typ)
	if schema.Recurring && r.outcome == providers.Applied {
		return providers.Applied, nil // it was, and has drifted since, as its type does
	}
	if differs := schema.Differs(after, r.value); len(differs) > 0 {
		return unless(r, fmt.Sprintf("it reads back with another %s", differs[0]))
	}
	return providers.Applied, nil
}

// unless returns the outcome of a change that is not seen.
func unless(r result, seen string) (providers.Outcome, error) {
	outcome, err := r.outcome, r.err
	if outcome == providers.Applied {
		outcome = providers.Partial
	}
	if err == nil {
		err = errors.New("the change was made, but " + seen)
	}
	return outcome, err
}

func temporary(err error) bool {
	var e providers.Error
	return errors.As(err, &e) && e.Temporary()
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func isNull(v cty.Value) bool { return v == cty.NilVal || v.IsNull() }

// endWalk decides what comes after a walk: nothing after a failure or a closed
// window, another look after work, the gates after a look at which all was well.
func (c *clockRun) endWalk() error {
	switch {
	case len(c.failures) > 0:
		c.mode = failed
	case c.shut && !c.frontier.Done():
		c.mode = waiting
	case c.worked:
		return c.observe()
	default:
		if c.t.state.Clocks[c.path].Done.IsZero() {
			c.t.append(state.Entry{Done: &state.Done{Clock: c.path}})
			c.t.notify(Notice{Kind: NoticeDone, Clock: c.path, Phase: c.phase()})
		}
		c.mode = checking
	}
	return nil
}

// until returns the earlier of two moments; zero is no moment.
func until(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
