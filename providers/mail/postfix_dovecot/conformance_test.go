package postfix_dovecot

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/GehirnInc/crypt/sha512_crypt"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/mailtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	long(t)
	mailtest.Run(t, func(t testing.TB) mailtest.Pair {
		b := newLab(t)
		// The suite's folders have names with slashes, which Maildir++ cannot hold
		// below its own separator.
		for _, name := range []string{"old", "new"} {
			b.exec(name, "printf 'namespace inbox {\n  separator = /\n}\n' >/etc/dovecot/conf.d/98-test.conf && doveadm reload")
		}
		return mailtest.Pair{Old: &host{b, "old", b.old}, New: &host{b, "new", b.new}, Pace: 20 * time.Second, Skip: map[string]string{
			"Probe": "the operator's host of the lab is a namespace of its own: probing from there is part of the trials",
		}}
	})
}

// host is a mail server of the lab under test.
type host struct {
	*bench
	name   string
	server *System
}

var _ mailtest.Host = (*host)(nil)

func (h *host) Open(t testing.TB, env providers.Env) mail.Server {
	return New(h.server.runner, h.server.endpoint, env)
}

func (h *host) AddDomain(t testing.TB, domain string) {
	if err := h.server.PutDomain(t.Context(), "test", domain, true); err != nil {
		t.Fatal(err)
	}
}

func (h *host) AddAccount(t testing.TB, address mail.Address, password string) {
	hash, err := sha512_crypt.New().Generate([]byte(password), nil)
	if err != nil {
		t.Fatal(err)
	}
	account := mail.AccountEdit{Account: mail.Account{Address: address}, Credential: mail.NewCredential("{SHA512-CRYPT}" + hash)}
	if err := h.server.PutAccounts(t.Context(), "test", []mail.AccountEdit{account}); err != nil {
		t.Fatal(err)
	}
}

func (h *host) AddAlias(t testing.TB, address mail.Address, members ...mail.Address) {
	edit := mail.AliasEdit{Address: address, Members: members}
	now, err := h.server.Aliases(t.Context(), address.Domain())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range now {
		if a.Address == address {
			edit.Expect = a.Members
		}
	}
	if err := h.server.PutAliases(t.Context(), "test", []mail.AliasEdit{edit}); err != nil {
		t.Fatal(err)
	}
}

func (h *host) SMTP(t testing.TB) (net.Conn, error) {
	return h.dial(t.Context(), "tcp", h.server.endpoint.Address+":25")
}

func (h *host) IMAP(t testing.TB) (net.Conn, error) {
	conn, err := h.dial(t.Context(), "tcp", h.server.endpoint.Address+":993")
	if err != nil {
		return nil, err
	}
	// Which certificate a client sees is not what is tested here.
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), nil
}

func (h *host) Restart(t testing.TB) { h.lab("reboot", h.name) }
