// Package view shows a plan and the course of a turn to people and to programs:
// as text for a terminal, as Markdown, as a page of HTML, as Mermaid, as JSON.
// All of it is made from the plan's own data, which is what is approved; the
// views add nothing and leave nothing out but what [Options] folds.
//
// Words. A document is a plan arranged for reading: summary and dangers first,
// then the timeline, phase by phase. A group is a run of changes that are the same
// but for the key of their address; [Options.Expand] shows its members one by
// one.
//
// Promise. What came from outside (names, values, errors of servers) is cleaned
// before it is shown: no control character, no character that changes the
// direction of the text, nothing invisible, and never a line end, so that no
// value can pass for a line of ours. See [Clean].
package view

import (
	"io"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
)

// Options say how to show a plan.
type Options struct {
	// Color allows terminal colours in text.
	Color bool
	// Expand shows every change by itself.
	Expand bool
}

// JSON writes the plan itself: the canonical encoding, whose SHA-256 is the
// plan's digest.
func JSON(w io.Writer, p *plan.Plan) error {
	data, err := p.Encode()
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// printer collects text.
type printer struct {
	strings.Builder
	color bool
}

// The colours in use, as parameters of the terminal's SGR sequence.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	grey   = "90"
)

// paint returns s in a colour.
func (p *printer) paint(color, s string) string { return Paint(p.color, color, s) }

// Paint returns s in a colour (parameters of the SGR sequence, such as "1;31"), or
// as it is where colours are not allowed.
func Paint(allowed bool, color, s string) string {
	if !allowed || s == "" || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (p *printer) line(indent int, parts ...string) {
	text := strings.Join(parts, "")
	if text != "" {
		p.WriteString(strings.Repeat(" ", indent))
		p.WriteString(text)
	}
	p.WriteByte('\n')
}

func (p *printer) writeTo(w io.Writer) error {
	_, err := io.WriteString(w, p.String())
	return err
}
