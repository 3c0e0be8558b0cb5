package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/mailmove/mailmove/providers"
)

type referenceKind string

const (
	toVariable referenceKind = "variable"
	toLocal    referenceKind = "local value"
	toModule   referenceKind = "module"
	toProvider referenceKind = "provider"
	toPhase    referenceKind = "phase"
	toResource referenceKind = "resource"
)

// reservedRoots are the words that begin references to other things than
// resources.
var reservedRoots = []string{"var", "local", "module", "provider", "phase", "each"}

// A reference is a thing that an expression needs before it can be evaluated.
type reference struct {
	kind referenceKind
	// name is the variable's, local value's, module call's or phase's name, or
	// TYPE.NAME.
	name string
	// output is the one output of a module that is used; "" is all.
	output string
}

// What cannot stand in some places, and why.
var (
	onlyVariables = map[referenceKind]string{
		toLocal:    "a validation looks at variables only",
		toModule:   "a validation looks at variables only",
		toProvider: "a validation looks at variables only",
		toPhase:    "a validation looks at variables only",
		toResource: "a validation looks at variables only",
	}
	notInProviders = map[referenceKind]string{
		toModule:   "providers are configured before anything else is known",
		toPhase:    "a provider is the same in every phase",
		toResource: "providers are configured before anything else is known",
	}
)

// resolve finds and checks what all expressions of the module refer to.
func (d *decoder) resolve() {
	for _, e := range d.module.expressions {
		d.expressionReferences(e)
	}
	for _, key := range names(d.module.resources) {
		b := d.module.resources[key]
		all := append(b.arguments.expressions(), b.provider, b.keep)
		for _, e := range all {
			if e != nil {
				b.refs = append(b.refs, e.refs...)
			}
		}
		b.refs = unique(b.refs)
	}
	for _, key := range names(d.module.resources) {
		d.dependenciesExist(d.module.resources[key].dependsOn)
	}
	for _, name := range names(d.module.calls) {
		d.dependenciesExist(d.module.calls[name].dependsOn)
	}
}

func (d *decoder) dependenciesExist(list []*dependency) {
	for _, dep := range list {
		if dep.call != "" && d.module.calls[dep.call] == nil {
			d.undeclared(dep.rng, toModule, dep.call, names(d.module.calls))
		}
	}
}

