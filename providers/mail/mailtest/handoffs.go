package mailtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// wantServed checks that both servers, whichever a sender or user finds, lead to
// one account, that has every mark once.
func wantServed(t testing.TB, b *bench, name string, marks ...string) {
	t.Helper()
	for where, h := range map[string]Host{"old": b.Old, "new": b.New} {
		mark := fmt.Sprintf("%s-by-%s-%d", name, where, b.ops)
		b.ops++
		mustSend(t, h, user(name), mark)
		marks = append(marks, mark)
	}
	for _, mark := range marks {
		arrives(t, b.Old, user(name), mark)
		arrives(t, b.New, user(name), mark)
	}
	wantEqual(t, read(t, b.Old, user(name)), read(t, b.New, user(name)))
}

// There and back: nothing is lost, whatever arrived where.
func testHandoff(t *testing.T, b *bench) {
	b.prepare(t, "murphy", "office")
	corpus(t, b.Old, user("murphy"))
	wantServed(t, b, "murphy")
	b.make(t, oldName, "mail_copy", copyOf("murphy"))
	before := read(t, b.Old, user("murphy"))
	b.handoff(t, "murphy", "new")
	wantHome(t, b, b.new(), "murphy")
	wantLeft(t, b, "murphy")
	wantEqual(t, before, read(t, b.New, user("murphy")))
	wantServed(t, b, "murphy")
	wantServed(t, b, "office")
	// A copy of an account that has moved is sealed.
	b.make(t, oldName, "mail_copy", copyOf("murphy"))
	wantServed(t, b, "murphy")
	// Back, with what came meanwhile, and forward again.
	after := read(t, b.New, user("murphy"))
	b.handoff(t, "murphy", "old")
	wantHome(t, b, b.old(), "murphy")
	wantEqual(t, after, read(t, b.Old, user("murphy")))
	wantServed(t, b, "murphy")
	b.handoff(t, "murphy", "new")
	wantServed(t, b, "murphy")
	// A password that the user changes at home goes with the account.
	b.New.AddAccount(t, user("murphy"), "changed at home")
	b.refresh()
	// The server that he has left need not be told.
	within(t, "the changed password at the other server", func() bool { return loggedIn(t, b.Old, user("murphy"), "changed at home") })
	if loggedIn(t, b.Old, user("murphy"), password) {
		t.Error("the password of before is still right at the other server")
	}
	// Nor does the declaration that the password be that of the server it has left,
	// which comes before the handoff on the way back, take it away.
	b.make(t, newName, "mail_account", map[string]cty.Value{"address": str(string(user("murphy"))), "password_from": str(oldName)})
	if !loggedIn(t, b.New, user("murphy"), "changed at home") {
		t.Error("the password that was changed at home is wrong there")
	}
	b.refresh()
	b.handoff(t, "murphy", "old")
	within(t, "the changed password", func() bool { return loggedIn(t, b.Old, user("murphy"), "changed at home") })
}

// loggedIn reports whether a password opens an account.
func loggedIn(t testing.TB, h Host, address mail.Address, password string) bool {
	t.Helper()
	c, err := login(t, h, address, password)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// traffic sends to an account by both servers and logs in and files mail, until
// stopped. It notes what was acknowledged.
type traffic struct {
	stop    func()
	done    sync.WaitGroup
	mu      sync.Mutex
	sent    []string
	filed   []string
	refused atomic.Int64
}

func startTraffic(t testing.TB, b *bench, name string) *traffic {
	ended := make(chan struct{})
	tr := &traffic{stop: sync.OnceFunc(func() { close(ended) })}
	t.Cleanup(func() { // also after a failure
		tr.stop()
		tr.done.Wait()
	})
	loop := func(f func(i int)) {
		tr.done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-ended:
					return
				case <-time.After(5*time.Millisecond + b.Pace/100):
					f(i)
				}
			}
		})
	}
	for where, h := range map[string]Host{"old": b.Old, "new": b.New} {
		loop(func(i int) {
			mark := fmt.Sprintf("traffic-%s-%d", where, i)
			if err := send(t, h, "someone@outside.test", user(name), mark); err != nil {
				t.Errorf("sending by %s: %v", where, err)
				return
			}
			tr.note(&tr.sent, mark)
		})
		loop(func(i int) {
			c, err := login(t, h, user(name), password)
			if err != nil {
				tr.refused.Add(1)
				return
			}
			defer c.Close()
			mark := fmt.Sprintf("filed-%s-%d", where, i)
			body := "Subject: filed\r\nX-Mark: " + mark + "\r\n\r\n.\r\n"
			cmd := c.Append("INBOX", int64(len(body)), &imap.AppendOptions{})
			if _, err := cmd.Write([]byte(body)); err != nil {
				return // the session was ended; nothing was acknowledged
			}
			if cmd.Close() != nil {
				return
			}
			if _, err := cmd.Wait(); err == nil {
				tr.note(&tr.filed, mark)
			}
		})
	}
	return tr
}

