package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/mailmove/mailmove/providers"
)

// phaseType is the type of phase.NAME.
var phaseType = cty.Capsule("phase", reflect.TypeFor[phase]())

// A system is what provider.TYPE.NAME stands for in expressions.
type system struct {
	address, typ, kind string
}

// kinds are the types provider(KIND), by kind: a capsule type each, so that
// conversion refuses the wrong kind.
type kinds map[string]cty.Type

func newKinds(schemas Schemas) kinds {
	k := kinds{}
	for _, name := range schemas.Types() {
		schema, _ := schemas.Schema(name)
		if _, ok := k[schema.Kind]; !ok {
			k[schema.Kind] = cty.CapsuleWithOps("provider("+schema.Kind+")", reflect.TypeFor[system](), &cty.CapsuleOps{
				Equals:    func(a, b any) cty.Value { return cty.BoolVal(*a.(*system) == *b.(*system)) },
				RawEquals: func(a, b any) bool { return *a.(*system) == *b.(*system) },
			})
		}
	}
	return k
}

// systemOf returns the provider in v, and whether there is one.
func systemOf(v cty.Value) (*system, bool) {
	if v.IsNull() || !v.IsKnown() || !v.Type().IsCapsuleType() {
		return nil, false
	}
	s, ok := v.EncapsulatedValue().(*system)
	return s, ok
}

// typeWords are the words a type is made of.
var typeWords = []string{"any", "bool", "number", "string", "list", "map", "set", "object", "tuple", "provider", "secret", "phase"}

// parseType reads a type expression: Terraform's, and provider(KIND), secret and
// phase. ext/typeexpr knows a fixed list of types, so the reading is done here;
// its Defaults are used as they are.
func (k kinds) parseType(expr hcl.Expression) (cty.Type, *typeexpr.Defaults, hcl.Diagnostics) {
	bad := func(rng hcl.Range, detail string, args ...any) (cty.Type, *typeexpr.Defaults, hcl.Diagnostics) {
		return cty.DynamicPseudoType, nil, hcl.Diagnostics{fault(&rng, "Invalid type", detail, args...)}
	}
	switch word := hcl.ExprAsKeyword(expr); word {
	case "any":
		return cty.DynamicPseudoType, nil, nil
	case "bool":
		return cty.Bool, nil, nil
	case "number":
		return cty.Number, nil, nil
	case "string":
		return cty.String, nil, nil
	case "secret":
		return providers.SecretType, nil, nil
	case "phase":
		return phaseType, nil, nil
	case "":
	case "list", "map", "set", "object", "tuple", "provider":
		return bad(expr.Range(), "%s needs an argument in parentheses, such as %s.", word, typeExample(word))
	default:
		return bad(expr.Range(), "%q is not a type.%s", word, didYouMean(word, typeWords))
	}
	call, diags := hcl.ExprCall(expr)
	if diags.HasErrors() {
		return bad(expr.Range(), "A type is a word such as string or number, or a call such as list(string).")
	}
	if !slices.Contains(typeWords[4:10], call.Name) {
		return bad(call.NameRange, "%q is not a type that takes arguments.%s", call.Name, didYouMean(call.Name, typeWords))
	}
	if len(call.Arguments) != 1 {
		return bad(call.ArgsRange, "%s takes one argument: %s.", call.Name, typeExample(call.Name))
	}
	argument := call.Arguments[0]
	switch call.Name {
	case "object":
		return k.parseObject(argument)
	case "tuple":
		return k.parseTuple(argument)
	case "provider":
		kind := hcl.ExprAsKeyword(argument)
		if t, ok := k[kind]; ok {
			return t, nil, nil
		}
		known := slices.Sorted(maps.Keys(k))
		return bad(argument.Range(), "There is no kind of provider of that name; the kinds are %s.%s", listing(known), didYouMean(kind, known))
	}
	element, defaults, diags := k.parseType(argument)
	t := map[string]func(cty.Type) cty.Type{"list": cty.List, "set": cty.Set, "map": cty.Map}[call.Name](element)
	if defaults != nil {
		defaults = &typeexpr.Defaults{Type: t, Children: map[string]*typeexpr.Defaults{"": defaults}}
	}
	return t, defaults, diags
}

func typeExample(word string) string {
	switch word {
	case "object":
		return "object({ name = string })"
	case "tuple":
		return "tuple([string, number])"
	case "provider":
		return "provider(KIND)"
	}
	return word + "(string)"
}

func (k kinds) parseTuple(argument hcl.Expression) (cty.Type, *typeexpr.Defaults, hcl.Diagnostics) {
	items, diags := hcl.ExprList(argument)
	if diags.HasErrors() {
		rng := argument.Range()
		return cty.DynamicPseudoType, nil, hcl.Diagnostics{fault(&rng, "Invalid type", "tuple takes a list of types: tuple([string, number]).")}
	}
	types := make([]cty.Type, len(items))
	children := map[string]*typeexpr.Defaults{}
	for i, item := range items {
		t, defaults, more := k.parseType(item)
		diags = append(diags, more...)
		types[i] = t
		if defaults != nil {
			children[fmt.Sprint(i)] = defaults
		}
	}
	t := cty.Tuple(types)
	if len(children) == 0 {
		return t, nil, diags
	}
	return t, &typeexpr.Defaults{Type: t, Children: children}, diags
}

