package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"
)

// A delivery is one batch of messages on its way.
type delivery struct {
	c       *Conn
	mailbox string
	way     Way
	window  int
	limit   int64
	buffer  []byte

	results []Result
	// open is the command that messages are being written into together.
	open *batch
	// sent are whole commands not known to be answered, oldest first.
	sent []*batch
	// empty are messages of no bytes, which MULTIAPPEND has another meaning for.
	empty []parcel
	// stopped is set when the rest would be refused as well.
	stopped bool
}

// A batch is a command and the results that its answer is for.
type batch struct {
	cmd *command
	of  []int
}

// A parcel is a message that is fit to be sent.
type parcel struct {
	index      int
	attributes string
	binary     bool
	size       int64
	head       []byte // the first bytes, all of them if there are not more than lookahead
	rest       io.Reader
}

// take sends a message, or notes why it cannot be sent. The error is the connection's.
func (d *delivery) take(m Message) error {
	d.results = append(d.results, Result{})
	p, err := d.pack(m)
	if err != nil {
		d.results[p.index].Err = err
		return nil
	}
	if d.way != Together {
		return d.single(p)
	}
	if p.size == 0 {
		// A literal of no bytes has the whole command refused (RFC 3502, and so Dovecot).
		p.head = nil
		d.empty = append(d.empty, p)
		return nil
	}
	return d.together(p)
}

// pack looks at what of a message can be seen before it is announced.
func (d *delivery) pack(m Message) (parcel, error) {
	p := parcel{index: len(d.results) - 1, size: m.Size, binary: m.Binary, rest: m.Body}
	if p.rest == nil {
		p.rest = bytes.NewReader(nil)
	}
	if d.limit > 0 && m.Size > d.limit {
		return p, &RefusedError{Server: d.c.server, Doing: d.doing(), Status: "NO", Code: "TOOBIG", Messages: 1,
			Said: fmt.Sprintf("it takes no more than %d bytes (APPENDLIMIT), and the message has %d", d.limit, m.Size)}
	}
	var err error
	if p.attributes, err = m.attributes(); err != nil {
		return p, err
	}
	p.head = d.buffer[:min(m.Size, lookahead)]
	if _, err := io.ReadFull(p.rest, p.head); err != nil {
		return p, &BodyError{Size: m.Size, Err: unexpected(err)}
	}
	if m.Size <= lookahead {
		if err := ended(p.rest); err != nil {
			return p, &BodyError{Size: m.Size, Err: err}
		}
	}
	p.binary = p.binary || bytes.IndexByte(p.head, 0) >= 0
	if p.binary && !d.c.caps.Has(imap.CapBinary) {
		return p, &NULError{Server: d.c.server}
	}
	return p, nil
}

var errTooLong = errors.New("it has more bytes than its size")

// ended returns an error if there is more to read.
func ended(r io.Reader) error {
	var one [1]byte
	if n, _ := io.ReadFull(r, one[:]); n > 0 {
		return errTooLong // any other end is one: all bytes are here
	}
	return nil
}

func (d *delivery) doing() string { return "appending to " + clean(d.mailbox) }

// begin begins a command for p, among others. It returns false if the server answered
// it already.
func (d *delivery) begin(p parcel) (*batch, bool, error) {
	cmd, err := d.c.begin(d.doing(), "APPEND", true)
	if err != nil {
		d.results[p.index].Err = err
		return nil, false, err
	}
	taken, err := d.c.writeString(cmd, d.mailbox)
	return &batch{cmd: cmd, of: []int{p.index}}, taken, err
}

// together sends a message as one of many in a command.
func (d *delivery) together(p parcel) error {
	taken, err := true, error(nil)
	if d.open == nil {
		d.open, taken, err = d.begin(p)
	} else {
		d.open.of = append(d.open.of, p.index)
	}
	if err == nil && taken {
		taken, err = d.write(d.open.cmd, p)
	}
	if err != nil || !taken {
		d.cut()
		return err
	}
	select {
	case <-d.open.cmd.done:
		// It is refused while there is still more to come. The command gets its end all the
		// same, so that the next begins where the server expects one.
		cmd := d.open.cmd
		d.cut()
		return d.c.write(cmd, "\r\n")
	default:
		return nil
	}
}

