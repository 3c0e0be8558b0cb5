package postfix_dovecot

import (
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
