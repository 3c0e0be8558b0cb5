package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// Words that mean something in every block of a kind, whatever its schema.
var (
	resourceAttributes = []string{"provider", "for_each", "depends_on"}
	moduleAttributes   = []string{"source", "for_each", "depends_on"}
)

// arguments are what a block sets, by a provider's schema.
type arguments struct {
	schema providers.Attributes
	set    map[string]*expression
	blocks map[string]*arguments
	rng    hcl.Range
}

func (d *decoder) provider(block *hclsyntax.Block) {
	typ, name := block.Labels[0], block.Labels[1]
	if !d.root() {
		d.add(fault(block.DefRange().Ptr(), "Provider in a module", "Providers are configured in the root module and passed to other modules as inputs: declare a variable of type provider(KIND) instead."))
		return
	}
	schema, ok := d.config.options.Schemas.Schema(typ)
	if !ok {
		known := d.config.options.Schemas.Types()
		d.add(fault(block.LabelRanges[0].Ptr(), "Unknown provider", "There is no provider %q; the providers are %s.%s", typ, listing(known), didYouMean(typ, known)))
		return
	}
	b := &providerBlock{typ: typ, name: name, schema: schema, rng: block.DefRange()}
	b.arguments = d.arguments(block, schema.Config, nil, nil, false)
	for _, e := range b.arguments.expressions() {
		e.forbidden = notInProviders
	}
	key := typ + "." + name
	if before := d.module.providers[key]; before != nil {
		d.twice("provider", key, b.rng, before.rng)
		return
	}
	d.module.providers[key] = b
}

// expressions returns all expressions in a, nested ones too.
func (a *arguments) expressions() []*expression {
	var all []*expression
	for _, name := range names(a.set) {
		all = append(all, a.set[name])
	}
	for _, name := range names(a.blocks) {
		all = append(all, a.blocks[name].expressions()...)
	}
	return all
}

// arguments reads a block by a provider's schema. The attributes and blocks named
// in meta belong to the language and stay with the caller.
func (d *decoder) arguments(block *hclsyntax.Block, schema providers.Attributes, meta, metaBlocks []string, each bool) *arguments {
	a := &arguments{schema: schema, set: map[string]*expression{}, blocks: map[string]*arguments{}, rng: block.DefRange()}
	attributes, blocks := slices.Clone(meta), slices.Clone(metaBlocks)
	for _, name := range schema.Names() {
		if schema[name].Block {
			blocks = append(blocks, name)
		} else {
			attributes = append(attributes, name)
		}
	}
	found, inner := d.content(block.Body, attributes, blocks)
	for _, name := range names(found) {
		attr := found[name]
		switch described, ok := schema[name]; {
		case !ok:
		case described.Computed:
			d.add(fault(&attr.NameRange, "Cannot be set", "%q is known only by observing, so it cannot be set. It may be used in gates, checks and outputs.", name))
		default:
			a.set[name] = d.expression(attr.Expr, each)
		}
	}
	for _, block := range inner {
		if _, ok := schema[block.Type]; !ok {
			continue
		}
		if a.blocks[block.Type] != nil {
			d.add(fault(block.DefRange().Ptr(), "Declared twice", "Only one %q block is allowed here.", block.Type))
			continue
		}
		a.blocks[block.Type] = d.arguments(block, schema[block.Type].Nested, nil, nil, each)
	}
	for _, name := range schema.Names() {
		if s := schema[name]; s.Required && a.set[name] == nil && a.blocks[name] == nil && found[name] == nil {
			noun := "argument"
			if s.Block {
				noun = "block"
			}
			d.add(fault(&a.rng, "Missing "+noun, "The %s %q is required.%s", noun, name, sentence(s.Doc)))
		}
	}
	return a
}

// sentence appends a schema's documentation to an error.
func sentence(doc string) string {
	if doc == "" {
		return ""
	}
	return " " + capital(strings.TrimSuffix(doc, ".")) + "."
}

// capital makes the first letter one.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// identityNames returns the names of the attributes that say which object it is.
func identityNames(attributes providers.Attributes) []string {
	return slices.DeleteFunc(attributes.Names(), func(name string) bool { return !attributes[name].Identity })
}