func (tr *traffic) note(list *[]string, mark string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	*list = append(*list, mark)
}

// more waits until so much was sent and filed since now.
func (tr *traffic) more(t testing.TB, n int) {
	t.Helper()
	count := func() (int, int) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.sent), len(tr.filed)
	}
	sent, filed := count()
	within(t, "traffic", func() bool {
		s, f := count()
		return s >= sent+n && f >= filed+n
	})
}

// audit ends the traffic and finds every acknowledged message once.
func (tr *traffic) audit(t testing.TB, b *bench, name string) {
	t.Helper()
	tr.stop()
	tr.done.Wait()
	within(t, "all that was sent", func() bool {
		v := read(t, b.Old, user(name))
		for _, mark := range tr.sent {
			if v.count(mark) == 0 {
				return false
			}
		}
		return true
	})
	v := read(t, b.Old, user(name))
	for _, mark := range tr.sent {
		if got := v.count(mark); got != 1 {
			t.Errorf("%s is %d times in the account, want once", mark, got)
		}
	}
	for _, mark := range tr.filed {
		if got := v.count(mark); got != 1 {
			t.Errorf("%s, which was acknowledged to the user, is %d times in the account, want once", mark, got)
		}
	}
	if n := tr.refused.Load(); n > 0 {
		t.Errorf("%d logins were refused, want none", n)
	}
	t.Logf("%d sent, %d filed", len(tr.sent), len(tr.filed))
}

func testHandoffUnderTraffic(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	corpus(t, b.Old, user("murphy"))
	tr := startTraffic(t, b, "murphy")
	for _, home := range []string{"new", "old", "new"} {
		tr.more(t, 5)
		b.handoff(t, "murphy", home)
	}
	tr.more(t, 5)
	tr.audit(t, b, "murphy")
	wantHome(t, b, b.new(), "murphy")
}

// Every call of a handoff fails once in each way; then the same change is tried
// again, as the engine does. Mail that came before, meanwhile and after is there
// once, and the account has one home.
func testHandoffInterrupted(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	corpus(t, b.Old, user("murphy"))
	calls, want := 0, 64
	kinds, stride := []fault{lostRequest, lostAnswer, crashBefore, crashAfter}, 1
	if b.Pace > 0 { // a sample of the calls, each kind of fault at others
		kinds, stride, want = []fault{lostAnswer, crashAfter}, 4, 6
	}
	for _, home := range []string{"new", "old"} {
		for i, kind := range kinds {
			for at := i * (stride / 2); ; at += stride {
				back := map[string]string{"new": "old", "old": "new"}[home]
				b.handoff(t, "murphy", back)
				if !interrupt(t, b, home, kind, at) {
					break // the handoff has no more calls
				}
				calls++
			}
		}
	}
	if calls < want {
		t.Errorf("%d interruptions, want at least %d: the faults do not reach the handoff", calls, want)
	}
	t.Logf("%d interruptions", calls)
}

