package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

func found() *world { return newWorld("sign", "box1", "box2", "neighbour") }

var arrived = map[string]string{"sign": "green", "box1": "green", "box2": "green", "neighbour": "grey"}

func TestWholeJourney(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	if r := b.apply(p); !r.Done() {
		t.Fatalf("not done: %+v", r)
	}
	if diff := cmp.Diff(arrived, b.world.things); diff != "" {
		t.Error(diff)
	}
	at := func(entry string) int {
		i := slices.Index(b.world.log, entry)
		if i < 0 {
			t.Fatalf("%q was not done: %q", entry, b.world.log)
		}
		return i
	}
	if at("create scaffold") > at("remove scaffold") || len(b.world.log) != 8 {
		t.Errorf("order: %q", b.world.log)
	}
	if sign := len(b.world.log) - 2; b.world.log[sign] != "update sign" {
		t.Errorf("sign is not the last change of the cutover: %q", b.world.log)
	}
	if again := b.plan(Target{}); !again.Empty() {
		t.Errorf("the second plan is not empty: %+v", again)
	}
	points := b.world.points
	if r := b.apply(nil); !r.Done() || len(b.world.log) != 8 {
		t.Errorf("the second turn did something (%d points, then %d): %q", points, b.world.points, b.world.log)
	}
}

// One crash at every write of the state and every effect, and then every pair of
// crashes: the next turns go on, nothing is done that is not needed, the plan is
// empty in the end.
func TestCrashAnywhere(t *testing.T) {
	clean := newBench(t, journey(), found())
	clean.apply(clean.plan(Target{}))
	total := clean.world.points
	if total < 30 {
		t.Fatalf("only %d points in a clean run", total)
	}
	for first := 1; first <= total; first++ {
		for second := first + 1; second <= first+9; second += 2 {
			crashed(t, func(n int) bool { return n == first || n == second }, fmt.Sprintf("crash at %d and %d of %d", first, second, total))
		}
	}
}

func crashed(t *testing.T, fault func(int) bool, name string) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	b.world.fault = fault
	accept := p
	for turns := 1; ; turns++ {
		if turns > 8 {
			t.Fatalf("%s: not done after %d turns", name, turns)
		}
		r, err := b.engine().Apply(context.Background(), accept)
		if errors.Is(err, ErrNoContract) {
			t.Fatalf("%s: the contract is lost", name)
		}
		if err == nil && r.Err() == nil && r.Done() {
			break
		}
		if err == nil && !errors.Is(r.Err(), errCrash) {
			t.Fatalf("%s: %v", name, r.Err())
		}
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("%s: %v", name, err)
		}
		if s, err := b.engine().State(); err == nil && s != nil && s.Digest != "" {
			accept = nil
		}
	}
	if diff := cmp.Diff(arrived, b.world.things); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	if len(b.world.log) > 10 {
		t.Errorf("%s: %d effects for 8 changes and two crashes: %q", name, len(b.world.log), b.world.log)
	}
	b.world.fault = func(int) bool { return false }
	if p := b.plan(Target{}); !p.Empty() {
		t.Errorf("%s: the plan is not empty: %+v", name, p.Clocks)
	}
	if s, err := b.engine().State(); err != nil || len(s.Intents) > 0 {
		t.Errorf("%s: open intents: %v, %v", name, s.Intents, err)
	}
}

// What somebody changes by hand after the approval stops the clock before it does
// anything, and a new plan shows it.
func TestDriftStops(t *testing.T) {
	for name, test := range map[string]struct {
		tamper func(w *world)
		want   string
	}{
		"other value":       {func(w *world) { w.things["sign"] = "purple" }, "neither what the plan expects"},
		"vanished":          {func(w *world) { delete(w.things, "box1") }, "does not exist any more"},
		"appeared":          {func(w *world) { w.things["scaffold"] = "purple" }, "exists already"},
		"already as wanted": {func(w *world) { w.things["box1"] = "blue" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, journey(), found())
			p := b.plan(Target{})
			test.tamper(b.world)
			r, err := b.engine().Apply(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if r.Err() != nil || !r.Done() {
					t.Errorf("got %v, want done: less than approved is allowed", r.Err())
				}
				return
			}
			var breach *plan.BreachError
			if !errors.As(r.Err(), &breach) || !strings.Contains(r.Err().Error(), test.want) {
				t.Errorf("got %v, want a breach with %q", r.Err(), test.want)
			}
			if len(b.world.log) > 0 {
				t.Errorf("something was done: %q", b.world.log)
			}
			if r := b.apply(b.plan(Target{})); !r.Done() {
				t.Errorf("a new plan does not lead on: %+v", r)
			}
		})
	}
}

