// Package client connects to a lab's servers the way the outside world does: from the network of a given host, by the
// names that host's resolver gives, over TLS that is verified against the lab's authority.
package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/miekg/dns"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

// A Client stands at one host and connects from there.
type Client struct {
	host *machine.Host
	tls  *tls.Config
}

// At returns a client at host, which must be running.
func At(host *machine.Host) (*Client, error) {
	path, err := host.Path("/usr/local/share/ca-certificates/lab.crt")
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, errors.New("reading authority: no certificate in it")
	}
	return &Client{host, &tls.Config{RootCAs: roots}}, nil
}

// Host returns the host at which the client stands.
func (c *Client) Host() *machine.Host { return c.host }

// TLS returns a configuration that trusts the lab's authority for name.
func (c *Client) TLS(name string) *tls.Config {
	config := c.tls.Clone()
	config.ServerName = name
	return config
}

// Addresses asks the host's own resolver for the addresses of name.
func (c *Client) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	answer, err := c.query(ctx, name, dns.TypeA)
	if err != nil {
		return nil, err
	}
	var addresses []netip.Addr
	for _, record := range answer {
		if a, ok := record.(*dns.A); ok {
			if address, ok := netip.AddrFromSlice(a.A.To4()); ok {
				addresses = append(addresses, address)
			}
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("looking up %s: no address", name)
	}
	return addresses, nil
}

// Exchangers returns the hosts that take mail for domain, the preferred first (RFC 5321 section 5.1).
func (c *Client) Exchangers(ctx context.Context, domain string) ([]string, error) {
	answer, err := c.query(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	var records []*dns.MX
	for _, record := range answer {
		if mx, ok := record.(*dns.MX); ok {
			records = append(records, mx)
		}
	}
	slices.SortStableFunc(records, func(a, b *dns.MX) int { return int(a.Preference) - int(b.Preference) })
	var names []string
	for _, mx := range records {
		names = append(names, mx.Mx)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("looking up MX of %s: none", domain)
	}
	return names, nil
}

func (c *Client) query(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := c.host.Dial(ctx, "udp", "127.0.0.1:53")
	if err != nil {
		return nil, fmt.Errorf("reaching resolver of %s: %w", c.host.Name, err)
	}
	defer conn.Close()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(1232, false)
	exchange := &dns.Client{Timeout: 10 * time.Second}
	answer, _, err := exchange.ExchangeWithConnContext(ctx, question, &dns.Conn{Conn: conn, UDPSize: 1232})
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", name, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("looking up %s: %s", name, dns.RcodeToString[answer.Rcode])
	}
	return answer.Answer, nil
}

// Dial connects to the named server, trying each of its addresses. An address may stand for the name.
func (c *Client) Dial(ctx context.Context, server string, port int) (net.Conn, error) {
	addresses := []netip.Addr{}
	if literal, err := netip.ParseAddr(server); err == nil {
		addresses = append(addresses, literal)
	} else if addresses, err = c.Addresses(ctx, server); err != nil {
		return nil, err
	}
	var errs []error
	for _, address := range addresses {
		conn, err := c.host.Dial(ctx, "tcp", netip.AddrPortFrom(address, uint16(port)).String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("connecting to %s: %w", server, errors.Join(errs...))
}

// DialTLS connects to the named server with TLS. Its certificate must be for name.
func (c *Client) DialTLS(ctx context.Context, server string, port int, name string) (net.Conn, error) {
	conn, err := c.Dial(ctx, server, port)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, c.TLS(name))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("setting up TLS with %s: %w", server, err)
	}
	return secure, nil
}

// IMAP logs in to the named server. When ctx ends, the connection is cut, whatever is going on in it: go-imap has no
// other way to give up on a silent server.
func (c *Client) IMAP(ctx context.Context, server, user, password string, handler *imapclient.UnilateralDataHandler) (*imapclient.Client, error) {
	conn, err := c.DialTLS(ctx, server, 993, server)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	session := imapclient.New(conn, &imapclient.Options{UnilateralDataHandler: handler})
	if err := session.Login(user, password).Wait(); err != nil {
		session.Close()
		return nil, fmt.Errorf("logging in %s at %s: %w", user, server, err)
	}
	return session, nil
}

// ErrNoAccount means that a server does not know an account.
var ErrNoAccount = errors.New("no such account there")

// A Location is where and as whom a server keeps an account's mail.
type Location struct{ Home, UID, GID string }

