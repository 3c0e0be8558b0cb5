package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Severity of a [Diagnostic].
type Severity string

const (
	// Error: the configuration cannot be used.
	Error Severity = "error"
	// Warning: it can, but a person should look.
	Warning Severity = "warning"
)

// A Diagnostic is something wrong with the configuration.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	// Summary is a few words, Detail the sentences that say what to do.
	Summary string `json:"summary"`
	Detail  string `json:"detail"`
	// Subject is where; its File is "" if no place in a file is to blame.
	Subject Range `json:"subject"`
	// Block is the header of the block around Subject: resource "a" "b".
	Block string `json:"block,omitempty"`
	// Snippet are the lines of Subject.
	Snippet []Line `json:"snippet,omitempty"`
	// Values are what the expression at fault refers to, one a line. Sensitive
	// values are not among them.
	Values []string `json:"values,omitempty"`
}

// A Range is a place in a file. Lines and columns count from 1, columns in
// characters; the end is exclusive.
type Range struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
}

// A Line is a line of a file of which Text[Start:End] is at fault.
type Line struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
	Start  int    `json:"start"`
	End    int    `json:"end"`
}

// Diagnostics are all that is wrong, in the order of files and lines.
type Diagnostics []Diagnostic

// HasErrors reports whether an error is among them.
func (d Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(d, func(one Diagnostic) bool { return one.Severity == Error })
}

// Error implements error with the first error.
func (d Diagnostics) Error() string {
	for i, one := range d {
		if one.Severity != Error {
			continue
		}
		text := one.Summary + ": " + one.Detail
		if one.Subject.File != "" {
			text = fmt.Sprintf("%s:%d: %s", one.Subject.File, one.Subject.Line, text)
		}
		if more := len(d) - i - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		return visible(text)
	}
	return "no errors"
}

// Err returns d as an error, or nil if it holds no error.
func (d Diagnostics) Err() error {
	if d.HasErrors() {
		return d
	}
	return nil
}

// fault makes an error at a place; rng may be nil.
func fault(rng *hcl.Range, summary, detail string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: rng}
}

// warning makes a warning at a place; rng may be nil.
func warning(rng *hcl.Range, summary, detail string, args ...any) *hcl.Diagnostic {
	d := fault(rng, summary, detail, args...)
	d.Severity = hcl.DiagWarning
	return d
}

