package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testEnds = Ends{Source: "imaps://murphy@old.example.com", Target: "imaps://murphy@new.example.com"}

var inbox = Binding{Target: "INBOX", SourceValidity: 1, TargetValidity: 7}

func open(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(path, testEnds)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func reopen(t testing.TB, l *Ledger) *Ledger {
	t.Helper()
	ok(t, l.Close())
	return open(t, l.path)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testRow(source, target uint32) Row {
	zone := time.FixedZone("", int(source%5)*3600-1800)
	row := Row{
		Source: source, Target: target, Hash: sha256.Sum256(fmt.Append(nil, source%3)), Size: int64(source) * 1000,
		Date: time.Date(1990+int(source%48), 1, 2, 3, 4, 5, 0, zone),
	}
	if source%2 == 0 {
		row.Flags = []string{"$Forwarded", `\Seen`}
	}
	return row
}

func testRows(source, target uint32, n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = testRow(source+uint32(i), target+uint32(i))
	}
	return rows
}

// content is everything a ledger tells, for comparing.
type content struct {
	Binding Binding
	Status  *Status
	Intents []Intent
	Rows    []string
	Claims  map[uint32]uint32
}

func contents(l *Ledger) map[string]content {
	all := map[string]content{}
	for _, name := range l.Mailboxes() {
		m := l.Mailbox(name)
		c := content{Claims: map[uint32]uint32{}, Intents: m.Intents()}
		c.Binding, _ = m.Binding()
		if status, ok := m.Status(); ok {
			c.Status = &status
		}
		for row := range m.Rows() {
			c.Rows = append(c.Rows, fmt.Sprintf("%d %d %x %d %s %s", row.Source, row.Target, row.Hash, row.Size, row.Flags, row.Date.Format(time.RFC3339)))
			if claimed, ok := m.Claimed(row.Target); ok {
				c.Claims[row.Target] = claimed.Source
			}
		}
		all[name] = c
	}
	return all
}

// history writes a bit of everything; after gives the ledger after each entry.
func history(t testing.TB, l *Ledger, after func()) {
	t.Helper()
	step := func(err error) { t.Helper(); ok(t, err); after() }
	m := l.Mailbox("INBOX")
	step(m.Reset(inbox))
	first, err := m.Begin(10, []uint32{1, 2, 3, 9})
	step(err)
	step(m.Settle(first, []Row{testRow(1, 12), testRow(2, 10), testRow(3, 11)}))
	step(m.Adopt(testRows(20, 30, 5)))
	second, err := m.Begin(40, []uint32{9, 40, 41})
	step(err)
	step(m.Adopt(testRows(40, 40, 1)))
	step(m.Update(map[uint32][]string{2: nil, 21: {`\Flagged`, "b"}, 22: {`\Flagged`, "b"}}))
	step(m.Forget([]uint32{20, 3}))
	step(m.Settle(second, testRows(41, 41, 1)))
	step(m.Complete(Status{UIDNext: 42, HighestModSeq: 1 << 60, Messages: 7}))
	sent := l.Mailbox("Gesendete Käse/2026")
	step(sent.Reset(Binding{Target: "INBOX.Gesendete Käse.2026", SourceValidity: 2, TargetValidity: 1}))
	step(sent.Adopt(testRows(1, 1, 3)))
	_, err = sent.Begin(4, []uint32{7, 8})
	step(err)
	gone := l.Mailbox("Gone")
	step(gone.Reset(Binding{Target: "Gone", SourceValidity: 2, TargetValidity: 1}))
	step(gone.Remove())
	step(m.Reset(Binding{Target: "INBOX", SourceValidity: 1, TargetValidity: 8}))
	step(m.Adopt(testRows(1, 1, 2)))
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	history(t, l, func() {
		data, err := os.ReadFile(l.path)
		ok(t, err)
		path := filepath.Join(t.TempDir(), "copy")
		ok(t, os.WriteFile(path, data, 0o600))
		again := open(t, path)
		if diff := cmp.Diff(contents(l), contents(again)); diff != "" {
			t.Fatalf("after opening again (-want +got):\n%s", diff)
		}
		ok(t, again.Close())
	})
	l = reopen(t, l)
	m := l.Mailbox("INBOX")
	if got, known := m.Row(2); !known || got.Target != 2 || !got.Date.Equal(testRow(2, 2).Date) || cmp.Diff(got.Flags, testRow(2, 2).Flags) != "" {
		t.Errorf("row 2: got %+v, %v", got, known)
	}
	if got := l.Mailboxes(); cmp.Diff([]string{"Gesendete Käse/2026", "INBOX"}, got) != "" {
		t.Errorf("mailboxes: got %q", got)
	}
	ok(t, l.Close())
}

func TestIntentLosesWhatIsSettled(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	m := l.Mailbox("INBOX")
	ok(t, m.Reset(inbox))
	id, err := m.Begin(5, []uint32{3, 1, 2})
	ok(t, err)
	ok(t, m.Adopt([]Row{testRow(1, 5)}))
	l = reopen(t, l)
	m = l.Mailbox("INBOX")
	want := []Intent{{ID: id, UIDNext: 5, UIDs: []uint32{3, 2}}}
	if diff := cmp.Diff(want, m.Intents()); diff != "" {
		t.Errorf("intents (-want +got):\n%s", diff)
	}
	ok(t, m.Settle(id, nil))
	if got := m.Intents(); len(got) != 0 {
		t.Errorf("intents after the last answer: got %v", got)
	}
	next, err := m.Begin(5, []uint32{2})
	ok(t, err)
	if next <= id {
		t.Errorf("the next intent has the number %d, want one above %d", next, id)
	}
	ok(t, l.Close())
}

func TestRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	m := l.Mailbox("INBOX")
	ok(t, m.Reset(inbox))
	ok(t, m.Adopt(testRows(1, 1, 3)))
	id, err := m.Begin(9, []uint32{7})
	ok(t, err)
	begin := func(uidNext uint32, uids ...uint32) error { _, err := m.Begin(uidNext, uids); return err }
	tests := []struct {
		name string
		do   func() error
		want string
	}{
		{"target claimed", func() error { return m.Settle(id, []Row{testRow(7, 2)}) }, "target UID 2 is claimed by source UID 7, and belongs to source UID 2"},
		{"target claimed twice in a batch", func() error { return m.Adopt([]Row{testRow(8, 9), testRow(9, 9)}) }, "target UID 9 is claimed twice"},
		{"source twice", func() error { return m.Adopt([]Row{testRow(2, 99)}) }, "source UID 2 has a row already"},
		{"source twice in a batch", func() error { return m.Adopt([]Row{testRow(8, 9), testRow(8, 10)}) }, "source UID 8 has a row already"},
		{"no target UID", func() error { return m.Adopt([]Row{testRow(8, 0)}) }, "needs both UIDs"},
		{"flag with a space", func() error { r := testRow(8, 9); r.Flags = []string{"a b"}; return m.Adopt([]Row{r}) }, `flag "a b"`},
		{"begun and copied", func() error { return begin(9, 1) }, "source UID 1 is copied already"},
		{"begun twice", func() error { return begin(9, 8, 7) }, "source UID 7 is being copied already"},
		{"begun twice at once", func() error { return begin(9, 8, 8) }, "source UID 8 is being copied already"},
		{"no UIDNEXT", func() error { return begin(0, 8) }, "UIDNEXT 0"},
		{"nothing begun", func() error { return begin(9) }, "a batch of 0 messages"},
		{"unknown intent", func() error { return m.Settle(id+1, nil) }, "intent 2 is not open"},
		{"flags of nobody", func() error { return m.Update(map[uint32][]string{1: {"a"}, 4: {"a"}}) }, "source UID 4 has no row"},
		{"forget nobody", func() error { return m.Forget([]uint32{1, 4}) }, "source UID 4 has no row"},
		{"forget twice", func() error { return m.Forget([]uint32{1, 1}) }, "source UID 1 twice"},
		{"complete too early", func() error { return m.Complete(Status{}) }, "a batch without an answer"},
		{"not bound", func() error { return l.Mailbox("Sent").Adopt(testRows(1, 1, 1)) }, "it is bound to no mailbox"},
		{"bound twice", func() error { return l.Mailbox("Inbox").Reset(inbox) }, `the target's "INBOX" is bound to "INBOX" already`},
		{"no UIDVALIDITY", func() error { return l.Mailbox("a").Reset(Binding{Target: "a", SourceValidity: 1}) }, "without UIDVALIDITY"},
		{"no UTF-8", func() error {
			return l.Mailbox("a\xff").Reset(Binding{Target: "a", SourceValidity: 1, TargetValidity: 1})
		}, "no name in UTF-8"},
	}
	want := contents(l)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.do(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
			if diff := cmp.Diff(want, contents(l)); diff != "" {
				t.Errorf("it changed the ledger (-want +got):\n%s", diff)
			}
		})
	}
	claim := (*ClaimError)(nil)
	if err := m.Settle(id, []Row{testRow(7, 2)}); !errors.As(err, &claim) || claim.Holder != 2 {
		t.Errorf("got %v, want a ClaimError of source UID 2", err)
	}
	if diff := cmp.Diff(want, contents(reopen(t, l))); diff != "" {
		t.Errorf("it changed the file (-want +got):\n%s", diff)
	}
}

