package postfix_dovecot

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// killed runs a command of homes.sh on the old server and kills it after a while.
func (b *bench) killed(after time.Duration, input, args string) {
	b.t.Helper()
	b.exec("old", fmt.Sprintf("printf '%%b' '%s' | timeout -s KILL %.3f /var/lib/mailmove/homes/homes %s >/dev/null 2>&1; :",
		strings.ReplaceAll(input, "\n", `\n`), after.Seconds(), args))
}

// A command that is killed at any instant leaves servers that work, and the next
// one goes on.
func TestInterruptedCommands(t *testing.T) {
	t.Parallel()
	long(t)
	b, _ := prepared(t, 3, 3)
	ctx := t.Context()
	for i := range 20 {
		after := time.Duration(i*8+2) * time.Millisecond
		b.killed(after, "murphy@example.com hold - 0\n", "routes test")
		b.killed(after, "murphy@example.com murphy@example.com parked - - 0 0\n", "logins test")
		b.killed(after, "murphy@example.com left 198.51.100.20 10525\n", "routes test")
		b.killed(after, "murphy@example.com local - 0\n", "routes test")
		b.killed(after, "murphy@example.com murphy@example.com open - - 0 0\n", "logins test")
		// Nobody is refused meanwhile.
		b.send("198.51.100.10", "a@sender.example", string(office), fmt.Sprintf("office-%d", i))
		b.send("198.51.100.10", "a@sender.example", string(murphy), fmt.Sprintf("murphy-%d", i))
		if a := b.login("198.51.100.10", string(office)); !strings.HasPrefix(a, "in ") {
			t.Fatalf("after a kill at %v another account is refused: %s", after, a)
		}
	}
	b.must(b.old.SetRoutes(ctx, "end", one(murphy, mail.Route{Mode: mail.Local})))
	b.must(b.old.SetLogins(ctx, "end", one(murphy, mail.Login{Mode: mail.Open})))
	for i := range 20 {
		b.eventually("all mail is there", func() bool {
			// What was relayed to the new server came back: it is away there.
			return b.stored("old", string(murphy), fmt.Sprintf("murphy-%d", i))+b.stored("new", string(murphy), fmt.Sprintf("murphy-%d", i)) == 1 &&
				b.stored("old", string(office), fmt.Sprintf("office-%d", i)) == 1
		})
	}
	if a := b.login("198.51.100.10", string(murphy)); !strings.HasPrefix(a, "in ") {
		t.Error("the account is refused: ", a)
	}
	if left := strings.TrimSpace(b.exec("old", "find /etc/dovecot/mailmove -name 'murphy@*'; ls /etc/postfix/mailmove | grep -e '[.]new$' -e '[.]in'; :")); left != "" {
		t.Errorf("there is left: %s", left)
	}
}

// A commit that is killed at any instant is decided or not, and the server
// completes it in either case.
func TestInterruptedCommit(t *testing.T) {
	t.Parallel()
	long(t)
	b, _ := prepared(t, 3, 3)
	ctx := t.Context()
	decided := map[mail.HandoffState]int{}
	for i, after := range []int{2, 6, 10, 14, 18, 30, 60} {
		op := fmt.Sprintf("op%d", i)
		b.must(b.old.Arm(ctx, op, murphy, b.new.Endpoint(), 5*time.Minute))
		b.must(b.old.SetLogins(ctx, op, one(murphy, mail.Login{Mode: mail.Parked})))
		b.killed(time.Duration(after)*time.Millisecond, "", "commit "+op)
		state, err := b.old.Handoff(ctx, op)
		b.must(err)
		decided[state]++
		b.exec("old", "/var/lib/mailmove/homes/homes tick")
		routes, err := b.old.Routes(ctx, []mail.Address{murphy})
		b.must(err)
		logins, err := b.old.Logins(ctx, []mail.Address{murphy})
		b.must(err)
		switch state {
		case mail.Armed:
			if logins[murphy].Mode != mail.Parked {
				t.Errorf("undecided, the login is %v", logins[murphy])
			}
			b.must(b.old.Disarm(ctx, op))
		case mail.Committed:
			if !routes[murphy].Left || !logins[murphy].Left {
				t.Errorf("decided, the route is %v and the login %v", routes[murphy], logins[murphy])
			}
			b.must(b.old.SetRoutes(ctx, op, one(murphy, mail.Route{Mode: mail.Local})))
			b.must(b.old.SetLogins(ctx, op, one(murphy, mail.Login{Mode: mail.Open})))
		default:
			t.Fatalf("after a kill the handoff is %s", state)
		}
		if a := b.login("198.51.100.10", string(murphy)); !strings.HasPrefix(a, "in ") {
			t.Fatalf("after the handoff %s the account is refused: %s", state, a)
		}
	}
	t.Logf("killed commits ended as %v", decided)
}

