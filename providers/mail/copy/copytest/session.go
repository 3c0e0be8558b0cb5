package copytest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A session is a connection for what go-imap cannot do: MULTIAPPEND, pipelined APPEND and LSUB. It speaks to servers
// of this package alone, and so is as simple as they allow.
type session struct {
	conn  net.Conn
	in    *bufio.Reader
	out   *bufio.Writer
	caps  []string
	count int
}

// patience is how long a server may take for an answer.
const patience = 2 * time.Minute

func (s *Server) open(user User) (*session, error) {
	conn, err := tls.Dial("tcp", s.IMAPS, s.TLS())
	if err != nil {
		return nil, err
	}
	c := &session{conn: conn, in: bufio.NewReader(conn), out: bufio.NewWriterSize(conn, 1<<16)}
	if err := c.login(user); err != nil {
		conn.Close()
		return nil, fmt.Errorf("logging in as %s: %w", user.Name, err)
	}
	return c, nil
}

func (c *session) login(user User) error {
	if _, err := c.line(); err != nil { // the greeting
		return err
	}
	tag := c.send("AUTHENTICATE PLAIN")
	if err := c.prompt(tag); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s\r\n", base64.StdEncoding.EncodeToString([]byte("\x00"+user.Name+"\x00"+user.Password)))
	if _, err := c.finish(tag); err != nil {
		return err
	}
	lines, err := c.finish(c.send("CAPABILITY"))
	if err != nil {
		return err
	}
	for _, line := range lines {
		if names, ok := strings.CutPrefix(line, "* CAPABILITY "); ok {
			c.caps = strings.Fields(names)
		}
	}
	return nil
}

func (c *session) has(capability string) bool { return slices.Contains(c.caps, capability) }

// send begins a command and returns its tag.
func (c *session) send(command string) string {
	c.count++
	tag := "T" + strconv.Itoa(c.count)
	fmt.Fprintf(c.out, "%s %s\r\n", tag, command)
	return tag
}

// line reads a line with the literals in it, each as it stands after its length.
func (c *session) line() (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	var whole strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		whole.WriteString(line)
		size, ok := literalSize(line)
		if !ok {
			return whole.String(), nil
		}
		literal := make([]byte, size)
		if _, err := io.ReadFull(c.in, literal); err != nil {
			return "", err
		}
		whole.Write(literal)
	}
}

func literalSize(line string) (int, bool) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return 0, false
	}
	size, err := strconv.Atoi(line[open+1 : len(line)-1])
	return size, err == nil
}

// finish reads until the answer to a command and returns the untagged lines before it.
func (c *session) finish(tag string) ([]string, error) {
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	var lines []string
	for {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		answer, ok := strings.CutPrefix(line, tag+" ")
		switch {
		case !ok:
			lines = append(lines, line)
		case strings.HasPrefix(answer, "OK"):
			return lines, nil
		default:
			return nil, fmt.Errorf("answered %s", answer)
		}
	}
}

// prompt waits until the server asks for more.
func (c *session) prompt(tag string) error {
	if err := c.out.Flush(); err != nil {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, "+") {
			return nil
		}
		if answer, ok := strings.CutPrefix(line, tag+" "); ok {
			return fmt.Errorf("answered %s", answer)
		}
	}
}

// literal writes a literal of an APPEND, after the text before it.
func (c *session) literal(tag, before string, octets []byte) error {
	if c.has("LITERAL+") {
		fmt.Fprintf(c.out, "%s {%d+}\r\n", before, len(octets))
	} else {
		fmt.Fprintf(c.out, "%s {%d}\r\n", before, len(octets))
		if err := c.prompt(tag); err != nil {
			return err
		}
	}
	_, err := c.out.Write(octets)
	return err
}

// appendAll appends messages in order: many with a command where there is MULTIAPPEND (RFC 3502), otherwise many
// commands before the first answer where there is LITERAL+ (RFC 7888).
func (c *session) appendAll(box string, messages []Message) error {
	const window, most = 100, 4 << 20
	var tags []string
	settle := func() error {
		for _, tag := range tags {
			if _, err := c.finish(tag); err != nil {
				return err
			}
		}
		tags = nil
		return nil
	}
	for len(messages) > 0 {
		n := 1
		for size := len(messages[0].Body); c.has("MULTIAPPEND") && n < min(window, len(messages)) && size < most; n++ {
			size += len(messages[n].Body)
		}
		tag, err := c.appendBatch(box, messages[:n])
		if err != nil {
			return err
		}
		messages, tags = messages[n:], append(tags, tag)
		if n > 1 || len(tags) >= window || !c.has("LITERAL+") {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

func (c *session) appendBatch(box string, messages []Message) (tag string, err error) {
	c.count++
	tag = "T" + strconv.Itoa(c.count)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	for i, m := range messages {
		before := fmt.Sprintf(` (%s) "%s"`, strings.Join(m.Flags, " "), m.Date.Format("_2-Jan-2006 15:04:05 -0700"))
		if i == 0 {
			before = tag + " APPEND " + quote(box) + before
		}
		if err := c.literal(tag, before, m.Body); err != nil {
			return "", err
		}
	}
	_, err = c.out.WriteString("\r\n")
	return tag, err
}

// quote returns a mailbox's name as a quoted string.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(encodeUTF7(name)) + `"`
}

// listSubscribed asks with LSUB, which every server knows.
func listSubscribed(s *Server, user User) ([]*imap.ListData, error) {
	c, err := s.open(user)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	lines, err := c.finish(c.send(`LSUB "" "*"`))
	if err != nil {
		return nil, err
	}
	var list []*imap.ListData
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "* LSUB ")
		if !ok {
			continue
		}
		// (attributes) "/" name
		attributes, rest, _ := strings.Cut(rest, ") ")
		if strings.Contains(strings.ToLower(attributes), `\noselect`) {
			continue // it is not subscribed to itself, but one below it is (RFC 3501 section 6.3.9)
		}
		delim, name, ok := strings.Cut(rest, " ")
		if !ok {
			return nil, fmt.Errorf("answered %q", line)
		}
		data := &imap.ListData{}
		if delim = strings.ReplaceAll(strings.Trim(delim, `"`), `\\`, `\`); delim != "NIL" {
			data.Delim = rune(delim[0])
		}
		if data.Mailbox, err = decodeUTF7(unquote(name)); err != nil {
			return nil, err
		}
		list = append(list, data)
	}
	return list, nil
}

// unquote reads an atom, a quoted string, or a literal behind its length.
func unquote(text string) string {
	if strings.HasPrefix(text, "{") {
		_, literal, _ := strings.Cut(text, "}")
		return literal
	}
	if !strings.HasPrefix(text, `"`) {
		return text
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(text[1 : len(text)-1])
}
