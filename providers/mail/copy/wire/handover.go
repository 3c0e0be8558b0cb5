package wire

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Handover gives the connection away, as one on which a server greets with PREAUTH and its
// capabilities, as imapclient.New takes it. It is closed when ctx ends, when its
// Close is called, or when the server owes an answer and is silent; reads and writes
// then return the reason, and so does [Conn.Err], in a form that can be told apart. The
// Conn is used for nothing else any more.
//
// IDLE, in which silence is no fault, is not for such a connection.
//
// Capabilities that go-imap would misuse are left out: IMAP4rev2 with IMAP4rev1 beside it
// and UTF8=ACCEPT, for which it sends mailbox names in UTF-8 before that is agreed on.
func (c *Conn) Handover(ctx context.Context) net.Conn {
	h := &handed{Conn: c.stream, conn: c}
	h.r = io.MultiReader(strings.NewReader("* PREAUTH [CAPABILITY "+greetingCaps(c.caps)+"] ready\r\n"), c.r)
	h.stop = context.AfterFunc(ctx, func() { c.guard.kill(context.Cause(ctx)) })
	return h
}

// implied are what IMAP4rev2 contains (RFC 9051 appendix E) of what go-imap looks for.
func implied() []imap.Cap {
	return []imap.Cap{imap.CapNamespace, imap.CapUnselect, imap.CapUIDPlus, imap.CapESearch, imap.CapSearchRes, imap.CapEnable, imap.CapIdle,
		imap.CapSASLIR, imap.CapListExtended, imap.CapListStatus, imap.CapMove, imap.CapLiteralMinus, imap.CapStatusSize, imap.CapChildren}
}

func greetingCaps(caps imap.CapSet) string {
	caps = caps.Copy()
	if _, ok := caps[imap.CapIMAP4rev1]; ok && caps.Has(imap.CapIMAP4rev2) {
		delete(caps, imap.CapIMAP4rev2)
		for _, name := range implied() {
			caps[name] = struct{}{}
		}
	}
	delete(caps, imap.CapUTF8Accept)
	var names []string
	for name := range caps {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// A handed connection knows whether the server owes an answer from the tags that pass:
// it does from when a tag goes until a line comes that begins with it.
type handed struct {
	net.Conn
	conn *Conn
	r    io.Reader
	stop func() bool

	mu     sync.Mutex
	tag    []byte // of the last command
	within bool   // a line is going out that is not at its end
	line   []byte // the beginning of the line that is coming in
	owing  bool
}

// longestTag is how much of a line is looked at.
const longestTag = 32

func (h *handed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	for rest := p[:n]; len(rest) > 0; {
		piece, after, whole := bytes.Cut(rest, []byte("\n"))
		h.line = append(h.line, piece[:min(len(piece), longestTag-len(h.line))]...)
		rest = after
		if whole {
			if h.tag != nil && bytes.HasPrefix(h.line, h.tag) {
				h.owes(false)
			}
			h.line = h.line[:0]
		}
	}
	return n, h.noted(err)
}

func (h *handed) Write(p []byte) (int, error) {
	h.mu.Lock()
	if tag := tagOf(p); tag != nil && !h.within {
		h.tag = bytes.Clone(tag)
	}
	h.within = !bytes.HasSuffix(p, []byte("\n"))
	h.owes(true)
	h.mu.Unlock()
	n, err := h.conn.w.Write(p)
	if err == nil {
		err = h.conn.w.Flush()
	}
	if err == nil && h.conn.deflate != nil {
		err = h.conn.deflate.Flush()
	}
	return n, h.noted(err)
}

// tagOf returns the tag that a command of go-imap begins with, T and a number, and the
// space after it; nil for what begins otherwise, such as a literal.
func tagOf(p []byte) []byte {
	tag, _, ok := bytes.Cut(p, []byte(" "))
	digits, t := bytes.CutPrefix(tag, []byte("T"))
	if !ok || !t || len(digits) == 0 || len(digits) > 20 || len(bytes.Trim(digits, "0123456789")) > 0 {
		return nil
	}
	return p[:len(tag)+1]
}

// noted has [Conn.Err] tell what err is, since what go-imap makes of it is mere text.
func (h *handed) noted(err error) error {
	if err != nil {
		_ = h.conn.lose(err)
	}
	return err
}

// owes notes whether the server must say something. mu is held.
func (h *handed) owes(owing bool) {
	switch {
	case owing && !h.owing:
		h.conn.guard.owe()
	case !owing && h.owing:
		h.conn.guard.settle()
	}
	h.owing = owing
}

// The deadlines of who got the connection do not move on while bytes flow, as the
// guard's does: a large message over a slow network would end by them.

func (h *handed) SetDeadline(time.Time) error      { return nil }
func (h *handed) SetReadDeadline(time.Time) error  { return nil }
func (h *handed) SetWriteDeadline(time.Time) error { return nil }

func (h *handed) Close() error {
	h.stop()
	return h.conn.Close()
}
