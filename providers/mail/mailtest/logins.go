package mailtest

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/providertest"
)

func testLogins(t *testing.T, b *bench) {
	b.prepare(t, "murphy", "office")
	r := b.wrapped[oldName].Resource("mail_login")
	for _, set := range []map[string]cty.Value{
		{"mode": str("closed")}, {"mode": str("parked")}, {"mode": str("proxied"), "peer": str(newName)},
	} {
		set["account"] = str(string(user("murphy")))
		providertest.Run(t, providertest.Case{Resource: r, Schema: schema("mail_login"), Desired: set})
	}
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	put(t, mustLogin(t, b.New, user("murphy")), "INBOX", "Subject: on new\r\nX-Mark: on-new\r\n\r\n.\r\n", time.Now())
	for _, c := range []struct {
		mode  mail.Login
		opens bool
		sees  int // messages of the new server
	}{
		{mail.Login{Mode: mail.Open}, true, 0},
		{mail.Login{Mode: mail.Closed}, false, 0},
		{mail.Login{Mode: mail.Proxied, Peer: b.new().Endpoint()}, true, 1},
	} {
		setLogin(t, b, b.old(), "murphy", c.mode)
		if _, err := login(t, b.Old, user("murphy"), "wrong"); err == nil {
			t.Errorf("%s: a wrong password opened the account", c.mode.Mode)
		}
		session, err := login(t, b.Old, user("murphy"), password)
		if (err == nil) != c.opens {
			t.Errorf("%s: logging in: %v, want success %v", c.mode.Mode, err, c.opens)
		}
		if err == nil {
			session.Close()
			if got := read(t, b.Old, user("murphy")).count("on-new"); got != c.sees {
				t.Errorf("%s: the session sees %d messages of the new server, want %d", c.mode.Mode, got, c.sees)
			}
		}
		mustLogin(t, b.Old, user("office")).Close()
		mustSend(t, b.Old, user("murphy"), "mail-"+string(c.mode.Mode))
	}
}

// A parked login waits, and is then served by the new mode.
func testParkedLogin(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	put(t, mustLogin(t, b.New, user("murphy")), "INBOX", "Subject: on new\r\nX-Mark: on-new\r\n\r\n.\r\n", time.Now())
	for _, c := range []struct {
		after mail.Login
		sees  uint32
	}{
		{mail.Login{Mode: mail.Open}, 0},
		{mail.Login{Mode: mail.Proxied, Peer: b.new().Endpoint()}, 1},
	} {
		setLogin(t, b, b.old(), "murphy", mail.Login{Mode: mail.Parked})
		if _, err := login(t, b.Old, user("murphy"), "wrong"); err == nil {
			t.Error("parked: a wrong password opened the account")
		}
		type answer struct {
			session *imapclient.Client
			err     error
		}
		answers := make(chan answer, 1)
		go func() {
			session, err := login(t, b.Old, user("murphy"), password)
			answers <- answer{session, err}
		}()
		select {
		case a := <-answers:
			t.Fatalf("a login was answered while parked: %v", a.err)
		case <-time.After(300 * time.Millisecond): // long enough to have been answered
		}
		setLogin(t, b, b.old(), "murphy", c.after)
		select {
		case a := <-answers:
			if a.err != nil {
				t.Fatalf("after %s: the parked login was refused: %v", c.after.Mode, a.err)
			}
			inbox, err := a.session.Select("INBOX", nil).Wait()
			if err != nil || inbox.NumMessages != c.sees {
				t.Errorf("after %s: the parked login sees %v, %v; want %d messages", c.after.Mode, inbox, err, c.sees)
			}
			a.session.Close()
		case <-time.After(time.Minute):
			t.Fatalf("after %s: the parked login was not answered for a minute", c.after.Mode)
		}
	}
}

// An open session ends when the account is parked: what it asks for afterwards is
// refused, what was acknowledged before stays.
func testSessionsEnd(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	desktop := mustLogin(t, b.Old, user("murphy"))
	put(t, desktop, "INBOX", "Subject: x\r\nX-Mark: before\r\n\r\n.\r\n", time.Now())
	setLogin(t, b, b.old(), "murphy", mail.Login{Mode: mail.Parked})
	cmd := desktop.Append("INBOX", 4, &imap.AppendOptions{})
	_, err := cmd.Write([]byte("x\r\n\r"))
	if err == nil {
		err = cmd.Close()
	}
	if err == nil {
		_, err = cmd.Wait()
	}
	if err == nil {
		t.Error("an open session went on after the account was parked")
	}
	setLogin(t, b, b.old(), "murphy", mail.Login{Mode: mail.Open})
	v := read(t, b.Old, user("murphy"))
	if len(v.Letters) != 1 || v.count("before") != 1 {
		t.Errorf("the account has %d messages, want the one that was acknowledged", len(v.Letters))
	}
}