func unique(refs []reference) []reference {
	var out []reference
	for _, ref := range refs {
		if !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	return out
}

func (d *decoder) expressionReferences(e *expression) {
	outputs := map[hcl.Pos]string{}
	if native, ok := e.Expression.(hclsyntax.Expression); ok {
		d.functionsExist(native)
		outputs = moduleOutputs(native)
	}
	for _, traversal := range e.Variables() {
		if traversal.RootName() == "each" {
			e.each = true
			if !e.eachAllowed {
				d.add(fault(traversal.SourceRange().Ptr(), "No each here", "each.key and each.value stand only inside a block with for_each."))
			} else {
				d.eachExists(traversal)
			}
			continue
		}
		ref, ok := d.reference(traversal)
		if !ok {
			continue
		}
		if why, forbidden := e.forbidden[ref.kind]; forbidden {
			d.add(fault(traversal.SourceRange().Ptr(), "Invalid reference", "No reference to a %s may stand here: %s.", ref.kind, why))
			continue
		}
		if ref.kind == toModule && ref.output == "" {
			ref.output = outputs[traversal.SourceRange().Start]
			d.outputExists(ref, traversal.SourceRange())
		}
		e.refs = append(e.refs, ref)
	}
	e.refs = unique(e.refs)
}

func (d *decoder) eachExists(traversal hcl.Traversal) {
	if len(traversal) > 1 {
		if step, ok := traversal[1].(hcl.TraverseAttr); ok && (step.Name == "key" || step.Name == "value") {
			return
		}
	}
	d.add(fault(traversal.SourceRange().Ptr(), "Invalid reference", "There is each.key and each.value, nothing else."))
}

// moduleOutputs finds the outputs used where a module call is indexed by an
// expression: module.a[each.key].out and module.a[*].out. They are keyed by the
// place where the reference to the call begins.
func moduleOutputs(expr hclsyntax.Expression) map[hcl.Pos]string {
	found := map[hcl.Pos]string{}
	record := func(source hclsyntax.Expression, steps hcl.Traversal) {
		if indexed, ok := source.(*hclsyntax.IndexExpr); ok {
			source = indexed.Collection
		}
		call, ok := source.(*hclsyntax.ScopeTraversalExpr)
		if !ok || len(steps) == 0 || call.Traversal.RootName() != "module" || len(call.Traversal) != 2 {
			return
		}
		if step, ok := steps[0].(hcl.TraverseAttr); ok {
			found[call.SrcRange.Start] = step.Name
		}
	}
	// The callback returns no diagnostics, so VisitAll returns none.
	_ = hclsyntax.VisitAll(expr, func(node hclsyntax.Node) hcl.Diagnostics {
		switch node := node.(type) {
		case *hclsyntax.RelativeTraversalExpr:
			record(node.Source, node.Traversal)
		case *hclsyntax.SplatExpr:
			if each, ok := node.Each.(*hclsyntax.RelativeTraversalExpr); ok {
				record(node.Source, each.Traversal)
			}
		}
		return nil
	})
	return found
}

// ownFunctions are those that belong to an evaluation.
var ownFunctions = []string{"reached", "file"}

func (d *decoder) functionsExist(expr hclsyntax.Expression) {
	// The callback returns no diagnostics, so VisitAll returns none.
	_ = hclsyntax.VisitAll(expr, func(node hclsyntax.Node) hcl.Diagnostics {
		call, ok := node.(*hclsyntax.FunctionCallExpr)
		if !ok {
			return nil
		}
		known := append(names(d.config.functions), ownFunctions...)
		if !slices.Contains(known, call.Name) {
			d.add(fault(&call.NameRange, "Unknown function", "There is no function %q.%s", call.Name, didYouMean(call.Name, known)))
		}
		return nil
	})
}

// reference finds what a traversal names in the module.
func (d *decoder) reference(traversal hcl.Traversal) (reference, bool) {
	rng := traversal.SourceRange()
	second := ""
	if len(traversal) > 1 {
		if step, ok := traversal[1].(hcl.TraverseAttr); ok {
			second = step.Name
		}
	}
	root := traversal.RootName()
	if second == "" && (slices.Contains(reservedRoots, root) || d.knownType(root)) {
		d.add(fault(&rng, "Invalid reference", "%q is the beginning of a reference; a name must follow, such as %s.NAME.", root, root))
		return reference{}, false
	}
	m := d.module
	switch root {
	case "var":
		return reference{kind: toVariable, name: second}, d.declared(rng, toVariable, second, m.variables[second] != nil, names(m.variables))
	case "local":
		return reference{kind: toLocal, name: second}, d.declared(rng, toLocal, second, m.locals[second] != nil, names(m.locals))
	case "phase":
		return reference{kind: toPhase, name: second}, d.declared(rng, toPhase, second, m.phases[second] != nil, names(m.phases))
	case "module":
		ref := reference{kind: toModule, name: second, output: staticOutput(traversal)}
		if !d.declared(rng, toModule, second, m.calls[second] != nil, names(m.calls)) {
			return ref, false
		}
		return ref, d.outputExists(ref, rng)
	case "provider":
		key := second
		if len(traversal) > 2 {
			if step, ok := traversal[2].(hcl.TraverseAttr); ok {
				key += "." + step.Name
			}
		}
		return reference{kind: toProvider, name: key}, d.declared(rng, toProvider, key, m.providers[key] != nil, names(m.providers))
	}
	return d.resourceReference(traversal, second)
}

func staticOutput(traversal hcl.Traversal) string {
	for _, step := range traversal[2:] {
		if attr, ok := step.(hcl.TraverseAttr); ok {
			return attr.Name
		}
	}
	return ""
}

func (d *decoder) outputExists(ref reference, rng hcl.Range) bool {
	outputs := d.module.calls[ref.name].module.outputs
	if ref.output == "" || outputs[ref.output] != nil {
		return true
	}
	known := names(outputs)
	d.add(fault(&rng, "Unknown output", "Module %q has no output %q; its outputs are %s.%s", ref.name, ref.output, listing(known), didYouMean(ref.output, known)))
	return false
}

func (d *decoder) declared(rng hcl.Range, kind referenceKind, name string, ok bool, known []string) bool {
	if !ok {
		d.undeclared(rng, kind, name, known)
	}
	return ok
}

func (d *decoder) undeclared(rng hcl.Range, kind referenceKind, name string, known []string) {
	d.add(fault(&rng, "Unknown "+string(kind), "There is no %s %q in this module.%s", kind, name, didYouMean(name, known)))
}

func (d *decoder) knownType(typ string) bool {
	_, _, ok := d.config.resourceSchema(typ)
	return ok
}

func (d *decoder) resourceReference(traversal hcl.Traversal, name string) (reference, bool) {
	root, rng := traversal.RootName(), traversal.SourceRange()
	if !d.knownType(root) {
		known := append(d.config.resourceTypes(), reservedRoots...)
		hint := didYouMean(root, known)
		if len(traversal) == 1 {
			hint += " A text stands in double quotes."
		}
		d.add(fault(&rng, "Unknown reference", "%q is neither a resource type nor one of var, local, module, provider, phase and each.%s", root, hint))
		return reference{}, false
	}
	key := root + "." + name
	b := d.module.resources[key]
	if !d.declared(rng, toResource, key, b != nil, names(d.module.resources)) {
		return reference{}, false
	}
	return reference{kind: toResource, name: key}, d.attributeExists(traversal, b)
}

// attributeExists checks the attribute in TYPE.NAME.ATTR and TYPE.NAME[KEY].ATTR.
func (d *decoder) attributeExists(traversal hcl.Traversal, b *resourceBlock) bool {
	at := 2
	if b.forEach != nil {
		if len(traversal) > 2 {
			if step, ok := traversal[2].(hcl.TraverseAttr); ok && hasAttribute(b.schema, step.Name) {
				d.add(fault(traversal.SourceRange().Ptr(), "Missing key", "%s has for_each, so it is many objects: name one with a key, such as %s[each.key].%s.", b.key(), b.key(), step.Name))
				return false
			}
		}
		at = 3
	} else if len(traversal) > 2 {
		if _, ok := traversal[2].(hcl.TraverseIndex); ok {
			d.add(fault(traversal.SourceRange().Ptr(), "No such key", "%s has no for_each, so it is one object and has no keys.", b.key()))
			return false
		}
	}
	if len(traversal) <= at {
		return true
	}
	step, ok := traversal[at].(hcl.TraverseAttr)
	if !ok || hasAttribute(b.schema, step.Name) {
		return true
	}
	d.add(fault(step.SrcRange.Ptr(), "Unknown attribute", "Resources of type %q have no attribute %q.%s", b.typ, step.Name, didYouMean(step.Name, providers.Attributes(b.schema.Attributes).Names())))
	return false
}
