package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// A block is a resource block with values: its objects, whether or not they
// exist in the phase at hand.
type block struct {
	objects []*object
	// value is what a reference to the block gives, where the configuration counts.
	value cty.Value
	ok    bool
}

// An object is one instance of a resource block.
type object struct {
	plan.Resource
	key      string
	identity string
	rng      hcl.Range
}

// resource returns what a reference to a resource block gives: what the
// configuration asks for, or what was observed.
func (e *evaluator) resource(in *instance, b *resourceBlock) cty.Value {
	if e.desired != nil {
		return e.observedResource(in, b)
	}
	return e.block(in, b).value
}

// block evaluates all objects of a resource block.
func (e *evaluator) block(in *instance, b *resourceBlock) *block {
	bad := &block{value: failure}
	return value(e, node{in, resourceNode, b.key()}, bad, func() *block {
		all := []*each{nil}
		var marks cty.ValueMarks
		if b.forEach != nil {
			var ok bool
			if all, marks, ok = e.keys(in, b.forEach); !ok {
				return bad
			}
		}
		shared := &sharedValues{
			ctx:       e.context(in, b.refs, nil),
			dependsOn: append(e.dependsOn(in, b.dependsOn, nil, false), e.moduleDependsOn(in)...),
			values:    map[*expression]cty.Value{},
		}
		shared.dependsOn = append(shared.dependsOn, origins(marks)...)
		result := &block{ok: true}
		for _, one := range all {
			o := e.object(in, b, one, shared)
			if o == nil {
				return bad
			}
			result.objects = append(result.objects, o)
		}
		result.value = b.reference(result.objects)
		return result
	})
}

// sharedValues are what all objects of a block have in common.
type sharedValues struct {
	ctx       *hcl.EvalContext
	dependsOn []string
	values    map[*expression]cty.Value // of arguments without each.*
}

// object evaluates one object; nil after an error.
func (e *evaluator) object(in *instance, b *resourceBlock, of *each, shared *sharedValues) *object {
	o := &object{rng: b.rng}
	o.Type, o.Where = b.typ, where(b.rng)
	o.Address = join(in.path, b.key())
	a := &assignment{evaluator: e, ctx: shared.ctx, shared: shared, dependsOn: slices.Clone(shared.dependsOn)}
	if of != nil {
		o.key = of.key
		o.Address += keySuffix(of.key)
		a.ctx = inner(shared.ctx, of)
		if of.value.ContainsMarked() {
			// for_each goes over other resources: each object belongs to one of them.
			_, marks := of.value.UnmarkDeep()
			a.dependsOn = append(a.dependsOn, origins(marks)...)
		}
	}
	a.address = o.Address
	a.dependsOn = append(a.dependsOn, e.dependsOn(in, b.dependsOn, of, true)...)
	o.Provider = e.provider(in, b, a)
	o.Values = a.attributes(b.arguments)
	o.Keep = e.keep(b, a)
	if a.bad {
		return nil
	}
	for _, name := range b.identity {
		if o.Values.GetAttr(name).IsNull() {
			e.add(fault(&b.rng, "Missing identity", "%s: %q says which object this is, so it must not be null.", o.Address, name))
			return nil
		}
	}
	o.identity = identityText(b, o)
	o.DependsOn = sortedSet(a.dependsOn)
	return o
}

// identityText is equal for objects that are the same thing on the same system.
func identityText(b *resourceBlock, o *object) string {
	if len(b.identity) == 0 {
		return ""
	}
	text := o.Type + "|" + o.Provider
	for _, name := range b.identity {
		text += "|" + canonical(o.Values.GetAttr(name))
	}
	return text
}

// reference makes the value that a reference to the block gives. What only
// observing can tell is unknown and says so if it is used where it must be known.
func (b *resourceBlock) reference(objects []*object) cty.Value {
	one := func(o *object) cty.Value {
		values := o.Values.AsValueMap()
		for name, attr := range b.schema.Attributes {
			if attr.Computed {
				values[name] = cty.UnknownVal(attr.Type).Mark(computed{o.Address, name})
			}
		}
		return cty.ObjectVal(values).Mark(origin{o.Address})
	}
	return b.assemble(objects, one)
}

