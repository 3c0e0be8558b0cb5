package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// beside is the journey with another clock that stays in the file.
func beside() *program {
	p := journey()
	p.clocks = append(p.clocks, plan.Clock{Path: "stays", Phases: []plan.Phase{{Name: "only"}}})
	p.worlds["stays"] = map[string]map[string]spec{"only": {"lamp": {name: "lamp", colour: "blue"}}}
	return p
}

// takeOut takes the journey out of the file.
func takeOut(b *bench) {
	b.program.clocks, b.program.digest = b.program.clocks[1:], "d2"
	delete(b.program.worlds, "move")
}

// What is finished and taken out of the file is forgotten: nothing is looked at, so
// that its systems may be gone too, and nothing is changed.
func TestFinishedAndTakenOut(t *testing.T) {
	clean := newBench(t, beside(), found())
	clean.apply(clean.plan(Target{}))
	for stop := 0; stop < 12; stop++ {
		b := newBench(t, beside(), found())
		b.apply(b.plan(Target{}))
		takeOut(b)
		for _, name := range []string{"sign", "box1", "box2"} {
			b.world.unreachable[name] = true
		}
		p := b.plan(Target{})
		if p.Empty() || len(p.Dangers) != 1 || p.Dangers[0].Code != "FORGOTTEN" || !strings.Contains(p.Dangers[0].Summary, "forgets its 3 objects") {
			t.Fatalf("the plan does not say what is forgotten: %+v", p.Dangers)
		}
		var got []string
		for _, c := range p.Clock("move").Stages[0].Changes {
			got = append(got, string(c.Action)+" "+c.Address)
		}
		if diff := cmp.Diff([]string{"forget box1", "forget box2", "forget sign"}, got); diff != "" {
			t.Fatal(diff)
		}
		b.world.log = nil
		first := b.world.points
		b.world.fault = func(n int) bool { return n == first+stop }
		for accept := p; ; accept = nil {
			s, err := b.engine().State()
			if err != nil {
				t.Fatal(err)
			}
			if digest, _ := p.Digest(); s.Digest != digest {
				accept = p
			}
			r, err := b.engine().Apply(context.Background(), accept)
			if err == nil && r.Err() == nil {
				if !r.Done() || !r.Clocks[1].Gone {
					t.Errorf("stopped at %d: %+v, want done and forgotten", stop, r.Clocks)
				}
				break
			}
		}
		if len(b.world.log) > 0 || b.world.things["box1"] != "green" {
			t.Errorf("stopped at %d: something was changed: %q", stop, b.world.log)
		}
		s, err := b.engine().State()
		if _, there := s.Clocks["move"]; err != nil || there || len(s.Resources) != 1 {
			t.Errorf("stopped at %d: the state still has it: %+v %v, %v", stop, s.Clocks, s.Resources, err)
		}
		if again := b.plan(Target{}); !again.Empty() {
			t.Errorf("stopped at %d: the plan is not empty: %+v", stop, again.Clocks)
		}
	}
}

