package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

// rested starts a demonstration, lets some mail come in and some actions be done,
// and brings it to rest. Nothing is moved.
func rested(t *testing.T) *Demo {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	d, err := Start(t.Context(), Options{Accounts: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
			t.Errorf("the demonstration leaves %v behind (%v)", left, err)
		}
	})
	for deadline := time.Now().Add(time.Minute); !d.busy(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("for a minute nobody has done much")
		}
	}
	if err := d.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// busy reports whether every kind of action has been done, and each sender has
// been heard.
func (d *Demo) busy() bool {
	d.diary.mu.Lock()
	defer d.diary.mu.Unlock()
	d.ledger.mu.Lock()
	defer d.ledger.mu.Unlock()
	done := map[string]int{}
	for _, a := range d.diary.actions {
		if a.message.pair == (pair{}) {
			done[string(a.verb)]++
		}
	}
	for _, t := range d.ledger.transactions {
		sender, _, _ := strings.Cut(t.marker, "-")
		done[sender]++
	}
	for _, what := range []string{string(flag), string(move), string(write), string(remove), obeying, ignoring} {
		if done[what] < 3 {
			return false
		}
	}
	return len(d.diary.logins) > 20
}

// Two servers between which nothing was moved are faultless, and whatever is done
// to them by hand is found.
func TestAudit(t *testing.T) {
	d := rested(t)
	report, err := d.audit(t.Context(), d.world.old)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Fatalf("%v: %+v", err, report.Faults)
	}
	if report.Pairs == 0 || report.Once != report.Pairs || report.Old == 0 || report.Actions == 0 || report.Ignoring == 0 || report.IgnoringViaOld != report.Ignoring {
		t.Errorf("the report is %+v; something that was done is not counted", report)
	}
	for _, plant := range plants() {
		t.Run(plant.name, func(t *testing.T) {
			now, err := readStores(t.Context(), d.world.old.IMAPAddr(), d.world.people)
			if err != nil {
				t.Fatal(err)
			}
			ledger, diary := d.ledger.transactions, d.diary.logins
			plant.do(d, now)
			report := d.judge(now)
			d.ledger.transactions, d.ledger.refused, d.ledger.unsent, d.diary.logins = ledger, nil, nil, diary
			if diff := cmp.Diff([]Kind{plant.want}, report.kinds()); diff != "" {
				t.Fatalf("kinds of fault (-want +got):\n%s%+v", diff, report.Faults)
			}
			var text, html bytes.Buffer
			if err := errors.Join(report.Text(&text, false), report.HTML(&html)); err != nil {
				t.Fatal(err)
			}
			if report.Err() == nil || !strings.Contains(text.String(), "WRONG") || !strings.Contains(html.String(), "WRONG") {
				t.Errorf("the report does not say that anything is wrong:\n%s", text.String())
			}
		})
	}
}