func (k kinds) parseObject(argument hcl.Expression) (cty.Type, *typeexpr.Defaults, hcl.Diagnostics) {
	pairs, diags := hcl.ExprMap(argument)
	if diags.HasErrors() {
		rng := argument.Range()
		return cty.DynamicPseudoType, nil, hcl.Diagnostics{fault(&rng, "Invalid type", "object takes names and types: object({ name = string }).")}
	}
	types := map[string]cty.Type{}
	var optional []string
	defaults := &typeexpr.Defaults{DefaultValues: map[string]cty.Value{}, Children: map[string]*typeexpr.Defaults{}}
	for _, pair := range pairs {
		name := hcl.ExprAsKeyword(pair.Key)
		if name == "" {
			diags = append(diags, fault(pair.Key.Range().Ptr(), "Invalid type", "The name of an attribute is a word without quotes."))
			continue
		}
		a, more := k.parseAttribute(pair.Value)
		diags = append(diags, more...)
		types[name] = a.typ
		if a.optional {
			optional = append(optional, name)
		}
		if a.standing != cty.NilVal {
			defaults.DefaultValues[name] = a.standing
		}
		if a.inner != nil {
			defaults.Children[name] = a.inner
		}
	}
	t := cty.ObjectWithOptionalAttrs(types, optional)
	defaults.Type = t
	if len(defaults.DefaultValues) == 0 && len(defaults.Children) == 0 {
		defaults = nil
	}
	return t, defaults, diags
}

// An objectAttribute is one attribute of an object type.
type objectAttribute struct {
	typ      cty.Type
	optional bool
	standing cty.Value // the second argument of optional()
	inner    *typeexpr.Defaults
}

// parseAttribute reads the type of an object's attribute, which may be optional.
func (k kinds) parseAttribute(expr hcl.Expression) (objectAttribute, hcl.Diagnostics) {
	var a objectAttribute
	call, notCall := hcl.ExprCall(expr)
	if notCall.HasErrors() || call.Name != "optional" {
		var diags hcl.Diagnostics
		a.typ, a.inner, diags = k.parseType(expr)
		return a, diags
	}
	a.optional = true
	if n := len(call.Arguments); n < 1 || n > 2 {
		a.typ = cty.DynamicPseudoType
		return a, hcl.Diagnostics{fault(&call.ArgsRange, "Invalid type", "optional takes a type and, if you like, a default: optional(string, \"none\").")}
	}
	var diags hcl.Diagnostics
	a.typ, a.inner, diags = k.parseType(call.Arguments[0])
	if len(call.Arguments) == 1 || diags.HasErrors() {
		return a, diags
	}
	rng := call.Arguments[1].Range()
	value, more := call.Arguments[1].Value(secretContext())
	diags = append(diags, more...)
	if more.HasErrors() {
		return a, diags
	}
	converted, err := convert.Convert(value, a.typ)
	if err != nil {
		return a, append(diags, fault(&rng, "Invalid type", "The default does not have the attribute's type: %s.", conversionText(err)))
	}
	a.standing = converted
	return a, diags
}

// secretContext is where values stand that refer to nothing: secret() is the one
// function they may call.
func secretContext() *hcl.EvalContext {
	return &hcl.EvalContext{Functions: map[string]function.Function{"secret": secretFunc}}
}

// conversionText is the text of a conversion error, with the place in the value.
func conversionText(err error) string {
	path, ok := err.(cty.PathError)
	if !ok || len(path.Path) == 0 {
		return err.Error()
	}
	var b strings.Builder
	for _, step := range path.Path {
		switch step := step.(type) {
		case cty.GetAttrStep:
			b.WriteString("." + step.Name)
		case cty.IndexStep:
			if step.Key.Type() == cty.String {
				b.WriteString(keySuffix(step.Key.AsString()))
			} else {
				b.WriteString("[" + describe(step.Key) + "]")
			}
		}
	}
	return strings.TrimPrefix(b.String(), ".") + ": " + err.Error()
}

// convertTo gives v a type. It differs from convert.Convert in one thing: a map
// of many objects is converted one by one, which takes time in proportion to
// their number. (convert compares the type of each with that of each other.)
func convertTo(v cty.Value, t cty.Type) (cty.Value, error) {
	from := v.Type()
	if !t.IsMapType() || t.ElementType().HasDynamicTypes() || !(from.IsObjectType() || from.IsMapType()) ||
		v.IsMarked() || !v.IsKnown() || v.IsNull() || v.LengthInt() == 0 {
		return convert.Convert(v, t)
	}
	elements := make(map[string]cty.Value, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		converted, err := convertTo(element, t.ElementType())
		if err != nil {
			return cty.NilVal, cty.Path{cty.IndexStep{Key: key}}.NewError(err)
		}
		elements[key.AsString()] = converted
	}
	return cty.MapVal(elements), nil
}
