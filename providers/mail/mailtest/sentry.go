package mailtest

import (
	"errors"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// far is a deadline that does not come during a test.
const far = 10 * time.Minute

// hold arms a handoff of an account from the old server, and makes it wait.
func hold(t testing.TB, b *bench, op, name string, within time.Duration) mail.Sentry {
	t.Helper()
	s := does[mail.Sentry](t, b.old())
	if err := s.Arm(t.Context(), op, user(name), b.new().Endpoint(), within); err != nil {
		t.Fatal(err)
	}
	setRoute(t, b, b.old(), name, mail.Route{Mode: mail.Hold})
	setLogin(t, b, b.old(), name, mail.Login{Mode: mail.Parked})
	return s
}

func wantState(t testing.TB, s mail.Sentry, op string, want mail.HandoffState) {
	t.Helper()
	got, err := s.Handoff(t.Context(), op)
	if err != nil || got != want {
		t.Fatalf("the handoff is %q, %v; want %q", got, err, want)
	}
}

// presence returns the modes of an account on a server.
func presence(t testing.TB, s mail.Server, name string) (mail.Route, mail.Login) {
	t.Helper()
	routes, err := does[mail.Router](t, s).Routes(t.Context(), []mail.Address{user(name)})
	if err != nil {
		t.Fatal(err)
	}
	logins, err := does[mail.Doorkeeper](t, s).Logins(t.Context(), []mail.Address{user(name)})
	if err != nil {
		t.Fatal(err)
	}
	return routes[user(name)], logins[user(name)]
}

func wantLeft(t testing.TB, b *bench, name string) {
	t.Helper()
	within(t, name+" to be relayed and proxied", func() bool {
		route, login := presence(t, b.old(), name)
		return route.Mode == mail.Relay && login.Mode == mail.Proxied && route.Left && login.Left &&
			route.Peer.Address == b.new().Endpoint().Address && login.Peer.Address == b.new().Endpoint().Address
	})
}

func wantHome(t testing.TB, b *bench, s mail.Server, name string) {
	t.Helper()
	within(t, name+" to be local and open", func() bool {
		route, login := presence(t, s, name)
		return route.Mode == mail.Local && login.Mode == mail.Open
	})
}

func testSentryCommit(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	op := b.op()
	s := does[mail.Sentry](t, b.old())
	wantState(t, s, op, mail.NeverArmed)
	if err := s.Commit(t.Context(), op); err == nil {
		t.Error("committing what was never armed: got no error")
	}
	hold(t, b, op, "murphy", far)
	wantState(t, s, op, mail.Armed)
	for range 2 {
		if err := s.Commit(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		wantState(t, s, op, mail.Committed)
	}
	wantLeft(t, b, "murphy")
	// Neither arming again nor disarming undoes a decision.
	if err := s.Arm(t.Context(), op, user("murphy"), b.new().Endpoint(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := s.Disarm(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	wantState(t, s, op, mail.Committed)
	wantLeft(t, b, "murphy")
	// Another operation, which looked before the commit, does not take a server for
	// the home that has been left.
	err := s.Arm(t.Context(), b.op(), user("murphy"), b.new().Endpoint(), far)
	if outcome := new(mail.OutcomeError); !errors.As(err, &outcome) || outcome.Outcome != providers.NotApplied {
		t.Errorf("arming a handoff where the account is not at home: got %v, want NotApplied", err)
	}
	wantLeft(t, b, "murphy")
}

func testSentryExpires(t *testing.T, b *bench) {
	b.prepare(t, "murphy", "office")
	op := b.op()
	s := hold(t, b, op, "murphy", b.Pace+time.Second)
	mustSend(t, b.Old, user("murphy"), "held")
	wantHome(t, b, b.old(), "murphy")
	wantState(t, s, op, mail.Expired)
	if err := s.Commit(t.Context(), op); !errors.Is(err, mail.ErrExpired) {
		t.Errorf("committing after the deadline: got %v, want ErrExpired", err)
	}
	wantHome(t, b, b.old(), "murphy")
	arrives(t, b.Old, user("murphy"), "held")
	// The same operation may begin anew, and be disarmed.
	hold(t, b, op, "murphy", far)
	wantState(t, s, op, mail.Armed)
	if err := s.Disarm(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	wantHome(t, b, b.old(), "murphy")
	// Another operation takes an account over, as it is.
	first, second := b.op(), b.op()
	hold(t, b, first, "office", far)
	if err := s.Arm(t.Context(), second, user("office"), b.new().Endpoint(), far); err != nil {
		t.Fatal(err)
	}
	wantState(t, s, first, mail.Expired)
	if route, login := presence(t, b.old(), "office"); route.Mode != mail.Hold || login.Mode != mail.Parked {
		t.Errorf("taking over changed the account: %s, %s", route.Mode, login.Mode)
	}
	if err := s.Disarm(t.Context(), first); err != nil { // nothing of it is left
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, b, "office")
}

func testSentryRestart(t *testing.T, b *bench) {
	b.prepare(t, "murphy", "office")
	expires, commits := b.op(), b.op()
	s := hold(t, b, expires, "murphy", 2*b.Pace+time.Second)
	hold(t, b, commits, "office", far)
	if err := s.Commit(t.Context(), commits); err != nil {
		t.Fatal(err)
	}
	b.Old.Restart(t)
	wantHome(t, b, b.old(), "murphy")
	wantLeft(t, b, "office")
	wantState(t, s, commits, mail.Committed)
	wantState(t, s, expires, mail.Expired)
}
