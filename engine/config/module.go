package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// A module is the content of a folder, read once however often it is used.
type module struct {
	folder    *folder
	variables map[string]*variable
	locals    map[string]*expression
	outputs   map[string]*output
	providers map[string]*providerBlock // by TYPE.NAME
	resources map[string]*resourceBlock // by TYPE.NAME
	calls     map[string]*call
	phases    map[string]*phaseBlock
	chain     []*phaseBlock // the phases in order
	checks    map[string]*checkBlock
	moves     []*movedBlock
	settings  *settings // the mailmove block

	// broken says that errors in it have been reported.
	broken bool

	// expressions are all of them, with where they stand, until they are resolved.
	expressions []*expression
}

func newModule(f *folder) *module {
	return &module{
		folder: f, variables: map[string]*variable{}, locals: map[string]*expression{},
		outputs: map[string]*output{}, providers: map[string]*providerBlock{},
		resources: map[string]*resourceBlock{}, calls: map[string]*call{},
		phases: map[string]*phaseBlock{}, checks: map[string]*checkBlock{},
	}
}

// An expression yields a value. It knows what it refers to.
type expression struct {
	hcl.Expression
	refs []reference
	// each says that it refers to each.key or each.value, and may only where
	// eachAllowed.
	each, eachAllowed bool
	// forbidden are kinds of references that cannot stand here, and why.
	forbidden map[referenceKind]string
}

type variable struct {
	name        string
	typ         cty.Type
	defaults    *typeexpr.Defaults
	standing    cty.Value // the default; NilVal means required
	sensitive   bool
	nullable    bool
	validations []*rule
	block       *hclsyntax.Block
}

// A rule is a condition with what to say if it does not hold.
type rule struct {
	condition, message *expression
	rng                hcl.Range
}

type output struct {
	name        string
	value       *expression
	sensitive   bool
	description string
	rng         hcl.Range
}

type providerBlock struct {
	typ, name string
	schema    providers.Schema
	arguments *arguments
	rng       hcl.Range
}

func (b *providerBlock) address() string { return "provider." + b.typ + "." + b.name }

type resourceBlock struct {
	typ, name   string
	schema      providers.ResourceSchema
	identity    []string // the names of the schema's identity attributes, in order
	kind        string
	provider    *expression // nil: the one that is in scope
	forEach     *expression
	dependsOn   []*dependency
	from, until *expression
	keep        *expression
	arguments   *arguments
	refs        []reference // of everything that is evaluated for each instance
	rng         hcl.Range
}

func (b *resourceBlock) key() string { return b.typ + "." + b.name }

// A dependency is an element of depends_on: a resource as an expression, or a
// module call with perhaps an index.
type dependency struct {
	value *expression
	call  string
	index *expression
	rng   hcl.Range
}

type call struct {
	name      string
	module    *module
	forEach   *expression
	inputs    map[string]*expression
	dependsOn []*dependency
	rng       hcl.Range
}

type phaseBlock struct {
	name            string
	title           *expression
	after, rollback string
	afterRange      hcl.Range
	rollbackRange   hcl.Range
	index           int
	gates           []*gateBlock
	rng             hcl.Range
}

type gateBlock struct {
	name, title string
	kind        plan.GateKind
	text        string
	value       *expression            // condition, not_before, window's schedule
	fields      map[string]*expression // window and approval
	rng         hcl.Range
}

type checkBlock struct {
	name    string
	asserts []*rule
	rng     hcl.Range
}

type movedBlock struct {
	from, to string
	kind     MoveKind
	rng      hcl.Range
}

type settings struct {
	requiredVersion string
	versionRange    hcl.Range
	statePath       string
	rng             hcl.Range
}

// load reads a folder and what it calls. path are the folders on the way here.
func (c *Config) load(f *folder, path []*folder) (*module, hcl.Diagnostics) {
	if m := c.modules[f.key()]; m != nil {
		return m, nil
	}
	names, err := f.list()
	if err != nil {
		return nil, hcl.Diagnostics{fault(nil, "Unreadable folder", "Reading the configuration: %v.", err)}
	}
	m := newModule(f)
	c.modules[f.key()] = m
	d := &decoder{config: c, module: m, path: append(slices.Clone(path), f)}
	for _, name := range names {
		if !hasSuffix(name, suffix) {
			continue
		}
		body, diags := c.parse(f, name)
		d.add(diags...)
		c.sources = append(c.sources, f.file(name))
		if body != nil && !diags.HasErrors() {
			d.file(body)
		}
	}
	if len(d.diags) == 0 && !slices.ContainsFunc(names, func(n string) bool { return hasSuffix(n, suffix) }) {
		d.add(fault(nil, "No configuration", "There is no file named *%s in %s.", suffix, cmp.Or(f.name, f.dir, ".")))
	}
	d.chain()
	if !d.diags.HasErrors() && !d.brokenCall {
		d.resolve()
	}
	m.broken = d.brokenCall || d.diags.HasErrors()
	return m, d.diags
}

// hasSuffix reports whether name is more than the suffix, and ends with it.
func hasSuffix(name, suffix string) bool {
	return len(name) > len(suffix) && strings.HasSuffix(name, suffix)
}

// names returns the keys of a map in order.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
