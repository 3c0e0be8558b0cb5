package wire_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// Servers that are not as they should be: none makes Dial hang, or take more than it may.
func TestDialBadServers(t *testing.T) {
	const caps = "* OK [CAPABILITY IMAP4rev1] hello\r\n"
	flood := func(line string) func(*script) {
		return func(s *script) {
			for {
				s.send(line)
			}
		}
	}
	for _, test := range []struct {
		name string
		play func(*script)
		want string
	}{
		{"a line without end", flood(strings.Repeat("x", 1000)), "a line of more than 65536 bytes"},
		{"another protocol", func(s *script) { s.send("SSH-2.0-OpenSSH_9.2\r\n") }, "what is no response: SSH-2.0-OpenSSH_9.2"},
		{"an empty line", func(s *script) { s.send("\r\n") }, "what is no response"},
		{"NUL", func(s *script) { s.send("* OK \x00\r\n") }, "a line with a NUL byte"},
		{"an answer for a greeting", func(s *script) { s.send("M1 OK hello\r\n") }, "what is no greeting: M1 OK"},
		{"data for a greeting", func(s *script) { s.send("* CAPABILITY IMAP4rev1\r\n") }, "what is no greeting: * CAPABILITY"},
		{"NO for a greeting", func(s *script) { s.send("* NO\r\n") }, "what is no greeting: * NO"},
		{"a giant literal", func(s *script) {
			s.send(caps)
			s.line()
			s.send("* ID {4294967296}\r\n")
			flood(strings.Repeat("x", 1000))(s)
		}, "a literal of 4294967296 bytes in an answer that may have 1048576"},
		{"a literal of more digits than there are numbers", func(s *script) {
			s.send(caps)
			s.line()
			s.send("* ID {99999999999999999999}\r\n")
			flood("* OK x\r\n")(s)
		}, "more than 1048576 bytes before an answer"},
		{"many small literals", func(s *script) {
			s.send(caps)
			s.line()
			flood("{1000}\r\n" + strings.Repeat("x", 1000))(&script{conn: prefixed{s.conn, "* ID "}, r: s.r})
		}, "a literal of 1000 bytes in an answer that may have 1048576"},
		{"data without end", func(s *script) {
			s.send(caps)
			s.line()
			flood("* LIST () NIL x\r\n")(s)
		}, "more than 1048576 bytes before an answer"},
		{"a wrong tag", func(s *script) {
			s.send(caps)
			s.line()
			s.send("A1 OK in\r\n")
		}, "an answer to a command that was not given: A1 OK"},
		{"BYE for an answer", func(s *script) {
			s.send(caps)
			s.line()
			s.send("M1 BYE no\r\n")
		}, "an answer that is none of OK, NO and BAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := wire.Dial(deadline(t), talk(t, func(s *script) {
				defer func() {
					// It is cut off in the middle of its flood.
					if r := recover(); r != nil && !errors.Is(r.(errScript).error, io.ErrClosedPipe) {
						panic(r)
					}
				}()
				test.play(s)
			}), murphy())
			if broken := as[*wire.ProtocolError](t, err); !strings.Contains(broken.What, test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// prefixed is a connection on which something is written first.
type prefixed struct {
	net.Conn
	first string
}

func (c prefixed) Write(p []byte) (int, error) {
	n, err := c.Conn.Write([]byte(c.first + string(p)))
	return max(0, n-len(c.first)), err
}

func TestDialUnavailable(t *testing.T) {
	_, err := wire.Dial(deadline(t), talk(t, func(s *script) { s.send("* BYE [UNAVAILABLE] too busy\r\n") }), murphy())
	if e := as[*wire.UnavailableError](t, err); e.Code != "UNAVAILABLE" || !e.Temporary() {
		t.Errorf("error %#v", e)
	}
}

// Before TLS nothing is believed, and nothing is sent but STARTTLS.
func TestStartTLSInjection(t *testing.T) {
	for _, test := range []struct {
		name string
		play func(*script)
		want string
	}{
		{"PREAUTH", func(s *script) { greet(s, "") }, "PREAUTH before TLS"},
		{"more than the answer", func(s *script) {
			s.send("* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n")
			s.answer("M1 STARTTLS", "M1 OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
		}, "35 bytes in clear after the answer to STARTTLS"},
		{"refused", func(s *script) {
			s.send("* OK hello\r\n")
			s.answer("M1 STARTTLS", "M1 NO not today\r\n")
		}, "the server refused STARTTLS: not today"},
		{"no TLS after all", func(s *script) {
			s.send("* OK hello\r\n")
			s.answer("M1 STARTTLS", "M1 OK go\r\n")
			s.take(1)
			s.send("* OK hello\r\n")
		}, "first record does not look like a TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			endpoint := talk(t, func(s *script) { test.play(s); s.drain() })
			endpoint.TLS = wire.StartTLS
			_, err := wire.Dial(deadline(t), endpoint, murphy())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestDialInsecure(t *testing.T) {
	unverified := wire.Endpoint{Address: "127.0.0.1:1", Config: &tls.Config{InsecureSkipVerify: true}}
	for name, endpoint := range map[string]wire.Endpoint{
		"plain over a network":        {Address: "198.51.100.1:143", TLS: wire.Plain},
		"plain over a network, IPv6":  {Address: "[2001:db8::1]:143", TLS: wire.Plain},
		"a configuration that trusts": unverified,
	} {
		_, err := wire.Dial(deadline(t), endpoint, murphy())
		var insecure *wire.InsecureError
		if !errors.As(err, &insecure) {
			t.Errorf("%s: error %v, want an InsecureError", name, err)
		}
	}
}

func TestDialNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, err = wire.Dial(deadline(t), wire.Endpoint{Address: address}, murphy())
	if e := as[*wire.UnreachableError](t, err); !e.Temporary() {
		t.Errorf("error %v is for good", err)
	}
}

func TestDialTLSErrors(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	_, port, _ := net.SplitHostPort(server.IMAPS)
	trusted := &tls.Config{RootCAs: server.CA}
	for _, test := range []struct {
		name     string
		endpoint wire.Endpoint
		want     string
	}{
		{"an unknown authority", wire.Endpoint{Address: server.IMAPS}, "unknown authority"},
		{"an unknown authority, STARTTLS", wire.Endpoint{Address: server.IMAP, TLS: wire.StartTLS}, "unknown authority"},
		{"another name", wire.Endpoint{Address: "127.0.0.1:" + port, Config: &tls.Config{RootCAs: server.CA, ServerName: "mail.example.net"}}, "mail.example.net"},
		{"no TLS at that port", wire.Endpoint{Address: server.IMAP, Config: trusted}, "does not look like a TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := wire.Dial(deadline(t), test.endpoint, murphy())
			if e := as[*wire.TLSError](t, err); !strings.Contains(e.Error(), test.want) || e.Temporary() {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	for name, test := range map[string]struct {
		mode wire.TLSMode
		play func(*script)
	}{
		"at the greeting":  {wire.Plain, func(s *script) { s.gone() }},
		"at the handshake": {wire.ImplicitTLS, func(s *script) { s.drain() }},
		"at the login":     {wire.Plain, func(s *script) { s.send("* OK [CAPABILITY X] hi\r\n"); s.line(); s.gone() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				endpoint := talk(t, test.play)
				endpoint.TLS = test.mode
				_, err := wire.Dial(ctx, endpoint, murphy())
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("after %v: error %v", time.Since(began), err)
				}
				as[*wire.LostError](t, err)
			})
		})
	}
}

// What go-imap sees of a connection that is handed to it.
func TestHandoverGreeting(t *testing.T) {
	for _, test := range []struct{ caps, want string }{
		{"UIDPLUS X", "IMAP4rev1 UIDPLUS X"},
		{"IMAP4rev2 UTF8=ACCEPT", "CHILDREN ENABLE ESEARCH IDLE IMAP4rev1 LIST-EXTENDED LIST-STATUS LITERAL- MOVE NAMESPACE SASL-IR SEARCHRES STATUS=SIZE UIDPLUS UNSELECT"},
	} {
		conn := dial(t, talk(t, func(s *script) { greet(s, test.caps); s.send("* 3 EXISTS\r\n"); s.drain() }), nobody)
		handed := conn.Handover(t.Context())
		want := "* PREAUTH [CAPABILITY " + test.want + "] ready\r\n* 3 EXISTS\r\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(handed, got); err != nil || string(got) != want {
			t.Errorf("error %v, the client sees %q, want %q", err, got, want)
		}
		handed.Close()
	}
}

// A handed connection may rest as long as it likes, but the server may not be silent
// when it owes an answer.
func TestHandoverWatchesTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dialIn(t, talk(t, func(s *script) {
			greet(s, "")
			s.answer("T1 NOOP", "T1 OK done\r\n")
			s.line()
			for range 10 {
				time.Sleep(time.Minute)
				s.send("* OK wait\r\n")
			}
			s.send("T2 OK done\r\n")
			s.line()
			s.gone()
		}))
		client := imapclient.New(conn.Handover(t.Context()), nil)
		for i := range 2 {
			time.Sleep(time.Hour)
			if err := client.Noop().Wait(); err != nil {
				t.Fatalf("command %d: %v", i+1, err)
			}
		}
		time.Sleep(time.Hour)
		began := time.Now()
		err := client.Noop().Wait()
		if err == nil || !strings.Contains(err.Error(), "nothing came or went for 2m0s") {
			t.Errorf("after %v: error %v", time.Since(began), err)
		}
		if took := time.Since(began); took != 2*time.Minute {
			t.Errorf("it took %v, want 2m", took)
		}
		as[*wire.SilenceError](t, conn.Err())
	})
}

