package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/engine/view"
	"github.com/mailmove/mailmove/providers"
)

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("x"), exitError},
		{errShown, exitError},
		{errPending, exitPending},
		{fmt.Errorf("planning: %w", engine.ErrStale), exitStale},
		{&turnError{&engine.Report{Clocks: []engine.ClockReport{{Failures: []engine.Failure{{Err: errors.New("x")}, {Err: &plan.BreachError{}}}}}}}, exitStale},
		{&turnError{&engine.Report{Clocks: []engine.ClockReport{{Failures: []engine.Failure{{Err: errors.New("x")}}}}}}, exitError},
		{fmt.Errorf("claiming: %w", &providers.StaleError{}), exitStale},
		{&state.LockedError{}, exitLocked},
		{errInterrupted, exitInterrupted},
		{fmt.Errorf("reading: %w", context.Canceled), exitInterrupted},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

// Joined errors are shown one by one, each with its own next step; words around
// them keep them together.
func TestFailShowsEachError(t *testing.T) {
	one, two := hint(errors.New("first"), "do this"), errors.New("second\nPlan: 0 to create")
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"one":     {one, "╷\n│ Error: first\n│\n│ do this\n╵\n"},
		"joined":  {errors.Join(one, two), "╷\n│ Error: first\n│\n│ do this\n╵\n╷\n│ Error: second\n│ Plan: 0 to create\n╵\n"},
		"wrapped": {fmt.Errorf("both: %w", errors.Join(one, errors.New("x\x1b[2J"))), "╷\n│ Error: both: first\n│ x\\x1b[2J\n│\n│ do this\n╵\n"},
		"pending": {errPending, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			newUI(nil, &out, &errs).fail(test.err)
			if diff := cmp.Diff(test.want, errs.String()); diff != "" || out.Len() > 0 {
				t.Errorf("shown differently, and %q on standard output:\n%s", out.String(), diff)
			}
		})
	}
}

func TestNextTurn(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	gate := func(until time.Time) plan.Reading { return plan.Reading{Until: until} }
	clock := func(until time.Time, gates ...plan.Reading) engine.ClockReport {
		return engine.ClockReport{Wait: &engine.Wait{Gates: gates, Until: until}}
	}
	hour := now.Add(time.Hour)
	for name, test := range map[string]struct {
		clocks []engine.ClockReport
		want   time.Time
	}{
		"a known time":               {[]engine.ClockReport{clock(hour, gate(hour))}, hour},
		"an approval":                {[]engine.ClockReport{clock(time.Time{}, gate(time.Time{}))}, now.Add(time.Minute)},
		"a time and an approval":     {[]engine.ClockReport{clock(hour, gate(hour), gate(time.Time{}))}, now.Add(time.Minute)},
		"sooner than the next look":  {[]engine.ClockReport{clock(now.Add(time.Second), gate(now.Add(time.Second)), gate(time.Time{}))}, now.Add(time.Second)},
		"two clocks":                 {[]engine.ClockReport{clock(hour, gate(hour)), clock(now.Add(2*time.Hour), gate(now.Add(2*time.Hour))), {Done: true}}, hour},
		"nothing that says anything": {[]engine.ClockReport{{}}, now.Add(time.Minute)},
	} {
		if got := (waitOptions{poll: time.Minute}).next(&engine.Report{Clocks: test.clocks}, now); !got.Equal(test.want) {
			t.Errorf("%s: next turn at %v, want %v", name, got, test.want)
		}
	}
}

func TestRate(t *testing.T) {
	at := func(seconds int, done, total int64, unit string) view.Event {
		return view.Event{At: time.Unix(int64(seconds), 0), Done: done, Total: total, Unit: unit}
	}
	for _, test := range []struct {
		first, last view.Event
		want        string
	}{
		{at(0, 0, 100, "messages"), at(0, 50, 100, "messages"), ""},
		{at(0, 0, 100, "messages"), at(10, 50, 100, "messages"), ", 5/s, 10s left"},
		{at(0, 0, 0, "messages"), at(10, 50, 0, "messages"), ", 5/s"},
		{at(0, 0, 4<<20, "bytes"), at(2, 2<<20, 4<<20, "bytes"), ", 1.0 MiB/s, 2s left"},
		{at(0, 50, 100, "messages"), at(10, 50, 100, "messages"), ""},
	} {
		if got := rate(test.first, test.last); got != test.want {
			t.Errorf("rate(%+v, %+v) = %q, want %q", test.first, test.last, got, test.want)
		}
	}
}

// The same cause at many objects is told once.
func TestReportFoldsCauses(t *testing.T) {
	down := hint(errors.New("connecting to the server: refused"), "Start it.")
	r := engine.ClockReport{Path: "module.m", Phase: "copy"}
	for i := range 30 {
		address := fmt.Sprintf("box.b[%d]", i)
		r.Failures = append(r.Failures, engine.Failure{Address: address, Err: fmt.Errorf("%s: %w", address, down)})
	}
	r.Failures = append(r.Failures, engine.Failure{Address: "box.other", Err: errors.New("box.other: full")})
	got := (&ui{}).clockText(r)
	want := strings.TrimLeft(`
module.m, phase copy: stopped at 31 objects
  │ box.b[0] and 29 more
  │ connecting to the server: refused
  │ Start it.
  │ box.other
  │ full
`, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the report is another one:\n%s", diff)
	}
}

func TestLineDiff(t *testing.T) {
	for _, test := range []struct{ before, after, want string }{
		{"a\nb\nc", "a\nB\nc", "2\n- b\n+ B\n"},
		{"a\nb\n\n\nc", "a\nb\n\nc", "4\n- \n"},
		{"a", "a", ""},
	} {
		if got := lineDiff(test.before, test.after); got != test.want {
			t.Errorf("lineDiff(%q, %q) = %q, want %q", test.before, test.after, got, test.want)
		}
	}
}