// assemble makes the value of a block of the values of its objects: one, or with
// for_each a map by key.
func (b *resourceBlock) assemble(objects []*object, one func(*object) cty.Value) cty.Value {
	if b.forEach == nil {
		return one(objects[0])
	}
	typ := b.schema.Attributes.Type().WithoutOptionalAttributesDeep()
	if len(objects) == 0 {
		return cty.MapValEmpty(typ)
	}
	all := make(map[string]cty.Value, len(objects))
	for _, o := range objects {
		all[o.key] = one(o)
	}
	if typ.HasDynamicTypes() {
		return cty.ObjectVal(all) // the elements of a map have one type
	}
	return cty.MapVal(all)
}

// provider returns the address of the provider block that serves a resource.
func (e *evaluator) provider(in *instance, b *resourceBlock, a *assignment) string {
	expr := b.provider
	var v cty.Value
	if expr == nil {
		var ok bool
		if v, ok = e.onlyProvider(in, b); !ok {
			a.bad = true
			return ""
		}
	} else {
		var ok bool
		if v, ok = a.value("provider", expr, false); !ok {
			return ""
		}
	}
	s, ok := systemOf(v)
	if !ok {
		if !a.bad {
			e.add(fault(expr.Range().Ptr(), "Invalid provider", "%s: provider must be a provider, such as provider.TYPE.NAME or a variable of type provider(%s).", a.address, b.kind))
			a.bad = true
		}
		return ""
	}
	if block := e.config.root.module.providers[strings.TrimPrefix(s.address, "provider.")]; !hasResource(block.schema, b.typ) {
		rng := b.rng
		if expr != nil {
			rng = expr.Range()
		}
		e.add(fault(&rng, "Invalid provider", "%s: %s (kind %s) has no resources of type %q; providers of kind %s have.", a.address, s.address, s.kind, b.typ, b.kind))
		a.bad = true
	}
	return s.address
}

func hasResource(schema providers.Schema, typ string) bool {
	_, ok := schema.Resources[typ]
	return ok
}

// onlyProvider finds the one provider in scope that can serve the block: a
// provider block of the root module, or an input of another.
func (e *evaluator) onlyProvider(in *instance, b *resourceBlock) (cty.Value, bool) {
	var found []string
	var v cty.Value
	for _, key := range names(in.module.providers) {
		if block := in.module.providers[key]; hasResource(block.schema, b.typ) {
			found = append(found, block.address())
			v = e.config.systemValue(block)
		}
	}
	for _, name := range names(in.module.variables) {
		if in.module.variables[name].typ.Equals(e.config.kinds[b.kind]) {
			found = append(found, "var."+name)
			v = e.variable(in, name)
		}
	}
	if len(found) == 1 && !marked(v, failed) {
		return v, true
	}
	if len(found) == 0 {
		e.add(fault(&b.rng, "Missing provider", "%s.%s needs a provider of kind %s, and none is in scope: declare one, or in a module a variable of type provider(%s).", b.typ, b.name, b.kind, b.kind))
	} else if len(found) > 1 {
		e.add(fault(&b.rng, "Missing provider", "%s.%s needs provider = …, because the providers of kind %s in scope are %s.", b.typ, b.name, b.kind, listing(found)))
	}
	return cty.NilVal, false
}

// keep evaluates lifecycle { keep }.
func (e *evaluator) keep(b *resourceBlock, a *assignment) bool {
	if b.keep == nil {
		return false
	}
	v, ok := a.value("keep", b.keep, false)
	if !ok {
		return false
	}
	if v.IsNull() || v.Type() != cty.Bool {
		e.add(fault(b.keep.Range().Ptr(), "Invalid lifecycle", "keep is true or false."))
		a.bad = true
		return false
	}
	return v.True()
}

