package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

const (
	password    = "swordfish"
	serverToken = "token-of-a-test"
)

func mailCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"mailserver": scriptMailserver,
		"cut-power":  scriptCutPower,
		"account":    scriptAccount,
		"alias":      scriptAlias,
		"seed":       scriptSeed,
		"deliver":    scriptDeliver,
		"messages":   scriptMessages,
		"login":      scriptLogin,
		"settled":    scriptSettled,
	}
}

// mailserver NAME ADDRESS [DOMAIN…] starts an embedded mail server for domains, at
// any ports of a loopback address. The variable NAME of the configuration becomes
// its control URL, which $TOKEN opens.
func scriptMailserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mailserver NAME ADDRESS [DOMAIN...]")
	}
	w := worldOf(ts)
	s, err := server.Start(server.NewDisk(), server.Options{Address: args[1], Name: args[0] + ".example.com", Token: serverToken})
	ts.Check(err)
	for _, domain := range args[2:] {
		s.AddDomain(domain)
	}
	w.servers[args[0]] = s
	ts.Setenv("TOKEN", serverToken)
	ts.Setenv("MAILMOVE_VAR_"+args[0], s.ControlURL())
}

// cut-power NAME ends a mail server at once.
func scriptCutPower(ts *testscript.TestScript, neg bool, args []string) {
	serverOf(ts, args, 1).Stop()
	delete(worldOf(ts).servers, args[0])
}

func serverOf(ts *testscript.TestScript, args []string, least int) *server.Server {
	if len(args) < least {
		ts.Fatalf("want at least %d arguments, the first one a mail server", least)
	}
	s := worldOf(ts).servers[args[0]]
	if s == nil {
		ts.Fatalf("there is no mail server %q; there are %q", args[0], slices.Sorted(maps.Keys(worldOf(ts).servers)))
	}
	return s
}

// account SERVER ADDRESS… makes accounts, with one password for all.
func scriptAccount(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts, args, 2)
	for _, address := range args[1:] {
		s.AddAccount(mail.Address(address), password, 0)
	}
}

// alias SERVER ADDRESS [MEMBER…] sets an alias by hand; without members it goes.
func scriptAlias(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts, args, 2)
	alias := mail.Alias{Address: mail.Address(args[1])}
	for _, member := range args[2:] {
		alias.Members = append(alias.Members, mail.Address(member))
	}
	s.AddAlias(alias)
}

// seed SERVER ADDRESS N fills an inbox with N messages, two of them identical.
func scriptSeed(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts, args, 3)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	messages := make([]server.Message, n)
	for i := range messages {
		body := fmt.Sprintf("Subject: seed %d\r\n\r\nseed %d\r\n", max(i, 1), max(i, 1))
		messages[i] = server.Message{Date: time.Date(2020, 1, 1, 0, 0, i, 0, time.UTC), Flags: []string{`\Seen`}, Body: []byte(body)}
	}
	ts.Check(s.Fill(mail.Address(args[1]), "INBOX", messages))
}

// deliver SERVER ADDRESS MARK sends a message to a server by SMTP, as a sender who
// found that server would.
func scriptDeliver(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts, args, 3)
	body := fmt.Sprintf("From: <x@outside.test>\r\nTo: <%s>\r\nSubject: %s\r\n\r\n%s\r\n", args[1], args[2], args[2])
	client, err := smtp.Dial(s.SMTPAddr())
	ts.Check(err)
	defer client.Close()
	err = client.SendMail("x@outside.test", []string{args[1]}, strings.NewReader(body))
	if (err != nil) != neg {
		ts.Fatalf("delivering %q: %v", args[2], err)
	}
}

// messages SERVER ADDRESS N [MARK…] waits until an inbox has N messages, each mark
// exactly once.
func scriptMessages(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts, args, 3)
	want, err := strconv.Atoi(args[2])
	ts.Check(err)
	var problem string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if problem = inbox(s, mail.Address(args[1]), want, args[3:]); problem == "" {
			return
		}
	}
	ts.Fatalf("%s on %s %s", args[1], args[0], problem)
}

// inbox returns what is wrong with an inbox, "" if nothing.
func inbox(s *server.Server, address mail.Address, want int, marks []string) string {
	got, count := 0, map[string]int{}
	for _, folder := range s.Folders(address) {
		if folder.Name != "INBOX" {
			continue
		}
		got = len(folder.Messages)
		for _, m := range folder.Messages {
			for _, mark := range marks {
				if strings.Contains(string(m.Body), "Subject: "+mark+"\r\n") {
					count[mark]++
				}
			}
		}
	}
	if got != want {
		return fmt.Sprintf("has %d messages, want %d", got, want)
	}
	for _, mark := range marks {
		if count[mark] != 1 {
			return fmt.Sprintf("has %q %d times, want once", mark, count[mark])
		}
	}
	return ""
}

// login SERVER ADDRESS logs in by IMAP; ! login must be refused.
func scriptLogin(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts, args, 2)
	client, err := imapclient.DialInsecure(s.IMAPAddr(), nil)
	ts.Check(err)
	defer client.Close()
	if err := client.Login(args[1], password).Wait(); (err != nil) != neg {
		ts.Fatalf("logging in as %s on %s: %v", args[1], args[0], err)
	}
}

// settled SERVER… waits until queues are empty, and wants that nothing bounced.
func scriptSettled(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		s := serverOf(ts, []string{name}, 1)
		for deadline := time.Now().Add(30 * time.Second); s.Queued() > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				ts.Fatalf("%s has %d messages in its queue", name, s.Queued())
			}
		}
		if bounces := s.Bounces(); len(bounces) > 0 {
			ts.Fatalf("%s bounced: %+v", name, bounces)
		}
	}
}
