package wire

import (
	"bufio"
	"compress/flate"
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A Conn is a connection to an IMAP server, logged in. It is used by one goroutine at a
// time, and either by [Conn.Handover] or by everything else.
type Conn struct {
	server  string
	guard   *guard
	stream  net.Conn // guard, or TLS over it
	r       *bufio.Reader
	w       *bufio.Writer
	deflate *flate.Writer // under w, nil without compression

	caps     imap.CapSet
	identity map[string]string
	// secrets are what no error may show.
	secrets []string

	mu        sync.Mutex
	tags      int
	waiting   []*command // begun and not answered, oldest first
	listening bool       // the listener runs: exactly while something is waiting
	heard     int        // bytes since the last answer
	bye       string     // what the server said with BYE
	dead      error      // why the connection is closed
	gone      chan struct{}
}

func newConn(server string, conn net.Conn, idle time.Duration) *Conn {
	c := &Conn{server: server, guard: newGuard(conn, idle), gone: make(chan struct{})}
	c.carry(c.guard)
	return c
}

// carry makes conn what is read and written.
func (c *Conn) carry(conn net.Conn) {
	c.stream = conn
	c.r = bufio.NewReaderSize(conn, maxLine)
	c.w = bufio.NewWriterSize(conn, 64<<10)
}

// Err returns why the connection is closed, nil while it can be used.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// Caps returns what the server offers to the user who is logged in.
func (c *Conn) Caps() imap.CapSet { return c.caps.Copy() }

// ServerID returns how the server describes itself (RFC 2971), nil if it does not.
func (c *Conn) ServerID() map[string]string { return maps.Clone(c.identity) }

// Enable switches extensions on (RFC 5161) and returns those that this switched on; what
// the server does not know is not among them.
func (c *Conn) Enable(ctx context.Context, names ...imap.Cap) (imap.CapSet, error) {
	defer c.during(ctx)()
	s := "ENABLE"
	for _, name := range names {
		s += " " + string(name)
	}
	cmd, err := c.run("enabling extensions", s)
	if err != nil {
		return nil, err
	}
	if cmd.answer.kind != "OK" {
		return nil, c.refusal(cmd, 0)
	}
	enabled := imap.CapSet{}
	for _, data := range cmd.data {
		if data.kind == "ENABLED" {
			maps.Copy(enabled, parseCaps(string(data.data)))
		}
	}
	return enabled, nil
}

// Logout says good-bye and closes the connection. The server's answer is waited for, so
// that the connection does not count against the user's limit any more.
func (c *Conn) Logout(ctx context.Context) error {
	defer c.during(ctx)()
	defer c.Close()
	_, err := c.run("logging out", "LOGOUT")
	return err
}

// Close closes the connection without a word. It may be called at any time, more than
// once and by any goroutine; what is under way then ends with an error.
func (c *Conn) Close() error {
	_ = c.lose(net.ErrClosed)
	return nil
}

// during has the end of ctx close the connection, until the function it returns is
// called.
func (c *Conn) during(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { c.guard.kill(context.Cause(ctx)) })
	return func() { stop() }
}

// register takes a command among those the server is listened to for.
func (c *Conn) register(cmd *command) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return c.dead
	}
	c.tags++
	cmd.tag = "M" + strconv.Itoa(c.tags)
	c.waiting = append(c.waiting, cmd)
	if !c.listening {
		c.listening = true
		go c.listen()
	}
	return nil
}

// listen reads what the server says until nothing is waited for. Between commands
// nothing is read, so that the connection can be handed on.
func (c *Conn) listen() {
	for {
		resp, size, err := readResponse(c.r, maxAnswer)
		if err != nil {
			_ = c.lose(err)
			return
		}
		more, err := c.hear(resp, size)
		if err != nil {
			_ = c.lose(err)
			return
		}
		if !more {
			return
		}
	}
}