// Something that changes between the look at the whole phase and the change itself.
func TestDriftInTheLastMoment(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	b.world.onEffect = func(address string) {
		if address == "box1" {
			b.world.mu.Lock()
			b.world.things["sign"] = "purple"
			b.world.onEffect = nil
			b.world.mu.Unlock()
		}
	}
	r, err := b.engine().Apply(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	var breach *plan.BreachError
	if !errors.As(r.Err(), &breach) || breach.Address != "sign" {
		t.Errorf("got %v, want a breach at sign", r.Err())
	}
	if b.world.things["sign"] != "purple" {
		t.Errorf("sign was overwritten: %v", b.world.things)
	}
}

func TestStalePlans(t *testing.T) {
	for name, spoil := range map[string]func(b *bench){
		"configuration changed": func(b *bench) { b.program.digest = "d2" },
		"expired":               func(b *bench) { b.now = b.now.Add(2 * time.Hour) },
		"state moved on": func(b *bench) {
			b.apply(b.plan(Target{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, journey(), found())
			p := b.plan(Target{})
			spoil(b)
			effects := len(b.world.log)
			p.Created = p.Created.Add(time.Second) // another plan than the one in force
			if _, err := b.engine().Apply(context.Background(), p); !errors.Is(err, ErrStale) {
				t.Errorf("got %v, want ErrStale", err)
			}
			if len(b.world.log) != effects {
				t.Errorf("something was done: %q", b.world.log)
			}
		})
	}
}

func gated(kind plan.GateKind, read func(map[string]cty.Value, time.Time) plan.Reading) *program {
	p := journey()
	p.clocks[0].Phases[1].Gates = []plan.Gate{{Name: "gate", Kind: kind, Text: "…"}}
	p.gates["gate"] = read
	return p
}

func TestGateHoldsThePhase(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	opens := start.Add(48 * time.Hour)
	b := newBench(t, gated(plan.NotBefore, func(_ map[string]cty.Value, now time.Time) plan.Reading {
		return plan.Reading{Open: !now.Before(opens), Evidence: "two days", Until: opens}
	}), found())
	r := b.apply(b.plan(Target{}))
	if r.Done() || r.Clocks[0].Phase != "prepare" || !r.Until().Equal(opens) {
		t.Fatalf("got %+v, want a wait until %v", r.Clocks[0], opens)
	}
	if b.world.things["box1"] != "blue" {
		t.Errorf("the phase was entered: %v", b.world.things)
	}
	b.now = opens
	if r := b.apply(nil); !r.Done() {
		t.Errorf("not done when the gate opens: %+v", r)
	}
}

func TestApprovalCountsForItsPlanOnly(t *testing.T) {
	b := newBench(t, gated(plan.Approval, func(map[string]cty.Value, time.Time) plan.Reading {
		return plan.Reading{Approvers: []string{"ann", "bob"}, Quorum: 2}
	}), found())
	b.apply(b.plan(Target{}))
	approve := func(by string) {
		t.Helper()
		if err := b.engine().Approve(context.Background(), "move", "cutover", "gate", by, ""); err != nil {
			t.Fatal(err)
		}
	}
	waits := func(why string) {
		t.Helper()
		if r := b.apply(nil); r.Clocks[0].Wait == nil {
			t.Fatalf("%s: it does not wait: %+v", why, r.Clocks[0])
		}
	}
	approve("ann")
	approve("ann")
	waits("one person twice")
	approve("mallory")
	waits("somebody who may not")
	b.apply(b.plan(Target{}))
	approve("bob")
	waits("a new plan voids ann's word")
	approve("ann")
	if r := b.apply(nil); !r.Done() {
		t.Errorf("not done with both: %+v", r.Clocks[0])
	}
	if err := b.engine().Approve(context.Background(), "move", "cutover", "gait", "ann", ""); err == nil || !strings.Contains(err.Error(), "gait") {
		t.Errorf("an approval of no gate = %v", err)
	}
}

// After the window closes nothing more is begun; the rest waits for the next one.
func TestWindowCloses(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	closes, next := start.Add(time.Hour), start.Add(24*time.Hour)
	b := newBench(t, gated(plan.Window, func(_ map[string]cty.Value, now time.Time) plan.Reading {
		if now.Before(closes) || !now.Before(next) {
			return plan.Reading{Open: true, Closes: map[bool]time.Time{true: closes}[now.Before(closes)]}
		}
		return plan.Reading{Until: next}
	}), found())
	b.world.onEffect = func(address string) {
		if b.world.things["scaffold"] == "red" && b.world.things["sign"] == "blue" {
			b.now = closes.Add(time.Minute)
		}
	}
	e := b.engine()
	e.Parallelism = 1
	r, err := e.Apply(context.Background(), b.plan(Target{}))
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	green := 0
	for _, colour := range b.world.things {
		if colour == "green" {
			green++
		}
	}
	if green != 1 || !r.Until().Equal(next) {
		t.Errorf("%d changes in the window that closed, want the one that was begun; wait %v, want %v", green, r.Until(), next)
	}
	b.world.onEffect, b.now = nil, next
	if r := b.apply(nil); !r.Done() {
		t.Errorf("not done in the next window: %+v", r)
	}
}

func TestErrorsStopDependantsOnly(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	b.world.unreachable["box1"] = true
	r, err := b.engine().Apply(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if r.Err() == nil || !strings.Contains(r.Err().Error(), "box1 is unreachable") {
		t.Errorf("got %v, want that box1 is unreachable", r.Err())
	}
	want := map[string]string{"sign": "grey", "box1": "grey", "box2": "blue", "scaffold": "red", "neighbour": "grey"}
	if diff := cmp.Diff(want, b.world.things); diff != "" {
		t.Error(diff)
	}
	b.world.unreachable = map[string]bool{}
	if r := b.apply(nil); !r.Done() {
		t.Errorf("not done when it is back: %+v", r)
	}
}

func TestRollback(t *testing.T) {
	for name, test := range map[string]struct {
		phase string
		want  map[string]string
	}{
		"to the phase before": {"prepare", map[string]string{"sign": "blue", "box1": "blue", "box2": "blue", "scaffold": "red", "neighbour": "grey"}},
		"to the start":        {"", map[string]string{"sign": "grey", "box1": "grey", "box2": "grey", "neighbour": "grey"}},
	} {
		t.Run(name, func(t *testing.T) {
			open := false
			p := journey()
			p.clocks[0].Phases[2].Gates = []plan.Gate{{Name: "gate", Kind: plan.Condition}}
			p.gates["gate"] = func(map[string]cty.Value, time.Time) plan.Reading { return plan.Reading{Open: open} }
			b := newBench(t, p, found())
			b.apply(b.plan(Target{}))
			b.world.log = nil
			back := b.plan(Target{Back: true, Clock: "move", Phase: test.phase})
			if r := b.apply(back); !r.Done() {
				t.Fatalf("not back: %+v", r)
			}
			if diff := cmp.Diff(test.want, b.world.things); diff != "" {
				t.Error(diff)
			}
			if b.world.log[0] != "update sign" {
				t.Errorf("sign is not the first on the way back: %q", b.world.log)
			}
			open = true
			if r := b.apply(b.plan(Target{})); !r.Done() {
				t.Errorf("not done forward again: %+v", r)
			}
			if diff := cmp.Diff(arrived, b.world.things); diff != "" {
				t.Error(diff)
			}
			if _, err := b.engine().Plan(context.Background(), Target{Back: true, Clock: "move", Phase: "prepare"}); err == nil || !strings.Contains(err.Error(), "point of no return") {
				t.Errorf("going back from the last phase = %v", err)
			}
		})
	}
}

func TestTakenOutOfTheFile(t *testing.T) {
	p := journey()
	p.worlds["move"]["settle"]["extra"] = spec{name: "extra", colour: "red"}
	p.worlds["move"]["settle"]["kept"] = spec{name: "kept", colour: "red", keep: true}
	p.worlds["move"]["settle"]["store"] = spec{typ: "permanent", name: "store", colour: "red"}
	b := newBench(t, p, found())
	b.apply(b.plan(Target{}))
	for _, address := range []string{"extra", "kept", "store", "box1"} {
		delete(p.worlds["move"]["settle"], address)
	}
	p.digest = "d2"
	planned := b.plan(Target{})
	got := map[string]providers.Action{}
	for _, c := range planned.Clocks[0].Stages[0].Changes {
		got[c.Address] = c.Action
	}
	want := map[string]providers.Action{"extra": providers.Remove, "kept": providers.Forget, "store": providers.Forget, "box1": providers.Forget}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	b.apply(planned)
	if _, there := b.world.things["extra"]; there || b.world.things["box1"] != "green" || b.world.things["store"] != "red" {
		t.Errorf("things = %v", b.world.things)
	}
	if again := b.plan(Target{}); !again.Empty() {
		t.Errorf("the plan is not empty: %+v", again.Clocks)
	}
}

// A copy of the state on another machine is refused once this one has gone on.
func TestStaleOperator(t *testing.T) {
	b := newBench(t, gated(plan.Condition, func(map[string]cty.Value, time.Time) plan.Reading { return plan.Reading{} }), found())
	b.apply(b.plan(Target{}))
	b.world.epoch += 5
	effects := len(b.world.log)
	_, err := b.engine().Apply(context.Background(), nil)
	var stale *providers.StaleError
	if !errors.As(err, &stale) {
		t.Errorf("got %v, want a StaleError", err)
	}
	if len(b.world.log) != effects {
		t.Errorf("something was done: %q", b.world.log[effects:])
	}
}

func TestInterruptFinishesWhatIsUnderWay(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	ctx, cancel := context.WithCancel(context.Background())
	b.world.onEffect = func(string) { cancel() }
	r, err := b.engine().Apply(ctx, p)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if !r.Interrupted || len(b.world.log) == 0 || len(b.world.log) > 3 {
		t.Errorf("interrupted %v after %q", r.Interrupted, b.world.log)
	}
	s, err := b.engine().State()
	if err != nil || len(s.Intents) > 0 {
		t.Errorf("open intents: %v, %v", s.Intents, err)
	}
	b.world.onEffect = nil
	if r := b.apply(nil); !r.Done() {
		t.Errorf("not done afterwards: %+v", r)
	}
}

// What drifts by itself is brought up to date once a turn; whether that is enough
// is for the gates to say. What should hold still and does not is an error.
func TestRecurringDriftsByItself(t *testing.T) {
	for typ, wantErr := range map[string]bool{"recurring": false, "thing": true} {
		open := false
		p := gated(plan.Condition, func(map[string]cty.Value, time.Time) plan.Reading { return plan.Reading{Open: open} })
		for _, things := range p.worlds["move"] {
			things["copy"] = spec{typ: typ, name: "copy", colour: "red"}
		}
		b := newBench(t, p, found())
		b.world.fickle["copy"] = true
		r, err := b.engine().Apply(context.Background(), b.plan(Target{}))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Err() != nil; got != wantErr {
			t.Errorf("%s: %v, want an error: %v", typ, r.Err(), wantErr)
		}
		if wantErr {
			continue
		}
		if r := b.apply(nil); r.Clocks[0].Wait == nil {
			t.Errorf("the second turn does not wait: %+v", r.Clocks[0])
		}
		if diff := cmp.Diff([]string{"create copy", "update copy"}, slices.DeleteFunc(b.world.log, func(s string) bool { return !strings.HasSuffix(s, " copy") })); diff != "" {
			t.Error(diff)
		}
		open = true
		if r := b.apply(nil); !r.Done() {
			t.Errorf("not done: %+v", r.Clocks[0])
		}
	}
}

// What waits for a person is no failure: the turn ends in a wait that says for what,
// dependants are not touched, everything else goes on, and the state knows it.
func TestWaitsForAPerson(t *testing.T) {
	b := newBench(t, journey(), found())
	b.world.personal = map[string]bool{"box1": true}
	for turn, p := range []*plan.Plan{b.plan(Target{}), nil} {
		r := b.apply(p)
		want := []Task{{Address: "box1", Text: "paint box1", Next: "Take a brush."}}
		if r.Done() || r.Clocks[0].Wait == nil || r.Clocks[0].Phase != "prepare" {
			t.Fatalf("turn %d: %+v, want a wait in phase prepare", turn, r.Clocks[0])
		}
		if diff := cmp.Diff(want, r.Clocks[0].Wait.Tasks); diff != "" {
			t.Errorf("turn %d: tasks:\n%s", turn, diff)
		}
		if diff := cmp.Diff(map[string]string{"sign": "grey", "box1": "grey", "box2": "blue", "scaffold": "red", "neighbour": "grey"}, b.world.things); diff != "" {
			t.Errorf("turn %d: %s", turn, diff)
		}
		s, err := b.engine().State()
		if err != nil || len(s.Intents) > 0 || s.Gates["move/prepare/box1"].Evidence != "paint box1" || s.Gates["move/prepare/box1"].Open {
			t.Errorf("turn %d: the state has %+v, %v", turn, s.Gates, err)
		}
	}
	b.world.things["box1"] = "blue" // as somebody painted it
	b.world.personal = nil
	if r := b.apply(nil); !r.Done() {
		t.Errorf("not done when it has been painted: %+v", r.Clocks[0])
	}
	if s, err := b.engine().State(); err != nil || !s.Gates["move/prepare/box1"].Open {
		t.Errorf("the state still waits: %+v, %v", s.Gates, err)
	}
}

// A failure elsewhere does not hide what people can do meanwhile.
func TestFailureBesideAWait(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	b.world.personal = map[string]bool{"box1": true}
	b.world.unreachable["box2"] = true
	r, err := b.engine().Apply(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if r.Err() == nil || r.Clocks[0].Wait == nil || len(r.Clocks[0].Wait.Tasks) != 1 {
		t.Errorf("got %v and %+v, want a failure and a task", r.Err(), r.Clocks[0].Wait)
	}
}
