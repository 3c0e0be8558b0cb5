package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/mailmove/mailmove/engine/plan"
)

func (d *decoder) phase(block *hclsyntax.Block) {
	attributes, gates := d.content(block.Body, []string{"title", "after", "rollback"}, []string{"gate NAME"})
	b := &phaseBlock{name: block.Labels[0], title: d.optional(attributes, "title", false), rng: block.DefRange()}
	b.after, b.afterRange = d.phaseName(attributes["after"])
	b.rollback, b.rollbackRange = d.phaseName(attributes["rollback"])
	for _, inner := range gates {
		g := d.gate(inner)
		if g == nil {
			continue
		}
		if i := slices.IndexFunc(b.gates, func(other *gateBlock) bool { return other.name == g.name }); i >= 0 {
			d.twice("gate", g.name, g.rng, b.gates[i].rng)
			continue
		}
		b.gates = append(b.gates, g)
	}
	if before := d.module.phases[b.name]; before != nil {
		d.twice("phase", b.name, b.rng, before.rng)
		return
	}
	d.module.phases[b.name] = b
}

// phaseName reads a reference to a phase of the same module.
func (d *decoder) phaseName(attr *hcl.Attribute) (string, hcl.Range) {
	if attr == nil {
		return "", hcl.Range{}
	}
	rng := attr.Expr.Range()
	traversal, diags := hcl.AbsTraversalForExpr(attr.Expr)
	if !diags.HasErrors() && len(traversal) == 2 && traversal.RootName() == "phase" {
		if step, ok := traversal[1].(hcl.TraverseAttr); ok {
			return step.Name, rng
		}
	}
	d.add(fault(&rng, "Invalid phase", "%q names a phase of this module: phase.NAME.", attr.Name))
	return "", rng
}

// gateBodies are the four kinds of gates.
var gateBodies = []string{"condition", "not_before", "window", "approval"}

func (d *decoder) gate(block *hclsyntax.Block) *gateBlock {
	attributes, blocks := d.content(block.Body, []string{"title", "condition", "not_before"}, []string{"window", "approval"})
	g := &gateBlock{name: block.Labels[0], title: constant(d, attributes, "title", ""), rng: block.DefRange()}
	var found []string
	for _, name := range gateBodies[:2] {
		if attr := attributes[name]; attr != nil {
			found = append(found, name)
			g.kind, g.value = plan.GateKind(name), d.expression(attr.Expr, false)
			g.text = d.source(attr.Expr.Range())
		}
	}
	for _, inner := range blocks {
		found = append(found, inner.Type)
		g.kind = plan.GateKind(inner.Type)
		g.fields = map[string]*expression{}
		words := []string{"schedule", "days", "start", "end", "timezone"}
		if g.kind == plan.Approval {
			words = []string{"from", "quorum"}
		}
		fields, _ := d.content(inner.Body, words, nil)
		var texts []string
		for _, word := range words {
			attr := fields[word]
			if attr == nil {
				continue
			}
			g.fields[word] = d.expression(attr.Expr, false)
			texts = append(texts, word+" = "+d.source(attr.Expr.Range()))
		}
		g.text = strings.Join(texts, ", ")
		if g.fields["schedule"] != nil && len(g.fields) > 1 {
			d.add(fault(inner.DefRange().Ptr(), "Invalid window", "A window has either a schedule or days, start, end and timezone, not both."))
		}
	}
	if len(found) != 1 {
		d.add(fault(&g.rng, "Invalid gate", "A gate has exactly one of condition, not_before, window and approval; this one has %s.", listing(found)))
		return nil
	}
	return g
}

var spaces = regexp.MustCompile(`\s+`)

// source returns a piece of the configuration on one line.
func (d *decoder) source(rng hcl.Range) string {
	return spaces.ReplaceAllString(string(rng.SliceBytes(d.config.parsed[rng.Filename].Bytes)), " ")
}

// chain puts the phases in order by their after.
func (d *decoder) chain() {
	m := d.module
	if len(m.phases) == 0 {
		return
	}
	next := map[string]*phaseBlock{}
	var start *phaseBlock
	for _, name := range names(m.phases) {
		b := m.phases[name]
		switch {
		case b.after == "" && b.afterRange != hcl.Range{}:
			return // reported where it stands
		case b.after == "" && start != nil:
			d.add(fault(&b.rng, "Two first phases", "Neither phase %q nor phase %q comes after another; the phases of a module form one chain. Say after = phase.%s, or the phase that it follows.", start.name, name, start.name))
			return
		case b.after == "":
			start = b
		case m.phases[b.after] == nil:
			d.add(fault(&b.afterRange, "Unknown phase", "There is no phase %q in this module.%s", b.after, didYouMean(b.after, names(m.phases))))
			return
		case next[b.after] != nil:
			d.add(fault(&b.afterRange, "Fork of phases", "Phases %q and %q both come after phase %q; the phases of a module form one chain.", next[b.after].name, name, b.after))
			return
		default:
			next[b.after] = b
		}
	}
	for b := start; b != nil; b = next[b.name] {
		b.index = len(m.chain)
		m.chain = append(m.chain, b)
	}
	if len(m.chain) < len(m.phases) {
		d.phaseCycle()
		return
	}
	for _, b := range m.chain {
		if b.rollback == "" {
			continue
		}
		back := m.phases[b.rollback]
		switch {
		case back == nil:
			d.add(fault(&b.rollbackRange, "Unknown phase", "There is no phase %q in this module.%s", b.rollback, didYouMean(b.rollback, names(m.phases))))
		case back.index >= b.index:
			d.add(fault(&b.rollbackRange, "Invalid rollback", "Phase %q can go back to an earlier phase only; phase %q is not before it.", b.name, b.rollback))
		}
	}
}

// phaseCycle reports the phases that no chain from the first one reaches.
func (d *decoder) phaseCycle() {
	reached := map[string]bool{}
	for _, b := range d.module.chain {
		reached[b.name] = true
	}
	for _, name := range names(d.module.phases) {
		b := d.module.phases[name]
		if reached[name] {
			continue
		}
		path := []string{name}
		for at := b.after; !slices.Contains(path, at); at = d.module.phases[at].after {
			path = append(path, at)
		}
		d.add(fault(&b.afterRange, "Cycle of phases", "Phases come after each other in a circle: %s.", strings.Join(append(path, d.module.phases[path[len(path)-1]].after), " after ")))
		return
	}
}
