package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/mailmove/mailmove/providers"
)

// maxElements bounds what range and setproduct make.
const maxElements = 100_000

// functions returns the functions that need nothing but their arguments, under
// Terraform's names. reached and file belong to an evaluation (scope.go).
func functions() map[string]function.Function {
	return map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc,
		"pow": stdlib.PowFunc, "signum": stdlib.SignumFunc, "sum": sumFunc,

		"chomp": stdlib.ChompFunc, "format": stdlib.FormatFunc, "formatlist": stdlib.FormatListFunc,
		"indent": stdlib.IndentFunc, "join": stdlib.JoinFunc, "lower": stdlib.LowerFunc,
		"regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc, "replace": replaceFunc,
		"split": stdlib.SplitFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc,
		"title": stdlib.TitleFunc, "trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc,
		"trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,
		"startswith":  stringTest(strings.HasPrefix),
		"endswith":    stringTest(strings.HasSuffix),
		"strcontains": stringTest(strings.Contains),

		"alltrue": allTrueFunc, "anytrue": anyTrueFunc, "chunklist": stdlib.ChunklistFunc,
		"coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc,
		"concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc,
		"element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc, "index": stdlib.IndexFunc,
		"keys": stdlib.KeysFunc, "length": lengthFunc, "lookup": lookupFunc,
		"merge": stdlib.MergeFunc, "one": oneFunc, "range": rangeFunc,
		"reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc,
		"setproduct": setProductFunc, "setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc,
		"slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "values": stdlib.ValuesFunc,
		"zipmap": stdlib.ZipmapFunc,

		"tobool": conversion(cty.Bool), "tolist": conversion(cty.List(cty.DynamicPseudoType)),
		"tomap": conversion(cty.Map(cty.DynamicPseudoType)), "tonumber": conversion(cty.Number),
		"toset": conversion(cty.Set(cty.DynamicPseudoType)), "tostring": conversion(cty.String),
		"try": tryfunc.TryFunc, "can": tryfunc.CanFunc,

		"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "sha256": sha256Func,
		"formatdate": stdlib.FormatDateFunc, "timeadd": stdlib.TimeAddFunc,
		"secret": secretFunc, "sensitive": sensitiveFunc, "nonsensitive": nonsensitiveFunc,
	}
}

var secretFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "reference", Type: cty.String}},
	Type:   function.StaticReturnType(providers.SecretType),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		secret, err := providers.NewSecret(args[0].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		return providers.SecretVal(secret), nil
	},
})

var sensitiveFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true}},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return args[0].Mark(sensitive), nil },
})

var nonsensitiveFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true}},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v, marks := args[0].Unmark()
		delete(marks, sensitive)
		return v.WithMarks(marks), nil
	},
})

var sha256Func = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		sum := sha256.Sum256([]byte(args[0].AsString()))
		return cty.StringVal(hex.EncodeToString(sum[:])), nil
	},
})

// replaceFunc takes a regular expression if the substring stands between slashes.
var replaceFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "substring", Type: cty.String}, {Name: "replacement", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if old := args[1].AsString(); len(old) > 2 && old[0] == '/' && old[len(old)-1] == '/' {
			return stdlib.RegexReplace(args[0], cty.StringVal(old[1:len(old)-1]), args[2])
		}
		return stdlib.Replace(args[0], args[1], args[2])
	},
})

func stringTest(test func(s, part string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(test(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// conversion makes the function that converts its argument to a type.
func conversion(to cty.Type) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true}},
		Type: func(args []cty.Value) (cty.Type, error) {
			if args[0].Type() == cty.DynamicPseudoType && !args[0].IsNull() {
				return cty.DynamicPseudoType, nil
			}
			v, err := convert.Convert(args[0], to)
			if err != nil {
				return cty.NilType, function.NewArgErrorf(0, "cannot convert %s to %s: %s", args[0].Type().FriendlyName(), to.FriendlyNameForConstraint(), conversionText(err))
			}
			return v.Type(), nil
		},
		Impl: func(args []cty.Value, result cty.Type) (cty.Value, error) { return convert.Convert(args[0], result) },
	})
}

// collection is the parameter of functions over any collection.
func collection(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true}
}

// quantifier makes alltrue and anytrue. An element that is null counts as false,
// as in Terraform; one that is unknown leaves the answer open unless another
// element decides it.
func quantifier(decisive bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{collection("list")},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			list := args[0]
			if !list.IsKnown() {
				return cty.UnknownVal(cty.Bool), nil
			}
			if !list.CanIterateElements() {
				return cty.NilVal, function.NewArgErrorf(0, "a list of true and false is required")
			}
			open := false
			for it := list.ElementIterator(); it.Next(); {
				_, raw := it.Element()
				v, err := convert.Convert(raw, cty.Bool)
				if err != nil {
					return cty.NilVal, function.NewArgErrorf(0, "a list of true and false is required")
				}
				switch {
				case !v.IsKnown():
					open = true
				case (!v.IsNull() && v.True()) == decisive:
					return cty.BoolVal(decisive), nil
				}
			}
			if open {
				return cty.UnknownVal(cty.Bool), nil
			}
			return cty.BoolVal(!decisive), nil
		},
	})
}

var (
	allTrueFunc = quantifier(false)
	anyTrueFunc = quantifier(true)
)

