package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds on how deep a file is nested and how long one expression is. hcl's
// parser and evaluator call themselves for each level, and a stack that is full
// ends the process. No file written by a person comes near.
const (
	maxNesting   = 100
	maxOperators = 1000
)

// level is an open bracket, quote or template.
type level struct {
	// lines says that a line end separates elements there.
	lines     bool
	operators int
}

// tooDeep reports the place where a source goes past the bounds; nil if it does
// not. It looks at tokens only, one after another.
func tooDeep(label string, src []byte) *hcl.Diagnostic {
	// What cannot be read as tokens is reported by the parser.
	tokens, _ := hclsyntax.LexConfig(src, label, hcl.InitialPos)
	levels := []level{{lines: true}}
	for _, token := range tokens {
		top := &levels[len(levels)-1]
		switch token.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			if token.Type != hclsyntax.TokenOBrace {
				// a[0][0] and %{ if a }%{ if b } nest without being nested.
				top.operators++
			}
			levels = append(levels, level{lines: token.Type == hclsyntax.TokenOBrace})
		case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
			}
		case hclsyntax.TokenComma:
			top.operators = 0
		case hclsyntax.TokenNewline:
			if top.lines {
				top.operators = 0
			}
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenStringLit, hclsyntax.TokenQuotedLit,
			hclsyntax.TokenComment, hclsyntax.TokenEOF, hclsyntax.TokenDot:
		default:
			top.operators++
		}
		if len(levels) > maxNesting || levels[len(levels)-1].operators > maxOperators {
			return fault(&token.Range, "Too deeply nested", "No more than %d levels of brackets and %d operators in one expression can be read.", maxNesting, maxOperators)
		}
	}
	return nil
}
