package config

import (
	"cmp"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
)

// An Output is a value that the root module shows.
type Output struct {
	Name, Description string
	// Value is null where it is not known yet.
	Value     cty.Value
	Sensitive bool
}

// Outputs evaluates the outputs of the root module, in the order of their names.
func (c *Config) Outputs(at plan.Position, observed Observed) ([]Output, Diagnostics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	standing, diags := c.stand(at)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	e := c.observing(standing, observed)
	f := e.begin(node{})
	return e.shown(), c.report(f.diags)
}

// shown evaluates the outputs of the root module.
func (e *evaluator) shown() []Output {
	c := e.config
	var out []Output
	for _, name := range names(c.root.module.outputs) {
		b := c.root.module.outputs[name]
		v, ok := cty.NullVal(cty.DynamicPseudoType), false
		missing := e.attempt(node{c.root, "output ", name}, func() {
			v = e.output(c.root, name)
			ok = !marked(v, failed)
		})
		switch {
		case missing != "":
			v = cty.NullVal(cty.DynamicPseudoType)
		case !ok:
			continue
		}
		v, _ = v.UnmarkDeep()
		if holdsCapsule(v.Type()) {
			e.add(fault(b.value.Range().Ptr(), "Invalid output", "Output %q holds a provider, a phase or a secret, which cannot be shown.", name))
			continue
		}
		out = append(out, Output{Name: name, Description: b.description, Value: cty.UnknownAsNull(v), Sensitive: b.sensitive})
	}
	return out
}

func holdsCapsule(t cty.Type) bool {
	switch {
	case t.IsCapsuleType():
		return true
	case t.IsCollectionType():
		return holdsCapsule(t.ElementType())
	case t.IsTupleType():
		for _, element := range t.TupleElementTypes() {
			if holdsCapsule(element) {
				return true
			}
		}
	case t.IsObjectType():
		for _, attribute := range t.AttributeTypes() {
			if holdsCapsule(attribute) {
				return true
			}
		}
	}
	return false
}

// A CheckStatus says whether an assertion holds.
type CheckStatus string

const (
	CheckPassed CheckStatus = "passed"
	CheckFailed CheckStatus = "failed"
	// CheckUnknown: something has not been observed yet or does not exist.
	CheckUnknown CheckStatus = "unknown"
)

// A CheckResult is one assertion of a check block. A failed one stops nothing: it
// is a warning for people.
type CheckResult struct {
	// Address is module.PATH.check.NAME.
	Address string
	Status  CheckStatus
	// Message is the error_message of a failed assertion, or why it is unknown.
	Message string
	// Where is file:line of the assertion.
	Where string
}

// Checks evaluates the check blocks of all module instances.
func (c *Config) Checks(at plan.Position, observed Observed) ([]CheckResult, Diagnostics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	standing, diags := c.stand(at)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	e := c.observing(standing, observed)
	f := e.begin(node{})
	return e.checks(), c.report(f.diags)
}

func (e *evaluator) checks() []CheckResult {
	var out []CheckResult
	for _, in := range e.config.instances {
		for _, name := range names(in.module.checks) {
			for _, assert := range in.module.checks[name].asserts {
				one := e.check(in, name, assert)
				one.Address, one.Where = join(in.path, "check."+name), where(assert.rng)
				out = append(out, one)
			}
		}
	}
	return out
}

func (e *evaluator) check(in *instance, name string, assert *rule) CheckResult {
	result := CheckResult{Status: CheckPassed}
	missing := e.attempt(node{in, "check.", name}, func() {
		scope := e.context(in, assert.condition.refs, nil)
		text, broken := e.holds(assert, scope, e.context(in, assert.message.refs, nil))
		v, _ := assert.condition.Value(scope)
		v, marks := v.UnmarkDeep()
		switch {
		case broken:
			result = CheckResult{Status: CheckFailed, Message: strings.TrimSpace(text)}
		case !v.IsWhollyKnown():
			result = CheckResult{Status: CheckUnknown, Message: cmp.Or(missingMark(marks), "it cannot be evaluated")}
		}
	})
	if missing != "" {
		return CheckResult{Status: CheckUnknown, Message: missing}
	}
	return result
}
