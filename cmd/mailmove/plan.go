package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/view"
)

// planCommand makes a plan and shows it.
func (a *app) planCommand() *cli.Command {
	f := &projectFlags{}
	var out string
	var detailed, expand bool
	return &cli.Command{
		Name:  "plan",
		Usage: "show every change, wait and danger, and change nothing",
		Description: `Observes every object, compares it with the configuration in each phase, and shows what apply would do.
Nothing is changed and no lock is taken. A plan with dangers that forbid it ends with exit code 1.`,
		Flags: append(f.planFlags(),
			&cli.StringFlag{Name: "out", Usage: "write the plan to a `file`, for mailmove apply", Destination: &out},
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 if the plan is not empty", Destination: &detailed},
			&cli.BoolFlag{Name: "expand", Usage: "show equal changes one by one", Destination: &expand},
			a.jsonFlag("print the plan as JSON"),
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			p, err := a.open(f, "mailmove plan")
			if err != nil {
				return err
			}
			made, err := a.makePlan(ctx, p, engine.Target{}, expand)
			if err != nil {
				return err
			}
			if err := forbidden(made); err != nil {
				return err
			}
			if out != "" {
				if err := writePlan(out, made); err != nil {
					return err
				}
				a.ui.note("\nWritten to %s. To carry out exactly this plan: mailmove apply %s", view.Clean(out), view.Clean(out))
			}
			if detailed && !made.Empty() {
				return errPending
			}
			return nil
		},
	}
}

// makePlan plans and shows the plan.
func (a *app) makePlan(ctx context.Context, p *project, target engine.Target, expand bool) (*plan.Plan, error) {
	course := newCourse(a.ui)
	p.engine.Notify = course.planning
	made, err := p.engine.Plan(ctx, target)
	course.end()
	if err != nil {
		return nil, err
	}
	if a.json {
		return made, a.ui.write(func(w io.Writer) error { return view.JSON(w, made) })
	}
	return made, a.ui.write(func(w io.Writer) error {
		return view.Text(w, made, view.Options{Color: a.ui.color, Expand: expand})
	})
}

// forbidden is the error of a plan that has dangers which forbid it.
func forbidden(p *plan.Plan) error {
	switch fatal := p.Fatal(); len(fatal) {
	case 0:
		return nil
	case 1:
		return hint(fmt.Errorf("the plan is forbidden by a danger: %s: %s", fatal[0].Code, fatal[0].Summary), fatal[0].Fix)
	default:
		return hint(fmt.Errorf("the plan is forbidden by %d dangers, which it lists at its top", len(fatal)), "Each of them says what to do. Nothing was changed.")
	}
}

// writePlan writes a plan file, whole or not at all. It tells much of the servers,
// so that nobody else may read it.
func writePlan(path string, p *plan.Plan) (err error) {
	data, err := p.Encode()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("writing the plan %s: %w", path, err)
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// readPlan reads a plan file.
func readPlan(path string) (*plan.Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	p, err := plan.Decode(data)
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", path, err), "Make the plan again: mailmove plan -out="+path)
	}
	return p, nil
}
