package config

import (
	"slices"

	"github.com/zclconf/go-cty/cty"
)

// Marks travel with values through every expression, so that where a value comes
// from is known without a second reading of the expressions it went through:
// locals, inputs, outputs, conditionals and functions all keep them.

// note marks a value that must not be shown, or that stands for an error which
// has been reported already.
type note string

const (
	sensitive note = "sensitive"
	failed    note = "failed"
)

// origin marks a value that was taken from the resource instance at address.
type origin struct{ address string }

// computed marks an unknown value: it is known only by observing.
type computed struct{ address, attribute string }

// unobserved marks an unknown value: nobody has looked at the object yet.
type unobserved struct{ address string }

// failure is the value of what could not be evaluated. It causes no second
// error where it is used.
var failure = cty.DynamicVal.Mark(failed)

// marked reports whether v, at any depth, carries m.
func marked(v cty.Value, m any) bool {
	if !v.ContainsMarked() {
		return false
	}
	_, marks := v.UnmarkDeep()
	_, ok := marks[m]
	return ok
}

// unmarkedValue is v without its marks.
func unmarkedValue(v cty.Value) cty.Value {
	v, _ = v.UnmarkDeep()
	return v
}

// origins returns the addresses of the resource instances in marks.
func origins(marks cty.ValueMarks) []string {
	var addresses []string
	for m := range marks {
		if o, ok := m.(origin); ok {
			addresses = append(addresses, o.address)
		}
	}
	return addresses
}

// first returns the mark of type T that comes first by less, so that messages do
// not depend on the order of a map.
func first[T any](marks cty.ValueMarks, compare func(a, b T) int) (T, bool) {
	var found []T
	for m := range marks {
		if t, ok := m.(T); ok {
			found = append(found, t)
		}
	}
	if len(found) == 0 {
		var none T
		return none, false
	}
	return slices.MinFunc(found, compare), true
}

// sortedSet returns the distinct strings of all, in order.
func sortedSet(all []string) []string {
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return slices.Clip(slices.Compact(all))
}

// absent marks the attributes, all null, of an object that does not exist.
type absent struct{ address string }
