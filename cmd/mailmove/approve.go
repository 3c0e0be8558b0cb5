package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/engine/view"
)

// approveCommand records a person's word for a gate.
func (a *app) approveCommand() *cli.Command {
	f := &projectFlags{}
	var clock, phase, by, note string
	return &cli.Command{
		Name:      "approve",
		Usage:     "approve a gate of the plan in force, or confirm a step that a person has taken",
		ArgsUsage: "GATE | ADDRESS",
		Description: `With the name of a gate, approves that gate of the plan in force; approvals do not carry over to another plan.
With the address of an operator_step, records that you have done what it asks for.`,
		Flags: append(f.planFlags(), f.lockFlag(),
			&cli.StringFlag{Name: "clock", Usage: "the `module` whose gate it is, if more than one has a gate of this name", Destination: &clock},
			&cli.StringFlag{Name: "phase", Usage: "the `phase` whose gate it is, if more than one has a gate of this name", Destination: &phase},
			&cli.StringFlag{Name: "by", Usage: "who approves: a `name`; your user name if not given", Destination: &by},
			&cli.StringFlag{Name: "note", Usage: "a `text` to record with it", Destination: &note},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			gate := cmd.Args().First()
			p, err := a.open(f, "mailmove approve")
			if err != nil {
				return err
			}
			if by == "" {
				by = p.engine.Holder.User
			}
			if strings.Contains(gate, "operator_step.") {
				return a.confirm(p, gate, by, note)
			}
			where, err := findGate(p.engine, gate, clock, phase)
			if err != nil {
				return err
			}
			if err := p.engine.Approve(ctx, where.clock, where.phase, gate, by, note); err != nil {
				return err
			}
			a.ui.print("%s has approved gate %s before phase %s. mailmove apply goes on.\n", view.Clean(by), view.Clean(gate), view.Clean(where.phase))
			return nil
		},
	}
}

// confirm records that a person has taken the step at an address.
func (a *app) confirm(p *project, address, by, note string) error {
	s, err := p.engine.State()
	if err != nil {
		return err
	}
	contract, err := engine.Contract(s)
	if err != nil {
		return err
	}
	step, err := findStep(contract, address)
	if err != nil {
		return err
	}
	if err := p.engine.Confirm(step.Title, by, note); err != nil {
		return err
	}
	a.ui.print("%s has confirmed: %s. mailmove apply goes on.\n", view.Clean(by), view.Clean(step.Title))
	return nil
}

// step is an operator_step of a plan.
type step struct {
	Title        string  `json:"title"` // its identity
	Instructions *string `json:"instructions"`
}

// stepOf reads the operator_step that a change is about; ok is false for any other.
func stepOf(change plan.Change) (s step, ok bool) {
	if change.Type != "operator_step" || change.After.IsNull() {
		return s, false
	}
	data, err := json.Marshal(change.After)
	return s, err == nil && json.Unmarshal(data, &s) == nil
}

// findStep finds the step at an address of the plan in force.
func findStep(contract *plan.Plan, address string) (step, error) {
	if contract == nil {
		return step{}, hint(fmt.Errorf("confirming step %q: %w", address, engine.ErrNoContract), "A step is confirmed when the migration has come to it: mailmove plan, then mailmove apply.")
	}
	var known []string
	for _, c := range contract.Clocks {
		for _, stage := range c.Stages {
			for _, change := range stage.Changes {
				s, ok := stepOf(change)
				if ok && change.Address == address {
					return s, nil
				}
				if ok {
					known = append(known, change.Address)
				}
			}
		}
	}
	next := "It has no step at all; mailmove status says what it waits for."
	if len(known) > 0 {
		next = "Its steps are: " + strings.Join(known, ", ") + "."
	}
	return step{}, hint(fmt.Errorf("confirming: the plan in force has no step %q to be taken", address), next)
}

type gatePlace struct{ clock, phase string }

// findGate finds the one approval gate of that name.
func findGate(e *engine.Engine, gate, clock, phase string) (gatePlace, error) {
	s, err := e.State()
	if err != nil {
		return gatePlace{}, err
	}
	contract, err := engine.Contract(s)
	if err != nil {
		return gatePlace{}, err
	}
	if contract == nil {
		return gatePlace{}, hint(fmt.Errorf("approving gate %q: %w", gate, engine.ErrNoContract), "A gate of a plan is approved when the plan is in force: mailmove plan -out=FILE, review it, mailmove apply FILE.")
	}
	var found []gatePlace
	var known []string
	for _, c := range contract.Clocks {
		for _, stage := range c.Stages {
			for _, g := range stage.Gates {
				if g.Kind != plan.Approval {
					continue
				}
				known = append(known, state.GateKey(c.Path, stage.Phase, g.Name))
				if g.Name == gate && (clock == "" || clock == c.Path) && (phase == "" || phase == stage.Phase) {
					found = append(found, gatePlace{c.Path, stage.Phase})
				}
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return gatePlace{}, hint(fmt.Errorf("approving: %d gates have the name %q", len(found), gate), "Say which one with -clock and -phase: "+strings.Join(known, ", ")+".")
	case len(known) == 0:
		return gatePlace{}, hint(fmt.Errorf("approving: the plan in force has no approval gate"), "mailmove status says what it waits for.")
	}
	return gatePlace{}, hint(fmt.Errorf("approving: the plan in force has no approval gate %q", gate), "Its approval gates are (module/phase/gate): "+strings.Join(known, ", ")+".")
}