// hear gives a response to the command that it is for, and reports whether another is
// waited for.
func (c *Conn) hear(resp response, size int) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return false, nil // it was closed while this came
	}
	if c.heard += size; c.heard > maxAnswer {
		return false, malformed("more than %d bytes before an answer", maxAnswer)
	}
	switch {
	case resp.tag == "+":
		i := slices.IndexFunc(c.waiting, func(cmd *command) bool { return cmd.pausing })
		if i < 0 {
			return false, malformed("+, which nothing waits for: %s", resp.text)
		}
		c.waiting[i].pausing = false
		c.waiting[i].goAhead <- resp.text
	case resp.tag == "*" && resp.kind == "BYE":
		c.bye = resp.said()
	case resp.tag == "*":
		if !c.waiting[0].changes {
			c.waiting[0].data = append(c.waiting[0].data, resp)
		}
	default:
		return c.answered(resp)
	}
	return true, nil
}

// answered settles the command that resp answers. mu is held.
func (c *Conn) answered(resp response) (bool, error) {
	i := slices.IndexFunc(c.waiting, func(cmd *command) bool { return cmd.tag == resp.tag })
	if i < 0 {
		return false, malformed("an answer to a command that was not given: %s %s", resp.tag, resp.kind)
	}
	cmd := c.waiting[i]
	if resp.kind == "OK" && !cmd.whole {
		return false, malformed("OK to a command that was not complete (%s)", cmd.doing)
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	c.heard = 0
	c.listening = len(c.waiting) > 0
	cmd.answer = resp
	close(cmd.done)
	return c.listening, nil
}

// lose closes the connection for good, tells everything that waits and returns why.
func (c *Conn) lose(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return c.dead
	}
	c.dead = c.loss(err, "", false)
	for _, cmd := range c.waiting {
		cmd.err = c.loss(err, cmd.doing, cmd.changes && cmd.whole)
		close(cmd.done)
	}
	c.waiting, c.listening = nil, false
	close(c.gone)
	c.guard.kill(c.dead)
	return c.dead
}

// loss is the error of a command that err cut off. mu is held.
func (c *Conn) loss(err error, doing string, began bool) error {
	var broken *malformedError
	if errors.As(err, &broken) {
		return &ProtocolError{Server: c.server, Doing: doing, What: c.discreet(broken.what), Began: began}
	}
	return &LostError{Server: c.server, Doing: doing, Bye: c.discreet(c.bye), Began: began, Err: err}
}

// grace is how long the listener may take to find out why writing is impossible: a
// server that hangs up often says why.
const grace = 2 * time.Second

// broken returns why the connection is gone, after a write that ended with err.
func (c *Conn) broken(err error) error {
	c.mu.Lock()
	listening := c.listening
	c.mu.Unlock()
	if listening {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.gone:
		case <-timer.C:
		}
	}
	return c.lose(err)
}

// errorOf returns why cmd cannot be, once the connection is dead.
func (c *Conn) errorOf(cmd *command, err error) error {
	err = c.broken(err)
	select {
	case <-cmd.done:
		if cmd.err != nil {
			return cmd.err
		}
	default:
	}
	return err
}

func (c *Conn) write(cmd *command, s string) error {
	if _, err := c.w.WriteString(s); err != nil {
		return c.errorOf(cmd, err)
	}
	return nil
}

func (c *Conn) flush(cmd *command) error {
	err := c.w.Flush()
	if err == nil && c.deflate != nil {
		err = c.deflate.Flush()
	}
	if err != nil {
		return c.errorOf(cmd, err)
	}
	return nil
}

// wait sends what is written and returns when cmd is answered.
func (c *Conn) wait(cmd *command) error {
	if err := c.flush(cmd); err != nil {
		return err
	}
	c.guard.owe()
	defer c.guard.settle()
	<-cmd.done
	return cmd.err
}

// pause sends what is written and waits for the server to say go ahead; it returns what
// came with it, or false if the command was answered instead.
func (c *Conn) pause(cmd *command) (bool, string, error) {
	c.mu.Lock()
	cmd.pausing = true
	c.mu.Unlock()
	if err := c.flush(cmd); err != nil {
		return false, "", err
	}
	c.guard.owe()
	defer c.guard.settle()
	select {
	case text := <-cmd.goAhead:
		return true, text, nil
	case <-cmd.done:
		return false, "", cmd.err
	}
}
