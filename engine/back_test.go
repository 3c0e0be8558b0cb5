package engine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// Of what was begun when a crash came, nothing was ever seen: it is observed and
// changed as something new.
func TestBegunIsNotSeen(t *testing.T) {
	clean := newBench(t, journey(), found())
	clean.apply(clean.plan(Target{}))
	begun := 0
	for first := 1; first <= clean.world.points; first++ {
		b := newBench(t, journey(), found())
		p := b.plan(Target{})
		b.world.fault = func(n int) bool { return n == first }
		_, _ = b.engine().Apply(context.Background(), p)
		b.world.fault = func(int) bool { return false }
		s, err := b.engine().State()
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			continue
		}
		b.world.unseen = map[string]bool{}
		for _, intent := range s.Intents {
			if _, recorded := s.Resources[intent.Address]; !recorded && intent.Action != providers.Remove && intent.Checkpoint.IsNull() {
				begun++
				b.world.unseen[intent.Address] = true
			}
		}
		b.plan(Target{})
	}
	if begun == 0 {
		t.Error("no crash left anything begun")
	}
}

// A crash at every write of the state and every effect on the way there, and one on
// the way back: everything is again as it was found.
func TestBackFromAnyCrash(t *testing.T) {
	reversible := func() *program {
		p := journey()
		p.clocks[0].Phases[2].Rollback = "cutover"
		return p
	}
	clean := newBench(t, reversible(), found())
	clean.apply(clean.plan(Target{}))
	want := map[string]string{"sign": "grey", "box1": "grey", "box2": "grey", "neighbour": "grey"}
	for first := 1; first <= clean.world.points; first++ {
		for _, second := range []int{0, 1 + first*7%29} { // 0 is no second crash
			b := newBench(t, reversible(), found())
			p := b.plan(Target{})
			b.world.fault = func(n int) bool { return n == first }
			_, _ = b.engine().Apply(context.Background(), p)
			s, err := b.engine().State()
			if err != nil {
				t.Fatal(err)
			}
			if s == nil {
				continue // nothing had begun
			}
			b.world.fault = func(int) bool { return false }
			back := b.plan(Target{Back: true, Clock: "move"})
			if second > 0 {
				point := b.world.points + second
				b.world.fault = func(n int) bool { return n == point }
				if r, err := b.engine().Apply(context.Background(), back); err == nil && r.Err() == nil && r.Done() {
					continue // it was over before
				}
				b.world.fault = func(int) bool { return false }
				back = b.plan(Target{Back: true, Clock: "move"})
			}
			r, err := b.engine().Apply(context.Background(), back)
			if err != nil || r.Err() != nil || !r.Done() {
				t.Fatalf("crash at %d and %d: going back: %+v, %v", first, second, r, errors.Join(err, r.Err()))
			}
			if diff := cmp.Diff(want, b.world.things); diff != "" {
				t.Errorf("crash at %d and %d: %s", first, second, diff)
			}
			if s, err := b.engine().State(); err != nil || len(s.Intents) > 0 {
				t.Errorf("crash at %d and %d: open intents: %v, %v", first, second, s.Intents, err)
			}
		}
	}
}

// From a phase that cannot be completed one can go back: what it still wants is not
// done first, and no operation of it goes on in the other direction.
func TestBackFromAStuckPhase(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	b.world.onEffect = func(address string) {
		b.world.mu.Lock()
		defer b.world.mu.Unlock()
		if b.world.things["scaffold"] == "red" && b.world.things["sign"] == "blue" {
			b.world.personal = map[string]bool{"box1": true}
		}
	}
	r, err := b.engine().Apply(context.Background(), p)
	if err != nil || r.Err() != nil || r.Clocks[0].Phase != "cutover" || b.world.things["box2"] != "green" {
		t.Fatalf("%+v, %v: want box1 alone to hold up the cutover", r, err)
	}
	b.world.log, b.world.onEffect = nil, nil
	back := b.plan(Target{Back: true, Clock: "move", Phase: "prepare"})
	if want, got := 1, back.Count()["update"]; got != want {
		t.Errorf("the way back has %d updates, want %d: %+v", got, want, back.Clocks)
	}
	if r := b.apply(back); !r.Done() {
		t.Fatalf("not back: %+v", r.Clocks[0])
	}
	if diff := cmp.Diff([]string{"update box2"}, b.world.log); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"sign": "blue", "box1": "blue", "box2": "blue", "scaffold": "red", "neighbour": "grey"}, b.world.things); diff != "" {
		t.Error(diff)
	}
	for op, n := range b.world.ops {
		if n > 1 {
			t.Errorf("operation %s had %d effects", op, n)
		}
	}
}

