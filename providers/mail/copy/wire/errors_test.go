package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// What errors say to people and to the programs that decide whether to go on.
func TestErrors(t *testing.T) {
	type said interface {
		error
		Hint() string
		Temporary() bool
	}
	silence := &wire.SilenceError{After: 2 * time.Minute}
	for _, test := range []struct {
		err       said
		want      string
		temporary bool
		unknown   bool
	}{
		{&wire.UnreachableError{Server: "a:1", Err: io.EOF}, "connecting to a:1: EOF", true, false},
		{&wire.UnreachableError{Server: "a:1", Err: context.Canceled}, "connecting to a:1: context canceled", false, false},
		{&wire.InsecureError{Server: "a:1", What: "x"}, "connecting to a:1: refused: x", false, false},
		{&wire.TLSError{Server: "a:1", Err: io.EOF}, "agreeing on TLS with a:1: EOF", false, false},
		{&wire.TLSError{Server: "a:1", Err: tls.RecordHeaderError{Msg: "no TLS"}}, "agreeing on TLS with a:1: tls: no TLS", false, false},
		{&wire.TLSError{Server: "a:1", Err: &tls.CertificateVerificationError{Err: io.EOF}}, "agreeing on TLS with a:1: tls: failed to verify certificate: EOF", false, false},
		{&wire.LoginError{Server: "a:1", User: "u\n", Mechanism: "PLAIN", Code: "EXPIRED", Said: "x"}, "logging in to a:1 as u by PLAIN: x", false, false},
		{&wire.LoginError{Server: "a:1", User: "u", Mechanism: "PLAIN", Code: "PRIVACYREQUIRED", Said: "x"}, "logging in to a:1 as u by PLAIN: x", false, false},
		{&wire.LoginError{Server: "a:1", User: "u", Mechanism: "PLAIN", Code: "AUTHORIZATIONFAILED", Said: "x"}, "logging in to a:1 as u by PLAIN: x", false, false},
		{&wire.LoginError{Server: "a:1", User: "u", Mechanism: "PLAIN", Code: "CONTACTADMIN", Said: "x"}, "logging in to a:1 as u by PLAIN: x", false, false},
		{&wire.LoginError{Server: "a:1", User: "u", Mechanism: "XOAUTH2", Said: "x"}, "logging in to a:1 as u by XOAUTH2: x", false, false},
		{&wire.UnavailableError{Server: "a:1", Doing: "connecting", Said: "x"}, "connecting, server a:1: not now: x", true, false},
		{&wire.LostError{Server: "a:1", Err: silence}, "the connection to a:1 was lost: nothing came or went for 2m0s", true, false},
		{&wire.LostError{Server: "a:1", Doing: "appending to x", Began: true, Err: io.EOF}, "appending to x: the connection to a:1 was lost, outcome unknown: EOF", false, true},
		{&wire.LostError{Server: "a:1", Bye: "bye", Err: io.EOF}, "the connection to a:1 was lost: the server said: bye", true, false},
		{&wire.LostError{Server: "a:1", Err: context.Canceled}, "the connection to a:1 was lost: context canceled", false, false},
		{&wire.ProtocolError{Server: "a:1", What: "x"}, "a:1 does not speak IMAP as it should: it sent x", false, false},
		{&wire.ProtocolError{Server: "a:1", Doing: "appending to x", What: "y", Began: true}, "appending to x: a:1 does not speak IMAP as it should: it sent y", false, true},
		{&wire.RefusedError{Server: "a:1", Doing: "appending to x", Status: "NO", Code: "OVERQUOTA", Said: "y"}, "appending to x: a:1 answered NO: y", false, false},
		{&wire.RefusedError{Server: "a:1", Doing: "appending to x", Status: "NO", Code: "INUSE", Said: "y"}, "appending to x: a:1 answered NO: y", true, false},
		{&wire.RefusedError{Server: "a:1", Doing: "appending to x", Status: "NO", Said: "Temporary failure"}, "appending to x: a:1 answered NO: Temporary failure", true, false},
		{&wire.BodyError{Size: 3, Err: io.ErrUnexpectedEOF}, "reading a message of 3 bytes: unexpected EOF", true, false},
		{&wire.NULError{Server: "a:1"}, "the message has a NUL byte, which a:1 does not take in a literal", false, false},
		{&wire.NULError{Server: "a:1", Literal8: true}, "the message has a NUL byte, which a:1 does not take in a literal", true, false},
		{&wire.FormError{What: "x"}, "appending a message: IMAP cannot say x", false, false},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%T says %q\nwant %q", test.err, got, test.want)
		}
		if got := test.err.Temporary(); got != test.temporary {
			t.Errorf("%v: temporary is %v", test.err, got)
		}
		unknown, ok := test.err.(interface{ Unknown() bool })
		if got := ok && unknown.Unknown(); got != test.unknown {
			t.Errorf("%v: unknown is %v", test.err, got)
		}
		if test.err.Hint() == "" {
			t.Errorf("%v: no hint", test.err)
		}
	}
	if err := error(&wire.LostError{Server: "a:1", Err: silence}); !errors.Is(err, silence) {
		t.Errorf("%v: its cause is not found", err)
	}
}
