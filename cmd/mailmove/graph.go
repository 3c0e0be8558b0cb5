package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/view"
)

// graphCommand draws what depends on what.
func (a *app) graphCommand() *cli.Command {
	f := &projectFlags{}
	var typ, clock, phase string
	return &cli.Command{
		Name:        "graph",
		Usage:       "draw in which order the objects of a phase are changed",
		Description: "Prints the dependencies of the objects of one phase, the last one if none is named, for Graphviz or Mermaid.",
		Flags: append(f.configFlags(),
			&cli.StringFlag{Name: "type", Usage: "`dot` or mermaid", Value: "dot", Destination: &typ},
			&cli.StringFlag{Name: "clock", Usage: "the `module` whose phase it is", Destination: &clock},
			&cli.StringFlag{Name: "phase", Usage: "the `phase`", Destination: &phase},
		),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			c, err := a.load(f)
			if err != nil {
				return err
			}
			at, err := standing(c.Clocks(), clock, phase)
			if err != nil {
				return err
			}
			worlds, diags := c.Desired(at)
			if err := diags.Err(); err != nil {
				return err
			}
			var world plan.World
			for _, path := range sortedKeys(worlds) {
				if clock == "" || path == clock {
					world = append(world, worlds[path]...)
				}
			}
			g := plan.Order(world, nil, false)
			switch typ {
			case "dot":
				return a.ui.write(func(w io.Writer) error { return g.DOT(w, view.Clean) })
			case "mermaid":
				return a.ui.write(func(w io.Writer) error { return g.Mermaid(w, view.Clean) })
			}
			return hint(fmt.Errorf("there is no graph type %q", typ), "Types are dot and mermaid.")
		},
	}
}

// standing returns a position with every clock in the phase of that name, or in
// its last one.
func standing(clocks []plan.Clock, clock, phase string) (plan.Position, error) {
	at := plan.Position{}
	found := phase == "" && clock == ""
	var names []string
	for _, c := range clocks {
		if len(c.Phases) > 0 {
			at[c.Path] = c.Phases[len(c.Phases)-1].Name
		}
		if clock != "" && c.Path != clock {
			continue
		}
		found = found || phase == ""
		for _, p := range c.Phases {
			names = append(names, p.Name)
			if phase != "" && p.Name == phase {
				at[c.Path], found = phase, true
			}
		}
	}
	if !found {
		return nil, hint(fmt.Errorf("there is no phase %q in module %q", phase, clock), "Phases: "+strings.Join(names, ", ")+".")
	}
	return at, nil
}
