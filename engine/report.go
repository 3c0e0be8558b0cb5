package engine

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// A Report says how a turn ended.
type Report struct {
	Clocks []ClockReport
	// Interrupted says that the turn was asked to end.
	Interrupted bool
}

// A ClockReport says how things stand with one clock.
type ClockReport struct {
	Path  string
	Phase string
	Done  bool
	// Gone says that the clock was forgotten, as the configuration does not have it
	// any more.
	Gone bool
	// Wait is set when the clock waits. Beside failures it has what people can do
	// meanwhile.
	Wait     *Wait
	Failures []Failure
}

// A Failure is an object at which a turn could not go on.
type Failure struct {
	Clock, Phase, Address string
	Err                   error
}

func (f Failure) Error() string { return f.Address + ": " + f.Err.Error() }
func (f Failure) Unwrap() error { return f.Err }

// Done reports whether every clock has reached its end.
func (r *Report) Done() bool {
	for _, c := range r.Clocks {
		if !c.Done {
			return false
		}
	}
	return true
}

// Err joins the failures, nil if there are none.
func (r *Report) Err() error {
	var errs []error
	for _, c := range r.Clocks {
		for _, f := range c.Failures {
			errs = append(errs, f)
		}
	}
	return errors.Join(errs...)
}

// Until returns the earliest moment at which a waiting clock may go on; zero if
// none knows one.
func (r *Report) Until() time.Time {
	var at time.Time
	for _, c := range r.Clocks {
		if c.Wait != nil && !c.Wait.Until.IsZero() {
			at = until(at, c.Wait.Until)
		}
	}
	return at
}

func (t *turn) report() *Report {
	r := &Report{Interrupted: t.stopping}
	for _, c := range t.clocks {
		clock := ClockReport{Path: c.path, Phase: c.phase(), Done: c.mode == done, Gone: c.plan.Gone, Failures: c.failures}
		if c.mode == waiting || len(c.tasks) > 0 {
			wait := Wait{Phase: c.phase()}
			if c.mode == waiting {
				wait = c.wait
			}
			wait.Tasks = c.tasks
			clock.Wait = &wait
		}
		r.Clocks = append(r.Clocks, clock)
	}
	return r
}

func encodeOutput(v cty.Value) (json.RawMessage, error) { return ctyjson.Marshal(v, v.Type()) }
