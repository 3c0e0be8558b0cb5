package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A command is one that was begun and perhaps not answered yet.
type command struct {
	tag string
	// doing is what the command is for, as errors name it.
	doing string
	// changes is set if the command changes something on the server, so that it matters what
	// became of it. Of the other commands the data that comes before the answer is kept.
	changes bool
	// whole is set before the command's last byte is written: from then on the server may
	// have carried it out.
	whole bool

	// pausing is set while the command waits to be told to go on; the text of "+" then
	// comes by goAhead.
	pausing bool
	goAhead chan string

	// What came back, to be read after done is closed: err, or the answer.
	done   chan struct{}
	data   []response
	answer response
	err    error
}

// A literal is how one is announced (RFC 9051 section 4.3, RFC 7888).
type literal struct {
	size   int64
	binary bool // literal8, RFC 3516
	// waits is set for a synchronising literal.
	waits bool
}

func (l literal) announcement() string {
	s := "{" + strconv.FormatInt(l.size, 10)
	if l.binary {
		s = "~" + s
	}
	if !l.waits {
		s += "+"
	}
	return s + "}\r\n"
}

// maxLiteralMinus is what LITERAL- allows without waiting (RFC 7888 section 5).
const maxLiteralMinus = 4096

// literalOf returns how a literal of that size is to be announced to a server with
// those capabilities.
func literalOf(caps imap.CapSet, size int64) literal {
	switch {
	case caps.Has(imap.CapLiteralPlus):
		return literal{size: size}
	case caps.Has(imap.CapLiteralMinus) && size <= maxLiteralMinus:
		return literal{size: size}
	}
	return literal{size: size, waits: true}
}

// quotable reports whether s can be a quoted string (RFC 9051 section 4.3): 7 bits and
// no line end. Everything else goes as a literal.
func quotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return len(s) <= 1000
}

func quoted(s string) string {
	return `"` + escaped(s) + `"`
}

// escaped returns s as it stands between the quotes.
func escaped(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)
}

// isAtom reports whether s can be an atom, such as a keyword (RFC 9051 section 9).
func isAtom(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// begin registers a command and writes its tag and name. From here on the server is
// listened to until the command is answered.
func (c *Conn) begin(doing, name string, changes bool) (*command, error) {
	cmd := &command{doing: doing, changes: changes, goAhead: make(chan string, 1), done: make(chan struct{})}
	if err := c.register(cmd); err != nil {
		return nil, err
	}
	return cmd, c.write(cmd, cmd.tag+" "+name)
}

// end writes the end of a command, which is sent at the latest when it is waited for.
func (c *Conn) end(cmd *command) error {
	c.mu.Lock()
	cmd.whole = true
	c.mu.Unlock()
	return c.write(cmd, "\r\n")
}

// writeString writes " " and s as a quoted string or a literal. It returns false if the
// server answered the command instead of taking the literal.
func (c *Conn) writeString(cmd *command, s string) (bool, error) {
	if quotable(s) {
		return true, c.write(cmd, " "+quoted(s))
	}
	if strings.ContainsRune(s, 0) {
		return false, c.lose(fmt.Errorf("a string of ours has a NUL byte, which IMAP cannot say"))
	}
	lit := literalOf(c.caps, int64(len(s)))
	if err := c.write(cmd, " "+lit.announcement()); err != nil {
		return false, err
	}
	if lit.waits {
		if ahead, _, err := c.pause(cmd); err != nil || !ahead {
			return false, err
		}
	}
	return true, c.write(cmd, s)
}

// run carries out the command s and returns when it is answered. The answer may be NO or
// BAD.
func (c *Conn) run(doing, s string) (*command, error) {
	cmd, err := c.begin(doing, s, false)
	if err != nil {
		return nil, err
	}
	if err := c.end(cmd); err != nil {
		return nil, err
	}
	return cmd, c.wait(cmd)
}
