package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
)

// rollbackCommand goes back to an earlier phase.
func (a *app) rollbackCommand() *cli.Command {
	f, o := &projectFlags{}, &turnOptions{}
	var to, clock, out string
	var start bool
	return &cli.Command{
		Name:  "rollback",
		Usage: "go back to an earlier phase",
		Description: `Plans the way back, shows it, and carries it out after a "yes". Without -to it goes back one phase, along
rollback = phase.x of the phase in which the migration stands; -to-start goes back to before the first phase.
A rollback that was interrupted is carried on by the same command, or by mailmove apply.`,
		Flags: append(append(append(f.planFlags(), f.turnFlags()...), o.flags()...),
			&cli.StringFlag{Name: "to", Usage: "the `phase` to go back to", Destination: &to},
			&cli.BoolFlag{Name: "to-start", Usage: "go back to before the first phase", Destination: &start},
			&cli.StringFlag{Name: "clock", Usage: "the `module` that goes back, if more than one has phases", Destination: &clock},
			&cli.StringFlag{Name: "out", Usage: "only write the plan to a `file`, for mailmove apply", Destination: &out},
			a.jsonFlag("print events and the report as JSON, one a line"),
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			p, err := a.open(f, "mailmove rollback")
			if err != nil {
				return err
			}
			if goesOn, err := goingBack(p, clock, to, start); err != nil {
				return err
			} else if goesOn && out == "" {
				a.ui.note("Going on with the way back in force.")
				return a.turns(ctx, p, nil, o)
			}
			target, err := wayBack(p, clock, to, start)
			if err != nil {
				return err
			}
			if out != "" {
				return a.planBack(ctx, p, target, out, o.expand)
			}
			accepted, err := a.propose(ctx, p, target, o, "Go back like this?")
			if err != nil || accepted == nothing {
				return err
			}
			return a.turns(ctx, p, accepted, o)
		},
	}
}

// goingBack reports whether a plan is in force that leads to where this command
// would, and has not been carried out to its end.
func goingBack(p *project, path, to string, start bool) (bool, error) {
	s, err := p.engine.State()
	if err != nil {
		return false, err
	}
	contract, err := engine.Contract(s)
	if err != nil || contract == nil || !contract.Back || contract.Config != p.config.Digest() || reached(s, contract) {
		return false, err
	}
	for _, c := range contract.Clocks {
		last := len(c.Stages) - 1
		if last < 0 || c.Stages[last].Entered || path != "" && path != c.Path {
			continue
		}
		if goal := c.Stages[last].Phase; to == "" && !start || goal == to {
			return true, nil
		}
	}
	return false, nil
}

// planBack writes the plan of the way back to a file.
func (a *app) planBack(ctx context.Context, p *project, target engine.Target, out string, expand bool) error {
	made, err := a.makePlan(ctx, p, target, expand)
	if err != nil {
		return err
	}
	if err := forbidden(made); err != nil {
		return err
	}
	if err := writePlan(out, made); err != nil {
		return err
	}
	a.ui.note("\nWritten to %s. To go back like this: mailmove apply %s", out, out)
	return nil
}

// wayBack finds which clock goes back, and where to.
func wayBack(p *project, path, to string, start bool) (engine.Target, error) {
	if to != "" && start {
		return engine.Target{}, errors.New("going back: -to and -to-start exclude each other")
	}
	s, err := p.engine.State()
	if err != nil {
		return engine.Target{}, err
	}
	if s == nil {
		return engine.Target{}, hint(errors.New("going back: nothing has been applied yet"), "mailmove status says how things stand.")
	}
	clock, err := clockToMove(p.config.Clocks(), path, func(c plan.Clock) bool { return s.Clocks[c.Path].Phase != "" })
	if err != nil {
		return engine.Target{}, err
	}
	target := engine.Target{Back: true, Clock: clock.Path, Phase: to}
	if to != "" || start {
		return target, nil
	}
	for i, phase := range clock.Phases {
		if phase.Name == s.Clocks[clock.Path].Phase {
			if i > 0 && phase.Rollback == "" {
				return target, hint(fmt.Errorf("going back: phase %q of %s is a point of no return", phase.Name, clockName(clock.Path)), "From here the way is forward: mailmove apply. To use the old server again, describe a move in the other direction.")
			}
			target.Phase = phase.Rollback
		}
	}
	return target, nil
}

// clockToMove returns the clock at path, or the only one that has begun.
func clockToMove(clocks []plan.Clock, path string, begun func(plan.Clock) bool) (plan.Clock, error) {
	var candidates []plan.Clock
	var names []string
	for _, c := range clocks {
		if path != "" && c.Path == path {
			return c, nil
		}
		if len(c.Phases) > 0 && c.Phases[0].Name != "" {
			names = append(names, c.Path)
			if begun(c) {
				candidates = append(candidates, c)
			}
		}
	}
	switch {
	case path != "":
		return plan.Clock{}, hint(fmt.Errorf("going back: there is no module %q with phases", path), "Modules with phases: "+strings.Join(names, ", ")+".")
	case len(candidates) == 0:
		return plan.Clock{}, hint(errors.New("going back: no phase has been entered yet"), "mailmove status says how things stand.")
	case len(candidates) > 1:
		return plan.Clock{}, hint(errors.New("going back: more than one module is under way"), "Say which one with -clock: "+strings.Join(names, ", ")+".")
	}
	return candidates[0], nil
}
