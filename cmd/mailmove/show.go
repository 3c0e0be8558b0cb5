package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/view"
)

// showCommand renders a plan file, or the plan in force.
func (a *app) showCommand() *cli.Command {
	f := &projectFlags{}
	var format string
	var expand bool
	return &cli.Command{
		Name:      "show",
		Usage:     "render a plan file, or the plan in force",
		ArgsUsage: "[PLANFILE]",
		Flags: append(f.configFlags(), f.stateFlag(),
			&cli.StringFlag{Name: "format", Usage: "`how`: text, markdown, html, mermaid or json", Value: "text", Destination: &format},
			&cli.BoolFlag{Name: "expand", Usage: "show equal changes one by one", Destination: &expand},
			a.jsonFlag("the same as -format=json"),
		),
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := atMost(cmd, 1); err != nil {
				return err
			}
			if a.json {
				format = "json"
			}
			p, err := a.planToShow(f, cmd.Args().First())
			if err != nil {
				return err
			}
			return a.render(p, format, expand)
		},
	}
}

// planToShow returns the plan of a file, or the plan in force.
func (a *app) planToShow(f *projectFlags, path string) (*plan.Plan, error) {
	if path != "" {
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(`"epoch"`)) && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{\n")) {
			return nil, hint(fmt.Errorf("%s is a state, not a plan", path), "mailmove status -state="+path+" shows how things stand, mailmove state list what is recorded.")
		}
		return readPlan(path)
	}
	s, statePath, err := a.snapshot(f)
	if err != nil {
		return nil, err
	}
	p, err := engine.Contract(s)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, hint(fmt.Errorf("showing the plan in force: %w in %s", engine.ErrNoContract, statePath), "Name a plan file: mailmove show FILE.")
	}
	return p, nil
}

func (a *app) render(p *plan.Plan, format string, expand bool) error {
	options := view.Options{Color: a.ui.color, Expand: expand}
	var render func(io.Writer, *plan.Plan, view.Options) error
	switch format {
	case "text":
		render = view.Text
	case "markdown":
		render = view.Markdown
	case "html":
		render = view.HTML
	case "mermaid":
		render = view.Mermaid
	case "json":
		render = func(w io.Writer, p *plan.Plan, _ view.Options) error { return view.JSON(w, p) }
	default:
		return hint(fmt.Errorf("there is no format %q", format), "Formats are text, markdown, html, mermaid and json.")
	}
	return a.ui.write(func(w io.Writer) error { return render(w, p, options) })
}
