package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// An UnreachableError says that no connection came about.
type UnreachableError struct {
	Server string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("connecting to %s: %v", e.Server, e.Err)
}
func (e *UnreachableError) Unwrap() error   { return e.Err }
func (e *UnreachableError) Temporary() bool { return !errors.Is(e.Err, context.Canceled) }
func (e *UnreachableError) Hint() string {
	return "Check host and port, that an IMAP server runs there and that no firewall is between."
}

// An InsecureError says that a connection was not made because it would not have been
// protected.
type InsecureError struct {
	Server string
	What   string
}

func (e *InsecureError) Error() string {
	return fmt.Sprintf("connecting to %s: refused: %s", e.Server, e.What)
}
func (e *InsecureError) Temporary() bool { return false }
func (e *InsecureError) Hint() string {
	return "Use TLS; a server with a certificate of its own making is trusted by naming that certificate as a root."
}

// A TLSError says that the server could not prove who it is, or speaks no TLS.
type TLSError struct {
	Server string
	Err    error
}

func (e *TLSError) Error() string   { return fmt.Sprintf("agreeing on TLS with %s: %v", e.Server, e.Err) }
func (e *TLSError) Unwrap() error   { return e.Err }
func (e *TLSError) Temporary() bool { return false }
func (e *TLSError) Hint() string {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(e.Err, &certificate):
		return "Use the name that the certificate has, or name the certificate's authority as a root."
	case errors.As(e.Err, &record):
		return "The port does not begin with TLS: port 993 does, on port 143 use STARTTLS."
	}
	return "Check which of TLS and STARTTLS the port has."
}

// A LoginError says that the server does not let us in: repeating it gives the same,
// and on many servers a lock.
type LoginError struct {
	Server, Mechanism, User string
	// Code is the response code (RFC 5530), Said the server's own words.
	Code, Said string
	next       string
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("logging in to %s as %s by %s: %s", e.Server, clean(e.User), e.Mechanism, e.Said)
}
func (e *LoginError) Temporary() bool { return false }
func (e *LoginError) Hint() string {
	if e.next != "" {
		return e.next
	}
	switch e.Code {
	case "EXPIRED":
		return "The password or the token has expired: give a new one."
	case "PRIVACYREQUIRED":
		return "The server lets nobody in without TLS."
	case "AUTHORIZATIONFAILED":
		return "The login is right, but it may not act as that user: check the server's settings for master users."
	case "CONTACTADMIN":
		return "The server's administrator has to be asked."
	}
	if e.Mechanism == "XOAUTH2" || e.Mechanism == "OAUTHBEARER" {
		return "Check the user and the token: it must be fresh, for that user, and for IMAP."
	}
	return "Check user name and password; some providers want a password of its own for each program, or IMAP switched on."
}

// An UnavailableError says that the server lets nobody in now, or not so many: the same
// call may be repeated later, or with fewer connections.
type UnavailableError struct {
	Server, Doing string
	Code, Said    string
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s, server %s: not now: %s", e.Doing, e.Server, e.Said)
}
func (e *UnavailableError) Temporary() bool { return true }
func (e *UnavailableError) Hint() string {
	return "Try again later, or with fewer connections at a time."
}

// A LostError says that the connection broke.
type LostError struct {
	Server string
	// Doing is what was under way, "" for nothing.
	Doing string
	// Bye is what the server said when it hung up, "" if nothing.
	Bye string
	// Began is set if the server had all it needed to carry out what was under way: only
	// an observation tells whether it did.
	Began bool
	Err   error
}

func (e *LostError) Error() string {
	s := "the connection to " + e.Server + " was lost"
	if e.Doing != "" {
		s = e.Doing + ": " + s
	}
	if e.Began {
		s += ", outcome unknown"
	}
	if e.Bye != "" {
		return s + ": the server said: " + e.Bye
	}
	return s + ": " + e.Err.Error()
}
func (e *LostError) Unwrap() error   { return e.Err }
func (e *LostError) Temporary() bool { return !e.Began && !errors.Is(e.Err, context.Canceled) }
func (e *LostError) Unknown() bool   { return e.Began }
func (e *LostError) Hint() string {
	return "Run the same again: it first looks at what is there."
}

