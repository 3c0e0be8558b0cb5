package postfix_dovecot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
)

// What goes wrong in a handoff, on a server that has been claimed.
func TestHandoffFaults(t *testing.T) {
	t.Parallel()
	b := newBench(t, 3, 3)
	ctx := t.Context()
	// What waits is tried when somebody asks for it, and not by itself.
	b.exec("old", "postconf -e queue_run_delay=1h minimal_backoff_time=1h maximal_backoff_time=2h; postfix reload")
	b.must(b.old.Claim(ctx, "claim"))
	accounts, err := b.old.Accounts(ctx, domain)
	b.must(err)
	if len(accounts) < 3 {
		t.Fatalf("the old server has %d accounts, want 3", len(accounts))
	}
	t.Run("who is logged in is not told", func(t *testing.T) { b.over(t).testSessionsUnknown() })
	t.Run("nowhere to proxy to", func(t *testing.T) { b.over(t).testNowhere() })
	t.Run("follow-up work is interrupted", func(t *testing.T) { b.over(t).testFollowUp() })
	t.Run("expired handoffs of accounts that have left", func(t *testing.T) { b.over(t).testExpired(accounts) })
}

// over is the bench in a part of a test.
func (b *bench) over(t *testing.T) *bench {
	part := *b
	part.t = t
	return &part
}

// Logins are not parked, and a store is not taken for closed, while it is unknown
// whether somebody is in.
func (b *bench) testSessionsUnknown() {
	ctx := b.t.Context()
	b.exec("old", `mkdir -p /usr/local/sbin
printf '#!/bin/sh\ncase " $* " in *" who "*) exit 75 ;; esac\nexec /usr/bin/doveadm "$@"\n' >/usr/local/sbin/doveadm
chmod 755 /usr/local/sbin/doveadm`)
	err := b.old.SetLogins(ctx, "park", one(murphy, mail.Login{Mode: mail.Parked}))
	b.exec("old", "rm /usr/local/sbin/doveadm")
	if err == nil || !strings.Contains(err.Error(), "who is logged in") {
		b.t.Errorf("parking logins where Dovecot does not tell who is logged in: %v", err)
	}
	b.must(b.old.SetLogins(ctx, "open", one(murphy, mail.Login{Mode: mail.Open})))
}

// A proxy without a host would let everybody in whatever his password.
func (b *bench) testNowhere() {
	for _, line := range []string{
		"murphy@example.com murphy@example.com proxied",
		"murphy@example.com murphy@example.com proxied  new.example.com 993 995",
		"murphy@example.com murphy@example.com proxied - - 993 995",
	} {
		said := b.exec("old", "echo '"+line+"' | /var/lib/mailmove/homes/homes logins test 2>&1 && echo done; :")
		if !strings.Contains(said, "nowhere to proxy murphy@example.com to") || strings.Contains(said, "done") {
			b.t.Errorf("the login %q: %s", line, said)
		}
		if left := b.exec("old", "grep -r . /etc/dovecot/mailmove/away; /var/lib/mailmove/homes/homes show"); left != "" {
			b.t.Errorf("the login %q has made %s", line, left)
		}
	}
}

// What is left to do after the tables say what was decided is done by the clock if
// somebody is killed in between: here, that held mail goes on.
func (b *bench) testFollowUp() {
	ctx := b.t.Context()
	b.must(b.old.Arm(ctx, "cut", murphy, b.new.Endpoint(), 5*time.Minute))
	b.must(b.old.SetRoutes(ctx, "cut", one(murphy, mail.Route{Mode: mail.Hold})))
	b.send("198.51.100.10", "a@sender.example", string(murphy), "held-cut")
	b.eventually("the message is held", func() bool { return strings.Contains(b.exec("old", "postqueue -p"), "mailmove-hold") })
	// It waits for whoever looks whether Postfix follows, and is killed there.
	left := b.exec("old", `cd /var/lib/mailmove/homes
flock -o probing sh -c './homes disarm cut >/dev/null 2>&1 &
i=0; while [ ! -e handoffs/cut/done ] && [ "$i" -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
kill -KILL "$!"'
ls handoffs/cut`)
	if want := "deadline\ndecision\ndone\nlogins\nroutes\n"; left != want {
		b.t.Fatalf("the handoff that was cut off has left %q, want %q", left, want)
	}
	b.exec("old", "/var/lib/mailmove/homes/homes tick")
	b.eventually("held mail goes on although the handoff was cut off", func() bool { return b.stored("old", string(murphy), "held-cut") == 1 })
}

// A handoff that has expired has nothing to say about an account that has left since.
func (b *bench) testExpired(accounts []mail.Account) {
	ctx := b.t.Context()
	armed, late, again := accounts[0].Address, accounts[1].Address, accounts[2].Address
	peer := b.new.Endpoint()
	b.must(b.old.Arm(ctx, "armed", armed, peer, 5*time.Minute))
	b.must(b.old.Arm(ctx, "late", late, peer, 5*time.Minute))
	b.must(b.old.Arm(ctx, "again", again, peer, 5*time.Minute))
	b.must(b.old.Disarm(ctx, "again"))
	b.must(b.away(ctx, b.old, b.new, accounts))
	gone := func(when string) {
		b.t.Helper()
		names := []mail.Address{armed, late, again}
		routes, err := b.old.Routes(ctx, names)
		b.must(err)
		logins, err := b.old.Logins(ctx, names)
		b.must(err)
		for _, a := range names {
			if routes[a].Mode != mail.Relay || logins[a].Mode != mail.Proxied {
				b.t.Errorf("%s the route of %s is %v and its login %v", when, a, routes[a], logins[a])
			}
		}
	}
	b.must(b.old.Disarm(ctx, "armed"))
	gone("after an undecided handoff was ended")
	b.exec("old", "echo '0 - 0' >/var/lib/mailmove/homes/handoffs/late/deadline")
	if err := b.old.Commit(ctx, "late"); !errors.Is(err, mail.ErrExpired) {
		b.t.Errorf("a commit that came too late: %v", err)
	}
	gone("after a commit that came too late")
	if err := b.old.Arm(ctx, "again", again, peer, 5*time.Minute); err == nil || !strings.Contains(err.Error(), "not at home") {
		b.t.Errorf("arming a handoff of an account that is away: %v", err)
	}
	// Refused, it has begun nothing: there is nothing to complete before the next change.
	b.must(b.old.SetLogins(ctx, "next", one(again, mail.Login{Mode: mail.Proxied, Peer: peer})))
	b.exec("old", "/var/lib/mailmove/homes/homes tick")
	gone("after a handoff was refused")
}
