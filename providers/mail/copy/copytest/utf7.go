package copytest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
)

// base64UTF7 is RFC 3501 section 5.1.3's: a comma for the slash, no padding.
func base64UTF7() *base64.Encoding {
	return base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
}

// encodeUTF7 returns a name of a mailbox as it stands in commands and in a Maildir: in modified UTF-7.
func encodeUTF7(name string) string {
	var encoded strings.Builder
	var shifted []rune
	unshift := func() {
		if len(shifted) == 0 {
			return
		}
		var octets []byte
		for _, unit := range utf16.Encode(shifted) {
			octets = append(octets, byte(unit>>8), byte(unit))
		}
		encoded.WriteString("&" + base64UTF7().EncodeToString(octets) + "-")
		shifted = nil
	}
	for _, r := range name {
		if r < 0x20 || r > 0x7e {
			shifted = append(shifted, r)
			continue
		}
		unshift()
		if r == '&' {
			encoded.WriteString("&-")
		} else {
			encoded.WriteRune(r)
		}
	}
	unshift()
	return encoded.String()
}

// decodeUTF7 is the inverse of encodeUTF7.
func decodeUTF7(encoded string) (string, error) {
	var name strings.Builder
	for rest := encoded; rest != ""; {
		plain, after, shifted := strings.Cut(rest, "&")
		name.WriteString(plain)
		if !shifted {
			break
		}
		code, after, closed := strings.Cut(after, "-")
		if rest = after; !closed {
			return "", fmt.Errorf("decoding %q: a shift without end", encoded)
		}
		if code == "" {
			name.WriteByte('&')
			continue
		}
		octets, err := base64UTF7().DecodeString(code)
		if err != nil || len(octets)%2 != 0 {
			return "", fmt.Errorf("decoding %q: %q is no UTF-16 in base 64", encoded, code)
		}
		units := make([]uint16, len(octets)/2)
		for i := range units {
			units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
		}
		name.WriteString(string(utf16.Decode(units)))
	}
	return name.String(), nil
}
