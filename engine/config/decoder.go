package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A decoder turns the blocks of one module into their descriptions. Nothing is
// evaluated here but what must be a constant.
type decoder struct {
	config *Config
	module *module
	path   []*folder // from the root module to this one
	diags  hcl.Diagnostics
	// brokenCall says that the module calls one whose errors have been reported.
	brokenCall bool
}

func (d *decoder) add(diags ...*hcl.Diagnostic) { d.diags = append(d.diags, diags...) }

// root reports whether the module is the root module.
func (d *decoder) root() bool { return len(d.path) == 1 }

var fileSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "mailmove"},
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "output", LabelNames: []string{"name"}},
	{Type: "provider", LabelNames: []string{"type", "name"}},
	{Type: "resource", LabelNames: []string{"type", "name"}},
	{Type: "module", LabelNames: []string{"name"}},
	{Type: "phase", LabelNames: []string{"name"}},
	{Type: "check", LabelNames: []string{"name"}},
	{Type: "moved"},
}}

// file decodes the blocks of one file.
func (d *decoder) file(body *hclsyntax.Body) {
	d.unknownBlocks(body)
	content, diags := body.Content(fileSchema)
	d.add(withoutUnsupportedBlocks(diags)...)
	for _, block := range content.Blocks {
		native := nativeBlock(body, block)
		if !d.namesOK(block) {
			continue
		}
		switch block.Type {
		case "mailmove":
			d.settings(native)
		case "variable":
			d.variable(native)
		case "locals":
			d.locals(native)
		case "output":
			d.output(native)
		case "provider":
			d.provider(native)
		case "resource":
			d.resource(native)
		case "module":
			d.call(native)
		case "phase":
			d.phase(native)
		case "check":
			d.check(native)
		case "moved":
			d.moved(native)
		}
	}
}

const unsupportedBlock = "Unsupported block type"

// unknownBlocks reports blocks that the language does not have. hcl's own
// message knows the words of one level only; this one also knows what people
// bring along from elsewhere.
func (d *decoder) unknownBlocks(body *hclsyntax.Body) {
	var known []string
	for _, header := range fileSchema.Blocks {
		known = append(known, header.Type)
	}
	for _, block := range body.Blocks {
		if slices.Contains(known, block.Type) {
			continue
		}
		hint := didYouMean(block.Type, known)
		switch block.Type {
		case "terraform":
			hint = " The settings of mailmove stand in a block named \"mailmove\"."
		case "data":
			hint = " What exists is observed: use the attributes of a resource in a gate, a check or an output."
		case "gate":
			hint = " A gate stands in the phase that it is before."
		}
		d.add(fault(block.TypeRange.Ptr(), unsupportedBlock, "Blocks of type %q are not expected here.%s", block.Type, hint))
	}
}

// withoutUnsupportedBlocks drops what unknownBlocks has reported.
func withoutUnsupportedBlocks(diags hcl.Diagnostics) hcl.Diagnostics {
	return slices.DeleteFunc(diags, func(diag *hcl.Diagnostic) bool { return diag.Summary == unsupportedBlock })
}

func nativeBlock(body *hclsyntax.Body, block *hcl.Block) *hclsyntax.Block {
	for _, native := range body.Blocks {
		if native.TypeRange == block.TypeRange {
			return native
		}
	}
	panic("config: a block that is not in its body")
}

func (d *decoder) namesOK(block *hcl.Block) bool {
	for i, label := range block.Labels {
		if !hclsyntax.ValidIdentifier(label) {
			d.add(fault(&block.LabelRanges[i], "Invalid name", "%q is not a name: a name starts with a letter and has letters, digits, underscores and dashes only.", label))
			return false
		}
	}
	return true
}

// content reads a body by a schema: attributes by name, blocks in order.
func (d *decoder) content(body *hclsyntax.Body, attributes, blocks []string) (hcl.Attributes, []*hclsyntax.Block) {
	schema := &hcl.BodySchema{}
	for _, name := range attributes {
		name, required := strings.CutSuffix(name, "!")
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name, Required: required})
	}
	for _, name := range blocks {
		name, labelled := strings.CutSuffix(name, " NAME")
		header := hcl.BlockHeaderSchema{Type: name}
		if labelled {
			header.LabelNames = []string{"name"}
		}
		schema.Blocks = append(schema.Blocks, header)
	}
	content, diags := body.Content(schema)
	d.add(diags...)
	var found []*hclsyntax.Block
	for _, block := range content.Blocks {
		if d.namesOK(block) {
			found = append(found, nativeBlock(body, block))
		}
	}
	return content.Attributes, found
}