// cut ends the open command early: the server answered it, or the connection is closed.
func (d *delivery) cut() {
	if d.open != nil {
		d.sent = append(d.sent, d.open)
	}
	d.open, d.stopped = nil, true
}

// single sends a message as a command of its own, and waits until there is room for
// another.
func (d *delivery) single(p parcel) error {
	b, taken, err := d.begin(p)
	if b == nil {
		return err
	}
	d.sent = append(d.sent, b)
	if err == nil && taken {
		taken, err = d.write(b.cmd, p)
	}
	if err == nil && taken {
		err = d.c.end(b.cmd)
	}
	for err == nil && len(d.sent) >= d.window {
		err = d.settle()
	}
	return err
}

// write writes a message into a command. It returns false if the server refused the
// command before it took the message.
func (d *delivery) write(cmd *command, p parcel) (bool, error) {
	lit := literalOf(d.c.caps, p.size)
	lit.binary = p.binary
	if err := d.c.write(cmd, p.attributes+" "+lit.announcement()); err != nil {
		return false, err
	}
	if lit.waits {
		if ahead, _, err := d.c.pause(cmd); err != nil || !ahead {
			return false, err
		}
	}
	if err := d.put(cmd, p.head); err != nil {
		return false, err
	}
	return true, d.writeRest(cmd, p)
}

// writeRest writes what was not read before the message was announced. A message that
// cannot be written to its end takes the connection with it, and so the server
// discards it.
func (d *delivery) writeRest(cmd *command, p parcel) error {
	left := p.size - int64(len(p.head))
	if left == 0 {
		return nil
	}
	for left > 0 {
		n, err := p.rest.Read(d.buffer[:min(left, lookahead)])
		left -= int64(n)
		if bytes.IndexByte(d.buffer[:n], 0) >= 0 && !p.binary {
			return d.abandon(p, &NULError{Server: d.c.server, Literal8: d.c.caps.Has(imap.CapBinary)})
		}
		if err := d.put(cmd, d.buffer[:n]); err != nil {
			return err
		}
		if err != nil && left > 0 {
			return d.abandon(p, &BodyError{Size: p.size, Err: unexpected(err)})
		}
	}
	if err := ended(p.rest); err != nil {
		return d.abandon(p, &BodyError{Size: p.size, Err: err})
	}
	return nil
}

func (d *delivery) put(cmd *command, data []byte) error {
	if _, err := d.c.w.Write(data); err != nil {
		return d.c.errorOf(cmd, err)
	}
	return nil
}

// abandon closes the connection because of a message, once the commands before it are
// answered.
func (d *delivery) abandon(p parcel, cause error) error {
	before := d.sent
	if d.way != Together {
		before = d.sent[:len(d.sent)-1] // the last is the message's own
	}
	for _, b := range before {
		if d.c.wait(b.cmd) != nil {
			break
		}
	}
	_ = d.c.lose(cause)
	d.results[p.index].Err = cause
	return cause
}

// settle waits for the oldest answer and gives it to the messages it is for. The error is
// the connection's.
func (d *delivery) settle() error {
	b := d.sent[0]
	d.sent = d.sent[1:]
	lost := d.c.wait(b.cmd)
	<-b.cmd.done // it is, now: by its answer, or with the connection
	err := b.cmd.err
	if err == nil && b.cmd.answer.kind != "OK" {
		err = d.c.refusal(b.cmd, len(b.of))
		d.stopped = d.stopped || meansAll(err)
	}
	var validity uint32
	uids := make([]uint32, len(b.of))
	if err == nil && b.cmd.answer.code == "APPENDUID" {
		validity, uids = appendUID(b.cmd.answer.argument, len(b.of))
	}
	for n, i := range b.of {
		switch {
		case d.results[i].Err != nil:
		case err != nil:
			d.results[i].Err = err
		default:
			d.results[i].UIDValidity, d.results[i].UID = validity, uids[n]
		}
	}
	return lost
}

// finish ends what is open and waits for all answers.
func (d *delivery) finish() error {
	var failed error
	if d.open != nil {
		failed = d.c.end(d.open.cmd)
		d.sent = append(d.sent, d.open)
		d.open = nil
	}
	for _, p := range d.empty {
		if err := d.single(p); failed == nil {
			failed = err
		}
	}
	for len(d.sent) > 0 {
		if err := d.settle(); failed == nil {
			failed = err
		}
	}
	return failed
}
