package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/mailmove/mailmove/engine/plan"
)

// Gates evaluates the gates before a phase of a clock, in the order in which
// they are declared, with every clock standing at its position.
//
// A gate that asks for what nobody has observed yet is closed. So is one whose
// condition cannot be told because an object does not exist. An approval gate is
// closed, with who may open it, unless it asks for no approval: who has approved
// is in the state, which the caller knows.
func (c *Config) Gates(at plan.Position, clock, before string, observed Observed, now time.Time) ([]plan.Reading, Diagnostics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	standing, diags := c.stand(at)
	if diags.HasErrors() {
		return nil, c.report(diags)
	}
	k := c.clockAt[clock]
	if k == nil {
		return nil, c.report(hcl.Diagnostics{fault(nil, "Unknown module", "There are no phases in %s.", clockName(clock))})
	}
	i := slices.IndexFunc(k.phases, func(p *phase) bool { return p.name == before })
	if i < 0 {
		return nil, c.report(hcl.Diagnostics{fault(nil, "Unknown phase", "There is no phase %q in %s.", before, clockName(clock))})
	}
	e := c.observing(standing, observed)
	f := e.begin(node{})
	readings := e.gates(k.phases[i], now)
	return readings, c.report(f.diags)
}

func (e *evaluator) gates(p *phase, now time.Time) []plan.Reading {
	if p.block == nil {
		return nil
	}
	var readings []plan.Reading
	for _, b := range p.block.gates {
		g := &gateReader{evaluator: e, instance: p.clock.instance, block: b, now: now}
		readings = append(readings, g.read())
	}
	return readings
}

// A gateReader evaluates one gate.
type gateReader struct {
	evaluator *evaluator
	instance  *instance
	block     *gateBlock
	now       time.Time
	out       plan.Reading
}

func (g *gateReader) read() plan.Reading {
	b := g.block
	g.out = plan.Reading{Gate: plan.Gate{Name: b.name, Kind: b.kind, Text: b.text, Title: b.title}}
	switch b.kind {
	case plan.Condition:
		g.condition()
	case plan.NotBefore:
		g.notBefore()
	case plan.Window:
		g.window()
	case plan.Approval:
		g.approval()
	}
	return g.out
}

// value evaluates one of the gate's expressions. false means that it cannot be
// told now: the reading then says why, or an error has been reported.
func (g *gateReader) value(expr *expression) (v cty.Value, marks cty.ValueMarks, ok bool) {
	e := g.evaluator
	g.out.Evidence = e.attempt(node{g.instance, "gate.", g.block.name}, func() {
		v, _, ok = e.evaluate(g.instance, expr, nil)
		ok = ok && !marked(v, failed)
	})
	if !ok {
		g.out.Evidence = cmp.Or(g.out.Evidence, "it cannot be evaluated")
		return v, nil, false
	}
	v, marks = v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		g.out.Evidence = cmp.Or(missingMark(marks), "it cannot be told yet")
		return v, marks, false
	}
	return v, marks, true
}

// missingMark says which object a value lacks: one that nobody has observed, or
// that does not exist; "" if none.
func missingMark(marks cty.ValueMarks) string {
	if found, ok := first(marks, func(a, b unobserved) int { return strings.Compare(a.address, b.address) }); ok {
		return found.address + " has not been observed yet"
	}
	if found, ok := first(marks, func(a, b absent) int { return strings.Compare(a.address, b.address) }); ok {
		return found.address + " does not exist now"
	}
	return ""
}

func (g *gateReader) condition() {
	v, _, ok := g.value(g.block.value)
	if !ok {
		return
	}
	result, err := convert.Convert(v, cty.Bool)
	if err != nil {
		g.fault(g.block.value, "A condition must be true or false, and this is %s.", v.Type().FriendlyName())
		return
	}
	g.out.Open = !result.IsNull() && result.True()
	expr := g.block.value
	g.out.Evidence = g.evaluator.config.evidence(expr.Expression, g.evaluator.context(g.instance, expr.refs, nil), g.out.Open)
}

