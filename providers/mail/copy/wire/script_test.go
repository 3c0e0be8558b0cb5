package wire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// A script is the server's side of a conversation. Its methods end the script where the
// client does not do as it should.
type script struct {
	conn net.Conn
	r    *bufio.Reader
}

// errScript is what a script ends with when the client hangs up or says something else.
type errScript struct{ error }

func (s *script) send(text string) {
	if _, err := io.WriteString(s.conn, text); err != nil {
		panic(errScript{err})
	}
}

// line returns the next line of the client, without its end.
func (s *script) line() string {
	line, err := s.r.ReadString('\n')
	if err != nil {
		panic(errScript{fmt.Errorf("reading a line: %w (%q)", err, line)})
	}
	return strings.TrimSuffix(line, "\r\n")
}

func (s *script) expect(want string) {
	if got := s.line(); got != want {
		panic(errScript{fmt.Errorf("the client says %q, want %q", got, want)})
	}
}

// take reads n bytes of the client.
func (s *script) take(n int) string {
	data := make([]byte, n)
	if _, err := io.ReadFull(s.r, data); err != nil {
		panic(errScript{fmt.Errorf("reading %d bytes: %w", n, err)})
	}
	return string(data)
}

// answer expects a command and answers it.
func (s *script) answer(command, answer string) {
	s.expect(command)
	s.send(answer)
}

// gone waits until the client hangs up.
func (s *script) gone() {
	if data, err := io.ReadAll(s.r); err == nil && len(data) > 0 {
		panic(errScript{fmt.Errorf("the client says %q instead of hanging up", data)})
	}
}

// drain reads what the client still says, until it hangs up.
func (s *script) drain() { _, _ = io.Copy(io.Discard, s.r) }

// talk returns an endpoint at which play is the server. When the test ends, play must
// have come to its end.
func talk(t testing.TB, play func(*script)) wire.Endpoint {
	return wire.Endpoint{Address: "imap.example.com:143", TLS: wire.Plain, Dialer: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		done := make(chan error, 1)
		go func() {
			defer server.Close()
			defer func() {
				err, _ := recover().(errScript)
				done <- err.error
			}()
			play(&script{conn: server, r: bufio.NewReader(server)})
		}()
		t.Cleanup(func() {
			client.Close()
			if err := <-done; err != nil {
				t.Errorf("the server's script did not end: %v", err)
			}
		})
		return client, nil
	}}
}

// slowly is an endpoint whose server is heard byte by byte.
func slowly(endpoint wire.Endpoint) wire.Endpoint {
	dial := endpoint.Dialer
	endpoint.Dialer = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return slowConn{conn, iotest.OneByteReader(conn)}, err
	}
	return endpoint
}

type slowConn struct {
	net.Conn
	r io.Reader
}

func (c slowConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// greet is the way into a server that takes us for logged in and has these capabilities.
func greet(s *script, caps string) { s.send("* PREAUTH [CAPABILITY IMAP4rev1 " + caps + "] hello\r\n") }

var nobody = wire.Login{Mechanism: wire.None}

// as returns err as an error of a type.
func as[E error](t testing.TB, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("the error is %T: %v; want %T", err, err, e)
	}
	return e
}
