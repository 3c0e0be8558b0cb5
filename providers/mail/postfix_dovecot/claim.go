package postfix_dovecot

import (
	"context"
	_ "embed"
	"slices"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/reload.sh
var reloadScript string

//go:embed scripts/claim.sh
var claimScript string

//go:embed scripts/park.sh
var parkScript string

var _ mail.Claimer = (*System)(nil)

// Claimed implements [mail.Claimer].
func (s *System) Claimed(ctx context.Context) (bool, error) {
	res, err := s.runner.Run(ctx, remote.Command{Name: "look for our hooks", Script: reloadScript + claimScript, Args: []string{"claimed"}})
	return strings.TrimSpace(string(res.Stdout)) == "yes", err
}

// Claim implements [mail.Claimer].
func (s *System) Claim(ctx context.Context, op string) error {
	if err := s.fenced(ctx); err != nil {
		return err
	}
	l, err := s.look(ctx)
	if err != nil {
		return err
	}
	var in strings.Builder
	for _, f := range []struct{ name, content string }{
		{"homes.sh", homesScript},
		{"park.sh", parkScript},
		{"first.conf", firstConf},
		{"last.conf", l.lastConf()},
		{"settings", l.settings(s.endpoint.Relay)},
	} {
		in.WriteString("=== " + f.name + "\n" + f.content)
	}
	_, err = s.runner.Run(ctx, remote.Command{Name: "install our hooks", Script: reloadScript + claimScript,
		Args: []string{"claim", strconv.Itoa(s.endpoint.Relay)}, Stdin: []byte(in.String())})
	s.Refresh()
	if err != nil {
		return refusal(err)
	}
	return s.mark(ctx)
}

// Unclaim implements [mail.Claimer].
func (s *System) Unclaim(ctx context.Context, op string) error {
	if err := s.fenced(ctx); err != nil {
		return err
	}
	_, err := s.runner.Run(ctx, remote.Command{Name: "remove our hooks", Script: reloadScript + claimScript, Args: []string{"unclaim"}})
	s.Refresh()
	return refusal(err)
}

// firstConf is conf.d/00-mailmove.conf. The order of the passdbs is that of
// derive_login in homes.sh. What the peer proxies is served or refused, never
// proxied back: hence the same files a second time, to deny.
const firstConf = `# Written by mailmove, for the time of a migration.
passdb {
  driver = passwd-file
  args = username_format=%Lu /etc/dovecot/mailmove/closed/%s/%Lu
  deny = yes
}
passdb {
  driver = passwd-file
  args = username_format=%Lu /etc/dovecot/mailmove/held/%s/%Lu
  result_success = continue-ok
  result_failure = continue
}
passdb {
  driver = checkpassword
  args = /etc/dovecot/mailmove/park.sh
  skip = unauthenticated
  result_success = return-ok
  result_failure = return-fail
  result_internalfail = return-fail
}
passdb {
  driver = passwd-file
  args = username_format=%Lu /etc/dovecot/mailmove/from/%{real_rip}/%s/%Lu
  result_success = return-ok
  result_failure = continue
}
passdb {
  driver = passwd-file
  args = username_format=%Lu /etc/dovecot/mailmove/from/%{real_rip}/%s/%Lu
  deny = yes
}
passdb {
  driver = passwd-file
  args = username_format=%Lu /etc/dovecot/mailmove/away/%s/%Lu
  result_success = return-ok
  result_failure = continue
}
userdb {
  driver = passwd-file
  args = username_format=%Lu /etc/dovecot/mailmove/guard%{passdb:mailmove}/%s/%Lu
  result_failure = continue
  result_internalfail = return-fail
}
`

// lastConf is conf.d/zz-mailmove.conf, which comes after the administrator's.
func (l *layout) lastConf() string {
	var b strings.Builder
	b.WriteString("# Written by mailmove, for the time of a migration: waiting and proxied logins\n" +
		"# keep their connection to a login process, and all come from the peer's address.\n")
	protocols := strings.Fields(find(l.dovecot, "protocols"))
	for _, p := range []struct{ protocol, service string }{{"imap", "imap-login"}, {"pop3", "pop3-login"}, {"sieve", "managesieve-login"}} {
		if slices.Contains(protocols, p.protocol) {
			b.WriteString("service " + p.service + " {\n  service_count = 0\n  client_limit = 1000\n}\n" +
				"protocol " + p.protocol + " {\n  mail_max_userip_connections = 1000\n}\n")
		}
	}
	if l.caFile != "" {
		// The login proxy verifies the peer's certificate by ssl_ca alone, since it
		// cannot read files; nothing else uses it unless clients have certificates.
		b.WriteString("ssl_ca = <" + l.caFile + "\nssl_require_crl = no\n")
	}
	return b.String()
}