// expression takes an expression into the module.
func (d *decoder) expression(expr hcl.Expression, each bool) *expression {
	e := &expression{Expression: expr, eachAllowed: each}
	d.module.expressions = append(d.module.expressions, e)
	return e
}

// optional takes an attribute's expression, nil if it is not there.
func (d *decoder) optional(attributes hcl.Attributes, name string, each bool) *expression {
	if attr := attributes[name]; attr != nil {
		return d.expression(attr.Expr, each)
	}
	return nil
}

// constant reads an attribute that must be known before anything is evaluated.
func constant[T any](d *decoder, attributes hcl.Attributes, name string, standing T) T {
	attr := attributes[name]
	if attr == nil {
		return standing
	}
	value := standing
	if _, diags := attr.Expr.Value(nil); diags.HasErrors() {
		d.add(fault(attr.Expr.Range().Ptr(), "Constant needed", "%q is read before anything is evaluated, so it must be a literal.", name))
		return standing
	}
	if diags := gohcl.DecodeExpression(attr.Expr, nil, &value); diags.HasErrors() {
		d.add(diags...)
		return standing
	}
	return value
}

// twice reports a name that is declared again.
func (d *decoder) twice(what, name string, again, before hcl.Range) {
	d.add(fault(&again, "Declared twice", "The %s %q is declared already, at %s:%d. Names are unique in a module.", what, name, before.Filename, before.Start.Line))
}

func (d *decoder) settings(block *hclsyntax.Block) {
	attributes, blocks := d.content(block.Body, []string{"required_version"}, []string{"state"})
	if !d.root() {
		// A module may say which version it needs; the state belongs to the root.
		for _, inner := range blocks {
			d.add(fault(inner.DefRange().Ptr(), "State in a module", "Where the state is kept is settled by the root module."))
		}
	}
	if d.module.settings != nil {
		d.add(fault(block.DefRange().Ptr(), "Declared twice", "There is a mailmove block already, at %s:%d.", d.module.settings.rng.Filename, d.module.settings.rng.Start.Line))
		return
	}
	s := &settings{requiredVersion: constant(d, attributes, "required_version", ""), rng: block.DefRange()}
	if attr := attributes["required_version"]; attr != nil {
		s.versionRange = attr.Expr.Range()
	}
	for _, inner := range blocks {
		attributes, _ := d.content(inner.Body, []string{"path!"}, nil)
		s.statePath = constant(d, attributes, "path", "")
	}
	d.module.settings = s
	d.requiredVersion(s)
}

func (d *decoder) variable(block *hclsyntax.Block) {
	name := block.Labels[0]
	attributes, blocks := d.content(block.Body, []string{"type", "default", "description", "sensitive", "nullable"}, []string{"validation"})
	v := &variable{
		name: name, typ: cty.DynamicPseudoType, block: block,
		sensitive: constant(d, attributes, "sensitive", false),
		nullable:  constant(d, attributes, "nullable", true),
	}
	constant(d, attributes, "description", "")
	if attr := attributes["type"]; attr != nil {
		var diags hcl.Diagnostics
		v.typ, v.defaults, diags = d.config.kinds.parseType(attr.Expr)
		d.add(diags...)
	}
	if attr := attributes["default"]; attr != nil {
		v.standing = d.standing(v, attr)
	}
	for _, inner := range blocks {
		v.validations = append(v.validations, d.rule(inner, func(e *expression) {
			e.forbidden = onlyVariables
		}))
	}
	if before := d.module.variables[name]; before != nil {
		d.twice("variable", name, block.DefRange(), before.block.DefRange())
		return
	}
	if slices.Contains(moduleAttributes, name) {
		d.add(fault(block.LabelRanges[0].Ptr(), "Invalid name", "%q means something else in a module block, so no variable can have that name.", name))
		return
	}
	if d.root() && v.standing == cty.NilVal && holdsReference(v.typ) {
		d.add(fault(block.DefRange().Ptr(), "Variable without a caller", "Providers and phases are passed to a module by the module that calls it; nobody calls the root module."))
		return
	}
	d.module.variables[name] = v
}

// holdsReference reports whether values of the type can only come from a module
// that calls.
func holdsReference(t cty.Type) bool {
	if !t.IsCapsuleType() {
		return false
	}
	return t.Equals(phaseType) || strings.HasPrefix(t.FriendlyName(), "provider(")
}