func (d *decoder) resource(block *hclsyntax.Block) {
	typ := block.Labels[0]
	b := &resourceBlock{typ: typ, name: block.Labels[1], rng: block.DefRange()}
	var ok bool
	if b.schema, b.kind, ok = d.config.resourceSchema(typ); !ok {
		known := d.config.resourceTypes()
		d.add(fault(block.LabelRanges[0].Ptr(), "Unknown resource type", "No provider has resources of type %q.%s", typ, didYouMean(typ, known)))
		return
	}
	if count := block.Body.Attributes["count"]; count != nil && !hasAttribute(b.schema, "count") {
		d.add(fault(&count.NameRange, "No count", "There is no count here: use for_each with a map or a set, so that every instance keeps its name when others come and go."))
		return
	}
	b.identity = identityNames(b.schema.Attributes)
	b.arguments = d.arguments(block, b.schema.Attributes, resourceAttributes, []string{"lifecycle"}, true)
	attributes := block.Body.Attributes
	take := func(name string, each bool) *expression {
		if attr := attributes[name]; attr != nil {
			return d.expression(attr.Expr, each)
		}
		return nil
	}
	b.forEach = take("for_each", false)
	b.provider = take("provider", b.forEach != nil)
	b.dependsOn = d.dependencies(attributes["depends_on"], b.forEach != nil)
	for _, inner := range block.Body.Blocks {
		if inner.Type == "lifecycle" {
			d.lifecycle(b, inner)
		}
	}
	if b.forEach == nil {
		for _, e := range b.arguments.expressions() {
			e.eachAllowed = false
		}
	}
	if before := d.module.resources[b.key()]; before != nil {
		d.twice("resource", b.key(), b.rng, before.rng)
		return
	}
	d.module.resources[b.key()] = b
}

func hasAttribute(schema providers.ResourceSchema, name string) bool {
	_, ok := schema.Attributes[name]
	return ok
}

func (d *decoder) lifecycle(b *resourceBlock, block *hclsyntax.Block) {
	attributes, _ := d.content(block.Body, []string{"from", "until", "keep"}, nil)
	b.from = d.optional(attributes, "from", false)
	b.until = d.optional(attributes, "until", false)
	b.keep = d.optional(attributes, "keep", b.forEach != nil)
}

// dependencies reads depends_on: a list of resources and modules.
func (d *decoder) dependencies(attr *hclsyntax.Attribute, each bool) []*dependency {
	if attr == nil {
		return nil
	}
	items, diags := hcl.ExprList(attr.Expr)
	if diags.HasErrors() {
		d.add(fault(attr.Expr.Range().Ptr(), "Invalid depends_on", "depends_on is a list of resources and modules, such as [dns_rrset.a, module.b]."))
		return nil
	}
	var list []*dependency
	for _, item := range items {
		root := item.(hclsyntax.Expression)
		var index hcl.Expression
		if indexed, ok := root.(*hclsyntax.IndexExpr); ok {
			root, index = indexed.Collection, indexed.Key
		}
		traversal, diags := hcl.AbsTraversalForExpr(root)
		dep := &dependency{rng: item.Range()}
		switch {
		case diags.HasErrors() || len(traversal) < 2 || len(traversal) > 3:
			dep = nil
		case len(traversal) == 3 && !isIndex(traversal[2]):
			dep = nil
		case traversal.RootName() == "module":
			name, ok := traversal[1].(hcl.TraverseAttr)
			if !ok {
				dep = nil
				break
			}
			dep.call = name.Name
			if len(traversal) == 3 {
				step := traversal[2].(hcl.TraverseIndex)
				index = hcl.StaticExpr(step.Key, step.SrcRange)
			}
			if index != nil {
				dep.index = d.expression(index, each)
			}
		case slices.Contains(reservedRoots, traversal.RootName()):
			dep = nil
		default:
			dep.value = d.expression(item, each)
		}
		if dep == nil {
			d.add(fault(item.Range().Ptr(), "Invalid depends_on", "depends_on names whole resources and modules: TYPE.NAME, TYPE.NAME[\"key\"], module.NAME or module.NAME[\"key\"]."))
			continue
		}
		list = append(list, dep)
	}
	return list
}

