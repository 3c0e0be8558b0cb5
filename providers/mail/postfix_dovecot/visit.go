package postfix_dovecot

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/visit.sh
var visitScript string

var _ mail.Visitor = (*System)(nil)

// Visit implements [mail.Visitor]. Only this server can tell what it meets: a
// firewall may let the operator through, and a server with several addresses may
// come from another one than the peer trusts.
func (s *System) Visit(ctx context.Context, peer mail.Endpoint, domain string) error {
	relay := strconv.Itoa(peer.Relay)
	args := []string{peer.Address, domain, relay, relay}
	for _, port := range []int{peer.IMAP, peer.POP3} {
		if port != 0 {
			args = append(args, strconv.Itoa(port))
		}
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "look at the peer's doors", Script: visitScript, Args: args})
	if err != nil {
		return err
	}
	return doors(string(res.Stdout), fmt.Sprint(s.runner), peer)
}

// doors is the error of what was met at the peer's doors.
func doors(text, from string, peer mail.Endpoint) error {
	for line := range strings.Lines(text) {
		port, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "open":
		case "shut":
			return providers.Faultf(fmt.Sprintf("Let TCP from the one to port %s of the other through their firewalls, and run mailmove apply again.", port),
				"looking from %s at its peer: port %s of %s cannot be reached", from, port, peer.Address)
		case "silent":
			return providers.Faultf("Another program may have the port: choose one with relay_port in the provider block.",
				"looking from %s at its peer: port %s of %s is not mailmove's door", from, port, peer.Address)
		case "refused":
			return providers.Faultf("A server with several addresses must come from the one in its provider block: see smtp_bind_address of Postfix, or change address there.",
				"looking from %s at its peer: the door of %s does not recognise it by its address", from, peer.Address)
		default:
			return fmt.Errorf("looking from %s at its peer: unexpected answer %q", from, line)
		}
	}
	return nil
}
