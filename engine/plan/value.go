package plan

import (
	"encoding/json"
	"fmt"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// A Value is a [cty.Value] inside a plan or a state: JSON null where the object
// does not exist. Decoding needs the schema's type ([Value.As]).
type Value struct {
	value cty.Value
	raw   json.RawMessage
}

// NewValue returns v for encoding. The zero Value is null.
func NewValue(v cty.Value) Value {
	if v == cty.NilVal || v.IsNull() {
		return Value{}
	}
	return Value{value: v}
}

// IsNull reports whether the object does not exist.
func (v Value) IsNull() bool {
	if v.value != cty.NilVal {
		return v.value.IsNull()
	}
	return len(v.raw) == 0 || string(v.raw) == "null"
}

// As returns the value as an object of type t. Attributes that the recorded
// object has and t lacks are an error; those that it lacks are null, so that a
// newer version with more attributes reads what an older one wrote.
func (v Value) As(t cty.Type) (cty.Value, error) {
	if v.IsNull() {
		return cty.NullVal(t), nil
	}
	if v.value != cty.NilVal {
		return v.value, nil
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(v.raw, &raw); err != nil {
		return cty.NilVal, fmt.Errorf("reading a recorded object: %w", err)
	}
	values := make(map[string]cty.Value, len(raw))
	for name, typ := range t.AttributeTypes() {
		attr, ok := raw[name]
		delete(raw, name)
		if !ok {
			values[name] = cty.NullVal(typ)
			continue
		}
		value, err := ctyjson.Unmarshal(attr, typ)
		if err != nil {
			return cty.NilVal, fmt.Errorf("reading recorded attribute %q: %w", name, err)
		}
		values[name] = value
	}
	for name := range raw {
		return cty.NilVal, fmt.Errorf("reading a recorded object: attribute %q is not known to this version", name)
	}
	return cty.ObjectVal(values), nil
}

// MarshalJSON implements [json.Marshaler]: attributes in name order, null ones
// left out.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.IsNull() {
		return []byte("null"), nil
	}
	if v.value == cty.NilVal {
		return v.raw, nil
	}
	attrs := map[string]json.RawMessage{}
	for name, attr := range v.value.AsValueMap() {
		if attr.IsNull() {
			continue
		}
		data, err := ctyjson.Marshal(attr, attr.Type())
		if err != nil {
			return nil, fmt.Errorf("writing attribute %q: %w", name, err)
		}
		attrs[name] = data
	}
	return json.Marshal(attrs)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (v *Value) UnmarshalJSON(data []byte) error {
	*v = Value{}
	if string(data) != "null" {
		v.raw = append(json.RawMessage(nil), data...)
	}
	return nil
}
