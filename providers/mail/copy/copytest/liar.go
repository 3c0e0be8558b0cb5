package copytest

import (
	"bufio"
	"io"
	"iter"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Liar stands before an IMAP server and changes what it says. It speaks without TLS, on loopback. It holds whole
// responses in memory, so its messages should be small.
type Liar struct {
	Address string // 127.0.0.1:port

	target   string
	listener net.Listener
	lies     []Lie

	mu          sync.Mutex // held while a lie is made up
	connections int
	commands    []string
	open        map[net.Conn]bool
	closed      bool
	group       sync.WaitGroup
}

// A Lie is one way to deceive. Both its functions may be nil. They are never called at the same time, also not for
// different connections.
type Lie struct {
	// Command is called with each command of the client before the server has it. If it returns anything but "", that is
	// said in the server's place, which never learns of the command.
	Command func(t *Talk) string
	// Response is called with each response of the server, with its literals and line end, or with each that the lies
	// before have made of it. It returns what the client gets instead: none, one, or several.
	Response func(t *Talk, response string) string
}

// A Talk is one connection, as a lie sees it.
type Talk struct {
	Connection int    // counted from 1
	Tag        string // of the last command
	Command    string // the last command without its tag, up to its first literal

	hungUp, silent bool
	mute           bool // the last word has been said
}

// HangUp ends the connection when what the lie returns has been said.
func (t *Talk) HangUp() { t.hungUp = true }

// FallSilent has nothing said any more when what the lie returns has been said. The connection stays.
func (t *Talk) FallSilent() { t.silent = true }

// Tell puts lies before the server at an address that speaks IMAP without TLS, such as [Server.IMAP]. It ends with the
// test.
func Tell(t testing.TB, target string, lies ...Lie) *Liar {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening for a liar: %v", err)
	}
	l := &Liar{Address: listener.Addr().String(), target: target, listener: listener, lies: lies, open: map[net.Conn]bool{}}
	l.group.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

// Commands returns all commands that clients have sent, without their tags and each up to its first literal: for tests of
// what a client never asks. [Tell] without lies is enough for that.
func (l *Liar) Commands() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.commands)
}

func (l *Liar) close() {
	l.listener.Close()
	l.mu.Lock()
	l.closed = true
	for conn := range l.open {
		conn.Close()
	}
	l.mu.Unlock()
	l.group.Wait()
}

func (l *Liar) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", l.target)
		if err != nil {
			client.Close()
			continue
		}
		l.mu.Lock()
		if l.closed {
			client.Close()
			server.Close()
			l.mu.Unlock()
			return
		}
		l.connections++
		c := &lying{liar: l, client: client, server: server, answered: make(chan bool, 1), talk: Talk{Connection: l.connections}}
		l.open[client], l.open[server] = true, true
		l.mu.Unlock()
		l.group.Go(c.commands)
		l.group.Go(c.responses)
	}
}

// lying is one connection of a client to a server.
type lying struct {
	liar           *Liar
	client, server net.Conn
	answered       chan bool // whether the server wants the literal that was announced
	waiting        string    // the tag of the command whose literal was announced; under the liar's lock
	talk           Talk      // under the liar's lock
}

func (c *lying) end() {
	c.client.Close()
	c.server.Close()
	c.liar.mu.Lock()
	defer c.liar.mu.Unlock()
	delete(c.liar.open, c.client)
	delete(c.liar.open, c.server)
	if c.waiting != "" {
		c.waiting = ""
		c.answered <- false
	}
}

var (
	literalEnd = regexp.MustCompile(`\{(\d+)(\+?)\}\r?\n$`) // the length, and whether the literal comes unasked
	taggedLine = regexp.MustCompile(`^([0-9A-Za-z.]+) ([A-Za-z]+.*?)\r?\n$`)
)

// commands passes on what the client says, command by command.
func (c *lying) commands() {
	defer c.end()
	in := bufio.NewReader(c.client)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if found := taggedLine.FindStringSubmatch(line); found != nil && c.intercept(found[1], found[2]) {
			if swallow(in, io.Discard, line) != nil {
				return
			}
			continue
		}
		if c.pass(in, line) != nil {
			return
		}
	}
}