// The timer comes between the hold and the parking, as when a batch is long: mail
// flows again, so the handoff must not be decided.
func testTimerBeforePark(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	op := b.op()
	held := false
	f := &faults{at: -1}
	f.between = func(name string) {
		sentry := does[mail.Sentry](t, b.old())
		state, err := sentry.Handoff(t.Context(), op)
		if err != nil {
			t.Error(err)
		}
		if name != "SetRoutes" || state != mail.Armed || held {
			return
		}
		held = true
		if err := sentry.Disarm(t.Context(), op); err != nil {
			t.Error(err)
		}
	}
	plain := map[string]providers.System{oldName: b.wrapped[oldName], newName: b.wrapped[newName]}
	for name, s := range b.servers {
		b.wrapped[name] = newFaulty(s, f, b.env)
	}
	outcome, _, err := b.try(t, newName, "mail_handoff", op, handoffOf("murphy", "new"))
	for name, sys := range plain {
		b.wrapped[name] = sys
	}
	b.refresh()
	if !held {
		t.Fatalf("mail was never held: %v, %v", f.names, err)
	}
	if outcome != providers.NotApplied || !errors.Is(err, mail.ErrExpired) {
		t.Errorf("got %v, %v; want not applied, %v", outcome, err, mail.ErrExpired)
	}
	wantHome(t, b, b.old(), "murphy")
	wantServed(t, b, "murphy")
	b.handoff(t, "murphy", "new")
	wantServed(t, b, "murphy")
}

// interrupt lets one call fail and then tries again. It reports whether there was
// such a call.
func interrupt(t *testing.T, b *bench, home string, kind fault, at int) bool {
	t.Helper()
	tag := fmt.Sprintf("%s-%s-%d", home, kind, at)
	op := b.op()
	mustSend(t, b.Old, user("murphy"), "before-"+tag)
	arrives(t, b.New, user("murphy"), "before-"+tag)
	f := &faults{kind: kind, at: at}
	plain := map[string]providers.System{oldName: b.wrapped[oldName], newName: b.wrapped[newName]}
	for name, s := range b.servers {
		b.wrapped[name] = newFaulty(s, f, b.env)
	}
	outcome, _, err := b.try(t, newName, "mail_handoff", op, handoffOf("murphy", home))
	for name, sys := range plain {
		b.wrapped[name] = sys
	}
	b.refresh()
	reached := at < f.calls
	if reached && err == nil && kind != lostAnswer && kind != lostRequest {
		t.Fatalf("%s: a crash was not noticed (%v)", tag, f.names)
	}
	if outcome == providers.NotApplied && err != nil {
		// What was said not to have happened has not: the account is at its old home.
		from := map[string]mail.Server{"new": b.old(), "old": b.new()}[home]
		if kind == lostRequest || kind == lostAnswer {
			wantHome(t, b, from, "murphy")
		}
	}
	mustSend(t, b.Old, user("murphy"), "mid-old-"+tag)
	mustSend(t, b.New, user("murphy"), "mid-new-"+tag)
	outcome, _, err = b.try(t, newName, "mail_handoff", op, handoffOf("murphy", home))
	if err != nil || outcome != providers.Applied {
		t.Fatalf("%s (%v): trying again: %v, %v", tag, f.names, outcome, err)
	}
	wantHome(t, b, map[string]mail.Server{"new": b.new(), "old": b.old()}[home], "murphy")
	for _, mark := range []string{"before-" + tag, "mid-old-" + tag, "mid-new-" + tag} {
		arrives(t, b.Old, user("murphy"), mark)
	}
	return reached
}

// Mailmove dies just after the decision: logins arrive at the new home by themselves,
// whichever server they find, and so does the mail that waits on the old one. What
// found the new one too early stays in its queue until that is told.
func testGoneAfterCommit(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	corpus(t, b.Old, user("murphy"))
	op := b.op()
	s := hold(t, b, op, "murphy", far)
	mustSend(t, b.Old, user("murphy"), "held")
	mustSend(t, b.New, user("murphy"), "held-on-the-way")
	once(t, b, op, "murphy", false)
	if err := s.Commit(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, b, "murphy")
	arrives(t, b.Old, user("murphy"), "held")
	// All of it is on the new server.
	setRoute(t, b, b.new(), "murphy", mail.Route{Mode: mail.Local})
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	wantServed(t, b, "murphy", "held", "held-on-the-way")
	wantEqual(t, read(t, b.Old, user("murphy")), read(t, b.New, user("murphy")))
}
