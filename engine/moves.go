package engine

import (
	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/state"
)

// moves returns the entries that give what the state knows the names it has in
// the configuration now, as its moved blocks say. Done again it returns none.
func (e *Engine) moves(s *state.Snapshot) []state.Entry {
	var entries []state.Entry
	for _, m := range e.Program.Moves() {
		if m.Kind == config.MovePhase {
			if s.Clocks[m.Clock].Phase == m.From {
				entries = append(entries, state.Entry{At: e.Now().UTC(), Move: &state.Move{Phase: true, Clock: m.Clock, From: m.From, To: m.To}})
			}
			continue
		}
		for _, address := range append(sortedKeys(s.Resources), sortedKeys(s.Clocks)...) {
			if to, ok := m.Apply(address); ok && to != address {
				entries = append(entries, state.Entry{At: e.Now().UTC(), Move: &state.Move{From: address, To: to}})
			}
		}
	}
	return entries
}
