package providers

import (
	"context"
	"fmt"
	"reflect"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/gocty"
)

// A TypedResource is a [Resource] over a Go struct. T's exported fields carry
// the tag `cty:"name"` for each attribute of the schema. A null attribute is a
// nil pointer, slice or map, or else the zero value.
type TypedResource[T any] interface {
	// Observe is [Resource.Observe]; nil means that the object does not exist.
	// desired is nil if the object shall not exist; then last names it.
	Observe(ctx context.Context, desired, last *T) (*T, error)
	// Apply is [Resource.Apply].
	Apply(ctx context.Context, change TypedChange[T], log TypedLog[T]) (Outcome, *T, error)
}

// A TypedChange is a [Change] over a Go struct; nil stands for null.
type TypedChange[T any] struct {
	Op, Address         string
	Action              Action
	Before, After, Last *T
	Back                bool
}

// A TypedLog is a [Log] over a Go struct.
type TypedLog[T any] struct {
	Log
	schema ResourceSchema
}

// Checkpoint makes v durable before it returns.
func (l TypedLog[T]) Checkpoint(v T) error {
	value, err := Encode(l.schema, &v)
	if err != nil {
		return err
	}
	return l.Log.Checkpoint(value)
}

// Typed makes a Resource of a TypedResource. Optional interfaces that r
// implements are found by [As].
func Typed[T any](schema ResourceSchema, r TypedResource[T]) Resource {
	return typed[T]{schema: schema, inner: r}
}

type typed[T any] struct {
	schema ResourceSchema
	inner  TypedResource[T]
}

func (t typed[T]) Unwrap() any { return t.inner }

func (t typed[T]) Observe(ctx context.Context, desired, last cty.Value) (cty.Value, error) {
	d, err := Decode[T](desired)
	if err != nil {
		return cty.NilVal, err
	}
	l, err := Decode[T](last)
	if err != nil {
		return cty.NilVal, err
	}
	observed, err := t.inner.Observe(ctx, d, l)
	if err != nil {
		return cty.NilVal, err
	}
	return Encode(t.schema, observed)
}

func (t typed[T]) Apply(ctx context.Context, change Change, log Log) (Outcome, cty.Value, error) {
	c, err := DecodeChange[T](change)
	if err != nil {
		return NotApplied, cty.NilVal, err
	}
	outcome, value, err := t.inner.Apply(ctx, c, TypedLog[T]{Log: log, schema: t.schema})
	encoded, encodeErr := Encode(t.schema, value)
	if encodeErr != nil {
		return Unknown, cty.NilVal, encodeErr
	}
	return outcome, encoded, err
}

// DecodeChange converts a change to its typed form.
func DecodeChange[T any](change Change) (TypedChange[T], error) {
	c := TypedChange[T]{Op: change.Op, Address: change.Address, Action: change.Action, Back: change.Back}
	for _, part := range []struct {
		to   **T
		from cty.Value
	}{{&c.Before, change.Before}, {&c.After, change.After}, {&c.Last, change.Last}} {
		v, err := Decode[T](part.from)
		if err != nil {
			return c, err
		}
		*part.to = v
	}
	return c, nil
}

// Decode reads an object into a struct; nil if v is null or no value.
func Decode[T any](v cty.Value) (*T, error) {
	if v == cty.NilVal || v.IsNull() {
		return nil, nil
	}
	out := new(T)
	target := reflect.ValueOf(out).Elem()
	for i := range target.NumField() {
		name := target.Type().Field(i).Tag.Get("cty")
		if name == "" || !v.Type().HasAttribute(name) {
			continue
		}
		attr := v.GetAttr(name)
		if attr.IsNull() {
			continue
		}
		if err := gocty.FromCtyValue(attr, target.Field(i).Addr().Interface()); err != nil {
			return nil, fmt.Errorf("reading attribute %q: %w", name, err)
		}
	}
	return out, nil
}

// Encode writes a struct as an object of the schema; null if v is nil. An
// attribute that T has no field for is null.
func Encode[T any](schema ResourceSchema, v *T) (cty.Value, error) {
	if v == nil {
		return cty.NullVal(schema.Attributes.Type()), nil
	}
	values := make(map[string]cty.Value, len(schema.Attributes))
	for name, attr := range schema.Attributes {
		values[name] = cty.NullVal(attr.Type)
	}
	from := reflect.ValueOf(v).Elem()
	for i := range from.NumField() {
		name := from.Type().Field(i).Tag.Get("cty")
		attr, ok := schema.Attributes[name]
		if !ok {
			continue
		}
		value, err := gocty.ToCtyValue(from.Field(i).Interface(), attr.Type)
		if err != nil {
			return cty.NilVal, fmt.Errorf("writing attribute %q: %w", name, err)
		}
		values[name] = value
	}
	return cty.ObjectVal(values), nil
}
