package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// environmentPrefix begins the names of environment variables that set variables.
const environmentPrefix = "MAILMOVE_VAR_"

// readVariables gives the root module's variables their values. As in OpenTofu,
// later ones win: the environment, mailmove.mmvars.hcl, *.auto.mmvars.hcl in the
// order of their names, -var-file and -var in the order given.
func (c *Config) readVariables(m *module) hcl.Diagnostics {
	g := &givenValues{config: c, module: m}
	for _, pair := range c.options.Environ {
		name, text, _ := strings.Cut(pair, "=")
		name, ok := strings.CutPrefix(name, environmentPrefix)
		if ok && m.variables[name] != nil {
			g.text(name, text, "the environment variable "+environmentPrefix+name)
		}
	}
	files, err := m.folder.list()
	if err != nil {
		g.add(fault(nil, "Unreadable folder", "Reading the variables: %v.", cause(err)))
	}
	for _, name := range files {
		if name == defaultVars {
			g.file(filepath.Join(c.options.Dir, name), name)
		}
	}
	for _, name := range files {
		if hasSuffix(name, autoSuffix) {
			g.file(filepath.Join(c.options.Dir, name), name)
		}
	}
	for _, name := range c.options.VarFiles {
		g.file(name, name)
	}
	for _, pair := range c.options.Vars {
		g.option(pair)
	}
	for _, name := range names(m.variables) {
		g.complete(m.variables[name])
	}
	return g.diags
}

// givenValues are the values of the root module's variables while they are read.
type givenValues struct {
	config *Config
	module *module
	diags  hcl.Diagnostics
}

func (g *givenValues) add(diags ...*hcl.Diagnostic) { g.diags = append(g.diags, diags...) }

// option reads -var name=value.
func (g *givenValues) option(pair string) {
	name, text, ok := strings.Cut(pair, "=")
	if !ok {
		g.add(fault(nil, "Invalid -var", "-var takes name=value, and %q has no equals sign.", name))
		return
	}
	if g.module.variables[name] == nil {
		g.add(fault(nil, "Unknown variable", "-var sets %q, but the root module has no such variable.%s", name, didYouMean(name, names(g.module.variables))))
		return
	}
	g.text(name, text, "-var")
}

// text reads a value that is given as a text: for a primitive type the text
// itself, else an expression.
func (g *givenValues) text(name, text, origin string) {
	v := g.module.variables[name]
	if v.sensitive {
		g.config.hide(cty.StringVal(text))
	}
	label := fmt.Sprintf("<value of var.%s from %s>", name, origin)
	if v.typ.IsPrimitiveType() || v.typ == cty.DynamicPseudoType {
		g.set(v, cty.StringVal(text), nil, origin)
		return
	}
	if v.typ.Equals(providers.SecretType) && !strings.HasPrefix(strings.TrimSpace(text), "secret(") {
		secret, err := providers.NewSecret(text)
		if err != nil {
			g.add(fault(nil, "Invalid value for variable", "Variable %q, from %s: %v.", name, origin, err))
			return
		}
		g.set(v, providers.SecretVal(secret), nil, origin)
		return
	}
	if deep := tooDeep(label, []byte(text)); deep != nil {
		deep.Subject = nil
		g.add(deep)
		return
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), label, hcl.InitialPos)
	g.config.parsed[label] = &hcl.File{Bytes: []byte(text)}
	if diags.HasErrors() {
		g.add(diags...)
		return
	}
	value, diags := expr.Value(secretContext())
	g.add(diags...)
	if !diags.HasErrors() {
		g.set(v, value, expr.Range().Ptr(), origin)
	}
}

// file reads a file of variables.
func (g *givenValues) file(path, label string) {
	src, err := os.Open(path)
	if err != nil {
		g.add(fault(nil, "Unreadable file", "Reading the variables in %s: %v.", label, cause(err)))
		return
	}
	defer src.Close()
	data, err := readBounded(src)
	if err != nil {
		g.add(fault(nil, "Unreadable file", "Reading %s: %v.", label, cause(err)))
		return
	}
	body, diags := g.config.parseSource(label, data)
	g.add(diags...)
	if body == nil || diags.HasErrors() {
		return
	}
	attributes, diags := body.JustAttributes()
	g.add(diags...)
	for _, name := range names(attributes) {
		attr := attributes[name]
		v := g.module.variables[name]
		if v == nil {
			g.add(warning(&attr.NameRange, "Unknown variable", "The root module has no variable %q.%s", name, didYouMean(name, names(g.module.variables))))
			continue
		}
		value, diags := attr.Expr.Value(secretContext())
		if v.sensitive {
			g.config.hide(value)
		}
		g.add(diags...)
		if !diags.HasErrors() {
			g.set(v, value, attr.Expr.Range().Ptr(), label)
		}
	}
}

// set converts a value to the variable's type and keeps it.
func (g *givenValues) set(v *variable, value cty.Value, rng *hcl.Range, origin string) {
	converted, err := v.convert(value)
	if err != nil {
		g.add(fault(rng, "Invalid value for variable", "Variable %q, declared at %s, from %s: %s.", v.name, where(v.block.DefRange()), origin, conversionText(err)))
		// Keep something, so that it is not reported as missing too.
		converted = failure
	}
	g.config.given[v.name] = converted
}

// complete fills in the default, or reports that there is no value.
func (g *givenValues) complete(v *variable) {
	value, ok := g.config.given[v.name]
	if v.sensitive && v.standing != cty.NilVal {
		g.config.hide(v.standing)
	}
	if ok && (v.nullable || !value.IsNull()) {
		return
	}
	if v.standing == cty.NilVal {
		problem := "has no value"
		if ok {
			problem = "must not be null"
		}
		g.add(fault(v.block.DefRange().Ptr(), "Missing variable", "Variable %q %s. Give it one with -var %s=…, in a file *%s, or in the environment as %s%s.", v.name, problem, v.name, autoSuffix, environmentPrefix, v.name))
		return
	}
	g.config.given[v.name] = v.standing
}
