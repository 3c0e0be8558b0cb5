package embedded_test

import (
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
	"github.com/mailmove/mailmove/providers/mail/mailtest"
)

func TestConformance(t *testing.T) {
	t.Setenv("EMBEDDED_TOKEN", "secret of the test")
	mailtest.Run(t, func(t testing.TB) mailtest.Pair {
		return mailtest.Pair{Old: newHost(t), New: newHost(t)}
	})
}

// nextAddress gives every server of this process a loopback address of its own.
var nextAddress atomic.Uint32

// host is an embedded server under test.
type host struct {
	disk    *server.Disk
	options server.Options
	server  *server.Server
}

func newHost(t testing.TB) *host {
	n := nextAddress.Add(1)
	h := &host{disk: server.NewDisk(), options: server.Options{
		Address: fmt.Sprintf("127.77.%d.%d", n/250, n%250+1), Token: "secret of the test",
	}}
	h.start(t)
	t.Cleanup(func() { h.server.Stop() })
	return h
}

func (h *host) start(t testing.TB) {
	t.Helper()
	s, err := server.Start(h.disk, h.options)
	if err != nil {
		t.Fatal(err)
	}
	h.server = s
	e := s.Endpoint()
	h.options.SMTP, h.options.IMAP = e.SMTP, e.IMAP
	u, err := url.Parse(s.ControlURL())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Sscan(u.Port(), &h.options.Control)
}

func (h *host) Open(t testing.TB, env providers.Env) mail.Server {
	u, err := url.Parse(h.server.ControlURL())
	if err != nil {
		t.Fatal(err)
	}
	token, err := providers.NewSecret("env:EMBEDDED_TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	s := embedded.New(u, token, env)
	t.Cleanup(func() { s.Close() })
	return s
}

func (h *host) AddDomain(_ testing.TB, domain string) { h.server.AddDomain(domain) }

func (h *host) AddAccount(_ testing.TB, address mail.Address, password string) {
	h.server.AddAccount(address, password, 0)
}

func (h *host) AddAlias(_ testing.TB, address mail.Address, members ...mail.Address) {
	h.server.AddAlias(mail.Alias{Address: address, Members: members})
}

func (h *host) SMTP(testing.TB) (net.Conn, error) { return net.Dial("tcp", h.server.SMTPAddr()) }
func (h *host) IMAP(testing.TB) (net.Conn, error) { return net.Dial("tcp", h.server.IMAPAddr()) }

func (h *host) Restart(t testing.TB) {
	h.server.Stop()
	h.start(t)
}
