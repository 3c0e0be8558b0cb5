package plan

import (
	"fmt"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// A BreachError says that a change that is needed now is not what was approved.
// Nothing was done.
type BreachError struct {
	Clock, Phase, Address string
	// Needed is the change that would be made now; Planned what the plan has for the
	// address in this phase, nil for nothing.
	Needed  Change
	Planned *Change
	Reason  string
}

func (e *BreachError) Error() string {
	return fmt.Sprintf("%s: %s", e.Address, e.Reason)
}

// Hint implements [providers.Error].
func (e *BreachError) Hint() string {
	return "Something changed since the plan was approved. Run mailmove plan, review the difference, and approve the new plan."
}

// Temporary implements [providers.Error].
func (e *BreachError) Temporary() bool { return false }

// Permit reports whether the plan permits a change that is needed in a stage of
// a clock: nil, or a [*BreachError]. begun says that a change of the object to
// the same end was begun under this plan and interrupted, so that what is there
// may be anything on the way.
func (c *ClockPlan) Permit(schema providers.ResourceSchema, stage int, needed Change, begun bool) error {
	breach := func(planned *Change, format string, args ...any) error {
		return &BreachError{Clock: c.Path, Phase: c.Stages[stage].Phase, Address: needed.Address, Needed: needed, Planned: planned, Reason: fmt.Sprintf(format, args...)}
	}
	planned := c.planned(stage, needed.Address)
	if planned == nil && needed.Recurring {
		for earlier := stage - 1; earlier >= 0 && planned == nil; earlier-- {
			planned = c.planned(earlier, needed.Address)
		}
	}
	if planned == nil {
		return breach(nil, "the plan has no change of it in phase %q, but it is not as it should be%s", c.Stages[stage].Phase, list(needed.Differs))
	}
	typ := schema.Attributes.Type()
	wantAfter, err := planned.After.As(typ)
	if err != nil {
		return err
	}
	after, err := needed.After.As(typ)
	if err != nil {
		return err
	}
	if !wantAfter.RawEquals(after) {
		return breach(planned, "the plan leads to something else than the configuration wants now")
	}
	if !needed.Action.Effects() || begun || needed.Recurring {
		return nil
	}
	before, err := needed.Before.As(typ)
	if err != nil {
		return err
	}
	wantBefore, err := planned.Before.As(typ)
	if err != nil {
		return err
	}
	if wantBefore.IsNull() != before.IsNull() {
		if before.IsNull() {
			return breach(planned, "it does not exist any more")
		}
		return breach(planned, "it exists already, which the plan did not expect")
	}
	if before.IsNull() || needed.Action == providers.Remove {
		return nil
	}
	if drift := drifted(schema, needed.Differs, wantBefore, before); len(drift) > 0 {
		return breach(planned, "it is neither what the plan expects to find nor what it leads to%s", list(drift))
	}
	return nil
}

// drifted returns the arguments that differ from what the plan expected to find,
// of those that are to be changed.
func drifted(schema providers.ResourceSchema, differs []string, want, got cty.Value) []string {
	var names []string
	for _, name := range schema.Arguments() {
		if !slices.Contains(differs, name) || want.GetAttr(name).IsNull() {
			continue
		}
		if !want.GetAttr(name).RawEquals(got.GetAttr(name)) {
			names = append(names, name)
		}
	}
	return names
}

// planned returns the change of an address in a stage, nil if there is none.
func (c *ClockPlan) planned(stage int, address string) *Change {
	for len(c.index) < len(c.Stages) {
		index := map[string]int{}
		for i, change := range c.Stages[len(c.index)].Changes {
			index[change.Address] = i
		}
		c.index = append(c.index, index)
	}
	if i, ok := c.index[stage][address]; ok {
		return &c.Stages[stage].Changes[i]
	}
	return nil
}

func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	text := " ("
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text + ")"
}