func TestOvertakenOperator(t *testing.T) {
	t.Parallel()
	b := newLab(t)
	ctx := t.Context()
	first, second := b.old, New(b.old.runner, b.old.endpoint, b.old.env)
	turn := func(s *System, number int64, holder string) error {
		fence, ok := providers.As[providers.Fencer](s)
		if !ok {
			t.Fatal("the server holds no epoch")
		}
		return fence.Claim(ctx, providers.Epoch{Number: number, Holder: holder})
	}
	b.must(turn(first, 7, "anna"))
	b.must(first.Claim(ctx, "claim"))
	b.must(turn(second, 8, "bob"))
	trust := mail.Trust{Peer: "198.51.100.20", Domain: domain}
	for what, err := range map[string]error{
		"trust":   first.PutTrust(ctx, "late", trust, true),
		"account": first.PutAccounts(ctx, "late", []mail.AccountEdit{{Account: mail.Account{Address: murphy}, Credential: mail.NewCredential(passwordHash)}}),
		"claim":   first.Claim(ctx, "late"),
		"turn":    turn(first, 7, "anna"),
		"same":    turn(first, 8, "anna"),
	} {
		stale, ok := errorAs[*providers.StaleError](err)
		if !ok || stale.Theirs.Holder != "bob" {
			t.Errorf("%s of an operator who was overtaken: %v, want a StaleError that names bob", what, err)
		}
	}
	b.must(second.PutTrust(ctx, "now", trust, true))
	if accounts, err := second.Accounts(ctx, domain); err != nil || len(accounts) != 0 {
		t.Errorf("an overtaken operator made accounts: %v, %v", accounts, err)
	}
	var known *mail.OutcomeError
	if err := first.PutTrust(ctx, "late", trust, false); !errors.As(err, &known) || known.Outcome != providers.NotApplied {
		t.Errorf("the outcome is not known: %v", err)
	}
}

// A text that was changed and whose map was not built, since somebody was killed in
// between, is not what Postfix goes by.
func TestInterruptedBuild(t *testing.T) {
	t.Parallel()
	b := newLab(t)
	ctx := t.Context()
	const moving = "moving.example"
	b.exec("new", `begun=/var/lib/mailmove/begun/etc/postfix
mkdir -p $begun && cd /etc/postfix && cp -p virtual_domains virtual_mailboxes virtual_aliases $begun
echo 'moving.example ok' >>virtual_domains
echo 'anna@moving.example ok' >>virtual_mailboxes
echo 'info@moving.example anna@moving.example' >>virtual_aliases
for map in virtual_domains virtual_mailboxes virtual_aliases; do sha256sum <$map | cut -c 1-64 >$begun/$map.to; done
echo 'anna@moving.example:{PLAIN}x:5000:5000::/var/vmail/moving.example/anna::' >>/etc/dovecot/users`)
	look := func() (accepts bool, accounts, aliases int) {
		t.Helper()
		accepts, err := b.new.Accepts(ctx, moving)
		b.must(err)
		list, err := b.new.Accounts(ctx, moving)
		b.must(err)
		known, err := b.new.Aliases(ctx, moving)
		b.must(err)
		return accepts, len(list), len(known)
	}
	if accepts, accounts, aliases := look(); accepts || accounts != 0 || aliases != 0 {
		t.Errorf("before the maps are built: accepted %v, %d accounts, %d aliases", accepts, accounts, aliases)
	}
	b.must(b.new.PutAccounts(ctx, "account", []mail.AccountEdit{{Account: mail.Account{Address: "anna@moving.example"}}}))
	b.must(b.new.PutAliases(ctx, "alias", []mail.AliasEdit{{Address: "info@moving.example", Members: []mail.Address{"anna@moving.example"}}}))
	b.must(b.new.PutDomain(ctx, "domain", moving, true))
	if accepts, accounts, aliases := look(); !accepts || accounts != 1 || aliases != 1 {
		t.Errorf("done again: accepted %v, %d accounts, %d aliases", accepts, accounts, aliases)
	}
	if left := b.exec("new", "find /var/lib/mailmove/begun -type f; postmap -q moving.example hash:/etc/postfix/virtual_domains"); strings.TrimSpace(left) != "ok" {
		t.Errorf("there is left, or not in force: %q", left)
	}
	// Whoever edits the text by hand after an interruption is asked to say what holds.
	b.exec("new", "cp -p /etc/postfix/virtual_domains /var/lib/mailmove/begun/etc/postfix/ && echo '# by hand' >>/etc/postfix/virtual_domains")
	if _, err := b.new.Accepts(ctx, moving); err == nil || !strings.Contains(err.Error(), "changed by hand") {
		t.Errorf("a text that was changed by hand after an interruption: %v", err)
	}
}
