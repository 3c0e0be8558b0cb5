package mailtest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"github.com/mailmove/mailmove/providers/mail"
)

// What senders and users do.

// send delivers a marked message by SMTP, and returns the server's refusal.
func send(t testing.TB, h Host, from string, to mail.Address, mark string) error {
	t.Helper()
	conn, err := h.SMTP(t)
	if err != nil {
		return err
	}
	c := smtp.NewClient(conn)
	defer c.Close()
	if err := c.Hello("sender.test"); err != nil {
		return err
	}
	body := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nX-Mark: %s\r\n\r\nmark %s\r\n", from, to, mark, mark, mark)
	return c.SendMail(from, []string{string(to)}, strings.NewReader(body))
}

func mustSend(t testing.TB, h Host, to mail.Address, mark string) {
	t.Helper()
	if err := send(t, h, "someone@outside.test", to, mark); err != nil {
		t.Fatalf("sending %q to %s: %v", mark, to, err)
	}
}

// rcpt asks for an address and returns the reply's class: 2, 4 or 5.
func rcpt(t testing.TB, h Host, to mail.Address) int {
	t.Helper()
	conn, err := h.SMTP(t)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	defer c.Close()
	if err := errors.Join(c.Hello("sender.test"), c.Mail("someone@outside.test", nil)); err != nil {
		t.Fatal(err)
	}
	var reply *smtp.SMTPError
	switch err := c.Rcpt(string(to), nil); {
	case err == nil:
		return 2
	case errors.As(err, &reply):
		return reply.Code / 100
	default:
		t.Fatal(err)
	}
	return 0
}

// login opens a session.
func login(t testing.TB, h Host, address mail.Address, password string) (*imapclient.Client, error) {
	t.Helper()
	conn, err := h.IMAP(t)
	if err != nil {
		return nil, err
	}
	c := imapclient.New(conn, nil)
	if err := c.Login(string(address), password).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func mustLogin(t testing.TB, h Host, address mail.Address) *imapclient.Client {
	t.Helper()
	c, err := login(t, h, address, password)
	if err != nil {
		t.Fatalf("logging in as %s: %v", address, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A letter is one message as a user sees it.
type letter struct {
	Folder string
	UID    imap.UID
	Flags  string
	Date   time.Time
	Body   string
}

// A view is all that a user sees of an account.
type view struct {
	Letters    []letter
	Validity   map[string]uint32
	Subscribed []string
}

// read reads a whole account by IMAP.
func read(t testing.TB, h Host, address mail.Address) view {
	t.Helper()
	c := mustLogin(t, h, address)
	defer c.Close()
	v := view{Validity: map[string]uint32{}}
	boxes, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range boxes {
		if slices.Contains(box.Attrs, imap.MailboxAttrNonExistent) || slices.Contains(box.Attrs, imap.MailboxAttrNoSelect) {
			continue
		}
		selected, err := c.Select(box.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		v.Validity[box.Mailbox] = selected.UIDValidity
		if selected.NumMessages == 0 {
			continue
		}
		all := imap.SeqSet{}
		all.AddRange(1, 0)
		messages, err := c.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			v.Letters = append(v.Letters, letter{Folder: box.Mailbox, UID: m.UID, Flags: flagText(m.Flags), Date: m.InternalDate.UTC(), Body: string(m.BodySection[0].Bytes)})
		}
	}
	subscribed, err := c.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range subscribed {
		v.Subscribed = append(v.Subscribed, box.Mailbox)
	}
	sort.Strings(v.Subscribed)
	sort.Slice(v.Letters, func(i, j int) bool {
		a, b := v.Letters[i], v.Letters[j]
		return a.Folder < b.Folder || a.Folder == b.Folder && a.UID < b.UID
	})
	return v
}

// flagText is a message's flags in order; \Recent is a session's, not a message's.
func flagText(flags []imap.Flag) string {
	var list []string
	for _, f := range flags {
		if !strings.EqualFold(string(f), "\\Recent") {
			list = append(list, string(f))
		}
	}
	sort.Strings(list)
	return strings.Join(list, " ")
}

// count returns how often a mark stands in an account.
func (v view) count(mark string) int {
	n := 0
	for _, l := range v.Letters {
		if strings.Contains(l.Body, "\r\nX-Mark: "+mark+"\r\n") {
			n++
		}
	}
	return n
}

// arrives waits until a mark is in an account and checks that it is there once.
func arrives(t testing.TB, h Host, address mail.Address, mark string) {
	t.Helper()
	within(t, fmt.Sprintf("%q in the account %s", mark, address), func() bool { return read(t, h, address).count(mark) > 0 })
	if got := read(t, h, address).count(mark); got != 1 {
		t.Fatalf("%q is %d times in %s, want once", mark, got, address)
	}
}

// put appends a message by IMAP.
func put(t testing.TB, c *imapclient.Client, folder, body string, date time.Time, flags ...imap.Flag) {
	t.Helper()
	cmd := c.Append(folder, int64(len(body)), &imap.AppendOptions{Flags: flags, Time: date})
	_, err := io.WriteString(cmd, body)
	if err = errors.Join(err, cmd.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.Wait(); err != nil {
		t.Fatalf("appending to %q: %v", folder, err)
	}
}

// corpus fills an account with what real accounts hold: nested and UTF-8 folders,
// all flags, keywords, identical twins, a missing and a repeated Message-ID, long
// lines, 8-bit text.
func corpus(t testing.TB, h Host, address mail.Address) {
	t.Helper()
	c := mustLogin(t, h, address)
	defer c.Close()
	date := time.Date(2019, 3, 31, 1, 59, 58, 0, time.UTC)
	message := func(id, text string) string {
		head := "From: a@outside.test\r\nTo: b@example.com\r\nSubject: corpus\r\n"
		if id != "" {
			head += "Message-ID: <" + id + "@outside.test>\r\n"
		}
		return head + "\r\n" + text + "\r\n"
	}
	folders := []string{"Archive", "Archive/2019", "Archive/2019/Käse & Brot", "日本語", "with space"}
	for _, f := range folders {
		if err := c.Create(f, nil).Wait(); err != nil {
			t.Fatalf("creating %q: %v", f, err)
		}
		if f != "with space" {
			if err := c.Subscribe(f).Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(t, c, "INBOX", message("twin", "the same"), date)
	put(t, c, "INBOX", message("twin", "the same"), date)
	put(t, c, "INBOX", message("twin", "the same id, another text"), date.Add(time.Hour), imap.FlagSeen)
	put(t, c, "INBOX", message("", "no message id"), date, imap.FlagAnswered, imap.FlagFlagged)
	put(t, c, "INBOX", message("", "no message id"), date.Add(time.Minute), imap.FlagDraft, "$Forwarded", "Urlaub")
	put(t, c, "Archive/2019/Käse & Brot", message("long", strings.Repeat("x", 30000)), date, imap.FlagSeen)
	put(t, c, "日本語", "Subject: 8-bit \xe9\xff\r\n\r\n\x80\xfe bytes\r\n", date, imap.FlagDeleted)
	// A gap in the UIDs.
	put(t, c, "Archive", message("gone", "expunged"), date, imap.FlagDeleted)
	put(t, c, "Archive", message("stays", "after the gap"), date, imap.FlagSeen)
	if _, err := c.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
}