// didYouMean returns a sentence, with a space before it, that names the known
// word closest to given; or "".
func didYouMean(given string, known []string) string {
	best, distance := "", min(3, max(1, len(given)/2))+1
	for _, word := range known {
		if d := levenshtein.Distance(given, word, nil); d < min(distance, len(word)) {
			best, distance = word, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

// report converts diagnostics for the outside: in order, each once, without
// sensitive values.
func (c *Config) report(diags hcl.Diagnostics) Diagnostics {
	if len(diags) == 0 {
		return nil
	}
	var out Diagnostics
	seen := map[string]bool{}
	for _, diag := range diags {
		one := c.convert(diag)
		key := fmt.Sprint(one.Subject, one.Summary, one.Detail)
		if !seen[key] {
			seen[key] = true
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b Diagnostic) int {
		return cmp.Or(strings.Compare(a.Subject.File, b.Subject.File), a.Subject.Line-b.Subject.Line, a.Subject.Column-b.Subject.Column,
			strings.Compare(a.Summary, b.Summary), strings.Compare(a.Detail, b.Detail))
	})
	return out
}

func (c *Config) convert(diag *hcl.Diagnostic) Diagnostic {
	one := Diagnostic{Severity: Error, Summary: diag.Summary, Detail: c.redact(diag.Detail)}
	if diag.Severity == hcl.DiagWarning {
		one.Severity = Warning
	}
	if diag.Subject == nil {
		return one
	}
	at := *diag.Subject
	one.Subject = Range{
		File: at.Filename, Line: at.Start.Line, Column: at.Start.Column,
		EndLine: at.End.Line, EndColumn: at.End.Column,
	}
	if file := c.parsed[at.Filename]; file != nil {
		one.Block = blockAround(file, at)
		one.Snippet = c.snippet(file.Bytes, at)
	}
	if diag.Expression != nil && diag.EvalContext != nil {
		one.Values = c.values(diag.Expression, diag.EvalContext)
	}
	return one
}

// redact removes sensitive values from a text: functions and conversions quote
// their arguments in errors, and a snippet of a variables file holds them.
func (c *Config) redact(text string) string {
	for _, secret := range c.hidden {
		text = strings.ReplaceAll(text, secret, "(sensitive)")
	}
	return text
}

// hide remembers the strings in v as sensitive. Short ones are found in too many
// places to be worth hiding.
func (c *Config) hide(v cty.Value) {
	v, _ = v.UnmarkDeep()
	// The callback never fails, so neither does Walk.
	_ = cty.Walk(v, func(_ cty.Path, leaf cty.Value) (bool, error) {
		if leaf.IsKnown() && !leaf.IsNull() && leaf.Type() == cty.String {
			if s := leaf.AsString(); len(s) >= 4 && !slices.Contains(c.hidden, s) {
				c.hidden = append(c.hidden, s)
			}
		}
		return true, nil
	})
}

// snippetLines is how many lines of a long subject are shown.
const snippetLines = 10

func (c *Config) snippet(src []byte, at hcl.Range) []Line {
	var lines []Line
	start := 0
	for number := 1; start <= len(src) && number <= at.End.Line; number++ {
		end := start + len(src[start:])
		if i := bytes.IndexByte(src[start:], '\n'); i >= 0 {
			end = start + i
		}
		if number >= at.Start.Line && len(lines) < snippetLines {
			text := strings.TrimSuffix(string(src[start:end]), "\r")
			line := Line{Number: number, Text: text}
			line.Start = min(max(at.Start.Byte-start, 0), len(text))
			line.End = min(max(at.End.Byte-start, line.Start), len(text))
			if hidden := c.redact(text); hidden != text {
				line.Text, line.Start, line.End = hidden, 0, 0
			}
			lines = append(lines, line.cut())
		}
		start = end + 1
	}
	return lines
}

// maxLine bounds what is shown of a line, in bytes.
const maxLine = 400

// cut shortens a line to what is around the fault.
func (l Line) cut() Line {
	if len(l.Text) <= maxLine {
		return l
	}
	from := max(0, min(l.Start-maxLine/4, len(l.Text)-maxLine))
	to := min(len(l.Text), from+maxLine)
	l.Text = strings.ToValidUTF8(l.Text[from:to], "")
	l.Start = min(l.Start-from, len(l.Text))
	l.End = min(max(l.Start, l.End-from), len(l.Text))
	return l
}

// blockAround returns the header of the outermost block that holds at.
func blockAround(file *hcl.File, at hcl.Range) string {
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return ""
	}
	for _, block := range body.Blocks {
		if rng := block.Range(); at.Start.Byte < rng.Start.Byte || at.Start.Byte >= rng.End.Byte {
			continue
		}
		header := block.Type
		for _, label := range block.Labels {
			header += fmt.Sprintf(" %q", label)
		}
		return header
	}
	return ""
}

// values lists what an expression refers to, for the reader of an error.
func (c *Config) values(expr hcl.Expression, ctx *hcl.EvalContext) []string {
	var lines []string
	for _, traversal := range expr.Variables() {
		v, diags := traversal.TraverseAbs(ctx)
		if diags.HasErrors() || marked(v, sensitive) {
			continue
		}
		v, _ = v.UnmarkDeep()
		if text := describe(v); text != "" {
			lines = append(lines, c.redact(traversalText(traversal)+" is "+text))
		}
	}
	return sortedSet(lines)
}

// describe says what a value is: a primitive in full, anything else by its type.
func describe(v cty.Value) string {
	switch {
	case !v.IsKnown():
		return "known only by observing"
	case v.IsNull():
		return "null"
	case v.Type() == cty.String:
		return fmt.Sprintf("%q", shorten(v.AsString(), 80))
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('g', 10)
	case v.Type() == cty.Bool:
		return fmt.Sprint(v.True())
	case v.Type().IsCapsuleType():
		return ""
	case v.Type().IsObjectType():
		return "an object"
	case v.CanIterateElements():
		return fmt.Sprintf("a %s of %d", typeNoun(v.Type()), v.LengthInt())
	}
	return ""
}

func typeNoun(t cty.Type) string {
	switch {
	case t.IsMapType():
		return "map"
	case t.IsSetType():
		return "set"
	case t.IsTupleType():
		return "tuple"
	}
	return "list"
}

func shorten(s string, limit int) string {
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}

// traversalText renders a reference as it is written.
func traversalText(traversal hcl.Traversal) string {
	var b strings.Builder
	for _, step := range traversal {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			b.WriteString(step.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + step.Name)
		case hcl.TraverseIndex:
			if step.Key.Type() == cty.String {
				b.WriteString(keySuffix(step.Key.AsString()))
			} else {
				b.WriteString("[" + describe(step.Key) + "]")
			}
		case hcl.TraverseSplat:
			b.WriteString("[*]")
		}
	}
	return b.String()
}
