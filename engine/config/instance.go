package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
)

// An instance is one use of a module: the root module, or one key of a module
// block.
type instance struct {
	module *module
	parent *instance
	call   *call
	each   *each
	// path is the instance's address: module.a["k"].module.b; "" is the root.
	path     string
	children map[string]*expansion // by call
	clock    *clock                // of the resources in it
	phases   map[string]*phase     // its own
	// origins are resources that decide whether the instance exists.
	origins []string
}

// An expansion are the instances of one module block.
type expansion struct {
	forEach   bool
	keys      []string // in order
	instances map[string]*instance
}

// each is what each.key and each.value stand for.
type each struct {
	key   string
	value cty.Value
}

func (e *each) object() cty.Value {
	return cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(e.key), "value": e.value})
}

// A clock is the phases of one instance. One that stands for a root module
// without phases has a phase "".
type clock struct {
	path     string
	instance *instance
	phases   []*phase
}

type phase struct {
	clock *clock
	name  string
	index int
	block *phaseBlock // nil for the phase ""
}

func (p *phase) value() cty.Value { return cty.CapsuleVal(phaseType, p) }

// address is the phase's name for people.
func (p *phase) address() string { return join(p.clock.path, "phase."+p.name) }

// join puts a local address under a module instance's.
func join(path, local string) string {
	if path == "" {
		return local
	}
	return path + "." + local
}

// keySuffix renders a key as it stands in an address.
func keySuffix(key string) string {
	for i := 0; i < len(key); i++ {
		if b := key[i]; b < ' ' || b > '~' || b == '"' || b == '\\' || b == '$' || b == '%' {
			return "[" + string(hclwrite.TokensForValue(cty.StringVal(key)).Bytes()) + "]"
		}
	}
	return `["` + key + `"]`
}

// prepare gives an instance its clock and phases, and lists it.
func (c *Config) prepare(in *instance) {
	in.children = map[string]*expansion{}
	in.phases = map[string]*phase{}
	c.instances = append(c.instances, in)
	switch {
	case len(in.module.chain) > 0:
		in.clock = &clock{path: in.path, instance: in}
		for _, b := range in.module.chain {
			p := &phase{clock: in.clock, name: b.name, index: b.index, block: b}
			in.clock.phases = append(in.clock.phases, p)
			in.phases[b.name] = p
		}
	case in.parent != nil:
		in.clock = in.parent.clock
	default:
		in.clock = &clock{instance: in, phases: []*phase{{}}}
		in.clock.phases[0].clock = in.clock
	}
}

// expandAll makes all instances below one.
func (e *evaluator) expandAll(in *instance) {
	for _, name := range names(in.module.calls) {
		x := e.expansion(in, name)
		for _, key := range x.keys {
			e.expandAll(x.instances[key])
		}
	}
}

// expansion returns the instances of a module block. They are made when they are
// first asked for: the for_each of one block may use the outputs of another.
// Which instances there are cannot depend on the phase: their clocks must exist
// whatever the time.
func (e *evaluator) expansion(in *instance, name string) *expansion {
	if x := in.children[name]; x != nil {
		return x
	}
	b := in.module.calls[name]
	x := &expansion{forEach: b.forEach != nil, instances: map[string]*instance{}}
	if !x.forEach {
		child := &instance{module: b.module, parent: in, call: b, path: join(in.path, "module."+b.name), origins: in.origins}
		x.keys, x.instances[""] = []string{""}, child
		in.children[name] = x
		e.config.prepare(child)
		return x
	}
	n := node{in, expansionNode, name}
	if e.inCycle(n) {
		return x
	}
	f := e.begin(n)
	keys, marks, _ := e.keys(in, b.forEach)
	if len(f.reads) > 0 {
		e.add(fault(b.forEach.Range().Ptr(), "Depends on the phase", "Which modules there are cannot depend on reached(): use lifecycle { from, until } on the resources inside instead."))
	}
	e.end(f)
	from := sortedSet(append(origins(marks), in.origins...))
	for _, one := range keys {
		child := &instance{module: b.module, parent: in, call: b, each: one, path: join(in.path, "module."+b.name) + keySuffix(one.key), origins: from}
		x.keys, x.instances[one.key] = append(x.keys, one.key), child
		e.config.prepare(child)
	}
	in.children[name] = x
	return x
}

