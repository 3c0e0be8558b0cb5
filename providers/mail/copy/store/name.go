package store

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// mutf7 is the base64 of modified UTF-7 (RFC 3501 section 5.1.3).
func mutf7() *base64.Encoding {
	return base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
}

// EncodeName gives a mailbox name its form on the wire, modified UTF-7 (RFC 3501 section
// 5.1.3). What is no UTF-8 becomes U+FFFD.
func EncodeName(name string) string {
	var out strings.Builder
	var other []rune
	flush := func() {
		if len(other) == 0 {
			return
		}
		var octets []byte
		for _, unit := range utf16.Encode(other) {
			octets = append(octets, byte(unit>>8), byte(unit))
		}
		out.WriteString("&" + mutf7().EncodeToString(octets) + "-")
		other = nil
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			other = append(other, r)
			continue
		}
		flush()
		out.WriteRune(r)
		if r == '&' {
			out.WriteByte('-')
		}
	}
	flush()
	return out.String()
}

// DecodeName reads a mailbox name in the form on the wire. Only the one form that
// EncodeName gives is read, since the server would not find another one by it.
func DecodeName(wire string) (string, error) {
	var out strings.Builder
	for rest := wire; rest != ""; {
		if rest[0] != '&' {
			out.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		word, after, ended := strings.Cut(rest[1:], "-")
		if !ended {
			return "", errNoName
		}
		rest = after
		if word == "" {
			out.WriteByte('&')
			continue
		}
		octets, err := mutf7().DecodeString(word)
		if err != nil || len(octets)%2 != 0 {
			return "", errNoName
		}
		units := make([]uint16, len(octets)/2)
		for i := range units {
			units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
		}
		out.WriteString(string(utf16.Decode(units)))
	}
	name := out.String()
	if !utf8.ValidString(name) || EncodeName(name) != wire {
		return "", errNoName
	}
	return name, nil
}

var errNoName = errors.New("not in modified UTF-7")

// isName reports whether what a server calls a mailbox can be said to it again.
func isName(wire string) bool {
	_, err := DecodeName(wire)
	return err == nil || strings.EqualFold(wire, "INBOX")
}
