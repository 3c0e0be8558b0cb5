// Package state keeps what a migration must remember: a JSON snapshot, and beside
// it a journal of everything since. It knows nothing of what the objects mean.
//
// Words. A [Snapshot] is the whole state at an instant. An [Entry] is one thing
// that happened; the state changes in no other way than by [Snapshot.Apply], so
// that replaying the journal over the last snapshot gives the state. An [Intent]
// is a change that was begun and of which no outcome is recorded yet. A [Store]
// keeps all that; [File] does so in files of one folder.
//
// Promises. [Store.Append] is durable when it returns. A snapshot is replaced as
// a whole or not at all. A torn last line of the journal, which is all that a
// crash can leave, is dropped; any other damage is an error and nothing is
// written. The state holds no secret: no password, no hash, no key, no message.
package state

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// FormatVersion is the version of the snapshot's encoding.
const FormatVersion = 1

// A Snapshot is the whole state at an instant.
type Snapshot struct {
	FormatVersion int    `json:"format_version"`
	Mailmove      string `json:"mailmove"`
	// Lineage identifies the migration; it never changes.
	Lineage string `json:"lineage"`
	// Serial grows with every snapshot that is written.
	Serial int64 `json:"serial"`
	// Sequence is the number of the last entry that is in the snapshot.
	Sequence int64 `json:"sequence"`
	// Epoch is the number of the last turn.
	Epoch     int64                 `json:"epoch"`
	Clocks    map[string]ClockState `json:"clocks"`
	Gates     map[string]GateState  `json:"gates"`
	Resources map[string]Resource   `json:"resources"`
	Outputs   map[string]Output     `json:"outputs,omitempty"`
	// Intents are the changes that were begun, by operation.
	Intents map[string]Intent `json:"intents,omitempty"`
	// Contract is the approved plan, null before the first.
	Contract json.RawMessage `json:"contract,omitempty"`
	// Digest identifies the contract.
	Digest    string     `json:"digest,omitempty"`
	Approvals []Approval `json:"approvals,omitempty"`
	// Confirmations are what people have said to have done, by step.
	Confirmations map[string]Confirmation `json:"confirmations,omitempty"`
}

// ClockState is where a clock stands.
type ClockState struct {
	// Phase is the phase entered last; "" is before the first.
	Phase   string    `json:"phase"`
	Entered time.Time `json:"entered,omitzero"`
	// Done is when all objects of the phase were first seen as desired; zero if not yet.
	Done time.Time `json:"done,omitzero"`
}

// GateState is what was last seen of a gate; its key is [GateKey].
type GateState struct {
	Open bool `json:"open"`
	// Since is when it was first seen to be so.
	Since    time.Time `json:"since"`
	Evidence string    `json:"evidence,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// GateKey names a gate in the state.
func GateKey(clock, phase, gate string) string { return clock + "/" + phase + "/" + gate }

// Resource is what is recorded of one object.
type Resource struct {
	Type     string     `json:"type"`
	Provider string     `json:"provider"`
	Clock    string     `json:"clock"`
	Values   plan.Value `json:"values"`
	// Origin is the object before our first change; null if we created it.
	Origin    plan.Value `json:"origin"`
	DependsOn []string   `json:"depends_on,omitempty"`
	Keep      bool       `json:"keep,omitempty"`
}

// Output is an output value; a sensitive one is not recorded.
type Output struct {
	Value     json.RawMessage `json:"value,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
}

// Intent is a change that was begun.
type Intent struct {
	Op      string           `json:"op"`
	Clock   string           `json:"clock"`
	Phase   string           `json:"phase"`
	Address string           `json:"address"`
	Action  providers.Action `json:"action"`
	Back    bool             `json:"back,omitempty"`
	After   plan.Value       `json:"after"`
	// Resource is what will be recorded of the object once the change is applied.
	Resource   Resource   `json:"resource"`
	Begun      time.Time  `json:"begun"`
	Step       string     `json:"step,omitempty"`
	Checkpoint plan.Value `json:"checkpoint"`
}

// Approval is a person's word for one gate of one contract.
type Approval struct {
	Digest string    `json:"digest"`
	Gate   string    `json:"gate"` // GateKey
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Note   string    `json:"note,omitempty"`
}

// Confirmation is a person's word that a step which no machine can take has been
// taken. Unlike an approval it stays true under another contract.
type Confirmation struct {
	Step string    `json:"step"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

// NewSnapshot returns the state of a migration that has not begun.
func NewSnapshot(version, lineage string) *Snapshot {
	return &Snapshot{
		FormatVersion: FormatVersion, Mailmove: version, Lineage: lineage,
		Clocks: map[string]ClockState{}, Gates: map[string]GateState{}, Resources: map[string]Resource{}, Intents: map[string]Intent{},
	}
}

// Position returns where the clocks stand.
func (s *Snapshot) Position() plan.Position {
	at := plan.Position{}
	for path, clock := range s.Clocks {
		at[path] = clock.Phase
	}
	return at
}

// Approved returns the approvals of a gate under the contract in force.
func (s *Snapshot) Approved(gate string) []Approval {
	var found []Approval
	for _, a := range s.Approvals {
		if a.Gate == gate && a.Digest == s.Digest {
			found = append(found, a)
		}
	}
	return found
}

// Intent returns the open intent for an address, if there is one; there is never
// more than one.
func (s *Snapshot) Intent(address string) (Intent, bool) {
	for _, intent := range s.Intents {
		if intent.Address == address {
			return intent, true
		}
	}
	return Intent{}, false
}

// Begun returns the addresses at which a change was begun and has no outcome.
func (s *Snapshot) Begun() map[string]bool {
	begun := map[string]bool{}
	for _, intent := range s.Intents {
		begun[intent.Address] = true
	}
	return begun
}

// Records returns the recorded objects for the plan, by address: also those whose
// first change was begun and has no outcome, so that what a crash has left half done
// can be undone.
func (s *Snapshot) Records(schemas plan.Schemas) (map[string]plan.Record, error) {
	records := make(map[string]plan.Record, len(s.Resources))
	for address, r := range s.Resources {
		rec, err := record(schemas, address, r)
		if err != nil {
			return nil, err
		}
		records[address] = rec
	}
	for _, intent := range s.Intents {
		if _, known := records[intent.Address]; known || intent.Action == providers.Remove {
			continue
		}
		r := intent.Resource
		if r.Values.IsNull() {
			r.Values = intent.After // names it
		}
		rec, err := record(schemas, intent.Address, r)
		if err != nil {
			return nil, err
		}
		rec.Begun = true
		records[intent.Address] = rec
	}
	return records, nil
}

func record(schemas plan.Schemas, address string, r Resource) (plan.Record, error) {
	schema, ok := schemas(r.Type)
	if !ok {
		return plan.Record{}, fmt.Errorf("reading the state: %s has the type %q, which no provider of this version has", address, r.Type)
	}
	typ := schema.Attributes.Type()
	values, err := r.Values.As(typ)
	if err != nil {
		return plan.Record{}, fmt.Errorf("reading the state: %s: %w", address, err)
	}
	origin, err := r.Origin.As(typ)
	if err != nil {
		return plan.Record{}, fmt.Errorf("reading the state: %s: %w", address, err)
	}
	return plan.Record{Address: address, Type: r.Type, Provider: r.Provider, Clock: r.Clock, Values: values, Origin: origin, DependsOn: r.DependsOn, Keep: r.Keep}, nil
}
