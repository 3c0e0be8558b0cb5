package server

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mailmove/mailmove/providers/mail"
)

// start starts a server on an address of its own.
func start(t *testing.T, options Options) *Server {
	t.Helper()
	s, err := Start(NewDisk(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestExpand(t *testing.T) {
	s := start(t, Options{Address: "127.78.0.1"})
	s.AddDomain("d.test")
	s.AddDomain("other.test")
	for _, a := range []mail.Address{"u@d.test", "v@d.test", "x@other.test"} {
		s.AddAccount(a, "password", 0)
	}
	for address, members := range map[mail.Address][]mail.Address{
		"info@d.test":  {"u@d.test", "v@d.test"},
		"all@d.test":   {"info@d.test", "u@d.test", "out@elsewhere.test"},
		"u@d.test":     {"u@d.test", "v@d.test"}, // keeps a copy
		"loop@d.test":  {"loop2@d.test"},
		"loop2@d.test": {"loop@d.test"},
		"bad@d.test":   {"nobody@other.test"},
		"@d.test":      {"v@d.test"},
	} {
		s.AddAlias(mail.Alias{Address: address, Members: members})
	}
	for in, want := range map[mail.Address][]mail.Address{
		"v@d.test":        {"v@d.test"},
		"v+tag@d.test":    {"v+tag@d.test"},
		"info@d.test":     {"u@d.test", "v@d.test"},
		"info+tag@d.test": {"u+tag@d.test", "v+tag@d.test"},
		"u@d.test":        {"u@d.test", "v@d.test"},
		"u+tag@d.test":    {"u+tag@d.test", "v+tag@d.test"},
		"all@d.test":      {"u@d.test", "v@d.test", "out@elsewhere.test"},
		"nobody@d.test":   {"v@d.test"},
		"loop@d.test":     nil,
		"bad@d.test":      nil,
		"z@other.test":    nil,
	} {
		got, err := s.expand(in)
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if (err != nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("expand(%s) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		policy  Policy
		trusted bool
		code    int // 0 is accepted
		marked  bool
	}{
		{Ignore, false, 0, false}, {Mark, false, 0, true}, {Reject, false, 550, false}, {Reject, true, 0, false}, {Mark, true, 0, false},
	} {
		s := start(t, Options{Address: "127.78.0.2", Policy: c.policy, Authorised: map[string][]string{"strict.test": {"127.9.9.9"}}})
		s.AddDomain("d.test")
		s.AddAccount("u@d.test", "password", 0)
		if c.trusted {
			s.disk.trusts[mail.Trust{Peer: "127.0.0.1", Domain: "d.test"}] = true
		}
		client, err := smtp.Dial(s.SMTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		err = client.SendMail("x@strict.test", []string{"u@d.test"}, strings.NewReader("Subject: x\r\n\r\n.\r\n"))
		client.Close()
		var reply *smtp.SMTPError
		if errors.As(err, &reply); (reply == nil) != (c.code == 0) || reply != nil && reply.Code != c.code {
			t.Errorf("%q, trusted %v: sending: %v, want code %d", c.policy, c.trusted, err, c.code)
		}
		if c.code == 0 {
			await(t, func() bool { return len(s.Folders("u@d.test")[0].Messages) == 1 })
			marked := strings.Contains(string(s.Folders("u@d.test")[0].Messages[0].Body), "Received-SPF: fail")
			if marked != c.marked {
				t.Errorf("%q, trusted %v: marked %v, want %v", c.policy, c.trusted, marked, c.marked)
			}
		}
		s.Stop()
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for half a minute")
		}
	}
}

// Mail to another domain goes there, waits while that server is down, and is
// bounced where it is refused for good.
func TestQueue(t *testing.T) {
	there := start(t, Options{Address: "127.78.0.3"})
	there.AddDomain("there.test")
	there.AddAccount("v@there.test", "password", 0)
	address := there.SMTPAddr()
	here := start(t, Options{Address: "127.78.0.4", Retry: 10 * time.Millisecond, Route: func(domain string) (string, error) { return address, nil }})
	here.AddDomain("here.test")
	here.AddAlias(mail.Alias{Address: "out@here.test", Members: []mail.Address{"v@there.test"}})
	here.AddAlias(mail.Alias{Address: "lost@here.test", Members: []mail.Address{"nobody@there.test"}})
	send := func(to string) {
		t.Helper()
		client, err := smtp.Dial(here.SMTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.SendMail("x@out.test", []string{to}, strings.NewReader("Subject: x\r\n\r\n.\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	send("out@here.test")
	await(t, func() bool { return len(there.Folders("v@there.test")[0].Messages) == 1 })
	send("lost@here.test")
	await(t, func() bool { return len(here.Bounces()) == 1 && here.Queued() == 0 })
	disk, options := there.disk, there.options
	options.SMTP = there.Endpoint().SMTP
	there.Stop()
	send("out@here.test")
	if here.Queued() != 1 {
		t.Fatalf("%d messages wait, want one", here.Queued())
	}
	again, err := Start(disk, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Stop)
	await(t, func() bool { return here.Queued() == 0 && len(again.Folders("v@there.test")[0].Messages) == 2 })
}

func TestReadCommand(t *testing.T) {
	for in, want := range map[string][]string{
		`a LOGIN user pass`:          {"a", "LOGIN", "user", "pass"},
		`a LOGIN "us er" "p\"a\\ss"`: {"a", "LOGIN", "us er", `p"a\ss`},
		`a LOGIN "" ""`:              {"a", "LOGIN", "", ""},
		`  a   NOOP  `:               {"a", "NOOP"},
		`a LOGIN "open`:              {"a", "LOGIN", "open"},
		``:                           nil,
	} {
		if got := split(in); !slices.Equal(got, want) {
			t.Errorf("split(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]int{"x {12}": 12, "x {12+}": 12, "x {-1}": -1, "x {a}": -1, "x 12}": -1, "x {12} y": -1} {
		size, _, ok := literal(in)
		if !ok {
			size = -1
		}
		if size != want {
			t.Errorf("literal(%q) = %d, want %d", in, size, want)
		}
	}
}

func TestPasswords(t *testing.T) {
	hash := hashPassword("swordfish")
	if !checkPassword(hash, "swordfish") || checkPassword(hash, "Swordfish") || checkPassword(hash, "") {
		t.Errorf("the hash %s does not tell passwords apart", hash)
	}
	for _, bad := range []string{"", "{SSHA256}", "{SSHA256}%%%", "{PLAIN}swordfish", "{SSHA256}c2hvcnQ="} {
		if checkPassword(bad, "swordfish") {
			t.Errorf("the hash %q lets in", bad)
		}
	}
}