func (g *gateReader) notBefore() {
	v, marks, ok := g.value(g.block.value)
	if !ok {
		return
	}
	if v.IsNull() {
		// Null because the object is gone is no reason to go on.
		if g.out.Evidence = missingMark(marks); g.out.Evidence == "" {
			g.out.Open, g.out.Evidence = true, "there is nothing to wait for"
		}
		return
	}
	if v.Type() != cty.String {
		g.fault(g.block.value, "not_before takes a moment as RFC 3339 writes it, such as \"2026-01-31T21:00:00Z\".")
		return
	}
	moment, err := time.Parse(time.RFC3339, v.AsString())
	if err != nil {
		g.fault(g.block.value, "not_before takes a moment as RFC 3339 writes it, such as \"2026-01-31T21:00:00Z\", and this is %q.", shorten(v.AsString(), 60))
		return
	}
	g.out.Open = !g.now.Before(moment)
	if g.out.Open {
		g.out.Evidence = "it is after " + moment.Format(time.RFC3339)
		return
	}
	g.out.Until = moment
	g.out.Evidence = "it is not yet " + moment.Format(time.RFC3339)
}

func (g *gateReader) window() {
	fields := map[string]cty.Value{}
	whole := g.block.rangeExpression()
	if expr := g.block.fields["schedule"]; expr != nil {
		v, _, ok := g.value(expr)
		if !ok {
			return
		}
		if v.IsNull() {
			g.out.Open, g.out.Evidence = true, "there is no window to keep to"
			return
		}
		if !v.Type().IsObjectType() && !v.Type().IsMapType() {
			g.fault(expr, "A schedule is an object of days, start, end and timezone.")
			return
		}
		fields, whole = v.AsValueMap(), expr
	} else {
		for name, expr := range g.block.fields {
			v, _, ok := g.value(expr)
			if !ok {
				return
			}
			fields[name] = v
		}
	}
	s, err := newSchedule(fields)
	if err != nil {
		g.fault(whole, "%s.", capital(err.Error()))
		return
	}
	g.out.Open, g.out.Until, g.out.Closes = s.at(g.now)
	if g.out.Open {
		g.out.Evidence = "the window is open"
		if !g.out.Closes.IsZero() {
			g.out.Evidence += " until " + g.out.Closes.In(s.zone).Format(time.RFC3339)
		}
		return
	}
	g.out.Evidence = "the window opens at " + g.out.Until.In(s.zone).Format(time.RFC3339)
}

// rangeExpression is any expression of the gate, for errors about all of it.
func (b *gateBlock) rangeExpression() *expression {
	for _, name := range names(b.fields) {
		return b.fields[name]
	}
	return b.value
}

func (g *gateReader) approval() {
	g.out.Quorum = 1
	if expr := g.block.fields["from"]; expr != nil {
		v, _, ok := g.value(expr)
		if !ok {
			return
		}
		if v.IsNull() {
			g.out.Open, g.out.Quorum, g.out.Evidence = true, 0, "no approval is asked for"
			return
		}
		list, err := convert.Convert(v, cty.List(cty.String))
		if err != nil {
			g.fault(expr, "from is a list of names: %s.", conversionText(err))
			return
		}
		for _, one := range list.AsValueSlice() {
			if one.IsNull() || one.AsString() == "" {
				g.fault(expr, "from is a list of names, and one of them is empty.")
				return
			}
			g.out.Approvers = append(g.out.Approvers, one.AsString())
		}
	}
	if expr := g.block.fields["quorum"]; expr != nil && !g.quorum(expr) {
		return
	}
	who := "anybody"
	if len(g.out.Approvers) > 0 {
		who = strings.Join(g.out.Approvers, ", ")
	}
	g.out.Evidence = "it waits for approval by " + who
	if g.out.Quorum > 1 {
		g.out.Evidence = fmt.Sprintf("it waits for %d approvals by %s", g.out.Quorum, who)
	}
}

func (g *gateReader) quorum(expr *expression) bool {
	v, _, ok := g.value(expr)
	if !ok {
		return false
	}
	if v.IsNull() {
		return true
	}
	n := 0
	if v.Type() == cty.Number {
		whole, _ := v.AsBigFloat().Int64()
		n = int(whole)
	}
	anybody := len(g.out.Approvers) == 0
	if n < 1 || !anybody && n > len(sortedSet(slices.Clone(g.out.Approvers))) {
		g.fault(expr, "quorum is how many approvals are needed: at least 1, and no more than there are approvers.")
		return false
	}
	g.out.Quorum = n
	return true
}

func (g *gateReader) fault(expr *expression, detail string, args ...any) {
	g.out.Evidence = "it cannot be evaluated"
	ctx := g.evaluator.context(g.instance, expr.refs, nil)
	g.evaluator.add(expressionFault(expr, ctx, "Invalid gate", "Gate %q: %s", g.block.name, fmt.Sprintf(detail, args...)))
}
