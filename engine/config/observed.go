package config

import (
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// Observed are objects as they were found, by the address of the resource. An
// object that does not exist is a null value; one that nobody has looked at is
// not in the map.
type Observed map[string]cty.Value

// observing makes an evaluator for gates, checks and outputs: references to
// resources give what was observed.
func (c *Config) observing(standing map[*clock]int, observed Observed) *evaluator {
	return &evaluator{
		config: c, standing: standing, memory: map[node][]*remembered{},
		desired: c.evaluator(standing), observed: observed,
	}
}

// observedResource returns what was observed of a block's objects. What nobody
// has looked at yet is unknown; the attributes of what does not exist are null.
func (e *evaluator) observedResource(in *instance, b *resourceBlock) cty.Value {
	return value(e, node{in, resourceNode, b.key()}, failure, func() cty.Value {
		f := e.desired.begin(node{})
		wanted := e.desired.block(in, b)
		exists := e.desired.standing[in.clock] >= 0 && e.desired.exists(in, b)
		e.desired.end(f)
		e.inherit(f.trace)
		if !wanted.ok {
			return failure
		}
		return b.assemble(wanted.objects, func(o *object) cty.Value { return e.found(b, o, exists) })
	})
}

func (e *evaluator) found(b *resourceBlock, o *object, exists bool) cty.Value {
	values := map[string]cty.Value{}
	seen, known := e.observed[o.Address]
	for name, attr := range b.schema.Attributes {
		typ := attr.Type.WithoutOptionalAttributesDeep()
		switch {
		case exists && !known:
			values[name] = cty.UnknownVal(typ)
		case !exists || seen.IsNull() || !seen.Type().IsObjectType() || !seen.Type().HasAttribute(name):
			values[name] = cty.NullVal(typ)
		default:
			v, err := convert.Convert(seen.GetAttr(name), typ)
			if err != nil {
				v = cty.NullVal(typ)
			}
			values[name] = v
		}
	}
	v := cty.ObjectVal(values)
	switch {
	case exists && !known:
		return e.lacking(v.Mark(unobserved{o.Address}))
	case !exists || seen.IsNull():
		return e.lacking(v.Mark(absent{o.Address}))
	}
	return v.Mark(origin{o.Address})
}

// lacking notes that an object is missing, and returns its value.
func (e *evaluator) lacking(v cty.Value) cty.Value {
	_, marks := v.Unmark()
	e.active[len(e.active)-1].lacks(missingMark(marks))
	return v
}