// Locate asks Dovecot on host where it keeps the mail of user.
func Locate(ctx context.Context, host *machine.Host, user string) (Location, error) {
	output, err := host.Run(ctx, nil, "doveadm", "user", user)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 67 { // EX_NOUSER of sysexits.h
		return Location{}, ErrNoAccount
	}
	if err != nil {
		return Location{}, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(output)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			fields[name] = value
		}
	}
	l := Location{Home: fields["home"], UID: fields["uid"], GID: fields["gid"]}
	if l.Home == "" || l.UID == "" || l.GID == "" {
		return Location{}, fmt.Errorf("locating %s on %s: home, uid or gid is missing in %q", user, host.Name, output)
	}
	return l, nil
}

// Store opens an IMAP session with the store of user on host itself, past every login, proxy and password: what it
// shows is what lies on that server. Dovecot's user database is not asked, either (no -u), as a server that has handed
// an account over may forbid it to be opened.
func Store(ctx context.Context, host *machine.Host, user string, at Location) (*imapclient.Client, error) {
	cmd, err := host.Command(ctx, "env", "USER="+user, "HOME="+at.Home,
		"doveadm", "exec", "imap", "-o", "mail_uid="+at.UID, "-o", "mail_gid="+at.GID)
	if err != nil {
		return nil, err
	}
	conn, err := pipe(cmd)
	if err != nil {
		return nil, err
	}
	session := imapclient.New(conn, nil)
	if err := session.WaitGreeting(); err != nil {
		session.Close()
		return nil, fmt.Errorf("opening store of %s on %s: %w: %s", user, host.Name, err, conn.complaint.String())
	}
	return session, nil
}

// A process is a program's standard input and output as a connection.
type process struct {
	io.Reader
	io.WriteCloser
	cmd       *exec.Cmd
	complaint strings.Builder
	once      sync.Once
	failure   error
}

func pipe(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd}
	var err error
	if p.WriteCloser, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.Reader, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	cmd.Stderr = &p.complaint
	cmd.WaitDelay = 10 * time.Second
	return p, cmd.Start()
}

// Close ends the program's input and waits for it. It may be called more than once, as go-imap does.
func (p *process) Close() error {
	p.once.Do(func() {
		p.failure = p.WriteCloser.Close()
		_ = p.cmd.Wait() // it ends when its input does; how it ended says nothing about what was read
	})
	return p.failure
}

// A pipe has no addresses and knows no deadlines; the context of its command ends it.
func (p *process) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (p *process) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (p *process) SetDeadline(time.Time) error      { return nil }
func (p *process) SetReadDeadline(time.Time) error  { return nil }
func (p *process) SetWriteDeadline(time.Time) error { return nil }

// A POP3 is a session of RFC 1939.
type POP3 struct {
	conn   net.Conn
	reader *bufio.Reader
}

// POP3 logs in to server, whose certificate must be for name.
func (c *Client) POP3(ctx context.Context, server, name, user, password string) (*POP3, error) {
	conn, err := c.DialTLS(ctx, server, 995, name)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	p := &POP3{conn, bufio.NewReader(conn)}
	if _, err := p.status(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	for _, command := range []string{"USER " + user, "PASS " + password} {
		if _, err := p.command(command); err != nil {
			return nil, errors.Join(fmt.Errorf("logging in %s by POP3 at %s: %w", user, server, err), conn.Close())
		}
	}
	return p, nil
}

// UIDLs returns the unique-id of every message, in order (RFC 1939 section 7).
func (p *POP3) UIDLs() ([]string, error) {
	if _, err := p.command("UIDL"); err != nil {
		return nil, err
	}
	var ids []string
	for {
		line, err := p.reader.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSpace(line)
		if line == "." {
			return ids, nil
		}
		number, id, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(number); err != nil || n != len(ids)+1 {
			return nil, fmt.Errorf("reading UIDL: unexpected line %q", line)
		}
		ids = append(ids, id)
	}
}

// Quit ends the session.
func (p *POP3) Quit() error {
	_, err := p.command("QUIT")
	return errors.Join(err, p.conn.Close())
}

func (p *POP3) command(line string) (string, error) {
	if _, err := io.WriteString(p.conn, line+"\r\n"); err != nil {
		return "", err
	}
	return p.status()
}

func (p *POP3) status() (string, error) {
	line, err := p.reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "+OK") {
		return "", fmt.Errorf("server says: %s", line)
	}
	return line, nil
}
