package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/view"
)

// waitOptions say how to wait between turns.
type waitOptions struct {
	wait bool
	poll time.Duration
}

func (o *waitOptions) flags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "wait", Usage: "wait for gates and take the next turns; the state is not locked meanwhile", Destination: &o.wait},
		&cli.DurationFlag{Name: "poll", Usage: "with -wait, how often to look whether a gate without a known time has opened", Value: 30 * time.Second, Destination: &o.poll, Validator: func(d time.Duration) error {
			if d <= 0 {
				return fmt.Errorf("%v is not a time to wait", d)
			}
			return nil
		}},
	}
}

// next returns when to take the next turn.
func (o waitOptions) next(report *engine.Report, now time.Time) time.Time {
	next := report.Until()
	for _, c := range report.Clocks {
		if c.Wait == nil {
			continue
		}
		people := len(c.Wait.Tasks) > 0
		for _, g := range c.Wait.Gates {
			people = people || g.Until.IsZero()
		}
		if poll := now.Add(o.poll); people && (next.IsZero() || poll.Before(next)) {
			next = poll
		}
	}
	if next.IsZero() {
		return now.Add(o.poll)
	}
	return next
}

// longestTimer bounds a single sleep: a timer does not run while a machine is
// suspended, so the clock is looked at again.
const longestTimer = time.Second

// sleep waits for the next turn without the lock, and counts down on a terminal.
func (a *app) sleep(ctx context.Context, p *project, report *engine.Report, o waitOptions) error {
	next := o.next(report, p.engine.Now())
	if a.json {
		if err := a.ui.object(view.Event{At: p.engine.Now().UTC(), Type: "waiting", Until: next.UTC()}); err != nil {
			return err
		}
	}
	a.ui.note("Waiting until %s. To stop waiting: Ctrl-C; the state keeps everything.", next.Local().Format("2006-01-02 15:04:05"))
	approvals := a.approvals(p)
	for {
		left := next.Sub(p.engine.Now())
		if left <= 0 {
			return nil
		}
		a.ui.status(fmt.Sprintf("  next turn in %s", view.Duration(left)))
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(min(left, longestTimer)):
		}
		if a.approvals(p) != approvals {
			return nil // somebody approved a gate or confirmed a step meanwhile
		}
	}
}

// approvals counts what people have approved and confirmed. A state that cannot be
// read just now is for the next turn to report.
func (a *app) approvals(p *project) int {
	s, err := p.engine.State()
	if err != nil || s == nil {
		return 0
	}
	return len(s.Approvals) + len(s.Confirmations)
}
