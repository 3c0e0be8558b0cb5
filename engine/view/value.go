package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
)

// object returns the attributes of a recorded object as JSON values; nil if it
// does not exist.
func object(v plan.Value) (map[string]any, error) {
	if v.IsNull() {
		return nil, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var attrs map[string]any
	if err := decoder.Decode(&attrs); err != nil {
		return nil, err
	}
	return attrs, nil
}

// unset stands where an attribute has no value.
const unset = "(not set)"

// text returns a JSON value on one line, as the language would write it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return unset
	case string:
		return quote(v)
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			parts[i] = text(element)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, name := range sortedKeys(v) {
			parts = append(parts, Clean(name)+" = "+text(v[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return Clean(fmt.Sprint(v))
	}
}

// longList is the length from which a changed list is shown by what is new in it
// and what is gone.
const longList = 4

// listChange describes a change of a long list by its elements; ok is false for
// anything else, an order that changed included.
func listChange(before, after any) (description string, ok bool) {
	was, isList := before.([]any)
	is, isListToo := after.([]any)
	if !isList || !isListToo || max(len(was), len(is)) < longList {
		return "", false
	}
	old, fresh := texts(was), texts(is)
	var parts []string
	for _, element := range fresh {
		if !slices.Contains(old, element) {
			parts = append(parts, "+ "+element)
		}
	}
	for _, element := range old {
		if !slices.Contains(fresh, element) {
			parts = append(parts, "- "+element)
		}
	}
	if len(parts) == 0 || len(parts) > len(old) {
		return "", false
	}
	return strings.Join(parts, ", "), true
}

func texts(list []any) []string {
	out := make([]string, len(list))
	for i, element := range list {
		out[i] = text(element)
	}
	return out
}
