package dns

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxString is the longest character-string, RFC 1035 section 3.3.
const maxString = 255

// quoteTXT returns text in zone file form: character-strings of up to 255 octets,
// each in quotes. Readers join them without a space (RFC 7208 section 3.3,
// RFC 6376 section 3.6.2.2).
func quoteTXT(text string) string {
	var out strings.Builder
	for first := true; first || text != ""; first = false {
		chunk := text
		if len(chunk) > maxString {
			chunk = chunk[:maxString]
		}
		text = text[len(chunk):]
		if !first {
			out.WriteByte(' ')
		}
		out.WriteByte('"')
		for i := range len(chunk) {
			switch c := chunk[i]; {
			case c == '"' || c == '\\':
				out.WriteByte('\\')
				out.WriteByte(c)
			case c < ' ' || c > '~':
				fmt.Fprintf(&out, `\%03d`, c)
			default:
				out.WriteByte(c)
			}
		}
		out.WriteByte('"')
	}
	return out.String()
}

// joinTXT returns the octets of character-strings in zone file form without
// their quotes.
func joinTXT(chunks []string) string {
	var out strings.Builder
	for _, chunk := range chunks {
		for i := 0; i < len(chunk); i++ {
			c := chunk[i]
			if c != '\\' || i+1 == len(chunk) {
				out.WriteByte(c)
				continue
			}
			// RFC 1035 section 5.1: \DDD is an octet, \X is X.
			if i+3 < len(chunk) && digit(chunk[i+1]) && digit(chunk[i+2]) && digit(chunk[i+3]) {
				out.WriteByte((chunk[i+1]-'0')*100 + (chunk[i+2]-'0')*10 + (chunk[i+3] - '0'))
				i += 3
				continue
			}
			out.WriteByte(chunk[i+1])
			i++
		}
	}
	return out.String()
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// printable returns s for people and for the state: what is not printable text is
// shown as \xNN. A zone can hold anything, terminal escapes included.
func printable(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r) {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&out, `\x%02x`, c)
			}
		} else {
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
}
