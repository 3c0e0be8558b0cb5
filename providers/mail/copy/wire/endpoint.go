package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A TLSMode is how the way to a server is protected.
type TLSMode int

const (
	// ImplicitTLS is TLS from the first byte, port 993 (RFC 8314 section 3.2).
	ImplicitTLS TLSMode = iota
	// StartTLS begins in clear and goes no further than the command STARTTLS in it, port
	// 143 (RFC 9051 section 6.2.1).
	StartTLS
	// Plain is no TLS: for loopback, and for a Dialer whose connections are protected.
	Plain
)

// An Endpoint says where a server is and how the way there is protected.
type Endpoint struct {
	// Address is host:port. With a Dialer it only names the server.
	Address string
	TLS     TLSMode
	// InsecurePlain allows Plain over a network, where everybody on the way reads the
	// password and the mail.
	InsecurePlain bool
	// Config is what TLS is made with, for roots, a client certificate or another name
	// than the address's host; nil for the system's roots. Verification cannot be off.
	Config *tls.Config
	// Dialer opens the connection instead of TCP, for instance as an SSH channel to the
	// server's imap process. With Plain, what it returns must be protected by itself.
	Dialer func(ctx context.Context) (net.Conn, error)
	// Compress asks for COMPRESS=DEFLATE (RFC 4978) where it is offered. It pays on slow
	// networks only.
	Compress bool
	// Idle is how long the server may owe something while no byte moves; 0 for 2 minutes.
	Idle time.Duration
}

const (
	defaultIdle    = 2 * time.Minute
	connectTimeout = 30 * time.Second
)

// Dial connects to a server, protects the way there, and logs in. The end of ctx ends
// Dial, not the connection it returned.
//
// Errors: [UnreachableError], [TLSError], [InsecureError], [LoginError], [UnavailableError],
// [LostError], [ProtocolError].
func Dial(ctx context.Context, endpoint Endpoint, login Login) (*Conn, error) {
	// The secret comes first: a token may take its time, and no server waits long.
	secret, err := login.secret(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of %s: %w", login.who(), err)
	}
	conn, err := endpoint.connect(ctx)
	if err != nil {
		return nil, err
	}
	idle := endpoint.Idle
	if idle == 0 {
		idle = defaultIdle
	}
	c := newConn(endpoint.Address, conn, idle)
	c.hide(secret)
	stop := context.AfterFunc(ctx, func() { c.guard.kill(context.Cause(ctx)) })
	err = c.open(ctx, endpoint, login, secret)
	if !stop() && err == nil {
		err = c.lose(context.Cause(ctx))
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connect opens the connection, and no other than is allowed.
func (e Endpoint) connect(ctx context.Context) (net.Conn, error) {
	if e.Config != nil && e.Config.InsecureSkipVerify {
		return nil, &InsecureError{Server: e.Address, What: "a TLS configuration that verifies nothing"}
	}
	dial := e.Dialer
	if dial == nil {
		dialer := &net.Dialer{Timeout: connectTimeout, Control: e.control}
		dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", e.Address) }
	}
	conn, err := dial(ctx)
	if insecure := (*InsecureError)(nil); errors.As(err, &insecure) {
		return nil, insecure
	}
	if err != nil {
		return nil, &UnreachableError{Server: e.Address, Err: err}
	}
	return conn, nil
}

// control is called before a packet is sent, with the address that a name led to.
func (e Endpoint) control(_, address string, _ syscall.RawConn) error {
	if e.TLS != Plain || e.InsecurePlain {
		return nil
	}
	if to, err := netip.ParseAddrPort(address); err == nil && to.Addr().Unmap().IsLoopback() {
		return nil
	}
	return &InsecureError{Server: e.Address, What: "a connection in clear over a network"}
}

// open takes a new connection to where commands can be given.
func (c *Conn) open(ctx context.Context, endpoint Endpoint, login Login, secret string) error {
	if endpoint.TLS == ImplicitTLS {
		if err := c.handshake(ctx, endpoint); err != nil {
			return err
		}
	}
	greeting, err := c.greeted()
	if err != nil {
		return err
	}
	if endpoint.TLS == StartTLS {
		if greeting.kind == "PREAUTH" {
			// RFC 9051 section 7.1.4: after PREAUTH there is no STARTTLS, so that who sits in
			// between could have everything sent in clear.
			return c.lose(malformed("PREAUTH before TLS, which would keep TLS from coming about"))
		}
		if err := c.startTLS(ctx, endpoint); err != nil {
			return err
		}
		greeting = response{kind: greeting.kind} // capabilities in clear count for nothing
	}
	if err := c.learnCaps(greeting, nil); err != nil {
		return err
	}
	if err := c.login(login, secret, greeting.kind == "PREAUTH"); err != nil {
		return err
	}
	if err := c.identify(); err != nil {
		return err
	}
	if endpoint.Compress {
		return c.compress()
	}
	return nil
}

// greeted reads the greeting, which is OK or PREAUTH (RFC 9051 section 7.1).
func (c *Conn) greeted() (response, error) {
	c.guard.owe()
	defer c.guard.settle()
	greeting, _, err := readResponse(c.r, maxAnswer)
	switch {
	case err != nil:
		return greeting, c.lose(err)
	case greeting.tag == "*" && (greeting.kind == "OK" || greeting.kind == "PREAUTH"):
		return greeting, nil
	case greeting.tag == "*" && greeting.kind == "BYE":
		return greeting, &UnavailableError{Server: c.server, Doing: "connecting", Code: greeting.code, Said: c.discreet(greeting.said())}
	}
	return greeting, c.lose(malformed("what is no greeting: %s %s", greeting.tag, greeting.kind))
}

// startTLS protects the connection. Nothing of what was said before is kept.
func (c *Conn) startTLS(ctx context.Context, endpoint Endpoint) error {
	cmd, err := c.run("asking for TLS", "STARTTLS")
	if err != nil {
		return err
	}
	if cmd.answer.kind != "OK" {
		return &TLSError{Server: c.server, Err: fmt.Errorf("the server refused STARTTLS: %s", c.discreet(cmd.answer.said()))}
	}
	if n := c.r.Buffered(); n > 0 {
		// CVE-2011-0411: they would be taken for what the server says under TLS.
		return c.lose(malformed("%d bytes in clear after the answer to STARTTLS", n))
	}
	return c.handshake(ctx, endpoint)
}

func (c *Conn) handshake(ctx context.Context, endpoint Endpoint) error {
	config := &tls.Config{}
	if endpoint.Config != nil {
		config = endpoint.Config.Clone()
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(endpoint.Address)
		if err != nil {
			return &TLSError{Server: c.server, Err: err}
		}
		config.ServerName = host
	}
	if config.NextProtos == nil {
		// RFC 7301: no server of another protocol takes the connection for its own.
		config.NextProtos = []string{"imap"}
	}
	secured := tls.Client(c.guard, config)
	c.guard.owe()
	defer c.guard.settle()
	if err := secured.HandshakeContext(ctx); err != nil {
		if lost(err) {
			return c.lose(fmt.Errorf("agreeing on TLS: %w", err))
		}
		return &TLSError{Server: c.server, Err: err}
	}
	c.carry(secured)
	return nil
}
