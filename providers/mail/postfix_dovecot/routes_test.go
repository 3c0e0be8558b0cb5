package postfix_dovecot

import (
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers/mail"
)

// cut is the beginning of a script during which nobody finds out whether Postfix
// follows: change begins to change a route, and await waits until the table is so,
// Postfix' maps have been made of it, and the command does nothing but look.
const cut = `cd /var/lib/mailmove/homes
exec 9>probing; flock 9
change() { echo "$2" | ./homes routes "$1" 9>&- >/dev/null 2>&1 & }
await() {
	i=0
	until [ "$(cat routes 2>/dev/null)" = "$1" ] && cat routes trusts kept | cmp -s - derived || [ "$i" -gt 300 ]; do sleep 0.1; i=$((i + 1)); done
	sleep 1
}
`

// A route that was changed is in force when Postfix' queue manager follows it, and
// not before, whoever is killed or rebooted meanwhile.
func TestRouteIsInForceOnceSeen(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	ctx := t.Context()
	b.must(b.old.Claim(ctx, "claim"))
	b.exec("old", "rm /etc/cron.d/mailmove") // what the clock does is done when the test says so
	route := func() mail.RouteMode {
		t.Helper()
		routes, err := b.old.Routes(ctx, []mail.Address{murphy})
		b.must(err)
		return routes[murphy].Mode
	}
	expect := func(want mail.RouteMode, when string) {
		t.Helper()
		if got := route(); got != want {
			t.Errorf("%s the route is %s, want %s", when, got, want)
		}
	}
	held := func(marker string) {
		t.Helper()
		b.send("198.51.100.10", "a@sender.example", string(murphy), marker)
		b.eventually("the message is held", func() bool { return strings.Contains(b.exec("old", "postqueue -p"), "mailmove-hold") })
		if n := b.stored("old", string(murphy), marker); n != 0 {
			t.Errorf("%s is in the mailbox although mail is held", marker)
		}
	}
	// The queue manager keeps what it has learnt.
	b.send("198.51.100.10", "a@sender.example", string(murphy), "before")
	b.eventually("mail is delivered", func() bool { return b.stored("old", string(murphy), "before") == 1 })

	hold, local := string(murphy)+" hold - 0", string(murphy)+" local - 0"
	b.exec("old", cut+"change op '"+hold+"'; await '"+hold+"'; kill -KILL $!")
	expect(mail.Changing, "after a kill")
	b.must(b.old.SetRoutes(ctx, "again", one(murphy, mail.Route{Mode: mail.Hold})))
	expect(mail.Hold, "done again")
	held("held-again")

	b.exec("old", cut+"change op '"+local+"'; await ''; kill -KILL $!")
	b.lab("reboot", "old")
	expect(mail.Changing, "after a reboot")
	b.exec("old", "/var/lib/mailmove/homes/homes tick")
	expect(mail.Local, "after the clock has found it")
	b.eventually("what was held is delivered", func() bool { return b.stored("old", string(murphy), "held-again") == 1 })

	// Two at a time: the first one to end does not speak for the other.
	b.exec("old", cut+"change first '"+local+"'; first=$!; sleep 1; change second '"+hold+"'; await '"+hold+"'; kill -KILL $!; flock -u 9; wait $first")
	expect(mail.Changing, "after the first of two commands has ended")
	b.exec("old", "/var/lib/mailmove/homes/homes tick")
	expect(mail.Hold, "after the clock has found it")
	held("held-second")
	b.must(b.old.SetRoutes(ctx, "end", one(murphy, mail.Route{Mode: mail.Local})))
	b.eventually("what was held is delivered", func() bool { return b.stored("old", string(murphy), "held-second") == 1 })
	if left := b.exec("old", "cat /var/lib/mailmove/homes/changing"); left != "" {
		t.Error("there is left: ", left)
	}
}