// What the servers themselves tell is judged, too.
func TestAuditOfServers(t *testing.T) {
	d := rested(t)
	now, err := readStores(t.Context(), d.world.old.IMAPAddr(), d.world.people)
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{}
	d.judgeSource(r)
	if err := errors.Join(r.Err(), d.judgeProxy(t.Context(), r, now), r.Err()); err != nil {
		t.Fatalf("%v: %+v", err, r.Faults)
	}
	first := d.world.people.accounts[0].address
	d.before[first].folders["Sent"].messages[9999] = message{digest: "of a message that is not on the disk"}
	d.judgeSource(r)
	now[first].subscribed = nil
	if err := d.judgeProxy(t.Context(), r, now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Kind{SourceTouched, ProxyDiffers}, r.kinds()); diff != "" {
		t.Errorf("kinds of fault (-want +got):\n%s", diff)
	}
	delete(d.before[first].folders["Sent"].messages, 9999)

	d.world.old.AddAlias(mail.Alias{Address: at("away"), Members: []mail.Address{"nobody@elsewhere.example"}})
	client, err := smtp.Dial(d.world.old.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SendMail("", []string{string(at("away"))}, strings.NewReader("Subject: x\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := d.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := d.audit(t.Context(), d.world.old)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Kind{Bounced}, report.kinds()); diff != "" {
		t.Errorf("kinds of fault (-want +got):\n%s", diff)
	}
}

// A plant is a fault made by hand.
type plant struct {
	name string
	do   func(*Demo, map[mail.Address]*store)
	want Kind
}

func plants() []plant {
	old := func(_ place, m message, w *wanted) bool { return w != nil && w.old && !w.acted }
	live := func(_ place, m message, w *wanted) bool { return w == nil && m.pair != (pair{}) }
	draft := func(_ place, m message, w *wanted) bool { return w != nil && w.acted && m.pair == (pair{}) }
	flagged := func(p place, m message, w *wanted) bool { return old(p, m, w) && len(m.flags) > 0 }
	gone := func(f *folder, uid imap.UID) { delete(f.messages, uid) }
	twice := func(f *folder, uid imap.UID) { f.messages[9999] = f.messages[uid] }
	renumber := func(f *folder, uid imap.UID) { f.messages[9999] = f.messages[uid]; delete(f.messages, uid) }
	change := func(edit func(*message)) func(*folder, imap.UID) {
		return func(f *folder, uid imap.UID) { m := f.messages[uid]; edit(&m); f.messages[uid] = m }
	}
	return []plant{
		{"an old message is gone", to(old, gone), OldLost},
		{"an old message is there twice", to(old, twice), Doubled},
		{"an old message has another UID", to(old, renumber), UIDChanged},
		{"an old message is altered", to(old, change(func(m *message) { m.digest = "another" })), ContentAltered},
		{"an old message has another date", to(old, change(func(m *message) { m.date = m.date.Add(time.Second) })), DateAltered},
		{"an old message has lost its flags", to(flagged, change(func(m *message) { m.flags = nil })), FlagsAltered},
		{"an old message has a flag more", to(old, change(func(m *message) { m.flags = append(m.flags, "surprise") })), FlagsAltered},
		{"a user's flag is lost", toGiven, ActionLost},
		{"what a user had in hand is gone", to(draft, gone), ActionLost},
		{"new mail is gone", to(live, gone), Lost},
		{"new mail is there twice", to(live, twice), Doubled},
		{"new mail is damaged", to(live, change(func(m *message) { m.damaged = true })), ContentAltered},
		{"new mail is another's", to(live, func(f *folder, uid imap.UID) {
			m := f.messages[uid]
			m.pair.final = at("somebody")
			f.messages[9999] = m
		}), Misdelivered},
		{"a message nobody sent", to(live, func(f *folder, _ imap.UID) { f.messages[9999] = message{digest: "spam"} }), Stranger},
		{"another UIDVALIDITY", inFirst(func(s *store) { s.folders["INBOX"].validity++ }), UIDChanged},
		{"a folder is gone", inFirst(func(s *store) { delete(s.folders, "Empty") }), FoldersChanged},
		{"a folder more", inFirst(func(s *store) { s.folders["More"] = &folder{} }), FoldersChanged},
		{"a subscription is gone", inFirst(func(s *store) { s.subscribed = s.subscribed[1:] }), FoldersChanged},
		{"a server refused mail", func(d *Demo, _ map[mail.Address]*store) { d.ledger.refused = []string{"550"} }, Refused},
		{"mail was never taken", func(d *Demo, _ map[mail.Address]*store) { d.ledger.unsent = []string{"x"} }, Refused},
		{"a promise is not kept", func(d *Demo, _ map[mail.Address]*store) {
			d.ledger.transactions = append(d.ledger.transactions[:len(d.ledger.transactions):len(d.ledger.transactions)], transaction{marker: "m", recipients: []mail.Address{at("all")}})
		}, Lost},
		{"a login was refused", func(d *Demo, _ map[mail.Address]*store) {
			d.diary.logins = append(d.diary.logins[:len(d.diary.logins):len(d.diary.logins)], attempt{account: at("ada"), err: errors.New("NO")})
		}, LoginRefused},
	}
}

// toGiven takes a flag away that a user set.
func toGiven(d *Demo, now map[mail.Address]*store) {
	var given string
	to(func(_ place, _ message, w *wanted) bool {
		if w != nil && len(w.given) > 0 {
			given = w.given[0]
		}
		return given != ""
	}, func(f *folder, uid imap.UID) {
		m := f.messages[uid]
		m.flags = slices.DeleteFunc(slices.Clone(m.flags), func(f string) bool { return f == given })
		f.messages[uid] = m
	})(d, now)
}

func inFirst(edit func(*store)) func(*Demo, map[mail.Address]*store) {
	return func(d *Demo, now map[mail.Address]*store) { edit(now[d.world.people.accounts[0].address]) }
}

// to does something to one message, at its place, of those that are wanted so. w is
// nil for mail that nobody has seen.
func to(choose func(place, message, *wanted) bool, edit func(*folder, imap.UID)) func(*Demo, map[mail.Address]*store) {
	return func(d *Demo, now map[mail.Address]*store) {
		for account, s := range now {
			var actions []action
			for _, a := range d.diary.actions {
				if a.account == account {
					actions = append(actions, a)
				}
			}
			want := expect(d.before[account], actions, nil)
			for name, f := range s.folders {
				for uid, m := range f.messages {
					if want.removed[m.digest] == 0 && choose(place{name, uid}, m, want.places[place{name, uid}]) {
						edit(f, uid)
						return
					}
				}
			}
		}
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := Start(t.Context(), Options{}); err == nil {
		t.Error("a demonstration without accounts starts")
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{Accounts: 1}); err == nil {
		t.Error("a demonstration that was called off starts")
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind (%v)", left, err)
	}
}
