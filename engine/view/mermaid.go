package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
)

// Mermaid writes the timeline of a plan as a flow chart: phases, what is done in
// them, and the gates between.
func Mermaid(w io.Writer, p *plan.Plan, o Options) error {
	d, err := arrange(p, o)
	if err != nil {
		return err
	}
	out := &printer{}
	out.line(0, "flowchart TD")
	for i, c := range d.Clocks {
		out.line(2, fmt.Sprintf("subgraph c%d[%s]", i, label(c.Name)))
		start := "before the first phase"
		if c.From != "" {
			start = "phase " + c.From
		}
		out.line(4, fmt.Sprintf("c%ds0([%s])", i, label("now: "+start)))
		last := fmt.Sprintf("c%ds0", i)
		for j, s := range c.Stages {
			node := fmt.Sprintf("c%ds%d", i, j+1)
			shape := node + "[" + label(stageLabel(s)...) + "]"
			if s.NoReturn {
				shape = node + "[[" + label(append([]string{"POINT OF NO RETURN"}, stageLabel(s)...)...) + "]]"
			}
			arrow := last + " --> " + shape
			if len(s.Gates) > 0 {
				arrow = last + " -->|" + label(gateLabel(s)...) + "| " + shape
			}
			out.line(4, arrow)
			last = node
		}
		out.line(2, "end")
	}
	return out.writeTo(w)
}

func stageLabel(s stage) []string {
	lines := []string{stageName(s)}
	count := map[string]int{}
	var verbs []string
	for _, g := range s.Groups {
		word := string(g.Verb)
		if count[word] == 0 {
			verbs = append(verbs, word)
		}
		count[word] += g.Count
	}
	for _, word := range verbs {
		lines = append(lines, fmt.Sprintf("%s %d", word, count[word]))
	}
	return lines
}

func gateLabel(s stage) []string {
	var lines []string
	for _, g := range s.Gates {
		lines = append(lines, g.Name+" ("+g.Kind+")")
	}
	return lines
}

// label quotes a text for Mermaid. Inside quotes only the quote ends it; HTML is
// interpreted, so its characters become Mermaid's entities (#35; is #).
func label(lines ...string) string {
	for i, line := range lines {
		lines[i] = strings.NewReplacer("#", "#35;", `"`, "#34;", "<", "#60;", ">", "#62;", "&", "#38;", "`", "#96;").Replace(line)
	}
	return `"` + strings.Join(lines, "<br/>") + `"`
}