// A long command goes in several writes, of which one may begin as a command does.
func TestHandoverKnowsACommandFromItsMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dialIn(t, talk(t, func(s *script) {
			greet(s, "")
			s.answer("T1 UID FETCH 1,T2 (FLAGS)", "T1 OK done\r\n")
			s.expect("T3 LOGIN {3+}")
			s.answer("abc x", "T3 NO no\r\n")
			s.gone()
		}))
		handed := conn.Handover(t.Context())
		r := bufio.NewReader(handed)
		read := func(want string) {
			t.Helper()
			if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
				t.Fatalf("%q, error %v, want %q", line, err, want)
			}
		}
		read("* PREAUTH")
		for _, command := range []struct {
			pieces []string
			answer string
		}{
			{[]string{"T1 UID FETCH 1,", "T2 (FLAGS)\r\n"}, "T1 OK"},
			{[]string{"T3 LOGIN {3+}\r\n", "abc x\r\n"}, "T3 NO"},
		} {
			for _, piece := range command.pieces {
				if _, err := io.WriteString(handed, piece); err != nil {
					t.Fatal(err)
				}
			}
			read(command.answer)
			time.Sleep(time.Hour)
			if err := conn.Err(); err != nil {
				t.Fatalf("after an hour of rest: %v", err)
			}
		}
		handed.Close()
	})
}

func TestHandoverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dialIn(t, talk(t, func(s *script) { greet(s, ""); s.gone() }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		handed := conn.Handover(ctx)
		if _, err := io.Copy(io.Discard, handed); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		handed.Close()
	})
}

// Many at once is what Dovecot refuses with words of its own.
func TestTooManyConnections(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{MaxConnections: 1})
	first := dial(t, endpointOf(server), loginOf(server.Users[0]))
	_, err := wire.Dial(deadline(t), endpointOf(server), loginOf(server.Users[0]))
	if e := as[*wire.UnavailableError](t, err); !e.Temporary() {
		t.Errorf("error %v", err)
	}
	if err := first.Logout(deadline(t)); err != nil {
		t.Fatal(err)
	}
	_, err = wire.Dial(deadline(t), endpointOf(server), wire.Login{User: server.Users[0].Name, Secret: secret("wrong")})
	if e := as[*wire.LoginError](t, err); e.Code != "AUTHENTICATIONFAILED" {
		t.Errorf("code %q: %v", e.Code, err)
	}
}