// A SilenceError is the cause of a LostError: the server owed something and no byte moved.
type SilenceError struct{ After time.Duration }

func (e *SilenceError) Error() string { return fmt.Sprintf("nothing came or went for %v", e.After) }

// A ProtocolError says that the server sent what IMAP does not allow, or more than is
// taken from it. The connection is closed.
type ProtocolError struct {
	Server, Doing string
	What          string
	// Began is as in LostError.
	Began bool
}

func (e *ProtocolError) Error() string {
	s := fmt.Sprintf("%s does not speak IMAP as it should: it sent %s", e.Server, e.What)
	if e.Doing != "" {
		s = e.Doing + ": " + s
	}
	return s
}
func (e *ProtocolError) Temporary() bool { return false }
func (e *ProtocolError) Unknown() bool   { return e.Began }
func (e *ProtocolError) Hint() string {
	return "Check that an IMAP server is at that address, and nothing between that changes what it says."
}

// A RefusedError is a server's NO or BAD. The connection can be used on.
type RefusedError struct {
	Server, Doing string
	// Status is NO or BAD; Code and Argument are the response code, as OVERQUOTA, TRYCREATE,
	// TOOBIG, LIMIT or NOPERM (RFC 9051 section 7.1), "" without; Said is the server's own
	// words.
	Status, Code, Argument, Said string
	// Messages is how many messages were refused with this one answer. If there are more
	// than one, it is not known which of them was meant.
	Messages int
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s answered %s: %s", e.Doing, e.Server, e.Status, e.Said)
}
func (e *RefusedError) Temporary() bool { return temporary(e.Code, e.Said) }
func (e *RefusedError) Hint() string {
	switch e.Code {
	case "OVERQUOTA":
		return "Give the account more room on that server."
	case "TRYCREATE", "NONEXISTENT":
		return "Create the mailbox first."
	case "TOOBIG":
		return "The server takes no message of that size: raise its limit, or move the message by hand."
	case "NOPERM":
		return "The login may not write there: check the mailbox's access control list."
	}
	return "The cause is the server's own message above."
}

// A BodyError says that a message's body was not what was announced, or could not be
// read. The message is not on the server.
type BodyError struct {
	Size int64
	Err  error
}

func (e *BodyError) Error() string {
	return fmt.Sprintf("reading a message of %d bytes: %v", e.Size, e.Err)
}
func (e *BodyError) Unwrap() error   { return e.Err }
func (e *BodyError) Temporary() bool { return !errors.Is(e.Err, errTooLong) }
func (e *BodyError) Hint() string {
	return "Read the message again where it comes from; if that gives the same, the server there says a wrong size."
}

// A NULError says that a message has NUL bytes, which a server takes only as literal8
// (RFC 3516). The message is not on the server.
type NULError struct {
	Server string
	// Literal8 is set if the server has that, and the NUL byte came after the message was
	// announced: with [Message.Binary] set it can be written.
	Literal8 bool
}

func (e *NULError) Error() string {
	return fmt.Sprintf("the message has a NUL byte, which %s does not take in a literal", e.Server)
}
func (e *NULError) Temporary() bool { return e.Literal8 }
func (e *NULError) Hint() string {
	if e.Literal8 {
		return "Send it again as binary."
	}
	return "The server has no BINARY extension: move the message by hand, without its NUL bytes."
}

// A FormError says that something of a message cannot be said in IMAP. Nothing was sent.
type FormError struct{ What string }

func (e *FormError) Error() string   { return "appending a message: IMAP cannot say " + e.What }
func (e *FormError) Temporary() bool { return false }
func (e *FormError) Hint() string    { return "Leave it out, and report that." }

// lost reports whether err is of the connection, not of what was said on it.
func lost(err error) bool {
	var network *net.OpError
	var silence *SilenceError
	if errors.As(err, &network) {
		// Go wraps a TLS alert as one, too.
		return network.Op == "read" || network.Op == "write"
	}
	return errors.As(err, &silence) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