// exists reports whether the block's objects exist in the phase at hand.
func (e *evaluator) exists(in *instance, b *resourceBlock) bool {
	from, ok := e.lifecyclePhase(in, b.from)
	if !ok {
		return false
	}
	until, ok := e.lifecyclePhase(in, b.until)
	if !ok {
		return false
	}
	first := 0
	if from != nil {
		first = from.index
	}
	if until != nil && until.index <= first {
		e.add(fault(b.until.Range().Ptr(), "Invalid lifecycle", "%s would never exist: it begins in phase %q, and phase %q is not after that.", b.key(), in.clock.phases[first].name, until.name))
		return false
	}
	return (from == nil || e.reached(from)) && (until == nil || !e.reached(until))
}

// lifecyclePhase evaluates from or until; nil if it is not there.
func (e *evaluator) lifecyclePhase(in *instance, expr *expression) (*phase, bool) {
	if expr == nil {
		return nil, true
	}
	v, _, ok := e.evaluate(in, expr, nil)
	if !ok || marked(v, failed) {
		return nil, false
	}
	v, _ = v.UnmarkDeep()
	if v.IsNull() {
		return nil, true
	}
	if !v.Type().Equals(phaseType) {
		e.add(fault(expr.Range().Ptr(), "Invalid lifecycle", "from and until name phases: phase.NAME."))
		return nil, false
	}
	p := v.EncapsulatedValue().(*phase)
	if p.clock != in.clock {
		e.add(fault(expr.Range().Ptr(), "Invalid lifecycle", "%s belongs to another clock than this resource, which follows the phases of %s.", p.address(), clockName(in.clock.path)))
		return nil, false
	}
	return p, true
}

func clockName(path string) string {
	if path == "" {
		return "the root module"
	}
	return path
}

// dependsOn evaluates depends_on: the elements that use each.*, or those that do
// not.
func (e *evaluator) dependsOn(in *instance, list []*dependency, of *each, perObject bool) []string {
	var addresses []string
	for _, dep := range list {
		uses := dep.value != nil && dep.value.each || dep.index != nil && dep.index.each
		if uses != perObject {
			continue
		}
		if dep.value != nil {
			v, _, _ := e.evaluate(in, dep.value, of)
			_, marks := v.UnmarkDeep()
			addresses = append(addresses, origins(marks)...)
			continue
		}
		addresses = append(addresses, e.callResources(in, dep, of)...)
	}
	return addresses
}

// callResources returns all resources of a module call, or of one instance.
func (e *evaluator) callResources(in *instance, dep *dependency, of *each) []string {
	x := e.expansion(in, dep.call)
	keys := x.keys
	if dep.index != nil {
		v, _, ok := e.evaluate(in, dep.index, of)
		v, _ = v.UnmarkDeep()
		if !ok || !v.IsKnown() || v.IsNull() || v.Type() != cty.String || x.instances[v.AsString()] == nil {
			e.add(fault(&dep.rng, "Unknown module", "There is no such instance of module.%s.", dep.call))
			return nil
		}
		keys = []string{v.AsString()}
	}
	var addresses []string
	for _, key := range keys {
		addresses = append(addresses, e.allResources(x.instances[key])...)
	}
	return addresses
}

// allResources returns the addresses of all resources in an instance and below.
func (e *evaluator) allResources(in *instance) []string {
	var addresses []string
	for _, key := range names(in.module.resources) {
		for _, o := range e.block(in, in.module.resources[key]).objects {
			addresses = append(addresses, o.Address)
		}
	}
	for _, name := range names(in.module.calls) {
		x := e.expansion(in, name)
		for _, key := range x.keys {
			addresses = append(addresses, e.allResources(x.instances[key])...)
		}
	}
	return addresses
}

// moduleDependsOn returns what the module blocks around a resource depend on.
func (e *evaluator) moduleDependsOn(in *instance) []string {
	if in.parent == nil {
		return nil
	}
	return value(e, node{in, callNode, in.call.name}, nil, func() []string {
		addresses := append(slices.Clone(in.origins), e.moduleDependsOn(in.parent)...)
		addresses = append(addresses, e.dependsOn(in.parent, in.call.dependsOn, in.each, false)...)
		return append(addresses, e.dependsOn(in.parent, in.call.dependsOn, in.each, true)...)
	})
}