// keys evaluates for_each: the keys in order, and the marks of the collection.
func (e *evaluator) keys(in *instance, expr *expression) ([]*each, cty.ValueMarks, bool) {
	ctx := e.context(in, expr.refs, nil)
	collection, diags := expr.Value(ctx)
	e.add(diags...)
	collection, marks := collection.Unmark()
	bad := func(detail string, args ...any) ([]*each, cty.ValueMarks, bool) {
		e.add(expressionFault(expr, ctx, "Invalid for_each", detail, args...))
		return nil, nil, false
	}
	_, hasFailed := marks[failed]
	_, hidden := marks[sensitive]
	switch t := collection.Type(); {
	case diags.HasErrors() || hasFailed:
		return nil, nil, false
	case hidden:
		return bad("for_each cannot use sensitive values: its keys become part of addresses.")
	case !collection.IsKnown():
		return bad("for_each uses what is known only by observing. Use values that the configuration sets.")
	case collection.IsNull():
		return bad("for_each is null. Use {} for no instances.")
	case t.IsMapType() || t.IsObjectType():
	case t.IsSetType() && (t.ElementType() == cty.String || collection.LengthInt() == 0):
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		return bad("for_each takes a map or a set of strings, and this is a %s. Use toset(…) if the elements are distinct names.", typeNoun(t))
	default:
		return bad("for_each takes a map or a set of strings, and this is a %s.", t.FriendlyName())
	}
	var all []*each
	for it := collection.ElementIterator(); it.Next(); {
		key, v := it.Element()
		if collection.Type().IsSetType() {
			key = v
		}
		key, keyMarks := key.Unmark()
		if _, hidden := keyMarks[sensitive]; hidden || !key.IsKnown() || key.IsNull() {
			return bad("A key of for_each is null, sensitive or known only by observing.")
		}
		all = append(all, &each{key: key.AsString(), value: v})
	}
	slices.SortFunc(all, func(a, b *each) int { return strings.Compare(a.key, b.key) })
	return all, marks, true
}

// expressionFault makes an error that can show what the expression refers to.
func expressionFault(expr *expression, ctx *hcl.EvalContext, summary, detail string, args ...any) *hcl.Diagnostic {
	d := fault(expr.Range().Ptr(), summary, detail, args...)
	d.Expression, d.EvalContext = expr.Expression, ctx
	return d
}

// makeClocks lists the clocks, in the order of their paths.
func (c *Config) makeClocks() {
	used := map[*clock]bool{}
	for _, in := range c.instances {
		if len(in.module.chain) > 0 || len(in.module.resources) > 0 {
			used[in.clock] = true
		}
	}
	c.clocks = slices.SortedFunc(maps.Keys(used), func(a, b *clock) int { return strings.Compare(a.path, b.path) })
	c.clockAt = map[string]*clock{}
	for _, k := range c.clocks {
		c.clockAt[k.path] = k
	}
}

// Clocks returns, in the order of their paths, every module instance that has
// phases, and the root if it has resources outside of such: without phases of
// its own it is a clock with the one phase "".
func (c *Config) Clocks() []plan.Clock {
	out := make([]plan.Clock, 0, len(c.clocks))
	for _, k := range c.clocks {
		one := plan.Clock{Path: k.path}
		for _, p := range k.phases {
			one.Phases = append(one.Phases, c.describePhase(p))
		}
		out = append(out, one)
	}
	return out
}

func (c *Config) describePhase(p *phase) plan.Phase {
	if p.block == nil {
		return plan.Phase{}
	}
	out := plan.Phase{Name: p.name, Title: c.titles[p], Rollback: p.block.rollback, Where: where(p.block.rng)}
	for _, g := range p.block.gates {
		out.Gates = append(out.Gates, plan.Gate{Name: g.name, Kind: g.kind, Text: g.text, Title: g.title})
	}
	return out
}
