package wire

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// parseCaps reads a list of capabilities. Their case has no meaning (RFC 9051 section 9).
func parseCaps(s string) imap.CapSet {
	caps := imap.CapSet{}
	for word := range strings.FieldsSeq(s) {
		caps[imap.Cap(canonical(word))] = struct{}{}
	}
	return caps
}

// canonical returns a capability in go-imap's spelling.
func canonical(word string) string {
	upper := strings.ToUpper(word)
	for _, known := range []imap.Cap{imap.CapIMAP4rev1, imap.CapIMAP4rev2} {
		if strings.EqualFold(upper, string(known)) {
			return string(known)
		}
	}
	return upper
}

// learnCaps takes the capabilities from what the server said by itself, in answer or
// before it, or else asks for them.
func (c *Conn) learnCaps(answer response, data []response) error {
	for _, said := range append(slices.Clone(data), answer) {
		switch {
		case said.code == "CAPABILITY":
			c.caps = parseCaps(said.argument)
			return nil
		case said.kind == "CAPABILITY":
			c.caps = parseCaps(string(said.data))
			return nil
		}
	}
	cmd, err := c.run("asking for capabilities", "CAPABILITY")
	if err != nil {
		return err
	}
	for _, said := range cmd.data {
		if said.kind == "CAPABILITY" {
			c.caps = parseCaps(string(said.data))
			return nil
		}
	}
	if cmd.answer.kind != "OK" {
		return c.refusal(cmd, 0)
	}
	return c.lose(malformed("no capabilities in the answer to CAPABILITY"))
}

// identify says who we are (RFC 2971): some servers serve nobody who does not.
func (c *Conn) identify() error {
	if !c.caps.Has(imap.CapID) {
		return nil
	}
	cmd, err := c.run("saying who we are", `ID ("name" "mailmove")`)
	if err != nil {
		return err
	}
	for _, said := range cmd.data {
		if said.kind == "ID" {
			c.identity = parseID(string(said.data))
		}
	}
	return nil // a refusal costs nothing
}

// parseID reads a list of names and values; it ends where that makes no sense.
func parseID(s string) map[string]string {
	s, ok := strings.CutPrefix(s, "(")
	if !ok {
		return nil
	}
	fields := map[string]string{}
	for {
		name, rest, ok := nextString(s)
		if !ok {
			return fields
		}
		value, rest, ok := nextString(rest)
		if !ok {
			return fields
		}
		if value != "" {
			fields[strings.ToLower(clean(name))] = clean(value)
		}
		s = rest
	}
}

// nextString reads a quoted string, a literal or NIL, which is "".
func nextString(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	if rest, ok := strings.CutPrefix(s, "{"); ok {
		announcement, rest, found := strings.Cut(rest, "\r\n")
		size, sized := literalSize([]byte("{" + announcement))
		if !found || !sized || size > int64(len(rest)) {
			return "", "", false
		}
		return rest[:size], rest[size:], true
	}
	if len(s) >= 3 && strings.EqualFold(s[:3], "NIL") {
		return "", s[3:], true
	}
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
