package config

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/mitchellh/go-wordwrap"
)

// Colours of a terminal.
const (
	bold      = "\x1b[1m"
	underline = "\x1b[4m"
	red       = "\x1b[31m"
	yellow    = "\x1b[33m"
	reset     = "\x1b[0m"
)

// WriteTo writes the diagnostics for people, as Terraform shows them: the
// summary, the place with the lines at fault, the values involved, the detail.
// width is where lines of prose are broken; 0 leaves them as they are. What
// could make a terminal show something else than is written is made visible.
func (d Diagnostics) WriteTo(w io.Writer, color bool, width int) error {
	for _, one := range d {
		if _, err := io.WriteString(w, one.render(color, width)); err != nil {
			return err
		}
	}
	return nil
}

// painter colours a text, or leaves it as it is.
type painter bool

func (p painter) paint(codes, text string) string {
	if !p || text == "" {
		return text
	}
	return codes + text + reset
}

func (d Diagnostic) render(color bool, width int) string {
	p, codes, title := painter(color), red, "Error"
	if d.Severity == Warning {
		codes, title = yellow, "Warning"
	}
	lines := []string{p.paint(bold+codes, title+": ") + p.paint(bold, visible(d.Summary)), ""}
	lines = append(lines, d.place(p)...)
	if d.Detail != "" {
		lines = append(lines, paragraph(d.Detail, width-2)...)
	}
	var b strings.Builder
	bar := p.paint(codes, "│")
	fmt.Fprintln(&b, p.paint(codes, "╷"))
	for _, line := range lines {
		b.WriteString(strings.TrimRight(bar+" "+line, " ") + "\n")
	}
	fmt.Fprintln(&b, p.paint(codes, "╵"))
	return b.String()
}

// place shows where the fault is.
func (d Diagnostic) place(p painter) []string {
	if d.Subject.File == "" {
		return nil
	}
	head := fmt.Sprintf("  on %s line %d", visible(d.Subject.File), d.Subject.Line)
	if d.Block != "" {
		head += ", in " + visible(d.Block)
	}
	if len(d.Snippet) == 0 {
		return []string{head + ".", ""}
	}
	lines := []string{head + ":"}
	for _, line := range d.Snippet {
		before, at, after := line.Text[:line.Start], line.Text[line.Start:line.End], line.Text[line.End:]
		lines = append(lines, fmt.Sprintf("%4d: ", line.Number)+visible(before)+p.paint(underline, visible(at))+visible(after))
	}
	for i, value := range d.Values {
		prefix := "    ├ "
		if i == 0 {
			lines = append(lines, "    ├────────────────")
		}
		lines = append(lines, strings.Replace(prefix, "├", "│", 1)+visible(value))
	}
	return append(lines, "")
}

// paragraph breaks prose at width and leaves indented lines alone.
func paragraph(text string, width int) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = visible(line)
		if width > 20 && !strings.HasPrefix(line, " ") {
			line = wordwrap.WrapString(line, uint(width))
		}
		lines = append(lines, strings.Split(line, "\n")...)
	}
	return lines
}

// visible replaces characters that a terminal obeys instead of showing: control
// characters of both sets (ECMA-48), changes of writing direction, and what has
// no width.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteString("  ")
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == 0x2028, r == 0x2029:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
