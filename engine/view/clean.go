package view

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s with everything escaped that could deceive a reader or drive a
// terminal: C0, DEL and C1 controls (line ends and tabs included), bidirectional
// and other format characters, characters that are drawn as nothing, and bytes
// that are no UTF-8. It never returns a line end. What it returns is clean.
func Clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case visible(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

func isClean(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		}
		if !visible(r) {
			return false
		}
	}
	return true
}

// visible reports whether a character is drawn, and is what it seems to be.
// unicode.IsPrint refuses controls (Cc), format characters (Cf, all bidirectional
// ones among them), line and paragraph separators and spaces but the ASCII one.
func visible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// quote returns a string in double quotes, clean, with quotes and backslashes
// escaped, so that where it ends is beyond doubt.
func quote(s string) string {
	return `"` + Clean(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)) + `"`
}
