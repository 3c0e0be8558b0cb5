package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A Message is one to be written to a mailbox.
type Message struct {
	// Size is how many bytes Body has, exactly.
	Size int64
	// Flags are system flags, as \Seen, and keywords, which are atoms. \Recent is left
	// out: it is the server's.
	Flags []string
	// Date is the internal date, with its zone; zero for the server's now.
	Date time.Time
	// Body is read once, up to its end.
	Body io.Reader
	// Binary says that Body has NUL bytes, which is else found out from its first 64 KiB.
	// See [NULError].
	Binary bool
}

// A Result is what became of one message.
type Result struct {
	// UIDValidity and UID are where the message is now (RFC 4315), 0 if the server does not
	// say, or says it so that it can be understood in two ways.
	UIDValidity, UID uint32
	// Err is nil if the server has the message, and else why not: a [RefusedError], a
	// [BodyError], a [NULError], a [FormError], or why the connection is closed.
	Err error
}

// A Way is how messages are written.
type Way int

const (
	// Best is the first of the other ways that the server can.
	Best Way = iota
	// Together writes all in one MULTIAPPEND (RFC 3502): the server stores all or none.
	Together
	// Pipelined writes APPENDs with literals that wait for nothing (LITERAL+, RFC 7888),
	// and leaves up to [Appender.Window] of them unanswered. Without LITERAL+ each waits for
	// the server to say go ahead, but not for the answers to those before it.
	Pipelined
	// OneByOne has each message answered before the next is written.
	OneByOne
)

// String returns the way's name.
func (w Way) String() string {
	return [...]string{"best", "together", "pipelined", "one by one"}[w]
}

// An Appender writes messages to one mailbox.
type Appender struct {
	// Way is how, if the server can; the next best way if it cannot.
	Way Way
	// Window is how many APPENDs may be unanswered; 0 for 64.
	Window int
	// Limit is the size of the largest message that the server takes, 0 for what it says
	// for all mailboxes (APPENDLIMIT, RFC 7889).
	Limit int64

	conn    *Conn
	mailbox string
}

// Appender returns a writer of messages to a mailbox, whose name is in the form that the
// server gives it in (modified UTF-7).
func (c *Conn) Appender(mailbox string) *Appender { return &Appender{conn: c, mailbox: mailbox} }

// Append writes messages, as one batch. Each is read before the next is asked for, in
// pieces of 64 KiB. The results are those of the messages that were taken from the
// sequence, in its order; the sequence is not read to its end after a refusal that
// means the other messages as well (OVERQUOTA, TRYCREATE, NONEXISTENT, NOPERM, or any
// while they are written together).
//
// The error is nil as long as the connection can be used on, refusals or not, but for an
// error of the sequence itself: what came before it is then written all the same.
// Otherwise the connection is closed, [Conn.Err] is not nil, and for results whose error
// is a [LostError] with Began only a look into the mailbox tells whether the message is
// there.
func (a *Appender) Append(ctx context.Context, messages iter.Seq2[Message, error]) ([]Result, error) {
	defer a.conn.during(ctx)()
	d := a.delivery()
	var failed error
	for message, err := range messages {
		if err != nil {
			failed = fmt.Errorf("reading the messages to append: %w", err)
			break
		}
		if failed = d.take(message); failed != nil || d.stopped {
			break
		}
	}
	if err := d.finish(); failed == nil {
		failed = err
	}
	return d.results, failed
}

const (
	defaultWindow = 64
	// lookahead is how much of a message is read before it is announced: what is wrong
	// with a message no longer than this costs no connection.
	lookahead = 64 << 10
)

// Chosen returns the way in which messages are written, which is never Best: how many
// make a good batch depends on it.
func (a *Appender) Chosen() Way {
	caps := a.conn.caps
	switch {
	case a.Way == Pipelined || a.Way == OneByOne:
		return a.Way
	case caps.Has(imap.CapMultiAppend):
		return Together
	case caps.Has(imap.CapLiteralPlus):
		return Pipelined
	}
	return OneByOne
}

func (a *Appender) delivery() *delivery {
	d := &delivery{c: a.conn, mailbox: a.mailbox, way: a.Chosen(), window: a.Window, limit: a.Limit, buffer: make([]byte, lookahead)}
	if d.window == 0 {
		d.window = defaultWindow
	}
	if d.way == OneByOne {
		d.window = 1
	}
	if limit, ok := a.conn.caps.AppendLimit(); ok && limit != nil && d.limit == 0 {
		d.limit = int64(*limit)
	}
	return d
}

// attributes returns what stands before a message's literal: flags and internal date
// (RFC 9051 section 6.3.12).
func (m Message) attributes() (string, error) {
	if m.Size < 0 {
		return "", &FormError{What: fmt.Sprintf("a size of %d", m.Size)}
	}
	var flags []string
	for _, flag := range m.Flags {
		if strings.EqualFold(flag, `\Recent`) {
			continue
		}
		if !isAtom(strings.TrimPrefix(flag, `\`)) {
			return "", &FormError{What: fmt.Sprintf("flag %q, which is no atom", flag)}
		}
		flags = append(flags, flag)
	}
	s := ""
	if len(flags) > 0 {
		s = " (" + strings.Join(flags, " ") + ")"
	}
	if m.Date.IsZero() {
		return s, nil
	}
	date := m.Date
	if _, offset := date.Zone(); offset%60 != 0 {
		date = date.UTC() // a zone has hours and minutes
	}
	if year := date.Year(); year < 0 || year > 9999 {
		return "", &FormError{What: fmt.Sprintf("a date in the year %d", year)}
	}
	return s + ` "` + date.Format("_2-Jan-2006 15:04:05 -0700") + `"`, nil
}

// meansAll reports whether a refusal is not of the message alone.
func meansAll(err error) bool {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case "OVERQUOTA", "TRYCREATE", "NONEXISTENT", "NOPERM":
		return true
	}
	return false
}
