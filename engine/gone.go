package engine

import (
	"fmt"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// This file is about clocks that the state knows and the configuration does not
// have any more: a module, or one key of its for_each, was taken out of the file.
// If its migration is at an end, what is recorded of it is forgotten and nothing is
// changed anywhere; else there is no plan: half a migration that nobody looks after
// any more is how things get lost.

// position is where those clocks stand that the configuration has.
func (e *Engine) position(s *state.Snapshot) plan.Position {
	at := plan.Position{}
	for _, clock := range e.Program.Clocks() {
		if stands, begun := s.Clocks[clock.Path]; begun {
			at[clock.Path] = stands.Phase
		}
	}
	return at
}

// gone returns the routes of clocks that the configuration does not have any more.
// routes are those of the clocks that it has.
func (p *planner) gone(routes []plan.Route) ([]plan.Route, error) {
	contract, err := Contract(p.state)
	if err != nil {
		return nil, err
	}
	var gone []plan.Route
	for _, path := range sortedKeys(p.state.Clocks) {
		if _, there := p.at[path]; there {
			continue
		}
		if err := p.leavable(path, contract); err != nil {
			return nil, err
		}
		for _, route := range routes {
			if p.renamed(path, route) {
				return nil, providers.Faultf(
					fmt.Sprintf("If it was renamed, say so: moved { from = %s, to = %s }. If everything is to be moved once more, take %s out for now and apply that first.", path, route.Path, route.Path),
					"%s is not in the configuration any more, and %s, which has not begun, declares the same objects", path, route.Path)
			}
		}
		gone = append(gone, plan.Route{Path: path, From: p.state.Clocks[path].Phase, Gone: true})
	}
	return gone, nil
}

// leavable reports whether the migration of a clock is at an end: done in its last
// phase, or back at the start. Where it ends the plan in force tells, for the
// configuration does not any more.
func (p *planner) leavable(path string, contract *plan.Plan) error {
	at := p.state.Clocks[path]
	begun := p.halfDone(path)
	ended := !at.Done.IsZero() && !begun
	if at.Phase != "" {
		c := (*plan.ClockPlan)(nil)
		if contract != nil && !contract.Back {
			c = contract.Clock(path)
		}
		ended = ended && c != nil && len(c.Stages) > 0 && c.Stages[len(c.Stages)-1].Phase == at.Phase
	}
	if ended {
		return nil
	}
	where := fmt.Sprintf("it stands in phase %q", at.Phase)
	switch {
	case begun:
		where += ", and of a change that was begun the outcome is not known"
	case at.Phase == "":
		where = "its way back to the start is not done"
	case at.Done.IsZero():
		where += ", which is not done"
	default:
		where += ", which is not the last one"
	}
	return providers.Faultf(
		fmt.Sprintf("Put it back into the configuration. Then finish it (mailmove apply), or go back to the start (mailmove rollback -clock='%s' -to-start), and take it out after that. If it was renamed, say so: moved { from = %s, to = NEW }.", path, path),
		"%s is not in the configuration any more, but its migration is not finished: %s", path, where)
}

// renamed reports whether a clock that has not begun looks like the one that is gone:
// it declares objects of it under the same names, and under none another object.
func (p *planner) renamed(gone string, route plan.Route) bool {
	if route.From != "" || len(route.Stages) > 0 && route.Stages[0].Entered {
		return false
	}
	same := false
	for _, stage := range route.Stages {
		for _, r := range stage.World {
			name, ok := strings.CutPrefix(r.Address, route.Path+".")
			rec, recorded := p.recorded[gone+"."+name]
			schema, known := p.schemas(r.Type)
			if !ok || !recorded || !known || rec.Clock != gone {
				continue
			}
			if rec.Type != r.Type || rec.Provider != r.Provider || !schema.Identity(rec.Values).RawEquals(schema.Identity(r.Values)) {
				return false
			}
			same = true
		}
	}
	return same
}

// farewells say, at the top of a plan, what it forgets for good.
func farewells(made *plan.Plan) []plan.Danger {
	var dangers []plan.Danger
	for _, c := range made.Clocks {
		if !c.Gone {
			continue
		}
		how := fmt.Sprintf("is finished (phase %q)", c.From)
		if c.From == "" {
			how = "has gone back to the start"
		}
		dangers = append(dangers, plan.Danger{
			Code: "FORGOTTEN", Severity: providers.Warning, Address: c.Path,
			Summary: fmt.Sprintf("It is not in the configuration any more, and its migration %s: mailmove forgets its %d objects and changes nothing on any server. From then on it neither looks after them nor can it go back.", how, len(c.Stages[0].Changes)),
			Fix:     "If that is not meant, put it back into the configuration.",
		})
	}
	return dangers
}

// drop forgets a clock that the configuration does not have any more.
func (c *clockRun) drop() {
	c.mode = done
	if _, there := c.t.state.Clocks[c.path]; !there {
		return // an earlier turn has done it
	}
	c.t.append(state.Entry{Drop: &state.Drop{Clock: c.path}})
	c.t.notify(Notice{Kind: NoticeDone, Clock: c.path, Text: "forgotten, as the configuration does not have it any more"})
}
