// Package trial moves a domain under live traffic and tells whether anything was lost: a lab is brought up and seeded,
// senders and users begin, a migration is run on the operator's host, traffic ends, the queues drain, and the audit
// judges. Then the lab is taken down.
//
// What is run on the operator's host is a [Migration]: mailmove with one of its recipes, or a script that moves the
// domain by other means, to compare with.
package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/audit"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/seed"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

// A Migration moves the domain of a lab.
type Migration interface {
	// Forward moves the domain to the new server and returns when it is there.
	Forward(ctx context.Context, l *lab.Lab) error
	// Back moves it to the old server again.
	Back(ctx context.Context, l *lab.Lab) error
	// Finish removes what is left of the move when nobody uses the old server any more, and returns an error if there is
	// anything left to do. It is not called after Back.
	Finish(ctx context.Context, l *lab.Lab) error
}

// Options say what is tried.
type Options struct {
	Lab      lab.Options
	Seed     seed.Options
	Traffic  traffic.Options
	Users    users.Options
	Rollback bool          // after the move, back again
	Before   time.Duration // of traffic before the migration
	Between  time.Duration // of traffic between the move and the way back
	After    time.Duration // of traffic after the migration
	Keep     bool          // leave the lab up
	Log      io.Writer     // what is going on
}

// A Result is the outcome of a trial.
type Result struct {
	Report *audit.Report
	Took   time.Duration // of the migration
}

// Run tries migration in a lab called name. A fault that the audit finds is in the result and no error.
func Run(ctx context.Context, name string, migration Migration, options Options) (result *Result, err error) {
	t := &trial{options: options, migration: migration, began: time.Now()}
	options.Lab.Progress = func(what string) { t.say("%s", what) }
	if t.lab, err = lab.Up(ctx, name, options.Lab); err != nil {
		return nil, err
	}
	if !options.Keep {
		defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), name)) }()
	}
	t.say("seeding")
	if err := seed.Run(ctx, t.lab, options.Seed); err != nil {
		return nil, err
	}
	if err := audit.Snapshot(ctx, t.lab); err != nil {
		return nil, err
	}
	took, err := t.underTraffic(ctx)
	if err != nil {
		return nil, err
	}
	t.say("waiting for the queues")
	if err := drain(ctx, t.lab); err != nil {
		return nil, err
	}
	home := "old"
	if !options.Rollback {
		home = "new"
		t.say("finishing")
		if err := migration.Finish(ctx, t.lab); err != nil {
			return nil, err
		}
	}
	t.say("auditing")
	report, err := audit.Run(ctx, t.lab, home)
	if err != nil {
		return nil, err
	}
	return &Result{report, took}, nil
}

type trial struct {
	lab       *lab.Lab
	options   Options
	migration Migration
	began     time.Time
}

func (t *trial) say(format string, args ...any) {
	fmt.Fprintf(t.options.Log, "%6.1f s  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

// underTraffic runs the migration while senders send and users work, and returns how long it took. If either side fails,
// the other is stopped.
func (t *trial) underTraffic(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	failures := make(chan error, 2)
	for _, part := range []func() error{
		func() error { return traffic.Run(ctx, t.lab, t.options.Traffic, stop) },
		func() error { return users.Run(ctx, t.lab, t.options.Users, stop) },
	} {
		go func() {
			err := part()
			if err != nil {
				cancel(err)
			}
			failures <- err
		}()
	}
	took, err := t.migrate(ctx)
	if err == nil {
		err = pause(ctx, t.options.After)
	}
	t.say("stopping traffic")
	close(stop)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(err)
	}
	for range 2 {
		// What the parts say after being told to stop because of another failure adds nothing.
		if failure := <-failures; failure != nil && err == nil {
			err = failure
		}
	}
	return took, err
}

func (t *trial) migrate(ctx context.Context) (time.Duration, error) {
	t.say("traffic")
	if err := pause(ctx, t.options.Before); err != nil {
		return 0, err
	}
	t.say("moving")
	began := time.Now()
	if err := t.migration.Forward(ctx, t.lab); err != nil {
		return 0, fmt.Errorf("moving: %w", err)
	}
	took := time.Since(began)
	if !t.options.Rollback {
		return took, nil
	}
	if err := pause(ctx, t.options.Between); err != nil {
		return 0, err
	}
	t.say("moving back")
	began = time.Now()
	if err := t.migration.Back(ctx, t.lab); err != nil {
		return 0, fmt.Errorf("moving back: %w", err)
	}
	return took + time.Since(began), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// drainTime is how long mail that was accepted may stay in a queue once nobody sends any more.
const drainTime = 90 * time.Second

// drain lets the queues of all hosts run empty. What is still there when the time is over is for the audit to report.
func drain(ctx context.Context, l *lab.Lab) error {
	deadline := time.Now().Add(drainTime)
	for empty := 0; empty < 3; { // seen empty for a while: one server may hand over to the next
		full := false
		for _, name := range []string{"old", "new", "sender", "stale"} {
			host, err := l.Host(name)
			if err != nil {
				return err
			}
			queue, err := host.Run(ctx, nil, "postqueue", "-j")
			if err != nil {
				return fmt.Errorf("reading queue of %s: %w", name, err)
			}
			if len(bytes.TrimSpace(queue)) > 0 {
				full = true
				if _, err := host.Run(ctx, nil, "postqueue", "-f"); err != nil {
					return fmt.Errorf("running queue of %s: %w", name, err)
				}
			}
		}
		empty++
		if full {
			empty = 0
		}
		if time.Now().After(deadline) {
			return nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
