package config

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// context makes the scope in which expressions with these references are
// evaluated. It evaluates what they refer to.
func (e *evaluator) context(in *instance, refs []reference, of *each) *hcl.EvalContext {
	base := &hcl.EvalContext{Functions: e.config.functions}
	ctx := base.NewChild()
	ctx.Functions = e.ownFunctions(in)
	ctx.Variables = map[string]cty.Value{}
	groups := map[string]map[string]cty.Value{}
	put := func(root, name string, v cty.Value) {
		if groups[root] == nil {
			groups[root] = map[string]cty.Value{}
		}
		groups[root][name] = v
	}
	systems := map[string]map[string]cty.Value{}
	outputs := map[string][]string{}
	for _, ref := range refs {
		switch ref.kind {
		case toVariable:
			put("var", ref.name, e.variable(in, ref.name))
		case toLocal:
			put("local", ref.name, e.local(in, ref.name))
		case toPhase:
			put("phase", ref.name, in.phases[ref.name].value())
		case toModule:
			if ref.output != "" {
				outputs[ref.name] = append(outputs[ref.name], ref.output)
			} else {
				outputs[ref.name] = names(in.module.calls[ref.name].module.outputs)
			}
		case toProvider:
			b := in.module.providers[ref.name]
			if systems[b.typ] == nil {
				systems[b.typ] = map[string]cty.Value{}
			}
			systems[b.typ][b.name] = e.config.systemValue(b)
		case toResource:
			b := in.module.resources[ref.name]
			put(b.typ, b.name, e.resource(in, b))
		}
	}
	for _, name := range names(outputs) {
		put("module", name, e.outputs(e.expansion(in, name), outputs[name]))
	}
	for typ, named := range systems {
		put("provider", typ, cty.ObjectVal(named))
	}
	for root, values := range groups {
		ctx.Variables[root] = cty.ObjectVal(values)
	}
	if of != nil {
		ctx.Variables["each"] = of.object()
	}
	return ctx
}

// inner makes the scope of one instance of a block with for_each.
func inner(ctx *hcl.EvalContext, of *each) *hcl.EvalContext {
	child := ctx.NewChild()
	child.Variables = map[string]cty.Value{"each": of.object()}
	return child
}

// evaluate gives the value of an expression in an instance.
func (e *evaluator) evaluate(in *instance, expr *expression, of *each) (cty.Value, *hcl.EvalContext, bool) {
	ctx := e.context(in, expr.refs, of)
	v, diags := expr.Value(ctx)
	e.add(diags...)
	if diags.HasErrors() {
		return failure, ctx, false
	}
	return v, ctx, true
}

func (e *evaluator) ownFunctions(in *instance) map[string]function.Function {
	return map[string]function.Function{
		"reached": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "phase", Type: cty.DynamicPseudoType}},
			Type: func(args []cty.Value) (cty.Type, error) {
				if !args[0].Type().Equals(phaseType) {
					return cty.NilType, function.NewArgErrorf(0, "a phase is required, such as phase.NAME")
				}
				return cty.Bool, nil
			},
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				return cty.BoolVal(e.reached(args[0].EncapsulatedValue().(*phase))), nil
			},
		}),
		"file": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				text, err := e.config.fileText(in.module.folder, args[0].AsString())
				if err != nil {
					return cty.NilVal, function.NewArgError(0, err)
				}
				return cty.StringVal(text), nil
			},
		}),
	}
}

// fileText reads a file for the function file, once: the configuration stays the
// same while the file may change.
func (c *Config) fileText(f *folder, name string) (string, error) {
	label := f.file(name)
	if text, ok := c.texts[label]; ok {
		return text, nil
	}
	data, err := f.within(name)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", label, cause(err))
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("reading %s: %w", label, errTooLarge)
	}
	if !utf8.Valid(data) {
		return "", fmt.Errorf("reading %s: %w", label, errors.New("it is not UTF-8 text"))
	}
	c.texts[label] = string(data)
	return string(data), nil
}

// variable returns the value of an input.
func (e *evaluator) variable(in *instance, name string) cty.Value {
	return value(e, node{in, variableNode, name}, failure, func() cty.Value {
		v := in.module.variables[name]
		if in.parent == nil {
			given, ok := e.config.given[name]
			if !ok {
				return failure
			}
			return e.validated(in, v, given)
		}
		expr := in.call.inputs[name]
		if expr == nil {
			return e.validated(in, v, v.standing)
		}
		raw, ctx, ok := e.evaluate(in.parent, expr, in.each)
		if !ok {
			return failure
		}
		converted, err := v.convert(raw)
		if err != nil {
			problem := conversionText(err)
			if s, ok := systemOf(unmarkedValue(raw)); ok {
				problem += fmt.Sprintf(", and %s is of kind %s", s.address, s.kind)
			}
			e.add(expressionFault(expr, ctx, "Invalid input", "Input %q of module %q, declared at %s: %s.", name, in.call.name, where(v.block.DefRange()), problem))
			return failure
		}
		if converted.IsNull() && !v.nullable {
			if v.standing == cty.NilVal {
				e.add(expressionFault(expr, ctx, "Invalid input", "Input %q of module %q must not be null.", name, in.call.name))
				return failure
			}
			converted = v.standing
		}
		return e.validated(in, v, converted)
	})
}

