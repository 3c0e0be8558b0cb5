package main

import (
	"context"
	"errors"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// The exit codes. The table for people is exitTable; docs/runbook.md repeats it.
const (
	exitOK          = 0
	exitError       = 1
	exitPending     = 2
	exitStale       = 3
	exitLocked      = 4
	exitInterrupted = 5
	exitKilled      = 130
)

const exitTable = `EXIT CODES:
     0  done, or nothing to do; an apply that waits for a gate or a person, without
        -detailed-exitcode
     1  an error; also a plan with dangers that forbid it
     2  with -detailed-exitcode: the plan has changes, or the migration waits for a gate or
        a person
     3  what is there is not what was approved: the plan is stale, or something changed
        since; nothing was done that is not in the plan. Plan again and review it
     4  another process holds the lock of the state
     5  interrupted: what was under way was finished and recorded; run it again to go on
   130  ended at once by a second signal: run it again, it settles by looking what was done
`

// errPending ends a command with exitPending; there is nothing to print.
var errPending = errors.New("changes or a gate are pending")

// errInterrupted ends a command that was asked to stop.
var errInterrupted = errors.New("interrupted")

// errShown ends a command with exitError after its errors have been printed.
var errShown = errors.New("errors were printed")

// exitCode returns the code that an error ends the process with.
func exitCode(err error) int {
	var (
		breach *plan.BreachError
		locked *state.LockedError
		stale  *providers.StaleError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errPending):
		return exitPending
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &locked):
		return exitLocked
	case errors.Is(err, engine.ErrStale), errors.As(err, &breach), errors.As(err, &stale):
		return exitStale
	}
	return exitError
}
