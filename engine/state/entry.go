package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// An Entry is one thing that happened. Exactly one of the pointers is set.
type Entry struct {
	At time.Time `json:"at"`

	Turn       *Turn         `json:"turn,omitempty"`
	Contract   *Contract     `json:"contract,omitempty"`
	Enter      *Enter        `json:"enter,omitempty"`
	Done       *Done         `json:"done,omitempty"`
	Gate       *Gate         `json:"gate,omitempty"`
	Approve    *Approval     `json:"approve,omitempty"`
	Confirm    *Confirmation `json:"confirm,omitempty"`
	Begin      *Intent       `json:"begin,omitempty"`
	Step       *Step         `json:"step,omitempty"`
	Checkpoint *Checkpoint   `json:"checkpoint,omitempty"`
	End        *End          `json:"end,omitempty"`
	Record     *Record       `json:"record,omitempty"`
	Forget     *Forget       `json:"forget,omitempty"`
	Outputs    *Outputs      `json:"outputs,omitempty"`
	Move       *Move         `json:"move,omitempty"`
	Drop       *Drop         `json:"drop,omitempty"`
}

// Turn begins a turn.
type Turn struct {
	Epoch    int64  `json:"epoch"`
	Holder   string `json:"holder"`
	Mailmove string `json:"mailmove"`
}

// Contract puts an approved plan into force. Approvals given to another one no
// longer count.
type Contract struct {
	Digest string          `json:"digest"`
	Plan   json.RawMessage `json:"plan"`
	By     string          `json:"by,omitempty"`
}

// Enter moves a clock.
type Enter struct {
	Clock string `json:"clock"`
	Phase string `json:"phase"`
}

// Done says that all objects of the phase a clock stands in are as desired.
type Done struct {
	Clock string `json:"clock"`
}