// validated checks a variable's validations and marks what is sensitive.
func (e *evaluator) validated(in *instance, v *variable, given cty.Value) cty.Value {
	if v.sensitive {
		e.config.hide(given)
		given = given.Mark(sensitive)
	}
	for _, rule := range v.validations {
		if rule.condition == nil || rule.message == nil {
			continue
		}
		if text, ok := e.broken(in, v, rule, given); ok {
			rng := v.block.DefRange()
			if in.parent != nil {
				rng = in.call.rng
				if expr := in.call.inputs[v.name]; expr != nil {
					rng = expr.Range()
				}
			}
			e.add(fault(&rng, "Invalid value for variable", "%s\n\nThis was checked by the validation of variable %q at %s.", text, v.name, where(rule.rng)))
			return failure
		}
	}
	return given
}

// broken reports whether a validation does not hold, and what it says then. What
// cannot be known yet holds.
func (e *evaluator) broken(in *instance, v *variable, rule *rule, given cty.Value) (string, bool) {
	scope := func(expr *expression) *hcl.EvalContext {
		others := []reference{}
		for _, ref := range expr.refs {
			if ref.name != v.name {
				others = append(others, ref)
			}
		}
		ctx := e.context(in, others, nil)
		vars := map[string]cty.Value{v.name: given}
		if all, ok := ctx.Variables["var"]; ok {
			for name, other := range all.AsValueMap() {
				vars[name] = other
			}
		}
		ctx.Variables["var"] = cty.ObjectVal(vars)
		return ctx
	}
	return e.holds(rule, scope(rule.condition), scope(rule.message))
}

// holds evaluates a rule. It returns its message and true if the condition is
// false.
func (e *evaluator) holds(rule *rule, conditionScope, messageScope *hcl.EvalContext) (string, bool) {
	v, diags := rule.condition.Value(conditionScope)
	e.add(diags...)
	if diags.HasErrors() {
		return "", false
	}
	result, err := convert.Convert(v, cty.Bool)
	result, _ = result.UnmarkDeep()
	switch {
	case err != nil || result.IsNull():
		e.add(expressionFault(rule.condition, conditionScope, "Invalid condition", "A condition must be true or false."))
		return "", false
	case !result.IsKnown() || result.True():
		return "", false
	}
	m, diags := rule.message.Value(messageScope)
	e.add(diags...)
	if diags.HasErrors() {
		return "", false
	}
	if marked(m, sensitive) {
		return "The value is not valid. (The message uses a sensitive value, so it is not shown.)", true
	}
	m, _ = m.UnmarkDeep()
	text, err := convert.Convert(m, cty.String)
	if err != nil || text.IsNull() || !text.IsKnown() {
		return "The value is not valid.", true
	}
	return text.AsString(), true
}

func (e *evaluator) local(in *instance, name string) cty.Value {
	return value(e, node{in, localNode, name}, failure, func() cty.Value {
		v, _, _ := e.evaluate(in, in.module.locals[name], nil)
		return v
	})
}

func (e *evaluator) output(in *instance, name string) cty.Value {
	return value(e, node{in, outputNode, name}, failure, func() cty.Value {
		o := in.module.outputs[name]
		v, ctx, ok := e.evaluate(in, o.value, nil)
		if !ok {
			return failure
		}
		if o.sensitive {
			return v.Mark(sensitive)
		}
		if in.parent == nil && marked(v, sensitive) {
			e.add(expressionFault(o.value, ctx, "Sensitive output", "Output %q shows a sensitive value. Say sensitive = true in it, or leave it out.", name))
			return failure
		}
		return v
	})
}

// outputs returns a module call as a value: an object of the named outputs, or
// with for_each an object of such by key.
func (e *evaluator) outputs(x *expansion, list []string) cty.Value {
	one := func(in *instance) cty.Value {
		values := map[string]cty.Value{}
		for _, name := range list {
			values[name] = e.output(in, name)
		}
		return cty.ObjectVal(values)
	}
	if !x.forEach {
		return one(x.instances[""])
	}
	all := map[string]cty.Value{}
	for _, key := range x.keys {
		all[key] = one(x.instances[key])
	}
	return cty.ObjectVal(all)
}

func where(rng hcl.Range) string { return fmt.Sprintf("%s:%d", rng.Filename, rng.Start.Line) }