// intercept has lies answer a command.
func (c *lying) intercept(tag, command string) bool {
	c.liar.mu.Lock()
	defer c.liar.mu.Unlock()
	c.talk.Tag, c.talk.Command = tag, command
	c.liar.commands = append(c.liar.commands, command)
	for _, lie := range c.liar.lies {
		if lie.Command == nil {
			continue
		}
		if text := lie.Command(&c.talk); text != "" || c.talk.hungUp || c.talk.silent {
			c.say(text)
			return true
		}
	}
	return false
}

// swallow reads the rest of a command behind a line of it, as far as the client sends it unasked.
func swallow(in *bufio.Reader, out io.Writer, line string) error {
	for {
		found := literalEnd.FindStringSubmatch(line)
		if found == nil || found[2] == "" {
			return nil
		}
		size, err := strconv.ParseInt(found[1], 10, 64)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, size); err != nil {
			return err
		}
		if line, err = in.ReadString('\n'); err != nil {
			return err
		}
		if _, err := io.WriteString(out, line); err != nil {
			return err
		}
	}
}

// pass sends a command to the server, whose first line was read.
func (c *lying) pass(in *bufio.Reader, line string) error {
	for {
		found := literalEnd.FindStringSubmatch(line)
		if found != nil && found[2] == "" {
			c.liar.mu.Lock()
			c.waiting = c.talk.Tag
			c.liar.mu.Unlock()
		}
		if _, err := io.WriteString(c.server, line); err != nil {
			return err
		}
		if found == nil {
			return nil
		}
		if found[2] == "" && !<-c.answered {
			return nil // refused: a new command comes
		}
		size, err := strconv.ParseInt(found[1], 10, 64)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(c.server, in, size); err != nil {
			return err
		}
		if line, err = in.ReadString('\n'); err != nil {
			return err
		}
	}
}

// responses passes on what the server says, as the lies will have it.
func (c *lying) responses() {
	defer c.end()
	in := bufio.NewReader(c.server)
	for {
		response, err := readResponse(in)
		if err != nil {
			return
		}
		c.liar.mu.Lock()
		if c.waiting != "" && (strings.HasPrefix(response, "+") || strings.HasPrefix(response, c.waiting+" ")) {
			c.waiting = ""
			c.answered <- response[0] == '+'
		}
		c.say(c.distort(response))
		c.liar.mu.Unlock()
	}
}

// distort has each lie change what those before it have made of a response.
func (c *lying) distort(response string) string {
	for _, lie := range c.liar.lies {
		if lie.Response == nil || c.talk.mute {
			continue
		}
		var changed strings.Builder
		for one := range responsesIn(response) {
			changed.WriteString(lie.Response(&c.talk, one))
		}
		response = changed.String()
	}
	return response
}

// responsesIn divides responses; what is none, because of a lie before, comes last and in one piece.
func responsesIn(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			one, err := readResponse(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				one = text
			}
			if text = text[len(one):]; !yield(one) {
				return
			}
		}
	}
}

// say tells the client something, under the liar's lock.
func (c *lying) say(text string) {
	if c.talk.mute {
		return
	}
	_, _ = io.WriteString(c.client, text) // an error means that the client has gone, which its reader sees
	c.talk.mute = c.talk.silent || c.talk.hungUp
	if c.talk.hungUp {
		c.client.Close()
	}
}

// readResponse reads a line and the literals in it, up to the end of its last line.
func readResponse(in *bufio.Reader) (string, error) {
	var response strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		response.WriteString(line)
		found := literalEnd.FindStringSubmatch(line)
		if found == nil {
			return response.String(), nil
		}
		size, err := strconv.ParseInt(found[1], 10, 64)
		if err != nil {
			return "", err
		}
		if _, err := io.CopyN(&response, in, size); err != nil {
			return "", err
		}
	}
}
