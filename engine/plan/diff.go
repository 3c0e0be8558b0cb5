package plan

import (
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// A Record is what the state holds of one object.
type Record struct {
	Address, Type, Provider, Clock string
	// Values is the object as it was last recorded.
	Values cty.Value
	// Origin is the object as it was before the first change of ours, null if we
	// created it.
	Origin    cty.Value
	DependsOn []string
	Keep      bool
	// Begun says that its first change was begun and has no recorded outcome: the object
	// may be there or not, and is not ours yet.
	Begun bool
}

// Last returns what a provider is told of the object as it was last seen, given what
// it shall be. Of an object whose first change has no outcome nothing was ever seen:
// what is recorded is what it shall become, and only names it.
func (r Record) Last(desired cty.Value) cty.Value {
	if r.Begun && !isNull(desired) {
		return cty.NullVal(r.Values.Type())
	}
	return r.Values
}

// Schemas returns the schema of a resource type.
type Schemas func(typ string) (providers.ResourceSchema, bool)

// Diff returns the change that leads from before to the resource, or nil if
// there is nothing to do. recorded says whether the state knows the object.
func Diff(schema providers.ResourceSchema, r Resource, before cty.Value, recorded bool) (*Change, error) {
	change := &Change{
		Address: r.Address, Type: r.Type, Provider: r.Provider,
		Before: NewValue(before), After: NewValue(r.Values),
		DependsOn: r.DependsOn, Where: r.Where, Recurring: schema.Recurring,
	}
	if isNull(before) {
		change.Action = providers.Create
		return change, nil
	}
	if was, is := schema.Identity(before), schema.Identity(r.Values); !was.RawEquals(is) {
		return nil, fmt.Errorf("%s (%s): it names another object than before; give the other object an address of its own", r.Address, r.Where)
	}
	change.Differs = schema.Differs(r.Values, before)
	switch {
	case len(change.Differs) > 0:
		change.Action = providers.Update
	case !recorded:
		change.Action = providers.Adopt
	default:
		return nil, nil
	}
	return change, nil
}

// Leave returns the change by which an object that shall no longer be ours is
// left behind: what we created for a time is removed, all else is forgotten.
func Leave(schema providers.ResourceSchema, rec Record, before cty.Value) *Change {
	change := &Change{
		Address: rec.Address, Type: rec.Type, Provider: rec.Provider,
		Action: providers.Remove, Before: NewValue(before), DependsOn: rec.DependsOn,
	}
	if schema.Permanent || rec.Keep || !isNull(rec.Origin) || isNull(before) {
		change.Action = providers.Forget
	}
	return change
}

func isNull(v cty.Value) bool { return v == cty.NilVal || v.IsNull() }