var lengthFunc = function.New(&function.Spec{
	Params: []function.Parameter{collection("value")},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v := args[0]
		switch t := v.Type(); {
		case t == cty.DynamicPseudoType:
			return cty.UnknownVal(cty.Number), nil
		case t == cty.String:
			return stdlib.Strlen(v)
		case t.IsObjectType():
			return cty.NumberIntVal(int64(len(t.AttributeTypes()))), nil
		case t.IsTupleType():
			return cty.NumberIntVal(int64(t.Length())), nil
		case t.IsCollectionType():
			return v.Length(), nil
		}
		return cty.NilVal, function.NewArgErrorf(0, "a string or a collection is required")
	},
})

// lookupFunc is Terraform's: lookup(map, key, default).
var lookupFunc = function.New(&function.Spec{
	Params: []function.Parameter{
		{Name: "map", Type: cty.DynamicPseudoType}, {Name: "key", Type: cty.String},
		{Name: "default", Type: cty.DynamicPseudoType, AllowNull: true},
	},
	Type: func(args []cty.Value) (cty.Type, error) {
		switch t := args[0].Type(); {
		case !args[1].IsKnown() || !args[0].IsKnown():
			return cty.DynamicPseudoType, nil
		case t.IsObjectType():
			if name := args[1].AsString(); t.HasAttribute(name) {
				return t.AttributeType(name), nil
			}
			return args[2].Type(), nil
		case t.IsMapType():
			return t.ElementType(), nil
		}
		return cty.NilType, function.NewArgErrorf(0, "a map or an object is required")
	},
	Impl: func(args []cty.Value, result cty.Type) (cty.Value, error) {
		key := args[1]
		if t := args[0].Type(); t.IsObjectType() {
			if t.HasAttribute(key.AsString()) {
				return args[0].GetAttr(key.AsString()), nil
			}
			return args[2], nil
		}
		if args[0].HasIndex(key).True() {
			return args[0].Index(key), nil
		}
		v, err := convert.Convert(args[2], result)
		if err != nil {
			return cty.NilVal, function.NewArgErrorf(2, "the default must have the type of the map's elements, %s", result.FriendlyName())
		}
		return v, nil
	},
})

var oneFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
	Type: func(args []cty.Value) (cty.Type, error) {
		switch t := args[0].Type(); {
		case t.IsListType() || t.IsSetType():
			return t.ElementType(), nil
		case t.IsTupleType() && t.Length() == 0:
			return cty.DynamicPseudoType, nil
		case t.IsTupleType() && t.Length() == 1:
			return t.TupleElementType(0), nil
		case t == cty.DynamicPseudoType:
			return t, nil
		}
		return cty.NilType, function.NewArgErrorf(0, "a list or a set with no or one element is required")
	},
	Impl: func(args []cty.Value, result cty.Type) (cty.Value, error) {
		switch args[0].LengthInt() {
		case 0:
			return cty.NullVal(result), nil
		case 1:
			it := args[0].ElementIterator()
			it.Next()
			_, v := it.Element()
			return v, nil
		}
		return cty.NilVal, function.NewArgErrorf(0, "a list or a set with no or one element is required")
	},
})

var sumFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if !args[0].CanIterateElements() {
			return cty.NilVal, function.NewArgErrorf(0, "a list of numbers is required")
		}
		total := cty.Zero
		for it := args[0].ElementIterator(); it.Next(); {
			_, raw := it.Element()
			n, err := convert.Convert(raw, cty.Number)
			if err != nil || n.IsNull() {
				return cty.NilVal, function.NewArgErrorf(0, "a list of numbers is required")
			}
			if !n.IsKnown() {
				return cty.UnknownVal(cty.Number), nil
			}
			total = total.Add(n)
		}
		return total, nil
	},
})

// rangeFunc is the stdlib's with a larger bound and a clear error.
var rangeFunc = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "numbers", Type: cty.Number},
	Type:     function.StaticReturnType(cty.List(cty.Number)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		start, step := cty.Zero, cty.NumberIntVal(1)
		var limit cty.Value
		switch len(args) {
		case 1:
			limit = args[0]
		case 2, 3:
			start, limit = args[0], args[1]
		default:
			return cty.NilVal, errors.New("range takes a limit, or a start, a limit and perhaps a step")
		}
		if len(args) == 3 {
			step = args[2]
		} else if limit.LessThan(start).True() {
			step = cty.NumberIntVal(-1)
		}
		down := step.LessThan(cty.Zero).True()
		if step.RawEquals(cty.Zero) || !start.RawEquals(limit) && down != limit.LessThan(start).True() {
			return cty.NilVal, errors.New("the step does not lead from the start to the limit")
		}
		var list []cty.Value
		for n := start; down && n.GreaterThan(limit).True() || !down && n.LessThan(limit).True(); n = n.Add(step) {
			if len(list) == maxElements {
				return cty.NilVal, fmt.Errorf("more than %d numbers", maxElements)
			}
			list = append(list, n)
		}
		if len(list) == 0 {
			return cty.ListValEmpty(cty.Number), nil
		}
		return cty.ListVal(list), nil
	},
})

// setProductFunc is the stdlib's with a bound on the result.
var setProductFunc = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "sets", Type: cty.DynamicPseudoType},
	Type: func(args []cty.Value) (cty.Type, error) {
		size := 1
		for i, arg := range args {
			if !arg.IsKnown() {
				return cty.DynamicPseudoType, nil
			}
			if !arg.CanIterateElements() {
				return cty.NilType, function.NewArgErrorf(i, "a set or a list is required")
			}
			if size *= arg.LengthInt(); size > maxElements {
				return cty.NilType, fmt.Errorf("more than %d combinations", maxElements)
			}
		}
		return stdlib.SetProductFunc.ReturnTypeForValues(args)
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return stdlib.SetProductFunc.Call(args) },
})
