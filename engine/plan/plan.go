package plan

import (
	"encoding/json"
	"time"

	"github.com/mailmove/mailmove/providers"
)

// FormatVersion is the version of the plan's encoding.
const FormatVersion = 1

// A Plan is everything that will be done, in which order, and what stands
// between. Its digest identifies it.
type Plan struct {
	FormatVersion int    `json:"format_version"`
	Mailmove      string `json:"mailmove"`
	// Lineage and Serial are those of the state that the plan was made from.
	Lineage string `json:"lineage"`
	Serial  int64  `json:"serial"`
	// Config is the digest of the configuration, modules included.
	Config  string    `json:"config"`
	Created time.Time `json:"created"`
	// Expires is when the plan can no longer be accepted.
	Expires time.Time `json:"expires"`
	// Back says that the plan leads back to an earlier phase.
	Back    bool        `json:"back,omitempty"`
	Clocks  []ClockPlan `json:"clocks"`
	Dangers []Danger    `json:"dangers,omitempty"`
}

// A ClockPlan is the timeline of one clock.
type ClockPlan struct {
	Path string `json:"path"`
	// From is the phase in which the clock stands; "" is before the first.
	From   string      `json:"from"`
	Stages []StagePlan `json:"stages"`
	// Gone says that the configuration does not have the clock any more. Its migration
	// is at an end, and all that the state has of it is forgotten.
	Gone bool `json:"gone,omitempty"`

	index []map[string]int // of the changes of each stage by address; see planned
}

// A StagePlan is a phase of the timeline: its gates, then its changes. The first
// stage is the phase in which the clock stands, if it stands in one.
type StagePlan struct {
	Phase string `json:"phase"`
	Title string `json:"title,omitempty"`
	// Entered says that the clock stands here already.
	Entered bool `json:"entered,omitempty"`
	// Settle says that nothing is done in this phase but to finish what was begun and
	// has no recorded outcome: from half of a change there is no way back.
	Settle bool `json:"settle,omitempty"`
	// NoReturn says that no rollback leads out of the phase.
	NoReturn bool     `json:"no_return,omitempty"`
	Gates    []Gate   `json:"gates,omitempty"`
	Changes  []Change `json:"changes,omitempty"`
}

// A Change is a planned change of one object.
type Change struct {
	Address  string           `json:"address"`
	Type     string           `json:"type"`
	Provider string           `json:"provider"`
	Action   providers.Action `json:"action"`
	Before   Value            `json:"before"`
	After    Value            `json:"after"`
	// Differs names the arguments that change, in order, for an update.
	Differs []string `json:"differs,omitempty"`
	// DependsOn are addresses that come first.
	DependsOn []string `json:"depends_on,omitempty"`
	Steps     []string `json:"steps,omitempty"`
	Estimate  Estimate `json:"estimate,omitzero"`
	Where     string   `json:"where,omitempty"`
	// Recurring says that the same change may be needed again before the phase is left.
	Recurring bool `json:"recurring,omitempty"`
}

// Estimate is [providers.Estimate] for people; zero is unknown.
type Estimate struct {
	Bytes    int64         `json:"bytes,omitempty"`
	Messages int64         `json:"messages,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
}

// Danger is [providers.Danger] in the plan.
type Danger struct {
	Code     string             `json:"code"`
	Severity providers.Severity `json:"severity"`
	Address  string             `json:"address,omitempty"`
	Summary  string             `json:"summary"`
	Fix      string             `json:"fix,omitempty"`
}

// Empty reports whether there is nothing to do and nothing to wait for.
func (p *Plan) Empty() bool {
	for _, clock := range p.Clocks {
		if clock.Gone {
			return false
		}
		for _, stage := range clock.Stages {
			if !stage.Entered || len(stage.Changes) > 0 {
				return false
			}
		}
	}
	return true
}

// Fatal returns the dangers that forbid the plan.
func (p *Plan) Fatal() []Danger {
	var fatal []Danger
	for _, d := range p.Dangers {
		if d.Severity == providers.Fatal {
			fatal = append(fatal, d)
		}
	}
	return fatal
}

// Count returns the number of changes with each action.
func (p *Plan) Count() map[providers.Action]int {
	count := map[providers.Action]int{}
	for _, clock := range p.Clocks {
		for _, stage := range clock.Stages {
			for _, change := range stage.Changes {
				count[change.Action]++
			}
		}
	}
	return count
}

// Clock returns the timeline of the clock, nil if the plan has none.
func (p *Plan) Clock(path string) *ClockPlan {
	for i := range p.Clocks {
		if p.Clocks[i].Path == path {
			return &p.Clocks[i]
		}
	}
	return nil
}

// Position returns where the clocks stand when the plan begins.
func (p *Plan) Position() Position {
	at := Position{}
	for _, clock := range p.Clocks {
		at[clock.Path] = clock.From
	}
	return at
}

// Encode returns the canonical encoding: JSON with fields in a fixed order and
// one line end at its end.
func (p *Plan) Encode() ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
