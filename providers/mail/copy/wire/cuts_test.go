package wire_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// A cut is a trial in which the connection is lost after some bytes of one side.
type cut struct {
	way     wire.Way
	side    copytest.Side
	after   int64
	mailbox string
	results []wire.Result
}

// Wherever the connection is lost, the results tell what is there: what has no error is,
// what was lost before it was whole is not, and only the rest is open.
func TestResultsAreTrueWhereverTheConnectionIsLost(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	user := server.Users[0]
	sides := []copytest.Side{copytest.FromClient, copytest.FromServer}
	const places = 10
	createForCuts(t, server, sides, places)
	var messages []copytest.Message
	for i := range 6 {
		body := fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, bytes.Repeat([]byte("x"), 100*i*i*i*i))
		messages = append(messages, copytest.Message{Body: body})
	}
	proxy := copytest.NewProxy(t, server.IMAP)
	endpoint := wire.Endpoint{Address: proxy.Address, TLS: wire.Plain}
	var cuts []cut
	// run appends the messages to the cut's own mailbox.
	run := func(c cut) []wire.Result {
		conn := dial(t, endpoint, loginOf(user))
		defer conn.Close()
		appender := conn.Appender(c.mailbox)
		appender.Way = c.way
		results, err := appender.Append(deadline(t), sequence(messages))
		if (err == nil) != (conn.Err() == nil) {
			t.Errorf("error %v, the connection's %v", err, conn.Err())
		}
		return results
	}
	for name, way := range ways() {
		// Once without a cut, to know how many bytes there are before the first APPEND
		// (about) and in all.
		if err := dial(t, endpoint, loginOf(user)).Logout(deadline(t)); err != nil {
			t.Fatal(err)
		}
		login := proxy.Connections()
		run(cut{way: way, mailbox: name})
		whole := proxy.Connections()
		for _, side := range sides {
			first, last := proxy.Count(login, side), proxy.Count(whole, side)-1
			for i := range places {
				c := cut{way: way, side: side, after: first + (last-first)*int64(i)/(places-1), mailbox: fmt.Sprint(name, side, i)}
				proxy.Cut(proxy.Connections()+1, side, c.after)
				c.results = run(c)
				cuts = append(cuts, c)
			}
		}
	}
	content := copytest.Read(t, server, user)
	began := 0
	for _, c := range cuts {
		began += checkCut(t, c, messages, content.Mailboxes[c.mailbox])
	}
	if began == 0 {
		t.Error("no trial has a message of which it is open what became of it; are the cuts where they should be?")
	}
}

// createForCuts creates all mailboxes before anything else runs: a Dovecot 2.3 that lists
// and creates at the same time may say that a new mailbox exists already.
func createForCuts(t *testing.T, server *copytest.Server, sides []copytest.Side, places int) {
	t.Helper()
	client := server.Login(t, server.Users[0])
	defer client.Close()
	for name := range ways() {
		mailboxes := []string{name}
		for _, side := range sides {
			for i := range places {
				mailboxes = append(mailboxes, fmt.Sprint(name, side, i))
			}
		}
		for _, mailbox := range mailboxes {
			if err := client.Create(mailbox, nil).Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkCut compares what results say with what is there, and returns of how many
// messages it is open.
func checkCut(t *testing.T, c cut, messages []copytest.Message, there map[copytest.Item]int) int {
	t.Helper()
	began := 0
	count := map[[sha256.Size]byte]int{}
	for item, n := range there {
		count[item.SHA256] += n
	}
	for i, m := range messages {
		n := count[sha256.Sum256(m.Body)]
		said := "was not taken"
		least, most := 0, 0
		if i < len(c.results) {
			var lost *wire.LostError
			switch err := c.results[i].Err; {
			case err == nil:
				said, least, most = "is there", 1, 1
			case errors.As(err, &lost) && lost.Began:
				said, most = err.Error(), 1
				began++
			case errors.As(err, &lost):
				said = err.Error()
			default:
				t.Errorf("error %v", err)
			}
		}
		if n < least || n > most {
			t.Errorf("way %v, cut after %d bytes of the %v: message %d %s, and is there %d times", c.way, c.after, c.side, i, said, n)
		}
	}
	return began
}
