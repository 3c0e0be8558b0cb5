package engine

import (
	"errors"
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// This file is the way of one change: a last look, begin, effect, verdict.

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
// operation that was begun and is not settled goes on under its name if it leads to
// the same end. One that led elsewhere is over: what it did is what was seen just
// now, and the change begins from there under a name of its own.
func (c *clockRun) begin(change plan.Change) (job, []state.Entry) {
	c.t.notify(Notice{Kind: NoticeBegin, Clock: c.path, Phase: c.phase(), Address: change.Address, Action: change.Action})
	c.worked = true
	last := c.request(change.Address, change.Type, change.Provider).last
	open, ok := c.t.state.Intent(change.Address)
	schema, _ := c.t.schemas(change.Type)
	if ok && c.begun(schema, change) {
		return c.run(change, open.Op, last), nil
	}
	var entries []state.Entry
	if ok {
		entries = append(entries, state.Entry{End: &state.End{Op: open.Op, Outcome: providers.NotApplied.String()}})
	}
	if rec := c.known[change.Address]; ok && rec.Begun { // nothing else records it
		entries = append(entries, state.Entry{Record: &state.Record{Address: change.Address, Resource: state.Resource{
			Type: change.Type, Provider: change.Provider, Clock: c.path, Values: change.Before, Origin: plan.NewValue(rec.Origin), DependsOn: rec.DependsOn, Keep: rec.Keep,
		}}})
	}
	j := c.run(change, c.t.newID(), last)
	resource := state.Resource{Type: change.Type, Provider: change.Provider, Clock: c.path}
	if r, ok := c.resource[change.Address]; ok {
		resource = c.recordOf(r, j.change.Before)
	}
	return j, append(entries, state.Entry{Begin: &state.Intent{
		Op: j.change.Op, Clock: c.path, Phase: c.phase(), Address: change.Address, Action: change.Action,
		Back: c.t.contract.Back, After: change.After, Resource: resource, Begun: c.t.now,
	}})
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
	var wait *providers.WaitError
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
	case outcome == providers.NotApplied && c.settling():
		c.frontier.Finish(address) // that it has not happened is all there is to know
	case outcome == providers.NotApplied && errors.As(err, &wait):
		c.frontier.Fail(address)
		c.await(address, wait)
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
	c.answered(address)
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
