package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// Apply takes one turn. With a plan, that plan becomes the contract first;
// without one, the turn goes on with the contract in force ([ErrNoContract] if
// there is none that the configuration still fits). The report says where every
// clock stands. An error besides means that the turn could not be taken or its
// record not be written.
//
// When ctx is cancelled, nothing new is begun, what is under way is finished and
// recorded, and the report says that it was interrupted.
func (e *Engine) Apply(ctx context.Context, accepted *plan.Plan) (_ *Report, err error) {
	unlock, err := e.Store.Lock(e.Holder, e.LockTimeout)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	s, fresh, err := e.load()
	if err != nil {
		return nil, err
	}
	if accepted != nil {
		if err := e.acceptable(s, fresh, accepted); err != nil {
			return nil, err
		}
	} else if accepted, err = e.continued(s); err != nil {
		return nil, err
	}
	return e.turn(ctx, s, fresh, accepted)
}

// acceptable reports whether a plan may become the contract now.
func (e *Engine) acceptable(s *state.Snapshot, fresh bool, p *plan.Plan) error {
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	if digest == s.Digest && p.Config == e.Program.Digest() {
		return nil // accepted by an earlier turn; this one goes on with it
	}
	if fresh {
		if p.Serial != 0 {
			return staleError("it was made from the state of a migration under way (serial %d), and %s does not exist", p.Serial, e.Store.Name())
		}
		s.Lineage = p.Lineage
	}
	switch {
	case p.Lineage != s.Lineage:
		return staleError("it belongs to another migration (lineage %s, the state has %s)", p.Lineage, s.Lineage)
	case p.Serial != s.Serial:
		return staleError("the state has changed since (serial %d, now %d)", p.Serial, s.Serial)
	case p.Config != e.Program.Digest():
		return staleError("the configuration, a module or a variable has changed since")
	case p.Mailmove != e.Version:
		return staleError("it was made by mailmove %s, this is %s", p.Mailmove, e.Version)
	case e.Now().After(p.Expires):
		return staleError("it expired at %s", p.Expires.Format("2006-01-02 15:04 MST"))
	}
	if fatal := p.Fatal(); len(fatal) > 0 {
		return fmt.Errorf("the plan has dangers that forbid it: %s: %s", fatal[0].Code, fatal[0].Summary)
	}
	return nil
}

// continued returns the contract in force.
func (e *Engine) continued(s *state.Snapshot) (*plan.Plan, error) {
	contract, err := Contract(s)
	if err != nil {
		return nil, err
	}
	if contract == nil {
		return nil, ErrNoContract
	}
	if contract.Config != e.Program.Digest() {
		return nil, staleError("the configuration, a module or a variable has changed since the plan in force was approved")
	}
	return contract, nil
}

// turn puts the contract into force and carries the turn out.
func (e *Engine) turn(ctx context.Context, s *state.Snapshot, fresh bool, contract *plan.Plan) (_ *Report, err error) {
	sys := e.systems(s.Lineage)
	defer func() { err = errors.Join(err, sys.close()) }()
	epoch := providers.Epoch{Number: s.Epoch + 1, Holder: e.Holder.String()}
	if err := e.open(s, fresh, contract, epoch); err != nil {
		return nil, err
	}
	if err := e.claim(ctx, sys, s, epoch); err != nil {
		return nil, err
	}
	work := context.WithoutCancel(ctx)
	r := &runner{engine: e, ctx: work, systems: sys, events: make(chan answer), schemas: e.schemas()}
	r.turn = newTurn(turnInput{
		program: e.Program, state: s, contract: contract, schemas: r.schemas, newID: rand.Text, parallelism: e.Parallelism,
		position: e.position,
		normal:   func(w plan.World) (plan.World, error) { return sys.normal(work, w) },
		batch:    r.batch,
	})
	return r.run(ctx.Done())
}