// An object whose first change was begun, and which the file does not have any more,
// is not left behind.
func TestBegunAndTakenOut(t *testing.T) {
	p := journey()
	b := newBench(t, p, found())
	for _, things := range p.worlds["move"] {
		things["extra"] = spec{name: "extra", colour: "red"}
	}
	made := b.plan(Target{})
	b.world.onEffect = func(address string) {
		b.world.mu.Lock()
		defer b.world.mu.Unlock()
		if address == "extra" {
			b.world.fault = func(int) bool { return true }
		}
	}
	if _, err := b.engine().Apply(context.Background(), made); err == nil {
		t.Fatal("it was not killed")
	}
	b.world.onEffect, b.world.fault = nil, func(int) bool { return false }
	b.world.things["extra"] = "red" // as it happened after the answer was lost
	for _, things := range p.worlds["move"] {
		delete(things, "extra")
	}
	p.digest = "d2"
	planned := b.plan(Target{})
	changes := planned.Clocks[0].Stages[0].Changes
	if !slices.ContainsFunc(changes, func(c plan.Change) bool { return c.Address == "extra" && c.Action == providers.Remove }) {
		t.Errorf("the plan leaves what was begun: %+v", changes)
	}
	if r := b.apply(planned); !r.Done() {
		t.Errorf("not done: %+v", r.Clocks[0])
	}
	if diff := cmp.Diff(arrived, b.world.things); diff != "" {
		t.Error(diff)
	}
	if s, err := b.engine().State(); err != nil || len(s.Intents) > 0 {
		t.Errorf("open intents: %v, %v", s.Intents, err)
	}
	if again := b.plan(Target{}); !again.Empty() {
		t.Errorf("the plan is not empty: %+v", again.Clocks)
	}
}

// What was begun is finished or found not to have happened, before anything is undone;
// that it cannot be done any more is no obstacle.
func TestBackFromABegunChange(t *testing.T) {
	b := newBench(t, journey(), found())
	p := b.plan(Target{})
	b.world.onEffect = func(address string) {
		b.world.mu.Lock()
		defer b.world.mu.Unlock()
		if address == "box1" && b.world.things["box1"] == "blue" {
			b.world.fault = func(int) bool { return true }
		}
	}
	if _, err := b.engine().Apply(context.Background(), p); err == nil {
		t.Fatal("it was not killed")
	}
	b.world.onEffect, b.world.fault = nil, func(int) bool { return false }
	b.world.personal = map[string]bool{"box1": true}
	back := b.plan(Target{Back: true, Clock: "move", Phase: "prepare"})
	if stage := back.Clocks[0].Stages[0]; !stage.Settle || stage.Phase != "cutover" {
		t.Errorf("the way back begins with %+v, want what was begun in the cutover", stage)
	}
	if r := b.apply(back); !r.Done() {
		t.Fatalf("not back: %+v", r.Clocks[0])
	}
	if diff := cmp.Diff(map[string]string{"sign": "blue", "box1": "blue", "box2": "blue", "scaffold": "red", "neighbour": "grey"}, b.world.things); diff != "" {
		t.Error(diff)
	}
	if s, err := b.engine().State(); err != nil || len(s.Intents) > 0 {
		t.Errorf("open intents: %v, %v", s.Intents, err)
	}
}
