package engine

import (
	"time"

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
	queue    []*batch            // what is ready, in the order in which it will begin
	filling  map[batchKey]*batch // those of the queue that can take more
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
	tasks    []Task // what this walk has found that waits for people
}

func newClockRun(t *turn, p *plan.ClockPlan) *clockRun {
	c := &clockRun{
		t: t, path: p.Path, plan: p, running: map[string]job{}, tries: map[string]int{}, renewed: map[string]bool{},
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
	if c.plan.Gone {
		c.drop()
		return nil
	}
	if c.stage < 0 {
		c.mode = checking
		return nil
	}
	c.mode, c.worked, c.tasks = observing, false, nil
	if err := c.load(); err != nil {
		return err
	}
	var requests []request
	for _, r := range c.world {
		requests = append(requests, c.request(r.Address, r.Type, r.Provider))
	}
	departed := plan.Departed(c.world, c.known)
	if c.settling() {
		c.world, departed = plan.Begun(c.world, departed, c.t.state.Begun())
	}
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

// settling reports whether the clock does nothing in this phase but to finish what
// was begun.
func (c *clockRun) settling() bool { return c.stage >= 0 && c.plan.Stages[c.stage].Settle }

// load evaluates what shall exist in the phase, and what is known.
func (c *clockRun) load() (err error) {
	if c.known, err = c.t.recorded(c.path); err != nil {
		return err
	}
	stage := plan.Stage{Phase: plan.Phase{Name: c.phase()}}
	if c.phase() != "" || !hasPhases(c.t.program, c.path) {
		worlds, err := c.t.program.Desired(c.t.position(c.t.state))
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
		r.last = rec.Last(r.desired)
	}
	if intent, ok := c.t.state.Intent(address); ok {
		if v, err := intent.Checkpoint.As(none.Type()); err == nil && !v.IsNull() {
			r.last = v
		}
	}
	return r
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
	moved := c.gather()
	if len(c.queue) == 0 || c.shut || c.t.stopping {
		if c.frontier.Running() > 0 || c.t.stopping {
			return moved, nil
		}
		return true, c.endWalk()
	}
	for len(c.queue) > 0 && !c.t.busy() {
		c.prepare(c.next())
		moved = true
	}
	return moved, nil
}

// gather queues what has become ready, and passes the nodes at which nothing is to
// be done, or nothing can be.
func (c *clockRun) gather() bool {
	moved := false
	for ready := c.frontier.Ready(); len(ready) > 0; ready = c.frontier.Ready() {
		for _, address := range ready {
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
				c.enqueue(*change)
				continue
			}
			moved = true
		}
	}
	return moved
}

// A batch is changes that are made together: ready, and not begun yet.
type batch struct {
	key       batchKey
	addresses []string
}

// batchKey groups changes; without a key a change goes alone.
type batchKey struct{ provider, typ, key string }

// enqueue adds a change to a batch that is not full, or else to a new one at the end.
func (c *clockRun) enqueue(change plan.Change) {
	key := batchKey{provider: change.Provider, typ: change.Type}
	var limit int
	key.key, limit = c.t.batch(c.job(change, ""))
	b := c.filling[key]
	if b == nil || limit > 0 && len(b.addresses) >= limit {
		b = &batch{key: key}
		c.queue = append(c.queue, b)
		if key.key != "" {
			c.filling[key] = b
		}
	}
	b.addresses = append(b.addresses, change.Address)
}

// next takes the first batch off the queue.
func (c *clockRun) next() []string {
	b := c.queue[0]
	c.queue = c.queue[1:]
	if c.filling[b.key] == b {
		delete(c.filling, b.key)
	}
	return b.addresses
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

// endWalk decides what comes after a walk: nothing after a failure, a closed window
// or at what waits for a person, another look after work, the gates after a look at
// which all was well.
func (c *clockRun) endWalk() error {
	switch {
	case len(c.failures) > 0:
		c.mode = failed
	case c.shut && !c.frontier.Done():
		c.mode = waiting
	case len(c.tasks) > 0:
		c.wait, c.mode = Wait{Phase: c.phase()}, waiting
	case c.worked:
		return c.observe()
	default:
		if c.t.state.Clocks[c.path].Done.IsZero() && !c.settling() {
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
