package config

import (
	"cmp"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/mailmove/mailmove/providers"
)

// Schemas tells which providers there are.
type Schemas interface {
	// Schema returns the schema of a provider type, and whether there is one.
	Schema(providerType string) (providers.Schema, bool)
	// Types returns the provider types, in order.
	Types() []string
}

// Options say what to load.
type Options struct {
	// Dir is the folder of the root module; "" is the current one.
	Dir string
	// Modules holds a folder for each embedded recipe: source = "std/NAME".
	Modules fs.FS
	Schemas Schemas
	// Vars are -var options: name=value. A later one wins, over VarFiles too.
	Vars []string
	// VarFiles are -var-file options, relative to the working directory.
	VarFiles []string
	// Environ is the environment as [os.Environ] gives it; MAILMOVE_VAR_name counts.
	Environ []string
	// Version is mailmove's version, for required_version; "" or a word is a
	// development version, which satisfies any.
	Version string
}

// A Config is a configuration that has been read. Its methods are pure: with the
// same arguments they return the same. It is safe for concurrent use.
type Config struct {
	options   Options
	functions map[string]function.Function
	kinds     kinds
	parsed    map[string]*hcl.File
	modules   map[string]*module // by folder
	sources   []string           // the labels of all files of modules
	given     map[string]cty.Value
	hidden    []string // sensitive texts, for redact
	texts     map[string]string

	root      *instance
	instances []*instance
	clocks    []*clock
	clockAt   map[string]*clock
	titles    map[*phase]string
	systems   map[string]Provider

	mu     sync.Mutex
	memory map[node][]*remembered
}

// A Provider is a provider block.
type Provider struct {
	// Address is provider.TYPE.NAME.
	Address    string
	Type, Kind string
	// Config is an object of the provider's schema. Secrets are references.
	Config cty.Value
	// Where is file:line of the block.
	Where string
}

// Load reads the files of a folder, its variables and the modules it calls. It
// returns all that is wrong with them; with an error among it the Config is nil.
// Everything is evaluated once in every phase for that, with nothing observed.
func Load(options Options) (*Config, Diagnostics) {
	options.Dir = cmp.Or(options.Dir, ".")
	c := &Config{
		options: options, functions: functions(), kinds: newKinds(options.Schemas),
		parsed: map[string]*hcl.File{}, modules: map[string]*module{}, given: map[string]cty.Value{},
		texts: map[string]string{}, titles: map[*phase]string{}, systems: map[string]Provider{},
		memory: map[node][]*remembered{},
	}
	m, diags := c.load(&folder{dir: options.Dir}, nil)
	if old := versionFaults(diags); old != nil {
		return nil, c.report(old)
	}
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	diags = append(diags, c.readVariables(m)...)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	diags = append(diags, c.instantiateAll(m)...)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	diags = append(diags, c.validate()...)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	return c, c.report(diags)
}

// instantiateAll makes the instances of modules, their clocks, and the
// providers.
func (c *Config) instantiateAll(m *module) hcl.Diagnostics {
	e := c.evaluator(nil)
	f := e.begin(node{})
	c.root = &instance{module: m}
	c.prepare(c.root)
	e.expandAll(c.root)
	if f.diags.HasErrors() {
		return f.diags
	}
	c.makeClocks()
	for _, name := range names(m.variables) {
		e.variable(c.root, name)
	}
	for _, key := range names(m.providers) {
		e.system(m.providers[key])
	}
	e.distinctSystems(m)
	for _, k := range c.clocks {
		for _, p := range k.phases {
			e.title(p)
		}
	}
	return f.diags
}

// evaluator makes one that remembers for all of the configuration.
func (c *Config) evaluator(standing map[*clock]int) *evaluator {
	return &evaluator{config: c, standing: standing, memory: c.memory}
}

// systemValue is what provider.TYPE.NAME stands for.
func (c *Config) systemValue(b *providerBlock) cty.Value {
	s := &system{address: b.address(), typ: b.typ, kind: b.schema.Kind}
	return cty.CapsuleVal(c.kinds[b.schema.Kind], s)
}