func TestMoreThanALineHolds(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	m := l.Mailbox("INBOX")
	ok(t, m.Reset(inbox))
	n := 2*maxRows + 5
	ok(t, m.Adopt(testRows(1, 100, n)))
	flags, uids := map[uint32][]string{}, []uint32{}
	for i := range n {
		flags[uint32(i+1)], uids = []string{"all"}, append(uids, uint32(i+1))
	}
	ok(t, m.Update(flags))
	l = reopen(t, l)
	m = l.Mailbox("INBOX")
	count := 0
	for row := range m.Rows() {
		if cmp.Diff([]string{"all"}, row.Flags) == "" {
			count++
		}
	}
	if count != n {
		t.Errorf("%d rows have the new flags, want %d", count, n)
	}
	ok(t, m.Forget(uids))
	l = reopen(t, l)
	if got := l.Mailbox("INBOX").Len(); got != 0 {
		t.Errorf("%d rows are left, want none", got)
	}
	ok(t, l.Close())
}

func TestAnotherPair(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	ok(t, open(t, path).Close())
	_, err := Open(path, Ends{Source: testEnds.Target, Target: testEnds.Source})
	pair := (*PairError)(nil)
	if !errors.As(err, &pair) || pair.Has != testEnds {
		t.Errorf("got %v, want a PairError", err)
	}
	ok(t, open(t, path).Close()) // the refused one holds no lock
}

func TestOneCopierAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	_, err := Open(path, testEnds)
	locked := (*LockedError)(nil)
	if !errors.As(err, &locked) || !strings.Contains(locked.Holder, fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("got %v, want a LockedError that names this process", err)
	}
	ok(t, l.Close())
	ok(t, open(t, path).Close())
}

func TestClosed(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	ok(t, l.Close())
	if err := l.Mailbox("INBOX").Reset(inbox); err == nil {
		t.Error("a closed ledger was written")
	}
}

func TestFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	m := l.Mailbox("INBOX")
	ok(t, m.Reset(inbox))
	want := contents(l)
	ok(t, l.out.Close()) // the disk is gone
	if err := m.Adopt(testRows(1, 1, 1)); err == nil {
		t.Fatal("a row was written without a file")
	}
	if diff := cmp.Diff(want, contents(l)); diff != "" {
		t.Errorf("what was not written counts (-want +got):\n%s", diff)
	}
	if err := m.Adopt(testRows(1, 1, 1)); err == nil || !strings.Contains(err.Error(), "an earlier write failed") {
		t.Errorf("after a failed write: got %v", err)
	}
}
