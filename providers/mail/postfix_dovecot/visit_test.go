package postfix_dovecot

import (
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers/mail"
)

func TestVisit(t *testing.T) {
	t.Parallel()
	b := newLab(t)
	ctx := t.Context()
	here, peer := b.new, b.old.Endpoint()
	shut := here.Visit(ctx, peer, domain)
	if shut == nil || !strings.Contains(shut.Error(), "port 10525 of 198.51.100.10 cannot be reached") {
		t.Error("before there is a door: ", shut)
	}
	b.must(b.old.Claim(ctx, "claim"))
	refused := here.Visit(ctx, peer, domain)
	if refused == nil || !strings.Contains(refused.Error(), "does not recognise it") {
		t.Error("before it is trusted: ", refused)
	}
	b.must(b.old.PutTrust(ctx, "trust", mail.Trust{Peer: here.Endpoint().Address, Domain: domain}, true))
	if err := here.Visit(ctx, peer, domain); err != nil {
		t.Error("a peer that is trusted: ", err)
	}
	peer.Relay = 993
	silent := here.Visit(ctx, peer, domain)
	if silent == nil || !strings.Contains(silent.Error(), "is not mailmove's door") {
		t.Error("at the port of another program: ", silent)
	}
}
