package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
)

// turnOptions say how apply and rollback take their turns.
type turnOptions struct {
	approve  bool // without asking
	detailed bool
	expand   bool
	wait     waitOptions
}

func (o *turnOptions) flags() []cli.Flag {
	return append(o.wait.flags(),
		&cli.BoolFlag{Name: "auto-approve", Aliases: []string{"yes"}, Usage: "do not ask before a new plan is carried out", Destination: &o.approve},
		&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 if the migration waits for a gate or a person", Destination: &o.detailed},
		&cli.BoolFlag{Name: "expand", Usage: "show equal changes one by one", Destination: &o.expand},
	)
}

// applyCommand carries out a plan.
func (a *app) applyCommand() *cli.Command {
	f, o := &projectFlags{}, &turnOptions{}
	return &cli.Command{
		Name:      "apply",
		Usage:     "carry out a plan, as far as its gates allow",
		ArgsUsage: "[PLANFILE]",
		Description: `With a plan file, exactly that plan is carried out. Without one, the plan in force is carried on; if there is
none, or the configuration has changed, a plan is made, shown, and carried out after a "yes".

One run is one turn: it goes as far as gates allow and says what it waits for. The next turn may be taken at
any time, by anybody who has the state; -wait takes it when the gate opens.`,
		Flags: append(append(append(f.planFlags(), f.turnFlags()...), o.flags()...), a.jsonFlag("print events and the report as JSON, one a line")),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			p, err := a.open(f, "mailmove apply")
			if err != nil {
				return err
			}
			accepted, err := a.accepted(ctx, p, o, cmd.Args().First())
			if err != nil || accepted == nothing {
				return err
			}
			return a.turns(ctx, p, accepted, o)
		},
	}
}

// nothing says that there is no plan to carry out, as nothing is to be done.
var nothing = &plan.Plan{}

// accepted returns the plan to carry out; nil to go on with the one in force.
func (a *app) accepted(ctx context.Context, p *project, o *turnOptions, file string) (*plan.Plan, error) {
	if file != "" {
		return readPlan(file)
	}
	s, err := p.engine.State()
	if err != nil {
		return nil, err
	}
	contract, err := engine.Contract(s)
	if err != nil {
		return nil, err
	}
	switch {
	case contract == nil || reached(s, contract):
	case contract.Config == p.config.Digest():
		a.ui.note("Going on with the plan in force.")
		return nil, nil
	default:
		a.ui.note("The configuration has changed since the plan in force was approved, so a new plan is made.")
	}
	return a.propose(ctx, p, engine.Target{}, o, "Carry out this plan?")
}

// reached reports whether a plan has been carried out to its end.
func reached(s *state.Snapshot, contract *plan.Plan) bool {
	for _, c := range contract.Clocks {
		at, there := s.Clocks[c.Path]
		if c.Gone && there {
			return false
		}
		if c.Gone || len(c.Stages) == 0 {
			continue
		}
		if at.Phase != c.Stages[len(c.Stages)-1].Phase || at.Done.IsZero() {
			return false
		}
	}
	return len(s.Intents) == 0
}

// propose makes a plan, shows it and asks for approval.
func (a *app) propose(ctx context.Context, p *project, target engine.Target, o *turnOptions, question string) (*plan.Plan, error) {
	made, err := a.makePlan(ctx, p, target, o.expand)
	if err != nil {
		return nil, err
	}
	if err := forbidden(made); err != nil {
		return nil, err
	}
	if made.Empty() {
		s, err := p.engine.State()
		if err == nil && s != nil && len(s.Intents) > 0 {
			return made, nil // it permits nothing, and settles what was begun
		}
		return nothing, err
	}
	if o.approve {
		return made, nil
	}
	yes, err := a.ui.ask(question)
	if err != nil {
		return nil, err
	}
	if !yes {
		return nil, errors.New("the plan was not approved; nothing was changed")
	}
	return made, nil
}

// turns takes a turn, and with -wait the turns after it.
func (a *app) turns(ctx context.Context, p *project, accepted *plan.Plan, o *turnOptions) error {
	for {
		report, err := a.turn(ctx, p, accepted)
		if err != nil {
			return notCarriedOut(err)
		}
		if err := a.ui.report(report); err != nil {
			return err
		}
		switch {
		case report.Err() != nil:
			return &turnError{report}
		case report.Interrupted:
			return errInterrupted
		case report.Done():
			return nil
		case !o.wait.wait && o.detailed:
			return errPending
		case !o.wait.wait:
			return nil
		}
		if err := a.sleep(ctx, p, report, o.wait); err != nil {
			return err
		}
		accepted = nil
	}
}

// turn takes one turn and shows its course.
func (a *app) turn(ctx context.Context, p *project, accepted *plan.Plan) (*engine.Report, error) {
	course := newCourse(a.ui)
	defer course.end()
	p.engine.Notify = course.notice
	return p.engine.Apply(ctx, accepted)
}

// notCarriedOut gives the error of a turn that could not be taken a next step.
func notCarriedOut(err error) error {
	switch {
	case errors.Is(err, engine.ErrNoContract):
		return hint(err, "Make one: mailmove plan -out=FILE, review it, mailmove apply FILE.")
	case errors.Is(err, state.ErrBroken):
		return hint(err, "Look at the disk that holds the state. Then run mailmove apply again: it settles by looking what was done.")
	}
	return err
}

// A turnError ends a turn at which objects could not be brought to where they shall
// be. Its parts have been printed with the report.
type turnError struct{ report *engine.Report }

func (e *turnError) Error() string {
	return fmt.Sprintf("the turn stopped: %v", e.report.Err())
}
func (e *turnError) Unwrap() error { return e.report.Err() }
