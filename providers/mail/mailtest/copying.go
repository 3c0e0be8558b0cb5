package mailtest

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/providertest"
)

func copyOf(name string) map[string]cty.Value {
	return map[string]cty.Value{"account": str(string(user(name))), "to": str(newName), "tolerance": cty.NumberIntVal(20)}
}

// seen reads an account of the new server although it is away there.
func seen(t testing.TB, b *bench, name string) view {
	t.Helper()
	setLogin(t, b, b.new(), name, mail.Login{Mode: mail.Open})
	v := read(t, b.New, user(name))
	setLogin(t, b, b.new(), name, mail.Login{Mode: mail.Proxied, Peer: b.old().Endpoint()})
	return v
}

func wantEqual(t testing.TB, want, got view) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the accounts differ (-want +got):\n%s", diff)
	}
}

func testCopy(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	corpus(t, b.Old, user("murphy"))
	value := b.make(t, oldName, "mail_copy", copyOf("murphy"))
	if got, _ := value.GetAttr("messages").AsBigFloat().Int64(); got != 8 {
		t.Errorf("messages = %d, want 8", got)
	}
	if value.GetAttr("verified_at").IsNull() || value.GetAttr("method_used").IsNull() {
		t.Errorf("verified_at and method_used are not set: %#v", value)
	}
	wantEqual(t, read(t, b.Old, user("murphy")), seen(t, b, "murphy"))
	// What changes is carried by the next pass: new mail, flags, removals, folders.
	c := mustLogin(t, b.Old, user("murphy"))
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	first := imap.SeqSetNum(1)
	if err := c.Store(first, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(first, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen, "Neu"}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("later", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, c, "later", "Subject: later\r\n\r\n.\r\n", time.Now().Truncate(time.Second))
	if err := c.Rename("with space", "renamed", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	comparison := compare(t, b, "murphy", mail.Listing)
	if comparison.Behind() == 0 || len(comparison.Examples) == 0 {
		t.Errorf("after changes: %+v, want differences with examples", comparison)
	}
	once(t, b, b.op(), "murphy", false)
	if comparison := compare(t, b, "murphy", mail.Content); comparison.Behind() != 0 {
		t.Errorf("after the second pass: %+v, want none", comparison)
	}
	wantEqual(t, read(t, b.Old, user("murphy")), seen(t, b, "murphy"))
	// The user's first new message there gets a UID that no message had.
	next := func(h Host) uint32 {
		c := mustLogin(t, h, user("murphy"))
		defer c.Close()
		status, err := c.Status("INBOX", &imap.StatusOptions{UIDNext: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return uint32(status.UIDNext)
	}
	want := next(b.Old)
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	if got := next(b.New); got < want {
		t.Errorf("UIDNEXT of the copy is %d, want at least %d", got, want)
	}
}

func compare(t testing.TB, b *bench, name string, depth mail.Depth) mail.Comparison {
	t.Helper()
	all, err := does[mail.Copier](t, b.old()).Compare(t.Context(), b.new(), []mail.Address{user(name)}, depth)
	if err != nil {
		t.Fatal(err)
	}
	return all[user(name)]
}

// once makes one pass.
func once(t testing.TB, b *bench, op, name string, aside bool) {
	t.Helper()
	copier := does[mail.Copier](t, b.old())
	methods, err := copier.Methods(t.Context(), b.new())
	if err != nil || len(methods) == 0 {
		t.Fatalf("the servers have no way of copying: %v", err)
	}
	job := mail.CopyJob{Op: op, Account: user(name), Peer: b.new(), Method: methods[0], Aside: aside}
	if _, err := copier.Copy(t.Context(), job, providertest.Log{T: t}); err != nil {
		t.Fatal(err)
	}
}

// Copying over a store with mail of its own keeps that aside, and makes the copy
// equal all the same.
func testCopyAside(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	c := mustLogin(t, b.New, user("murphy"))
	put(t, c, "INBOX", "Subject: x\r\nX-Mark: only-new\r\n\r\n.\r\n", time.Now())
	c.Close()
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Proxied, Peer: b.old().Endpoint()})
	corpus(t, b.Old, user("murphy"))
	op := b.op()
	once(t, b, op, "murphy", true)
	once(t, b, op, "murphy", true)
	wantEqual(t, read(t, b.Old, user("murphy")), seen(t, b, "murphy"))
}

// A store that somebody may be using is not written to.
func testCopyInUse(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	outcome, _, err := b.try(t, oldName, "mail_copy", b.op(), copyOf("murphy"))
	if outcome != providers.NotApplied || err == nil {
		t.Errorf("copying into a store that is open: got %v, %v", outcome, err)
	}
}
