package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/cmd/mailmove/internal/demo"
	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/view"
)

// demoOptions are the flags of the demonstration.
type demoOptions struct {
	demo.Options
	report string
	// rested is called before the audit, for tests that give it something to find.
	rested func(*demo.Demo)
}

// demoCommand moves a domain that is made for it.
func (a *app) demoCommand() *cli.Command {
	o := &demoOptions{}
	return &cli.Command{
		Name:  "demo",
		Usage: "move a domain on this machine, to see it done",
		Description: `Two mail servers and a zone are started in this process, on loopback: no root, no configuration. While two senders
(one ignores TTLs) and the users of the old server go on, the domain is planned and applied as any other; then
every message and every action is looked for on the new server. The exit code is 1 if anything is wrong.`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "accounts", Usage: "how many accounts move", Value: 6, Destination: &o.Accounts, Validator: positive},
			&cli.BoolFlag{Name: "keep", Usage: "keep configuration, plan, state and report, and say where", Destination: &o.Keep},
			&cli.StringFlag{Name: "report", Usage: "write the plan and the audit to a `file`, in HTML", Destination: &o.report},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return a.demo(ctx, o)
		},
	}
}

func (a *app) demo(ctx context.Context, o *demoOptions) (err error) {
	d, err := demo.Start(ctx, o.Options)
	if err != nil {
		if ctx.Err() != nil {
			err = errInterrupted
		}
		return err
	}
	defer func() {
		err = errors.Join(err, d.Close())
		if ctx.Err() != nil {
			err = errInterrupted
		}
		if o.Keep {
			a.ui.note("Kept in %s", view.Clean(d.Dir()))
		}
	}()
	a.ui.note("Two mail servers and a zone are up. Mail comes in from two senders, one of which ignores TTLs; %d users are at work.\n", o.Accounts)
	made, err := a.demoMove(ctx, d)
	if err != nil {
		return err
	}
	a.ui.note("\nSenders and users come to rest; then everything is looked for.")
	if err := d.Rest(ctx); err != nil {
		return err
	}
	if o.rested != nil {
		o.rested(d)
	}
	report, err := d.Audit(ctx)
	if err != nil {
		return err
	}
	if err := a.ui.write(func(w io.Writer) error { return report.Text(w, a.ui.color) }); err != nil {
		return err
	}
	return errors.Join(report.Err(), demoReports(d, o, made, report))
}

// demoMove plans the move, carries the plan out turn by turn, and plans again, when
// there must be nothing left to do. It returns the plan.
func (a *app) demoMove(ctx context.Context, d *demo.Demo) (*plan.Plan, error) {
	p, err := a.open(&projectFlags{dir: d.Dir(), parallelism: 10, validity: time.Hour}, "mailmove demo")
	if err != nil {
		return nil, err
	}
	o := &turnOptions{approve: true, wait: waitOptions{wait: true, poll: 500 * time.Millisecond}}
	made, err := a.propose(ctx, p, engine.Target{}, o, "")
	if err != nil {
		return nil, err
	}
	if err := writePlan(filepath.Join(d.Dir(), "demo.plan"), made); err != nil {
		return nil, err
	}
	if err := a.turns(ctx, p, made, o); err != nil {
		return nil, err
	}
	a.ui.note("\nPlanning once more:")
	again, err := a.makePlan(ctx, p, engine.Target{}, false)
	if err == nil && !again.Empty() {
		err = errors.New("planning once more: the plan is not empty")
	}
	return made, err
}

// demoReports writes the report to the file that was asked for and, if it is to
// be kept, to the folder of the demonstration.
func demoReports(d *demo.Demo, o *demoOptions, made *plan.Plan, report *demo.Report) error {
	var files []string
	if o.report != "" {
		files = append(files, o.report)
	}
	if o.Keep {
		files = append(files, filepath.Join(d.Dir(), "report.html"))
	}
	if len(files) == 0 {
		return nil
	}
	page, err := demoPage(made, report)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	for _, file := range files {
		if err := os.WriteFile(file, page, 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

// demoPage is the page of the plan with the audit at its head.
func demoPage(made *plan.Plan, report *demo.Report) ([]byte, error) {
	var page, audit bytes.Buffer
	if err := errors.Join(view.HTML(&page, made, view.Options{}), report.HTML(&audit)); err != nil {
		return nil, err
	}
	head, body, ok := bytes.Cut(page.Bytes(), []byte("<body>\n"))
	if !ok {
		return nil, errors.New("the page of the plan has no body")
	}
	return slices.Concat(head, []byte("<body>\n"), audit.Bytes(), body), nil
}
