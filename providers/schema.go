package providers

import (
	"maps"
	"slices"

	"github.com/zclconf/go-cty/cty"
)

// Schema describes one provider.
type Schema struct {
	// Kind is what the provider can stand for in a module's input:
	// provider(mail), provider(dns), provider(operator).
	Kind string
	// Doc is one sentence for the reference.
	Doc string
	// Config are the arguments of the provider block.
	Config Attributes
	// Resources are the types that are served. They belong to the kind: providers
	// of one kind give the same schema for the same name.
	Resources map[string]ResourceSchema
}

// ResourceSchema describes one resource type.
type ResourceSchema struct {
	Doc        string
	Attributes Attributes
	// Permanent objects are never removed from a system, only forgotten: accounts,
	// mailboxes, messages.
	Permanent bool
	// Recurring objects drift by themselves (a copy falls behind while users work):
	// a plan that contains a change of one permits the same change again.
	Recurring bool
}

// Attributes are named attributes.
type Attributes map[string]Attribute

// Attribute describes one attribute of a resource or provider configuration.
type Attribute struct {
	// Type is the attribute's type. For a reference to another provider block it is
	// [cty.String], and System names the kind. For a secret it is [SecretType].
	Type cty.Type
	// Required must be set by the configuration. Neither Required nor Computed
	// means optional.
	Required bool
	// Computed is known only by observing and cannot be set.
	Computed bool
	// Identity names the object: with another value it is another object. In a
	// provider's configuration it names the system, of which there is one block.
	Identity bool
	// Default stands where the configuration says nothing; the zero Value is none.
	Default cty.Value
	// System is the kind of provider that the attribute refers to, or "".
	System string
	// Block attributes are written as a nested block; Type is an object type and
	// Nested its attributes.
	Block  bool
	Nested Attributes
	Doc    string
}

// Names returns the attributes' names in order.
func (a Attributes) Names() []string { return slices.Sorted(maps.Keys(a)) }

// Type returns the object type of a value with these attributes.
func (a Attributes) Type() cty.Type {
	types := make(map[string]cty.Type, len(a))
	for name, attr := range a {
		types[name] = attr.Type
	}
	return cty.Object(types)
}

// Arguments returns the names, in order, of what a configuration can set.
func (s ResourceSchema) Arguments() []string {
	var names []string
	for _, name := range s.Attributes.Names() {
		if !s.Attributes[name].Computed {
			names = append(names, name)
		}
	}
	return names
}

// Identity returns the object's identity: its identity attributes alone, or null
// if v is null.
func (s ResourceSchema) Identity(v cty.Value) cty.Value {
	if v.IsNull() {
		return cty.NullVal(cty.DynamicPseudoType)
	}
	values := map[string]cty.Value{}
	for name, attr := range s.Attributes {
		if attr.Identity {
			values[name] = v.GetAttr(name)
		}
	}
	return cty.ObjectVal(values)
}

// Differs returns the names, in order, of the arguments that desired sets and in
// which observed is different. Both are objects of the schema; neither is null.
func (s ResourceSchema) Differs(desired, observed cty.Value) []string {
	var names []string
	for name, attr := range s.Attributes {
		if attr.Computed {
			continue
		}
		want := desired.GetAttr(name)
		if !want.IsNull() && !want.RawEquals(observed.GetAttr(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