func isIndex(step hcl.Traverser) bool {
	_, ok := step.(hcl.TraverseIndex)
	return ok
}

func (d *decoder) call(block *hclsyntax.Block) {
	b := &call{name: block.Labels[0], inputs: map[string]*expression{}, rng: block.DefRange()}
	attributes, diags := block.Body.JustAttributes()
	d.add(diags...)
	if attributes["count"] != nil {
		d.add(fault(&attributes["count"].NameRange, "No count", "There is no count here: use for_each with a map or a set."))
		return
	}
	source := attributes["source"]
	if source == nil {
		d.add(fault(&b.rng, "Missing argument", "A module block needs a source: \"std/NAME\" for an embedded recipe, \"./NAME\" for a folder."))
		return
	}
	before := len(d.diags)
	name := constant(d, attributes, "source", "")
	if len(d.diags) > before {
		return
	}
	called, err := d.config.resolve(d.module.folder, name)
	if err != nil {
		d.add(fault(source.Expr.Range().Ptr(), "Invalid module source", "Reading the source of module %q: %s", b.name, ended(err.Error())))
		return
	}
	if i := slices.IndexFunc(d.path, func(f *folder) bool { return f.key() == called.key() }); i >= 0 {
		var circle []string
		for _, f := range append(slices.Clone(d.path[i:]), called) {
			circle = append(circle, cmp.Or(f.name, "."))
		}
		d.add(fault(source.Expr.Range().Ptr(), "Cycle of modules", "Module %q calls itself: %s.", b.name, strings.Join(circle, " → ")))
		return
	}
	b.module, diags = d.config.load(called, d.path)
	d.add(diags...)
	if b.module == nil || b.module.broken {
		d.brokenCall = true
		return
	}
	b.forEach = d.optional(attributes, "for_each", false)
	if dependsOn := block.Body.Attributes["depends_on"]; dependsOn != nil {
		b.dependsOn = d.dependencies(dependsOn, b.forEach != nil)
	}
	for _, name := range names(attributes) {
		if !slices.Contains(moduleAttributes, name) {
			d.input(b, attributes[name])
		}
	}
	for _, name := range names(b.module.variables) {
		v := b.module.variables[name]
		if v.standing == cty.NilVal && b.inputs[name] == nil && attributes[name] == nil {
			d.add(fault(&b.rng, "Missing input", "Module %q needs the input %q, which is declared at %s:%d:\n\n%s",
				b.name, name, v.block.DefRange().Filename, v.block.DefRange().Start.Line, d.config.quote(v.block.Range())))
		}
	}
	if before := d.module.calls[b.name]; before != nil {
		d.twice("module", b.name, b.rng, before.rng)
		return
	}
	d.module.calls[b.name] = b
}

func (d *decoder) input(b *call, attr *hcl.Attribute) {
	if b.module.variables[attr.Name] == nil {
		known := names(b.module.variables)
		d.add(fault(&attr.NameRange, "Unknown input", "Module %q has no variable %q; its inputs are %s.%s", b.name, attr.Name, listing(known), didYouMean(attr.Name, known)))
		return
	}
	b.inputs[attr.Name] = d.expression(attr.Expr, b.forEach != nil)
}

// quote returns the source of a block, indented for an error.
func (c *Config) quote(rng hcl.Range) string {
	var lines []string
	for _, line := range c.snippet(c.parsed[rng.Filename].Bytes, rng) {
		lines = append(lines, "    "+line.Text)
	}
	return strings.Join(lines, "\n")
}

// resourceSchema finds a resource type among all providers: types belong to a
// kind, and providers of one kind give the same schema.
func (c *Config) resourceSchema(typ string) (schema providers.ResourceSchema, kind string, ok bool) {
	for _, name := range c.options.Schemas.Types() {
		provider, _ := c.options.Schemas.Schema(name)
		if schema, ok := provider.Resources[typ]; ok {
			return schema, provider.Kind, true
		}
	}
	return schema, "", false
}

func (c *Config) resourceTypes() []string {
	var types []string
	for _, name := range c.options.Schemas.Types() {
		provider, _ := c.options.Schemas.Schema(name)
		types = append(types, names(provider.Resources)...)
	}
	return sortedSet(types)
}
