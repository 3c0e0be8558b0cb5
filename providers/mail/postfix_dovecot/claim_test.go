package postfix_dovecot

import (
	"strings"
	"testing"
)

func TestClaimAndUnclaim(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	files := "cat /etc/postfix/main.cf /etc/postfix/master.cf; doveconf -n | grep -v '^#'; ls /etc/cron.d /etc/dovecot/conf.d"
	before := b.exec("old", files)
	for range 2 { // doing it again changes nothing
		if err := b.old.Claim(t.Context(), "op1"); err != nil {
			t.Fatal(err)
		}
		if claimed, err := b.old.Claimed(t.Context()); err != nil || !claimed {
			t.Fatalf("claimed is %v, %v after a claim", claimed, err)
		}
	}
	if b.exec("old", files) == before {
		t.Fatal("a claim changed nothing")
	}
	if err := b.old.Unclaim(t.Context(), "op2"); err != nil {
		t.Fatal(err)
	}
	if after := b.exec("old", files); after != before {
		t.Errorf("after unclaim the configuration is\n%s\nbefore it was\n%s", after, before)
	}
	if claimed, err := b.old.Claimed(t.Context()); err != nil || claimed {
		t.Fatalf("claimed is %v, %v after an unclaim", claimed, err)
	}
}

// What an administrator changes between two claims stays when our part leaves.
func TestUnclaimKeepsWhatWasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	ctx := t.Context()
	b.must(b.old.Claim(ctx, "op1"))
	b.exec("old", "postconf -e message_size_limit=12345678; postconf -M 'test/unix=test unix - - n - - smtp'")
	b.must(b.old.Claim(ctx, "op2"))
	b.must(b.old.Unclaim(ctx, "op3"))
	if got := strings.TrimSpace(b.exec("old", "postconf -h message_size_limit transport_maps; postconf -M test/unix | wc -l")); got != "12345678\n\n1" {
		t.Errorf("after unclaim message_size_limit, transport_maps and the number of services are %q", got)
	}
	if left := b.exec("old", "grep -e mailmove -e '^mm' /etc/postfix/main.cf /etc/postfix/master.cf; :"); left != "" {
		t.Errorf("unclaim has left %s", left)
	}
}

// A claim that is killed while it holds deliveries back leaves no mail waiting.
func TestClaimKilledWhileDeliveriesPause(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	b.must(b.old.Claim(t.Context(), "op1"))
	b.exec("old", "echo >/var/lib/mailmove/homes/defer_before; postconf -e defer_transports=lmtp; postfix reload")
	b.send("198.51.100.10", "a@sender.example", string(murphy), "paused")
	b.eventually("the delivery is put off", func() bool { return strings.Contains(b.exec("old", "postqueue -p"), "deferred transport") })
	b.exec("old", "flock /var/lib/mailmove/homes/claiming /var/lib/mailmove/homes/homes tick")
	if got := b.exec("old", "postconf -h defer_transports"); strings.TrimSpace(got) != "lmtp" {
		t.Error("deliveries went on while somebody was installing the hooks")
	}
	b.exec("old", "/var/lib/mailmove/homes/homes tick")
	b.eventually("it goes on", func() bool { return b.stored("old", string(murphy), "paused") == 1 })
	if got := strings.TrimSpace(b.exec("old", "postconf -n defer_transports")); got != "" {
		t.Error("there is left: ", got)
	}
}
