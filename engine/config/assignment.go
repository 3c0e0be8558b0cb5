package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/mailmove/mailmove/providers"
)

// An assignment gives values to the arguments of one object or provider.
type assignment struct {
	evaluator *evaluator
	ctx       *hcl.EvalContext
	shared    *sharedValues // nil for providers
	address   string
	dependsOn []string
	bad       bool
}

// attributes returns an object of the schema; with errors it is not usable.
func (a *assignment) attributes(args *arguments) cty.Value {
	values := make(map[string]cty.Value, len(args.schema))
	for name, attr := range args.schema {
		values[name] = a.attribute(args, name, attr)
	}
	return cty.ObjectVal(values)
}

func (a *assignment) attribute(args *arguments, name string, attr providers.Attribute) cty.Value {
	typ := attr.Type.WithoutOptionalAttributesDeep()
	null := cty.NullVal(typ)
	v := null
	if nested := args.blocks[name]; nested != nil {
		v = a.attributes(nested)
		if a.bad {
			return null
		}
		converted, err := convert.Convert(v, attr.Type)
		if err != nil {
			a.fault(&nested.rng, "Invalid block", "%s: block %q: %s.", a.address, name, conversionText(err))
			return null
		}
		return converted
	}
	if expr := args.set[name]; expr != nil {
		raw, ok := a.value(name, expr, attr.Type.Equals(providers.SecretType))
		if !ok {
			return null
		}
		if v, ok = a.typed(name, expr, attr, raw); !ok {
			return null
		}
		if v.IsNull() && attr.Required {
			a.expressionFault(expr, "Missing argument", "%s: %q is required and must not be null.%s", a.address, name, sentence(attr.Doc))
			return null
		}
	}
	if v.IsNull() && attr.Default != cty.NilVal {
		return attr.Default
	}
	return v
}

// typed gives a value the type that the schema says.
func (a *assignment) typed(name string, expr *expression, attr providers.Attribute, v cty.Value) (cty.Value, bool) {
	if attr.System != "" {
		return a.systemAddress(name, expr, attr, v)
	}
	isSecret := attr.Type.Equals(providers.SecretType)
	switch {
	case isSecret && !v.IsNull() && !v.Type().Equals(providers.SecretType):
		a.evaluator.config.hide(v) // it is in the file, and shall not be in the log as well
		a.expressionFault(expr, "Secret in the configuration", "%s: %q takes a reference to a secret, never the secret itself: secret(\"env:NAME\"), secret(\"file:/path\") or secret(\"exec:program argument…\").", a.address, name)
		return cty.NilVal, false
	case !isSecret && v.Type().Equals(providers.SecretType):
		a.expressionFault(expr, "Secret out of place", "%s: %q is public, so it cannot be a secret().", a.address, name)
		return cty.NilVal, false
	}
	if _, ok := systemOf(v); ok {
		a.expressionFault(expr, "Invalid value", "%s: %q takes %s, and this is a provider.", a.address, name, attr.Type.FriendlyNameForConstraint())
		return cty.NilVal, false
	}
	converted, err := convert.Convert(v, attr.Type)
	if err != nil {
		a.expressionFault(expr, "Invalid value", "%s: %q: %s.", a.address, name, conversionText(err))
		return cty.NilVal, false
	}
	return converted, true
}

// systemAddress turns a provider into its address, which is how attributes hold
// it.
func (a *assignment) systemAddress(name string, expr *expression, attr providers.Attribute, v cty.Value) (cty.Value, bool) {
	if v.IsNull() {
		return cty.NullVal(cty.String), true
	}
	s, ok := systemOf(v)
	if !ok {
		a.expressionFault(expr, "Invalid value", "%s: %q takes a provider of kind %s, such as provider.TYPE.NAME or a variable of type provider(%s).", a.address, name, attr.System, attr.System)
		return cty.NilVal, false
	}
	if s.kind != attr.System {
		a.expressionFault(expr, "Invalid value", "%s: %q takes a provider of kind %s, and %s is of kind %s.", a.address, name, attr.System, s.address, s.kind)
		return cty.NilVal, false
	}
	return cty.StringVal(s.address), true
}

// value evaluates an argument and takes its marks off: this is the one place
// where they leave. false means that an error has been reported.
func (a *assignment) value(name string, expr *expression, secret bool) (cty.Value, bool) {
	v, ok := cty.NilVal, false
	if a.shared != nil && !expr.each {
		v, ok = a.shared.values[expr]
	}
	if !ok {
		var diags hcl.Diagnostics
		v, diags = expr.Value(a.ctx)
		a.evaluator.add(diags...)
		if diags.HasErrors() {
			a.bad = true
			return cty.NilVal, false
		}
		if a.shared != nil && !expr.each {
			a.shared.values[expr] = v
		}
	}
	if !v.ContainsMarked() {
		return a.known(name, expr, v)
	}
	v, marks := v.UnmarkDeep()
	if _, ok := marks[failed]; ok {
		a.bad = true
		return cty.NilVal, false
	}
	if _, ok := marks[sensitive]; ok && !secret {
		a.expressionFault(expr, "Sensitive value in public", "%s: %q would appear in plans and in the state, so it cannot use a sensitive value. Use secret() where a secret belongs, or nonsensitive() if the value may be seen.", a.address, name)
		return cty.NilVal, false
	}
	if found, ok := first(marks, compareComputed); ok && !v.IsWhollyKnown() {
		a.expressionFault(expr, "Known only by observing", "%s: %q uses %s.%s, which is known only by observing. Use it in gates, checks and outputs: what a plan promises must not depend on what it will find.", a.address, name, found.address, found.attribute)
		return cty.NilVal, false
	}
	a.dependsOn = append(a.dependsOn, origins(marks)...)
	return a.known(name, expr, v)
}

// known refuses what is unknown without a mark that says why.
func (a *assignment) known(name string, expr *expression, v cty.Value) (cty.Value, bool) {
	if v.IsWhollyKnown() {
		return v, true
	}
	a.expressionFault(expr, "Known only by observing", "%s: %q uses a value that is known only by observing. Use it in gates, checks and outputs.", a.address, name)
	return cty.NilVal, false
}

func (a *assignment) fault(rng *hcl.Range, summary, detail string, args ...any) {
	a.bad = true
	a.evaluator.add(fault(rng, summary, detail, args...))
}

func (a *assignment) expressionFault(expr *expression, summary, detail string, args ...any) {
	a.bad = true
	a.evaluator.add(expressionFault(expr, a.ctx, summary, detail, args...))
}

func compareComputed(a, b computed) int {
	if a.address != b.address {
		if a.address < b.address {
			return -1
		}
		return 1
	}
	if a.attribute < b.attribute {
		return -1
	}
	return 1
}