// open records that the turn begins. A new state begins with its contract in it.
func (e *Engine) open(s *state.Snapshot, fresh bool, contract *plan.Plan, epoch providers.Epoch) error {
	entries, err := e.opening(s, contract, epoch)
	if err != nil {
		return err
	}
	if !fresh {
		return state.Commit(e.Store, s, entries...)
	}
	for _, entry := range entries {
		if err := s.Apply(entry); err != nil {
			return err
		}
	}
	return e.Store.Fold(s)
}

// claim takes the epoch of a turn on every system. It is durable in the state
// before it is anywhere else, so that no two turns ever have the same one. A turn
// that is refused does not count: else a state that is out of date would overtake
// the newer one if it only tried often enough.
func (e *Engine) claim(ctx context.Context, sys *systems, s *state.Snapshot, epoch providers.Epoch) error {
	count := func(number int64) error {
		return state.Commit(e.Store, s, state.Entry{At: e.Now().UTC(), Turn: &state.Turn{Epoch: number, Holder: epoch.Holder, Mailmove: e.Version}})
	}
	for {
		err := sys.claim(ctx, epoch)
		var stale *providers.StaleError
		if !errors.As(err, &stale) {
			return err
		}
		if !e.TakeOver || stale.Theirs.Number < epoch.Number {
			return errors.Join(err, count(epoch.Number-1))
		}
		epoch.Number = stale.Theirs.Number + 1
		if err := count(epoch.Number); err != nil {
			return err
		}
	}
}

// opening returns the entries that begin a turn.
func (e *Engine) opening(s *state.Snapshot, contract *plan.Plan, epoch providers.Epoch) ([]state.Entry, error) {
	now := e.Now().UTC()
	entries := []state.Entry{{At: now, Turn: &state.Turn{Epoch: epoch.Number, Holder: epoch.Holder, Mailmove: e.Version}}}
	digest, err := contract.Digest()
	if err != nil {
		return nil, err
	}
	if digest != s.Digest {
		data, err := contract.Encode()
		if err != nil {
			return nil, err
		}
		entries = append(entries, state.Entry{At: now, Contract: &state.Contract{Digest: digest, Plan: data[:len(data)-1], By: e.Holder.User}})
	}
	return append(entries, e.moves(s)...), nil
}

// An answer is an event on its way to the turn. Who sends it may wait until it is
// durable.
type answer struct {
	event event
	ack   chan error
}

// runner carries out the commands of a turn: goroutines, systems, store.
type runner struct {
	engine  *Engine
	ctx     context.Context
	systems *systems
	schemas plan.Schemas
	turn    *turn
	events  chan answer
	wg      sync.WaitGroup
}

// run feeds the turn until it is finished. After an error nothing more is begun;
// what is under way gets no answer to its records and so has no further effect.
func (r *runner) run(interrupted <-chan struct{}) (*Report, error) {
	err := r.take(answer{event: begin{}})
	for err == nil && !r.turn.finished {
		select {
		case <-interrupted: // before anything that may have come at the same time
			interrupted = nil
			err = r.take(answer{event: interrupt{}})
			continue
		default:
		}
		select {
		case a := <-r.events:
			err = r.take(a)
		case <-interrupted:
		}
	}
	drained := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(drained)
	}()
	for {
		select {
		case a := <-r.events:
			if a.ack != nil {
				a.ack <- errors.Join(errors.New("the turn has ended"), err)
			}
		case <-drained:
			if err != nil {
				return nil, err
			}
			return r.turn.report(), nil
		}
	}
}

// take gives the turn one event and carries out what it wants.
func (r *runner) take(a answer) error {
	commands, err := r.turn.step(r.engine.Now(), a.event)
	for _, c := range commands {
		if err != nil {
			break
		}
		err = r.do(c)
	}
	if a.ack != nil {
		a.ack <- err
	}
	return err
}

