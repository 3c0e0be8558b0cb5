package engine

import (
	"fmt"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// This file is how a clock compares what it observed with what shall be.

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
	c.queue, c.filling = nil, map[batchKey]*batch{}
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

// record records an object that is as it shall be, and settles what was begun of it:
// a change to this end was applied, one to another was not.
func (c *clockRun) record(r plan.Resource, value cty.Value) {
	rec, ok := c.known[r.Address]
	recorded := c.recordOf(r, value)
	if intent, open := c.t.state.Intent(r.Address); open {
		schema, _ := c.t.schemas(r.Type)
		if c.begun(schema, plan.Change{Address: r.Address, After: plan.NewValue(r.Values)}) {
			c.t.append(state.Entry{End: &state.End{Op: intent.Op, Outcome: providers.Applied.String(), Value: plan.NewValue(value)}})
		} else {
			c.t.append(
				state.Entry{End: &state.End{Op: intent.Op, Outcome: providers.NotApplied.String(), Value: plan.NewValue(value)}},
				state.Entry{Record: &state.Record{Address: r.Address, Resource: recorded}})
		}
	} else if !ok || !rec.Values.RawEquals(value) || !slices.Equal(rec.DependsOn, r.DependsOn) || rec.Keep != r.Keep {
		c.t.append(state.Entry{Record: &state.Record{Address: r.Address, Resource: recorded}})
	}
	c.answered(r.Address)
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
