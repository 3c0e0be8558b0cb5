package wire_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

func secret(s string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(s), nil }
}

// deadline is how long a test waits for what must happen, generous for a busy machine.
func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, endpoint wire.Endpoint, login wire.Login) *wire.Conn {
	t.Helper()
	conn, err := wire.Dial(deadline(t), endpoint, login)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestDovecotLogins(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{Config: zlib})
	config := &tls.Config{RootCAs: server.CA}
	implicit := wire.Endpoint{Address: server.IMAPS, Config: config}
	startTLS := wire.Endpoint{Address: server.IMAP, TLS: wire.StartTLS, Config: config}
	plain := wire.Endpoint{Address: server.IMAP, TLS: wire.Plain}
	compressed := wire.Endpoint{Address: server.IMAPS, Config: config, Compress: true}
	users := server.Users
	master := copytest.Master()
	for _, test := range []struct {
		name     string
		endpoint wire.Endpoint
		login    wire.Login
	}{
		{"TLS", implicit, wire.Login{User: users[0].Name, Secret: secret(users[0].Password)}},
		{"STARTTLS", startTLS, wire.Login{User: users[0].Name, Secret: secret(users[0].Password)}},
		{"plain on loopback", plain, wire.Login{User: users[0].Name, Secret: secret(users[0].Password)}},
		{"quotes in the password", implicit, wire.Login{User: users[1].Name, Secret: secret(users[1].Password)}},
		{"8 bits in the password", implicit, wire.Login{User: users[2].Name, Secret: secret(users[2].Password)}},
		{"master by authorization identity", implicit, wire.Login{User: users[0].Name, Master: master.Name, Secret: secret(master.Password)}},
		{"master in the name", implicit, wire.Login{User: users[0].Name, Master: master.Name, Separator: "*", Secret: secret(master.Password)}},
		{"compressed", compressed, wire.Login{User: users[0].Name, Secret: secret(users[0].Password)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := dial(t, test.endpoint, test.login)
			if !conn.Caps().Has(imap.CapMultiAppend) {
				t.Errorf("capabilities after login are %v, without MULTIAPPEND", conn.Caps())
			}
			if got := conn.ServerID()["name"]; got != "Dovecot" {
				t.Errorf("the server's name is %q, want Dovecot", got)
			}
			client := imapclient.New(conn.Handover(t.Context()), nil)
			defer client.Close()
			box, err := client.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
			if err != nil {
				t.Fatal(err)
			}
			if box.NumMessages != 0 {
				t.Errorf("INBOX has %d messages, want 0", box.NumMessages)
			}
		})
	}
}

func TestDovecotTakesTokens(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{Tokens: true})
	user := server.Users[0]
	for _, mechanism := range []wire.Mechanism{wire.XOAuth2, wire.OAuthBearer} {
		t.Run(mechanism.String(), func(t *testing.T) {
			login := wire.Login{Mechanism: mechanism, User: user.Name, Secret: secret(server.Token(user, time.Now().Add(time.Hour)))}
			if conn := dial(t, endpointOf(server), login); !conn.Caps().Has(imap.CapMultiAppend) {
				t.Errorf("capabilities %v, without MULTIAPPEND", conn.Caps())
			}
			login.Secret = secret(server.Token(user, time.Now().Add(-time.Hour)))
			_, err := wire.Dial(deadline(t), endpointOf(server), login)
			as[*wire.LoginError](t, err)
		})
	}
}

// Dovecot's own imap process is logged in from the beginning; the way to it is no network
// connection and knows no deadlines.
func TestDovecotImapProcess(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	user := server.Users[0].Name
	endpoint := wire.Endpoint{Address: "dovecot by doveadm", TLS: wire.Plain, Dialer: func(context.Context) (net.Conn, error) {
		cmd := server.Cmd(t, "doveadm", "exec", "imap", "-u", user)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = cmd.Wait() }) // it ends with its input
		return &pipes{in: in, out: out}, cmd.Start()
	}}
	conn := dial(t, endpoint, nobody)
	results, err := conn.Appender("INBOX").Append(deadline(t), list(text("Subject: x\r\n\r\nx\r\n")))
	if err != nil || results[0].Err != nil || results[0].UID != 1 {
		t.Errorf("results %v, error %v", results, err)
	}
	if err := conn.Logout(deadline(t)); err != nil {
		t.Errorf("logging out: %v", err)
	}
}

// pipes are a process's standard input and output as a connection.
type pipes struct {
	net.Conn // has no methods that work
	in       io.WriteCloser
	out      io.Reader
}

func (p *pipes) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *pipes) Close() error                { return p.in.Close() }
