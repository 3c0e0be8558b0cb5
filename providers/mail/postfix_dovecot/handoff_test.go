package postfix_dovecot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
)

const (
	murphy   = mail.Address("murphy@" + domain)
	office   = mail.Address("office@" + domain)
	password = "a password of the test"
	// passwordHash is that of password, otherHash that of "another one".
	passwordHash = "{SHA512-CRYPT}$6$mailmovetest$L.kxwbDLoG6PMhgssj/3TUcye1NXb0IsJzKtWq07mKfjw15VhL5PgEEfub0fqJgMEf4OmHRPmyI04g9aRpSaq."
	otherHash    = "{SHA512-CRYPT}$6$mailmovetest$wBBAGOCCPnSBYFMvwEw9C88ZM5dDLAtSFPl.H.ScNytbNoUHl4ML50hPs1F3xj2Juqm2MrEJ2ENHVY.CWjCoP/"
)

// password gives accounts a password on one server.
func (b *bench) password(s *System, list []mail.Account, hash string) {
	b.t.Helper()
	var edits []mail.AccountEdit
	for _, a := range list {
		edits = append(edits, mail.AccountEdit{Account: a, Credential: mail.NewCredential(hash)})
	}
	b.must(s.PutAccounts(b.t.Context(), "password", edits))
}

func one[V any](a mail.Address, v V) map[mail.Address]V { return map[mail.Address]V{a: v} }

// begin is a handoff up to the commit.
func (b *bench) begin(ctx context.Context, op string, account mail.Address, from, to *System, within time.Duration) error {
	route := mail.Route{Mode: mail.Relay, Peer: from.Endpoint()}
	login := mail.Login{Mode: mail.Proxied, Peer: from.Endpoint()}
	return errors.Join(
		to.SetLogins(ctx, op, one(account, login)),
		to.SetRoutes(ctx, op, one(account, route)),
		from.Arm(ctx, op, account, to.Endpoint(), within),
		from.SetRoutes(ctx, op, one(account, mail.Route{Mode: mail.Hold})),
		from.SetLogins(ctx, op, one(account, mail.Login{Mode: mail.Parked})),
	)
}

// copied is the last difference and its proof.
func (b *bench) copied(ctx context.Context, op string, account mail.Address, from, to *System) {
	b.t.Helper()
	if _, err := from.Copy(ctx, mail.CopyJob{Op: op, Account: account, Peer: to, Method: mail.Rsync, Aside: true}, nil); err != nil {
		b.t.Fatal(err)
	}
	compared, err := from.Compare(ctx, to, []mail.Address{account}, mail.Content)
	if err != nil {
		b.t.Fatal(err)
	}
	if c := compared[account]; c.Behind() != 0 || c.Messages == 0 {
		b.t.Fatalf("after the last pass the stores differ: %+v", c)
	}
}