// Gate is a changed reading of a gate.
type Gate struct {
	Key      string    `json:"key"`
	Open     bool      `json:"open"`
	Evidence string    `json:"evidence,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// Step is a step of a change that begins.
type Step struct {
	Op   string `json:"op"`
	Name string `json:"name"`
}

// Checkpoint is what a change must remember.
type Checkpoint struct {
	Op    string     `json:"op"`
	Value plan.Value `json:"value"`
}

// End is the outcome of a change. An intent that ends Unknown or Partial stays
// open until it is settled.
type End struct {
	Op      string `json:"op"`
	Outcome string `json:"outcome"`
	// Value is the object as observed afterwards.
	Value plan.Value `json:"value"`
	Error string     `json:"error,omitempty"`
}

// Record records an object that needed no change, or what was observed of one.
type Record struct {
	Address  string   `json:"address"`
	Resource Resource `json:"resource"`
}

// Forget drops what is recorded of an object.
type Forget struct {
	Address string `json:"address"`
}

// Outputs replaces the output values.
type Outputs struct {
	Values map[string]Output `json:"values"`
}

// Move gives a recorded object or a clock another address or, with Phase, the
// phase in which the clock stands another name.
type Move struct {
	Phase bool   `json:"phase,omitempty"`
	Clock string `json:"clock,omitempty"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Drop forgets a clock with everything that is recorded of it.
type Drop struct {
	Clock string `json:"clock"`
}

// Apply changes the snapshot as the entry says. An error means that the journal
// does not fit the snapshot.
func (s *Snapshot) Apply(e Entry) error {
	switch {
	case e.Turn != nil:
		s.Epoch, s.Mailmove = e.Turn.Epoch, e.Turn.Mailmove
	case e.Contract != nil:
		s.Contract, s.Digest, s.Approvals = e.Contract.Plan, e.Contract.Digest, nil
	case e.Enter != nil:
		s.Clocks[e.Enter.Clock] = ClockState{Phase: e.Enter.Phase, Entered: e.At}
	case e.Done != nil:
		clock := s.Clocks[e.Done.Clock]
		clock.Done = e.At
		s.Clocks[e.Done.Clock] = clock
	case e.Gate != nil:
		s.applyGate(e)
	case e.Approve != nil:
		s.Approvals = append(s.Approvals, *e.Approve)
	case e.Confirm != nil:
		if s.Confirmations == nil {
			s.Confirmations = map[string]Confirmation{}
		}
		s.Confirmations[e.Confirm.Step] = *e.Confirm
	case e.Begin != nil:
		s.Intents[e.Begin.Op] = *e.Begin
	case e.Step != nil, e.Checkpoint != nil, e.End != nil:
		return s.applyIntent(e)
	case e.Record != nil:
		s.Resources[e.Record.Address] = e.Record.Resource
	case e.Forget != nil:
		delete(s.Resources, e.Forget.Address)
	case e.Outputs != nil:
		s.Outputs = e.Outputs.Values
	case e.Move != nil:
		s.applyMove(*e.Move)
	case e.Drop != nil:
		s.applyDrop(e.Drop.Clock)
	default:
		return fmt.Errorf("reading the journal: an entry of an unknown kind")
	}
	return nil
}

func (s *Snapshot) applyGate(e Entry) {
	gate, known := s.Gates[e.Gate.Key]
	if !known || gate.Open != e.Gate.Open {
		gate.Since = e.At
	}
	gate.Open, gate.Evidence, gate.Until = e.Gate.Open, e.Gate.Evidence, e.Gate.Until
	s.Gates[e.Gate.Key] = gate
}

func (s *Snapshot) applyIntent(e Entry) error {
	var op string
	switch {
	case e.Step != nil:
		op = e.Step.Op
	case e.Checkpoint != nil:
		op = e.Checkpoint.Op
	default:
		op = e.End.Op
	}
	intent, ok := s.Intents[op]
	if !ok {
		return fmt.Errorf("reading the journal: operation %s was never begun", op)
	}
	switch {
	case e.Step != nil:
		intent.Step = e.Step.Name
	case e.Checkpoint != nil:
		intent.Checkpoint = e.Checkpoint.Value
	default:
		return s.applyEnd(intent, *e.End)
	}
	s.Intents[op] = intent
	return nil
}

func (s *Snapshot) applyEnd(intent Intent, end End) error {
	switch end.Outcome {
	case providers.Applied.String():
		delete(s.Intents, intent.Op)
		if intent.Action == providers.Remove {
			delete(s.Resources, intent.Address)
			return nil
		}
		record := intent.Resource
		record.Values = end.Value
		s.Resources[intent.Address] = record
	case providers.NotApplied.String():
		delete(s.Intents, intent.Op)
	case providers.Partial.String(), providers.Unknown.String():
	default:
		return fmt.Errorf("reading the journal: outcome %q of operation %s", end.Outcome, end.Op)
	}
	return nil
}

func (s *Snapshot) applyDrop(clock string) {
	delete(s.Clocks, clock)
	maps.DeleteFunc(s.Resources, func(_ string, r Resource) bool { return r.Clock == clock })
	maps.DeleteFunc(s.Gates, func(key string, _ GateState) bool { return strings.HasPrefix(key, clock+"/") })
}

func (s *Snapshot) applyMove(m Move) {
	if m.Phase {
		if clock := s.Clocks[m.Clock]; clock.Phase == m.From {
			clock.Phase = m.To
			s.Clocks[m.Clock] = clock
		}
		return
	}
	for address, r := range s.Resources {
		if r.Clock == m.From {
			r.Clock = m.To
			s.Resources[address] = r
		}
	}
	if r, ok := s.Resources[m.From]; ok {
		delete(s.Resources, m.From)
		s.Resources[m.To] = r
	}
	if c, ok := s.Clocks[m.From]; ok {
		delete(s.Clocks, m.From)
		s.Clocks[m.To] = c
	}
}
