package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maxFacts bounds how much of what was observed an evidence repeats.
const maxFacts = 4

// evidence says why a condition is as it is: the values that it refers to; and
// for alltrue([for x in … : …]) which elements are to blame.
func (c *Config) evidence(expr hcl.Expression, ctx *hcl.EvalContext, open bool) string {
	var parts []string
	if loop, ok := quantified(expr); ok && !open {
		parts = c.blame(loop, ctx)
	}
	if parts == nil {
		parts = c.facts(expr.Variables(), ctx)
	}
	if len(parts) == 0 {
		return fmt.Sprintf("it is %v", open)
	}
	if more := len(parts) - maxFacts; more > 0 {
		parts = append(parts[:maxFacts], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// facts tells the primitive values among what is referred to.
func (c *Config) facts(traversals []hcl.Traversal, ctx *hcl.EvalContext) []string {
	var parts []string
	for _, traversal := range traversals {
		v, diags := traversal.TraverseAbs(ctx)
		if diags.HasErrors() || marked(v, sensitive) {
			continue
		}
		v, _ = v.UnmarkDeep()
		if !v.Type().IsPrimitiveType() && !v.IsNull() {
			continue
		}
		if text := traversalText(traversal) + " is " + describe(v); !slices.Contains(parts, text) {
			parts = append(parts, c.redact(text))
		}
	}
	return parts
}

// quantified finds the loop in alltrue([for x in … : …]).
func quantified(expr hcl.Expression) (*hclsyntax.ForExpr, bool) {
	call, ok := expr.(*hclsyntax.FunctionCallExpr)
	if !ok || call.Name != "alltrue" || len(call.Args) != 1 {
		return nil, false
	}
	loop, ok := call.Args[0].(*hclsyntax.ForExpr)
	return loop, ok && loop.KeyExpr == nil
}

// blame tells, for each element for which the loop does not yield true, which it
// is and the values that decide.
func (c *Config) blame(loop *hclsyntax.ForExpr, ctx *hcl.EvalContext) []string {
	all, diags := loop.CollExpr.Value(ctx)
	all, _ = all.Unmark()
	if diags.HasErrors() || !all.CanIterateElements() {
		return nil
	}
	var parts []string
	for it := all.ElementIterator(); it.Next(); {
		key, element := it.Element()
		scope := ctx.NewChild()
		scope.Variables = map[string]cty.Value{loop.ValVar: element}
		if loop.KeyVar != "" {
			scope.Variables[loop.KeyVar] = key
		}
		if loop.CondExpr != nil {
			if wanted, diags := loop.CondExpr.Value(scope); diags.HasErrors() || !holdsTrue(wanted) {
				continue
			}
		}
		if result, diags := loop.ValExpr.Value(scope); diags.HasErrors() || holdsTrue(result) {
			continue
		}
		// The loop's own variables are what differs from element to element.
		own := slices.DeleteFunc(loop.ValExpr.Variables(), func(t hcl.Traversal) bool { return t.RootName() != loop.ValVar })
		facts := c.facts(own, scope)
		for i := range facts {
			facts[i] = strings.TrimPrefix(facts[i], loop.ValVar+".")
		}
		parts = append(parts, elementName(key, element)+": "+strings.Join(facts, ", "))
	}
	return parts
}

func holdsTrue(v cty.Value) bool {
	v, _ = v.UnmarkDeep()
	return v.IsKnown() && !v.IsNull() && v.Type() == cty.Bool && v.True()
}

// elementName is the address of an object, or else the key.
func elementName(key, element cty.Value) string {
	_, marks := element.Unmark()
	if o, ok := first(marks, func(a, b origin) int { return strings.Compare(a.address, b.address) }); ok {
		return o.address
	}
	key, _ = key.Unmark()
	return strings.Trim(describe(key), `"`)
}