func (r *runner) do(c command) error {
	switch c := c.(type) {
	case appendEntries:
		return r.engine.Store.Append(r.turn.state, c.entries...)
	case fold:
		return r.engine.Store.Fold(r.turn.state)
	case notice:
		r.engine.notify(c.Notice)
	case observe:
		r.wg.Go(func() {
			r.systems.refresh()
			r.events <- answer{event: observed{token: c.token, results: r.systems.observe(r.ctx, c.requests)}}
		})
	case apply:
		r.wg.Go(func() { r.events <- answer{event: applied{results: r.apply(c.jobs)}} })
	}
	return nil
}

func (r *runner) batch(j job) (string, int) {
	res, err := r.systems.resource(r.ctx, j.provider, j.typ)
	if err != nil {
		return "", 0
	}
	if b, ok := providers.As[providers.Batcher](res); ok {
		return b.BatchKey(j.change), b.BatchLimit()
	}
	return "", 0
}

// apply carries out a batch and observes its objects again.
func (r *runner) apply(jobs []job) []result {
	results := make([]result, len(jobs))
	for i, j := range jobs {
		results[i] = result{op: j.change.Op, outcome: providers.NotApplied}
	}
	res, err := r.systems.resource(r.ctx, jobs[0].provider, jobs[0].typ)
	if err != nil {
		for i := range results {
			results[i].err = err
		}
	}
	values := make([]cty.Value, len(jobs))
	if err == nil {
		for i, out := range r.effect(res, jobs) {
			results[i].outcome, results[i].err, values[i] = out.Outcome, out.Err, out.Value
		}
	}
	r.verify(jobs, values, results)
	return results
}

// effect calls the provider.
func (r *runner) effect(res providers.Resource, jobs []job) []providers.Result {
	changes := make([]providers.Change, len(jobs))
	logs := make([]providers.Log, len(jobs))
	for i, j := range jobs {
		changes[i], logs[i] = j.change, &changeLog{runner: r, op: j.change.Op, address: j.change.Address}
	}
	if b, ok := providers.As[providers.Batcher](res); ok && b.BatchKey(changes[0]) != "" {
		results := b.ApplyBatch(r.ctx, changes, logs)
		if len(results) != len(changes) {
			panic(fmt.Sprintf("provider: ApplyBatch returned %d results for %d changes", len(results), len(changes)))
		}
		return results
	}
	outcome, value, err := res.Apply(r.ctx, changes[0], logs[0])
	return []providers.Result{{Outcome: outcome, Value: value, Err: err}}
}

// verify observes the objects of a batch after the effect.
func (r *runner) verify(jobs []job, values []cty.Value, results []result) {
	requests := make([]request, len(jobs))
	for i, j := range jobs {
		last := values[i]
		if isNull(last) {
			last = j.change.Last
		}
		if isNull(last) {
			last = j.change.Before
		}
		requests[i] = request{address: j.change.Address, typ: j.typ, provider: j.provider, desired: j.change.After, last: last}
	}
	r.systems.refresh()
	for i, o := range r.systems.observe(r.ctx, requests) {
		results[i].value, results[i].blind = o.value, o.err
	}
}

// changeLog is the [providers.Log] of one running change.
type changeLog struct {
	runner      *runner
	op, address string
}

// Progress implements [providers.Log].
func (l *changeLog) Progress(done, total int64, unit string) {
	l.runner.engine.notify(Notice{Kind: NoticeProgress, Address: l.address, Done: done, Total: total, Unit: unit})
}

// Step implements [providers.Log].
func (l *changeLog) Step(name string) error { return l.send(stepped{op: l.op, name: name}) }

// Checkpoint implements [providers.Log].
func (l *changeLog) Checkpoint(v cty.Value) error { return l.send(checkpointed{op: l.op, value: v}) }

func (l *changeLog) send(e event) error {
	ack := make(chan error, 1)
	l.runner.events <- answer{event: e, ack: ack}
	return <-ack
}