// system evaluates a provider block.
func (e *evaluator) system(b *providerBlock) {
	c := e.config
	var refs []reference
	for _, expr := range b.arguments.expressions() {
		refs = append(refs, expr.refs...)
	}
	f := e.begin(node{c.root, systemNode, b.typ + "." + b.name})
	defer e.end(f)
	a := &assignment{evaluator: e, ctx: e.context(c.root, unique(refs), nil), address: b.address()}
	values := a.attributes(b.arguments)
	if a.bad {
		return
	}
	if len(f.reads) > 0 || len(a.dependsOn) > 0 {
		e.add(fault(&b.rng, "Depends on the phase", "%s uses reached() or a resource, but a provider is the same in every phase.", b.address()))
		return
	}
	c.systems[b.address()] = Provider{Address: b.address(), Type: b.typ, Kind: b.schema.Kind, Config: values, Where: where(b.rng)}
}

// distinctSystems reports two provider blocks that are one system.
func (e *evaluator) distinctSystems(m *module) {
	seen := map[string]Provider{}
	blocks := slices.SortedFunc(maps.Values(m.providers), func(a, b *providerBlock) int {
		return cmp.Or(strings.Compare(a.rng.Filename, b.rng.Filename), cmp.Compare(a.rng.Start.Byte, b.rng.Start.Byte))
	})
	for _, b := range blocks {
		p, ok := e.config.systems[b.address()]
		if !ok {
			continue
		}
		words := identityNames(b.schema.Config)
		if len(words) == 0 {
			continue
		}
		var identity []string
		for _, name := range words {
			identity = append(identity, canonical(p.Config.GetAttr(name)))
		}
		id := b.typ + "|" + strings.Join(identity, "|")
		before, twice := seen[id]
		if !twice {
			seen[id] = p
			continue
		}
		e.add(fault(&b.rng, "The same system twice", "%s is the same system as %s (%s): both have the %s %s. If they are two, correct the one that is wrong; if it is one, keep one block and refer to it.",
			p.Address, before.Address, before.Where, strings.Join(words, ", "), strings.Join(identity, ", ")))
	}
}

// title evaluates a phase's title, which is the same in every phase.
func (e *evaluator) title(p *phase) {
	if p.block == nil || p.block.title == nil {
		return
	}
	c := e.config
	expr := p.block.title
	in := p.clock.instance
	f := e.begin(node{in, "title of phase.", p.name})
	defer e.end(f)
	a := &assignment{evaluator: e, ctx: e.context(in, expr.refs, nil), address: p.address()}
	v, ok := a.value("title", expr, false)
	if !ok {
		return
	}
	if v.IsNull() || v.Type() != cty.String || len(f.reads) > 0 {
		e.add(fault(expr.Range().Ptr(), "Invalid title", "The title of a phase is a text that is the same in every phase."))
		return
	}
	c.titles[p] = v.AsString()
}

// Providers returns the provider blocks, in the order of their addresses.
func (c *Config) Providers() []Provider {
	out := make([]Provider, 0, len(c.systems))
	for _, address := range names(c.systems) {
		out = append(out, c.systems[address])
	}
	return out
}

// StatePath returns the path of the state file: what mailmove { state { path } }
// says, or else mailmove.state.json; relative to [Options.Dir], and joined to it.
func (c *Config) StatePath() string {
	name := defaultState
	if s := c.root.module.settings; s != nil {
		name = cmp.Or(s.statePath, name)
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.options.Dir, name)
}

const wrongVersion = "Another version of mailmove is needed"

// requiredVersion checks the version. With another one, other errors may only
// say that words are not known yet; so this error is then reported alone.
func (d *decoder) requiredVersion(s *settings) {
	if s.requiredVersion == "" {
		return
	}
	constraints, err := version.NewConstraint(s.requiredVersion)
	if err != nil {
		d.add(fault(&s.versionRange, "Invalid required_version", "Write it such as \">= 0.1\" or \">= 0.1, < 2.0\"."))
		return
	}
	have, err := version.NewVersion(strings.TrimPrefix(d.config.options.Version, "v"))
	if err != nil {
		return // a development version
	}
	if !constraints.Check(have.Core()) {
		d.add(fault(&s.versionRange, wrongVersion, "This configuration needs mailmove %s; this is %s.", s.requiredVersion, d.config.options.Version))
	}
}

func versionFaults(diags hcl.Diagnostics) hcl.Diagnostics {
	var found hcl.Diagnostics
	for _, diag := range diags {
		if diag.Summary == wrongVersion {
			found = append(found, diag)
		}
	}
	return found
}
