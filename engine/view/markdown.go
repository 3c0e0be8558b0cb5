package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
)

// Markdown writes a plan for a review or a ticket (GitHub's dialect).
func Markdown(w io.Writer, p *plan.Plan, o Options) error {
	d, err := arrange(p, o)
	if err != nil {
		return err
	}
	out := &printer{}
	if d.Back {
		out.line(0, "**This plan goes BACK to an earlier phase.**\n")
	}
	out.line(0, "**", md(d.Summary), "**\n")
	if len(d.Dangers) > 0 {
		out.line(0, "## Dangers\n")
		for _, x := range d.Dangers {
			mark := "Warning"
			if x.Fatal {
				mark = "ERROR"
			}
			out.line(0, "- **", mark, " ", md(x.Code), "** ", code(x.Address), " ", md(x.Summary))
			for i, line := range x.Fix {
				if i == 0 {
					out.line(2, "*Fix:* ", md(line), "  ")
				} else {
					out.line(2, code(line), "  ") // two spaces: a line of its own
				}
			}
		}
		out.line(0)
	}
	if !d.Empty {
		for _, c := range d.Clocks {
			out.markdownClock(c)
		}
		out.line(0, "Digest ", code(d.Digest), "; can be accepted until ", d.Expires, ".")
	}
	return out.writeTo(w)
}

func (p *printer) markdownClock(c clock) {
	p.line(0, "## ", md(c.Name), "\n")
	for _, s := range c.Stages {
		if s.Entered && len(s.Groups) == 0 {
			continue
		}
		p.line(0, "### ", md(stageName(s)), "\n")
		if s.NoReturn {
			p.line(0, "**POINT OF NO RETURN: from this phase on there is no way back.**\n")
		}
		if len(s.Gates) > 0 {
			p.line(0, "Waits until:\n")
			for _, g := range s.Gates {
				p.line(0, "- **", md(g.Name), "** (", g.Kind, ") ", code(g.Text), prefixed(" ", md(g.Title)))
			}
			p.line(0)
		}
		for _, g := range s.Groups {
			p.markdownGroup(g)
		}
		if len(s.Groups) == 0 {
			p.line(0, "No changes.")
		}
		p.line(0, prefixed("\nIn all: ", md(s.Estimate)), "\n")
	}
}

func (p *printer) markdownGroup(g group) {
	head := "- " + code(g.Symbol) + " " + code(g.Address)
	if g.Count > 1 {
		head += fmt.Sprintf(": %d objects: %s", g.Count, md(g.Keys))
	}
	p.line(0, head)
	for _, d := range g.Differences {
		switch {
		case d.Note != "":
			p.line(2, "- ", md(d.Name), ": ", md(d.Note))
		case d.Before == "":
			p.line(2, "- ", md(d.Name), ": ", code(d.After))
		default:
			p.line(2, "- ", md(d.Name), ": ", code(d.Before), " → ", code(d.After))
		}
	}
	if g.Steps != "" {
		p.line(2, "- steps: ", md(g.Steps))
	}
	if g.Estimate != "" {
		p.line(2, "- ", md(g.Estimate))
	}
}

// md escapes what Markdown or HTML would interpret.
func md(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case strings.ContainsRune("\\`*_{}[]()#+-!|>~:@", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// code returns a clean text as a code span, "" for none. A span is closed by as many
// backquotes as opened it (CommonMark section 6.1), so it opens with more than any
// run within.
func code(s string) string {
	if s == "" {
		return ""
	}
	longest, run := 0, 0
	for _, r := range s {
		if r == '`' {
			run++
		} else {
			run = 0
		}
		longest = max(longest, run)
	}
	fence := strings.Repeat("`", longest+1)
	if longest > 0 {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}