// end is what follows the commit.
func (b *bench) end(ctx context.Context, op string, account mail.Address, from, to *System) error {
	return errors.Join(
		from.Disarm(ctx, op),
		to.SetRoutes(ctx, op, one(account, mail.Route{Mode: mail.Local})),
		to.SetLogins(ctx, op, one(account, mail.Login{Mode: mail.Open})),
	)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// parkedLogin begins a login that is expected to wait.
func (b *bench) parkedLogin(server, user string) chan string {
	answer := make(chan string, 1)
	go func() { answer <- b.login(server, user) }()
	return answer
}

// slowProgram hands a message over at the peer's door and leaves it open in the middle
// until a file appears.
const slowProgram = `
import os, smtplib, sys, time
server, recipient, marker = sys.argv[1:4]
s = smtplib.SMTP(server, 10525, timeout=120)
s.ehlo("peer")
s.docmd("MAIL FROM:<a@sender.example>")
print(s.docmd("RCPT TO:<%s>" % recipient), s.docmd("DATA"), flush=True)
s.send("Subject: %s\r\n\r\n" % marker)
open("/tmp/began-" + marker, "w").close()
while not os.path.exists("/tmp/go-" + marker):
    time.sleep(0.05)
s.send("body\r\n.\r\n")
print(s.getreply(), flush=True)
`

// slowly begins such a message on host; the function that it returns ends it and
// returns what the server answered.
func (b *bench) slowly(host, server, recipient, marker string) (end func() string) {
	b.t.Helper()
	answer := make(chan string, 1)
	go func() {
		answer <- b.exec(host, "python3 -c '"+slowProgram+"' "+server+" "+recipient+" "+marker+" 2>&1; :")
	}()
	b.eventually("a message is being handed over", func() bool {
		return strings.TrimSpace(b.exec(host, "[ ! -e /tmp/began-"+marker+" ] || echo yes")) == "yes"
	})
	return func() string {
		b.exec(host, "touch /tmp/go-"+marker)
		return <-answer
	}
}

func TestHandoff(t *testing.T) {
	t.Parallel()
	b, _ := prepared(t, 3, 20)
	ctx := t.Context()

	// Before: everybody gets to the old server, whichever he asks.
	before := b.login("198.51.100.10", string(murphy))
	if !strings.HasPrefix(before, "in ") {
		t.Fatal("login before the handoff: ", before)
	}
	if through := b.login("198.51.100.20", string(murphy)); strings.Fields(through)[0] != "in" || strings.Fields(through)[3] != strings.Fields(before)[3] {
		t.Fatalf("login through the new server: %s, directly: %s", through, before)
	}
	if wrong := b.loginAs("198.51.100.20", string(murphy), "wrong"); !strings.HasPrefix(wrong, "refused") {
		t.Error("login with a wrong password through the new server: ", wrong)
	}
	// A password that is changed at the home counts on both, and the one before no longer.
	b.password(b.old, []mail.Account{{Address: office}}, otherHash)
	b.eventually("the new password is right at the server that is not the home", func() bool {
		return strings.HasPrefix(b.loginAs("198.51.100.20", string(office), "another one"), "in ")
	})
	if a := b.login("198.51.100.20", string(office)); !strings.HasPrefix(a, "refused") {
		t.Error("login with the password of before: ", a)
	}
	b.password(b.old, []mail.Account{{Address: office}}, passwordHash)
	if _, err := b.old.Copy(ctx, mail.CopyJob{Op: "ahead", Account: murphy, Peer: b.new, Method: mail.Rsync}, nil); err != nil {
		t.Fatal(err)
	}

	b.must(b.begin(ctx, "forth", murphy, b.old, b.new, 5*time.Minute))
	b.send("198.51.100.10", "a@sender.example", string(murphy), "held-old")
	b.send("198.51.100.20", "a@sender.example", string(murphy), "held-new")
	b.send("198.51.100.10", "a@sender.example", "murphy+tag@"+domain, "held-plus")
	b.send("198.51.100.10", "a@sender.example", string(office), "others")
	parked, through := b.parkedLogin("198.51.100.10", string(murphy)), b.parkedLogin("198.51.100.20", string(murphy))
	if wrong := b.loginAs("198.51.100.10", string(murphy), "wrong"); !strings.HasPrefix(wrong, "refused") {
		t.Error("login with a wrong password while parked: ", wrong)
	}
	if other := b.login("198.51.100.10", string(office)); !strings.HasPrefix(other, "in ") {
		t.Error("login of another account while one is handed over: ", other)
	}
	b.eventually("mail of another account is delivered", func() bool { return b.stored("old", string(office), "others") == 1 })
	for _, marker := range []string{"held-old", "held-new", "held-plus"} {
		if n := b.stored("old", string(murphy), marker) + b.stored("new", string(murphy), marker); n != 0 {
			t.Errorf("%s is in %d mailboxes although mail is held", marker, n)
		}
	}
	b.copied(ctx, "forth", murphy, b.old, b.new)
	select {
	case a := <-parked:
		t.Fatal("a login did not wait: ", a)
	case a := <-through:
		t.Fatal("a login through the peer did not wait: ", a)
	default:
	}
	b.must(b.old.Commit(ctx, "forth"))
	b.must(b.old.Commit(ctx, "forth"))
	for _, answer := range []chan string{parked, through} {
		if a := <-answer; !strings.HasPrefix(a, "in ") {
			t.Error("a login that waited: ", a)
		}
	}
	// The new server does not know yet that it is the home. A wrong password does not
	// go round between the two.
	if wrong := b.loginAs("198.51.100.10", string(murphy), "wrong"); !strings.Contains(wrong, "AUTHENTICATIONFAILED") {
		t.Error("login with a wrong password just after the commit: ", wrong)
	}
	// From now on the old server does by itself what is left to do. What found the
	// new one too early waits there until that knows that it is the home.
	b.send("198.51.100.10", "a@sender.example", string(murphy), "after-old")
	b.send("198.51.100.20", "a@sender.example", string(murphy), "after-new")
	b.eventually("held mail has reached the new home without mailmove", func() bool {
		return b.stored("new", string(murphy), "held-old") == 1 &&
			b.stored("new", string(murphy), "held-plus") == 1 && b.stored("new", string(murphy), "after-old") == 1
	})
	b.must(b.end(ctx, "forth", murphy, b.old, b.new))
	b.eventually("what found the new server too early is there", func() bool {
		return b.stored("new", string(murphy), "held-new") == 1 && b.stored("new", string(murphy), "after-new") == 1
	})
	if state, err := b.old.Handoff(ctx, "forth"); err != nil || state != mail.Committed {
		t.Errorf("the handoff is %s, %v", state, err)
	}
	b.send("198.51.100.10", "a@sender.example", string(murphy), "moved-old")
	b.send("198.51.100.20", "a@sender.example", string(murphy), "moved-new")
	b.eventually("mail reaches the new home", func() bool {
		return b.stored("new", string(murphy), "moved-old") == 1 && b.stored("new", string(murphy), "moved-new") == 1
	})
	for _, server := range []string{"198.51.100.10", "198.51.100.20"} {
		if a := b.login(server, string(murphy)); !strings.HasPrefix(a, "in ") || strings.Fields(a)[3] == strings.Fields(before)[3] {
			t.Errorf("login at %s after the handoff: %s", server, a)
		}
	}
	if n := b.stored("old", string(murphy), "moved-old"); n != 0 {
		t.Error("the old server stored mail after the handoff")
	}

	// And back, with what has arrived meanwhile. A message that the old server has
	// been handing over all the while is not for the store that is being left.
	slow := b.slowly("old", "198.51.100.20", string(murphy), "slow")
	b.must(b.begin(ctx, "back", murphy, b.new, b.old, 5*time.Minute))
	if answer := slow(); !strings.Contains(answer, "(250, b'2.0.0 Ok: queued") {
		t.Error("a message that was begun before the hold: ", answer)
	}
	b.eventually("its delivery has been put off", func() bool {
		return strings.Contains(b.exec("new", "postqueue -p"), "<"+string(murphy)+"> Temporary") || strings.Contains(b.exec("new", "postqueue -p"), "451 4.")
	})
	b.copied(ctx, "back", murphy, b.new, b.old)
	b.must(b.new.Commit(ctx, "back"))
	b.must(b.end(ctx, "back", murphy, b.new, b.old))
	b.send("198.51.100.20", "a@sender.example", string(murphy), "home-again")
	b.eventually("mail is at home on the old server", func() bool { return b.stored("old", string(murphy), "home-again") == 1 })
	b.eventually("the slow message is at home", func() bool { return b.stored("old", string(murphy), "slow") == 1 })
	if n := b.stored("new", string(murphy), "slow"); n != 0 {
		t.Error("the slow message is in the store that was left")
	}
	for _, marker := range []string{"held-old", "held-new", "held-plus", "after-old", "after-new", "moved-old", "moved-new"} {
		if n := b.stored("old", string(murphy), marker); n != 1 {
			t.Errorf("after going back %s is there %d times", marker, n)
		}
	}
	if a := b.login("198.51.100.20", string(murphy)); !strings.HasPrefix(a, "in ") {
		t.Error("login through the new server after going back: ", a)
	}
}

func TestDeadMansTimer(t *testing.T) {
	t.Parallel()
	long(t)
	b, _ := prepared(t, 3, 3)
	ctx := t.Context()
	// Long enough to put the routes in force, by which it begins.
	b.must(b.begin(ctx, "late", murphy, b.old, b.new, 25*time.Second))
	b.send("198.51.100.10", "a@sender.example", string(murphy), "held-late")
	if a := <-b.parkedLogin("198.51.100.10", string(murphy)); !strings.HasPrefix(a, "in ") {
		t.Error("a login that waited until the timer: ", a)
	}
	if err := b.old.Commit(ctx, "late"); !errors.Is(err, mail.ErrExpired) {
		t.Errorf("a commit after the timer returned %v, want ErrExpired", err)
	}
	if state, err := b.old.Handoff(ctx, "late"); err != nil || state != mail.Expired {
		t.Errorf("the handoff is %s, %v", state, err)
	}
	b.eventually("held mail is at home after the timer", func() bool { return b.stored("old", string(murphy), "held-late") == 1 })
	// What comes late must not make anybody wait whom no timer would free.
	if err := b.old.SetLogins(ctx, "late", one(murphy, mail.Login{Mode: mail.Parked})); !errors.Is(err, mail.ErrExpired) {
		t.Errorf("parking after the timer returned %v, want ErrExpired", err)
	}
	if err := b.old.SetRoutes(ctx, "late", one(murphy, mail.Route{Mode: mail.Hold})); !errors.Is(err, mail.ErrExpired) {
		t.Errorf("holding after the timer returned %v, want ErrExpired", err)
	}
	routes, err := b.old.Routes(ctx, []mail.Address{murphy})
	if err != nil || routes[murphy].Mode != mail.Local {
		t.Errorf("the route after the timer is %v, %v", routes, err)
	}
	// The same change tries again.
	b.must(b.begin(ctx, "late", murphy, b.old, b.new, 5*time.Minute))
	if state, err := b.old.Handoff(ctx, "late"); err != nil || state != mail.Armed {
		t.Errorf("the handoff that began anew is %s, %v", state, err)
	}
	b.must(b.old.Disarm(ctx, "late"))
}
