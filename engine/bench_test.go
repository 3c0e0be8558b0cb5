package engine

import (
	"context"
	"fmt"
	"testing"

	"github.com/mailmove/mailmove/engine/plan"
)

// large is a migration of many boxes: each has a scaffold, an account and a home,
// and one record depends on all of them.
func large(boxes int) (*program, *world) {
	p := &program{digest: "d1", worlds: map[string]map[string]map[string]spec{"move": {}}}
	clock := plan.Clock{Path: "move"}
	names := []string{"sign"}
	for i, phase := range []string{"prepare", "copy", "cutover", "drain", "settle"} {
		colour := map[bool]string{true: "green", false: "blue"}[i >= 2]
		things := map[string]spec{}
		var all []string
		for b := range boxes {
			home := fmt.Sprintf("home[%q]", fmt.Sprint(b))
			account := fmt.Sprintf("account[%q]", fmt.Sprint(b))
			things[account] = spec{name: account, colour: "blue"}
			things[home] = spec{name: home, colour: colour, after: []string{account}}
			for s := range 5 {
				extra := fmt.Sprintf("extra%d[%q]", s, fmt.Sprint(b))
				things[extra] = spec{name: extra, colour: "blue", after: []string{home}}
			}
			all = append(all, home)
		}
		things["sign"] = spec{name: "sign", colour: colour, after: all}
		p.worlds["move"][phase] = things
		clock.Phases = append(clock.Phases, plan.Phase{Name: phase, Rollback: "prepare"})
	}
	p.clocks = []plan.Clock{clock}
	return p, newWorld(names...)
}

// BenchmarkPlan plans 2,000 boxes (14,001 objects, 5 phases) on the model.
func BenchmarkPlan(b *testing.B) {
	p, w := large(2000)
	bench := newBench(b, p, w)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bench.engine().Plan(context.Background(), Target{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTurn takes the whole way of 500 boxes in one turn.
func BenchmarkTurn(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		p, w := large(500)
		bench := newBench(b, p, w)
		made, err := bench.engine().Plan(context.Background(), Target{})
		if err != nil {
			b.Fatal(err)
		}
		if r, err := bench.engine().Apply(context.Background(), made); err != nil || !r.Done() {
			b.Fatal(r, err)
		}
	}
}