// standing reads a variable's default.
func (d *decoder) standing(v *variable, attr *hcl.Attribute) cty.Value {
	value, diags := attr.Expr.Value(secretContext())
	if diags.HasErrors() {
		d.add(fault(attr.Expr.Range().Ptr(), "Constant needed", "A default cannot refer to anything: it stands where nothing else is known."))
		return cty.NullVal(v.typ.WithoutOptionalAttributesDeep())
	}
	converted, err := v.convert(value)
	if err != nil {
		d.add(fault(attr.Expr.Range().Ptr(), "Invalid default", "The default of variable %q does not have its type: %s.", v.name, conversionText(err)))
		return cty.NullVal(v.typ.WithoutOptionalAttributesDeep())
	}
	return converted
}

// convert gives a value the variable's type.
func (v *variable) convert(value cty.Value) (cty.Value, error) {
	if v.defaults != nil && !value.IsNull() {
		value = v.defaults.Apply(value)
	}
	return convertTo(value, v.typ)
}

func (d *decoder) rule(block *hclsyntax.Block, prepare func(*expression)) *rule {
	attributes, _ := d.content(block.Body, []string{"condition!", "error_message!"}, nil)
	r := &rule{rng: block.DefRange(), condition: d.optional(attributes, "condition", false), message: d.optional(attributes, "error_message", false)}
	for _, e := range []*expression{r.condition, r.message} {
		if e != nil && prepare != nil {
			prepare(e)
		}
	}
	return r
}

func (d *decoder) locals(block *hclsyntax.Block) {
	attributes, diags := block.Body.JustAttributes()
	d.add(diags...)
	for _, name := range names(attributes) {
		attr := attributes[name]
		if before := d.module.locals[name]; before != nil {
			d.twice("local value", name, attr.NameRange, before.Range())
			continue
		}
		d.module.locals[name] = d.expression(attr.Expr, false)
	}
}

func (d *decoder) output(block *hclsyntax.Block) {
	name := block.Labels[0]
	attributes, _ := d.content(block.Body, []string{"value!", "description", "sensitive"}, nil)
	o := &output{
		name: name, rng: block.DefRange(), value: d.optional(attributes, "value", false),
		sensitive: constant(d, attributes, "sensitive", false), description: constant(d, attributes, "description", ""),
	}
	if before := d.module.outputs[name]; before != nil {
		d.twice("output", name, o.rng, before.rng)
		return
	}
	if o.value != nil {
		d.module.outputs[name] = o
	}
}

func (d *decoder) check(block *hclsyntax.Block) {
	name := block.Labels[0]
	_, blocks := d.content(block.Body, nil, []string{"assert"})
	b := &checkBlock{name: name, rng: block.DefRange()}
	for _, inner := range blocks {
		b.asserts = append(b.asserts, d.rule(inner, nil))
	}
	if len(b.asserts) == 0 {
		d.add(fault(&b.rng, "Empty check", "A check needs an assert block with a condition and an error_message."))
	}
	if before := d.module.checks[name]; before != nil {
		d.twice("check", name, b.rng, before.rng)
		return
	}
	d.module.checks[name] = b
}

func (d *decoder) moved(block *hclsyntax.Block) {
	attributes, _ := d.content(block.Body, []string{"from!", "to!"}, nil)
	if attributes["from"] == nil || attributes["to"] == nil {
		return
	}
	m := &movedBlock{rng: block.DefRange()}
	var kinds [2]MoveKind
	for i, end := range []struct {
		name string
		text *string
	}{{"from", &m.from}, {"to", &m.to}} {
		expr := attributes[end.name].Expr
		traversal, diags := hcl.AbsTraversalForExpr(expr)
		kind := moveKind(traversal)
		if diags.HasErrors() || kind == "" {
			d.add(fault(expr.Range().Ptr(), "Invalid address", "%q must name a resource (TYPE.NAME or TYPE.NAME[\"key\"]), a module (module.NAME) or a phase (phase.NAME), as it is seen from this module.", end.name))
			return
		}
		*end.text, kinds[i] = traversalText(traversal), kind
	}
	if kinds[0] != kinds[1] {
		d.add(fault(&m.rng, "Invalid move", "%s is a %s, but %s is a %s.", m.from, kinds[0], m.to, kinds[1]))
		return
	}
	m.kind = kinds[0]
	d.module.moves = append(d.module.moves, m)
}
