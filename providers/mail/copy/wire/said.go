package wire

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// temporary reports whether a refusal is one of the moment (RFC 5530 section 3). Servers
// that have no codes say it in words.
func temporary(code, said string) bool {
	switch code {
	case "UNAVAILABLE", "INUSE", "THROTTLED":
		return true
	case "", "ALERT":
		return regexp.MustCompile(`(?i)\b(too many|maximum (number of )?connections?|connection limit|temporar(y|ily)|try again|unavailable|throttl)`).MatchString(said)
	}
	return false
}

// refusal is the error of a command, of that many messages, that was answered NO or BAD.
func (c *Conn) refusal(cmd *command, messages int) error {
	a := cmd.answer
	return &RefusedError{Server: c.server, Doing: cmd.doing, Messages: messages, Status: a.kind, Code: a.code, Argument: a.argument, Said: c.discreet(a.said())}
}

func (c *Conn) loginRefusal(cmd *command, mechanism string, l Login) error {
	said := c.discreet(cmd.answer.said())
	if cmd.answer.code == "LIMIT" || temporary(cmd.answer.code, said) {
		return &UnavailableError{Server: c.server, Doing: "logging in as " + clean(l.who()), Code: cmd.answer.code, Said: said}
	}
	return &LoginError{Server: c.server, Mechanism: mechanism, User: l.who(), Code: cmd.answer.code, Said: said}
}

// said is a status as people read it, not cleaned.
func (r *response) said() string {
	s := r.text
	if r.code != "" {
		code := r.code
		if r.argument != "" {
			code += " " + r.argument
		}
		s = "[" + code + "] " + s
	}
	if strings.TrimSpace(s) == "" {
		return "nothing"
	}
	return s
}

// hide has s never appear in an error, also not if the server repeats it.
func (c *Conn) hide(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, form := range []string{s, escaped(s)} {
		if form != "" && !slices.Contains(c.secrets, form) {
			c.secrets = append(c.secrets, form)
		}
	}
}

// discreet returns what a server said, for people, without our secrets.
func (c *Conn) discreet(s string) string {
	for _, secret := range c.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return clean(s)
}

// clean makes one short line of what a server wrote, without a character that could
// move a terminal's cursor or turn its text around.
func clean(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	runes := []rune(strings.TrimSpace(s))
	if len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return string(runes)
}