// What is not finished is not forgotten: there is no plan, and nothing is touched,
// until it is put back and finished or undone.
func TestUnfinishedAndTakenOut(t *testing.T) {
	closed := func(map[string]cty.Value, time.Time) plan.Reading { return plan.Reading{} }
	for name, test := range map[string]struct {
		begin func(t *testing.T, b *bench)
		want  string // "" is that it is forgotten
	}{
		"waits at a gate": {func(t *testing.T, b *bench) {
			b.program.clocks[0].Phases[1].Gates = []plan.Gate{{Name: "gate", Kind: plan.Condition}}
			b.program.gates["gate"] = closed
			b.apply(b.plan(Target{}))
		}, `it stands in phase "prepare", which is not the last one`},
		"stopped": {func(t *testing.T, b *bench) {
			p := b.plan(Target{})
			b.world.unreachable["box1"] = true
			if r, err := b.engine().Apply(context.Background(), p); err != nil || r.Err() == nil {
				t.Fatal(r, err)
			}
		}, `it stands in phase "prepare", which is not done`},
		"went back a phase": {func(t *testing.T, b *bench) {
			b.program.clocks[0].Phases[2].Gates = []plan.Gate{{Name: "gate", Kind: plan.Condition}}
			b.program.gates["gate"] = closed
			b.apply(b.plan(Target{}))
			b.apply(b.plan(Target{Back: true, Clock: "move", Phase: "prepare"}))
		}, `it stands in phase "prepare", which is not the last one`},
		"went back to the start": {func(t *testing.T, b *bench) {
			b.program.clocks[0].Phases[2].Gates = []plan.Gate{{Name: "gate", Kind: plan.Condition}}
			b.program.gates["gate"] = closed
			b.apply(b.plan(Target{}))
			b.apply(b.plan(Target{Back: true, Clock: "move"}))
		}, ""},
		"killed in its last change": {func(t *testing.T, b *bench) {
			p := b.plan(Target{})
			b.world.onEffect = func(address string) {
				b.world.mu.Lock()
				defer b.world.mu.Unlock()
				if address == "scaffold" && b.world.things["sign"] == "green" {
					b.world.fault = func(int) bool { return true }
				}
			}
			if _, err := b.engine().Apply(context.Background(), p); err == nil {
				t.Fatal("it was not killed")
			}
			b.world.onEffect, b.world.fault = nil, func(int) bool { return false }
		}, "of a change that was begun the outcome is not known"},
		"never begun": {func(t *testing.T, b *bench) {
			b.program.clocks[0].Phases[0].Gates = []plan.Gate{{Name: "gate", Kind: plan.Condition}}
			b.program.gates["gate"] = closed
			b.apply(b.plan(Target{}))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, beside(), found())
			test.begin(t, b)
			takeOut(b)
			effects := len(b.world.log)
			p, err := b.engine().Plan(context.Background(), Target{})
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if r := b.apply(p); !r.Done() || len(b.world.log) != effects {
					t.Errorf("%+v, %q: want done, and nothing changed", r, b.world.log[effects:])
				}
				if again := b.plan(Target{}); !again.Empty() {
					t.Errorf("the plan is not empty: %+v", again.Clocks)
				}
				return
			}
			var hint providers.Error
			if !errors.As(err, &hint) || !strings.Contains(err.Error(), "move is not in the configuration any more") || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(hint.Hint(), "mailmove rollback -clock='move' -to-start") || !strings.Contains(hint.Hint(), "mailmove apply") {
				t.Errorf("Plan = %v; want an error that says %q and how to finish or go back", err, test.want)
			}
			if _, err := b.engine().Plan(context.Background(), Target{Back: true, Clock: "stays"}); err != nil {
				t.Errorf("another clock cannot go back: %v", err)
			}
		})
	}
}

// A clock with another name is not the end of one migration and the begin of another.
func TestRenamedWithoutSayingSo(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(things map[string]spec)
		refused bool
	}{
		"renamed":             {func(map[string]spec) {}, true},
		"the same names only": {func(things map[string]spec) { things["new.box2"] = spec{name: "box3", colour: "blue"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := beside()
			rename := func(from map[string]map[string]spec, path string) map[string]map[string]spec {
				worlds := map[string]map[string]spec{}
				for phase, things := range from {
					worlds[phase] = map[string]spec{}
					for address, s := range things {
						s.after = nil
						worlds[phase][path+"."+address] = s
					}
				}
				return worlds
			}
			plain := p.worlds["move"]
			p.worlds["move"] = rename(plain, "move")
			b := newBench(t, p, newWorld("sign", "box1", "box2", "box3"))
			b.apply(b.plan(Target{}))
			phases := p.clocks[0].Phases
			takeOut(b)
			p.clocks = append(p.clocks, plan.Clock{Path: "new", Phases: phases})
			p.worlds["new"] = rename(plain, "new")
			for _, things := range p.worlds["new"] {
				test.change(things)
			}
			_, err := b.engine().Plan(context.Background(), Target{})
			if refused := err != nil; refused != test.refused {
				t.Fatalf("Plan = %v, want refused: %v", err, test.refused)
			}
			var hint providers.Error
			if test.refused && (!errors.As(err, &hint) || !strings.Contains(hint.Hint(), "moved { from = move, to = new }")) {
				t.Errorf("Plan = %v, want a hint that names the moved block", err)
			}
		})
	}
}
