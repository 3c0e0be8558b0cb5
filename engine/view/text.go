package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
)

// Text writes a plan for a terminal.
func Text(w io.Writer, p *plan.Plan, o Options) error {
	d, err := arrange(p, o)
	if err != nil {
		return err
	}
	out := &printer{color: o.Color}
	out.head(d)
	if !d.Empty {
		for _, c := range d.Clocks {
			out.clock(c, d.Back)
		}
		out.line(0, out.paint(bold, d.Summary))
		out.line(0, out.paint(grey, "Digest "+d.Digest+"; can be accepted until "+d.Expires+"."))
	}
	return out.writeTo(w)
}

func (p *printer) head(d *document) {
	if d.Back {
		p.line(0, p.paint(bold+";"+yellow, "This plan goes BACK to an earlier phase."))
	}
	p.line(0, p.paint(bold, d.Summary))
	p.line(0)
	if len(d.Dangers) > 0 {
		p.dangers(d.Dangers)
	}
	if d.Empty || len(d.Actions) == 0 {
		return
	}
	for _, a := range d.Actions {
		p.line(2, p.paint(a.color, a.Symbol), " ", a.Done)
	}
	p.line(0)
}

func (p *printer) dangers(list []danger) {
	p.line(0, p.paint(bold, "Dangers"))
	for _, x := range list {
		mark, color := "Warning", yellow
		if x.Fatal {
			mark, color = "ERROR", red
		}
		head := mark + " " + x.Code
		if x.Address != "" {
			head += " " + x.Address
		}
		p.line(2, p.paint(bold+";"+color, head))
		p.line(4, x.Summary)
		for i, line := range x.Fix {
			if i == 0 {
				p.line(4, p.paint(grey, "Fix: "), line)
			} else {
				p.line(9, line)
			}
		}
	}
	p.line(0)
}

func (p *printer) clock(c clock, back bool) {
	where := "has not begun"
	if c.From != "" {
		where = "stands in phase " + c.From
	}
	if len(c.Stages) == 1 && c.Stages[0].Phase == "" && !back {
		where = "" // a root module without phases
	}
	if c.Gone {
		where = "is not in the configuration any more"
	}
	p.line(0, p.paint(bold, c.Name), p.paint(grey, prefixed("  ", where)))
	p.line(0)
	for _, s := range c.Stages {
		p.stage(s)
	}
}

func (p *printer) stage(s stage) {
	if s.Entered && len(s.Groups) == 0 {
		return
	}
	p.line(2, p.paint(bold, stageName(s)))
	if s.NoReturn {
		p.line(4, p.paint(bold+";"+red, "POINT OF NO RETURN: from this phase on there is no way back."))
	}
	p.gates(s.Gates)
	for _, g := range s.Groups {
		p.group(g)
	}
	if len(s.Groups) == 0 {
		p.line(4, p.paint(grey, "no changes"))
	}
	if s.Estimate != "" {
		p.line(4, p.paint(grey, "in all: "+s.Estimate))
	}
	p.line(0)
}

// stageName is the headline of a stage.
func stageName(s stage) string {
	name := "Phase " + s.Phase
	switch {
	case s.Phase == "" && s.Entered:
		name = "Now"
	case s.Phase == "":
		name = "Start"
	case s.Settle:
		name = "Phase " + s.Phase + " (now), first to finish what was begun"
	case s.Entered:
		name = "Phase " + s.Phase + " (now)"
	}
	if s.Number > 0 && s.Total > 1 {
		name = fmt.Sprintf("%d/%d  %s", s.Number, s.Total, name)
	}
	return name + prefixed(": ", s.Title)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func (p *printer) gates(list []gate) {
	if len(list) == 0 {
		return
	}
	p.line(4, p.paint(cyan, "waits until"))
	name, kind := 0, 0
	for _, g := range list {
		name, kind = max(name, len(g.Name)), max(kind, len(g.Kind))
	}
	for _, g := range list {
		p.line(6, p.paint(cyan, fmt.Sprintf("%-*s  %-*s", name, g.Name, kind, g.Kind)), "  ", g.Text, p.paint(grey, prefixed("  # ", g.Title)))
	}
}

// wideLine is the length from which before and after stand on lines of their own.
const wideLine = 100

func (p *printer) group(g group) {
	head := p.paint(g.color, g.Symbol) + " " + p.paint(bold, g.Address)
	if g.Count > 1 {
		head += fmt.Sprintf(": %d objects", g.Count)
	}
	if short, ok := shortChange(g); ok {
		head += ": " + short
		g.Differences = nil
	}
	p.line(4, head)
	if g.Keys != "" {
		p.line(8, p.paint(grey, g.Keys))
	}
	width := 0
	for _, d := range g.Differences {
		width = max(width, len(d.Name))
	}
	for _, d := range g.Differences {
		p.difference(d, width)
	}
	if g.Steps != "" {
		p.line(8, p.paint(grey, "steps: "), g.Steps)
	}
	var notes []string
	if g.Estimate != "" {
		notes = append(notes, g.Estimate)
	}
	if g.Recurring {
		notes = append(notes, "again whenever needed, until the phase is left")
	}
	if len(notes) > 0 {
		p.line(8, p.paint(grey, strings.Join(notes, "; ")))
	}
}

// shortChange puts the one difference of an update behind the address.
func shortChange(g group) (string, bool) {
	if len(g.Differences) != 1 || g.Differences[0].Before == "" {
		return "", false
	}
	text := oneLine(g.Differences[0])
	return text, len(text) < wideLine/2
}

func oneLine(d difference) string {
	switch {
	case d.Note != "":
		return d.Name + " " + d.Note
	case d.Before == "":
		return d.Name + " = " + d.After
	}
	return d.Name + " " + d.Before + " → " + d.After
}

func (p *printer) difference(d difference, width int) {
	name := fmt.Sprintf("%-*s", width, d.Name)
	switch {
	case d.Note != "":
		p.line(8, name, "  ", d.Note)
	case d.Before == "":
		p.line(8, name, " = ", d.After)
	case len(d.Before)+len(d.After) > wideLine:
		p.line(8, name, "  ", p.paint(red, d.Before))
		p.line(8, strings.Repeat(" ", width), "→ ", p.paint(green, d.After))
	default:
		p.line(8, name, "  ", d.Before, p.paint(yellow, " → "), d.After)
	}
}

// Change returns one change as lines.
func Change(c plan.Change) ([]string, error) {
	groups, err := fold([]plan.Change{c}, true)
	if err != nil {
		return nil, err
	}
	var p printer
	for _, g := range groups {
		p.group(g)
	}
	var lines []string
	for line := range strings.Lines(p.String()) {
		lines = append(lines, strings.TrimPrefix(strings.TrimRight(line, "\n"), "    "))
	}
	return lines, nil
}
