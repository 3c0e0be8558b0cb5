package copytest

import (
	"slices"
	"strings"
	"time"
)

// addOdd adds to a corpus what copiers stumble over. Nothing of it has a NUL, which IMAP forbids, or an LF without a
// CR, or CR CR LF, which stores of LF lines cannot hold.
func (g *generator) addOdd(c *Corpus) {
	inbox, archive := &c.Mailboxes[0], &c.Mailboxes[2]
	bodies := oddBodies()
	if !g.options.Strict {
		bodies = append(bodies, looseBodies()...)
	}
	for _, body := range bodies {
		inbox.Messages = append(inbox.Messages, Message{Body: []byte(body), Flags: g.flags(), Date: g.date()})
	}
	// Every system flag alone, every keyword alone, and all of them.
	for _, flag := range slices.Concat(systemFlags[:], keywords[:]) {
		m := g.message(300)
		m.Flags = []string{flag}
		inbox.Messages = append(inbox.Messages, m)
	}
	all := g.message(300)
	all.Flags = slices.Concat(systemFlags[:], keywords[:])
	inbox.Messages = append(inbox.Messages, all)

	for _, date := range oddDates() {
		m := g.message(300)
		m.Date = date
		archive.Messages = append(archive.Messages, m)
	}
	g.addTwins(inbox, archive)
	if !g.options.Strict {
		c.Subscribed = [][]string{{"Gone"}, {"Archive", "gone too"}}
	}
}

// addTwins adds messages that are one another's copies, or seem to be.
func (g *generator) addTwins(inbox, archive *Mailbox) {
	twin := g.message(500)
	twin.Flags = []string{`\Seen`}
	read, later := twin, twin
	read.Flags = []string{`\Flagged`, `\Seen`, "work"}
	later.Date = twin.Date.Add(36 * time.Hour)
	inbox.Messages = append(inbox.Messages, twin, twin, read, later, twin)
	archive.Messages = append(archive.Messages, twin, twin)

	// The same Message-ID, and even the same size, with other content.
	for _, word := range []string{"one", "two", "six"} {
		inbox.Messages = append(inbox.Messages, Message{
			Body: []byte("Message-ID: <repeated@example.net>\r\nSubject: repeated\r\n\r\n" + word + "\r\n"),
			Date: g.date(),
		})
	}
	// No Message-ID, twice the same and once not.
	for _, word := range []string{"a", "a", "b"} {
		inbox.Messages = append(inbox.Messages, Message{Body: []byte("Subject: no id\r\n\r\n" + word + "\r\n"), Date: g.date()})
	}
}

func oddBodies() []string {
	return []string{
		"Subject: a very long line\r\n\r\n" + strings.Repeat("x", 70_000) + "\r\nend\r\n",
		"Subject: " + strings.Repeat("a very long header ", 1000) + "\r\n\r\nbody\r\n",
		"Subject: only headers, and no empty line\r\n",
		"Subject: empty body\r\n\r\n",
		"\r\nnothing before the empty line\r\n",
		"\r\n",
		"From someone@example.net Mon Jan  1 00:00:00 2024\r\nSubject: an mbox line first\r\n\r\nFrom here\r\n>From there\r\n",
		"Subject: dots\r\n\r\n.\r\n..\r\n.end\r\n",
		"Subject: looks like IMAP\r\n\r\n)\r\nA1 OK FETCH completed\r\n* BYE\r\n{3}\r\n",
		"Subject: control characters\r\n\r\n\x01\x02\x07\x1b[31m\x7f\r\n",
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nno end of the parts\r\n",
		" starts with a space: folded onto nothing\r\nSubject: x\r\n\r\nbody\r\n",
		"Date: not a date\r\nMessage-ID: not <an id\r\nFrom: @@@\r\n\r\nbody\r\n",
		"Subject: 8 bit only below\r\n\r\nGr\xfc\xdfe and \xff\xfe\r\n",
		"Subject: lines that end in spaces   \r\n\r\ntrailing   \r\n\t\r\n   \r\n\r\n\r\n",
	}
}

// looseBodies are those that Cyrus or Courier refuse or change.
func looseBodies() []string {
	return []string{
		"Subject: 8 bit \xe4\xf6\xfc in a header\r\n\r\nand \xff\xfe below\r\n",
		"Subject: UTF-8 Grüße 日本\r\n\r\nGrüße\r\n",
		"Subject: only headers, cut short",
		"no header at all, and no colon\r\nhere either\r\n",
		"x",
		"Subject: a lone CR\r\n\r\nbefore\rafter\r\n",
	}
}

// oddDates are at edges: of daylight saving, of years in some zones, of ten digits.
func oddDates() []time.Time {
	zone := func(hours, minutes int) *time.Location { return time.FixedZone("", (hours*60+minutes)*60) }
	return []time.Time{
		time.Date(1990, 1, 1, 0, 0, 0, 0, zone(14, 0)),
		time.Date(1999, 12, 31, 23, 59, 59, 0, zone(-12, 0)),
		time.Date(2000, 2, 29, 12, 0, 0, 0, zone(5, 45)),
		time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC),
		time.Date(2024, 3, 31, 2, 30, 0, 0, zone(1, 0)),
		time.Date(2024, 10, 27, 2, 30, 0, 0, zone(2, 0)),
		time.Date(2024, 12, 5, 3, 4, 5, 0, zone(-3, -30)),
	}
}

// lossy returns three messages with dates that are yet to come, the last of them the end of 31 bits, and one that ends
// in a lone CR.
func (g *generator) lossy() []Message {
	var messages []Message
	for _, date := range []time.Time{
		time.Date(2035, 6, 1, 12, 0, 0, 0, time.FixedZone("", 9*3600)),
		time.Date(2037, 12, 31, 23, 59, 59, 0, time.FixedZone("", -8*3600)),
		time.Date(2038, 1, 19, 3, 14, 7, 0, time.UTC),
	} {
		m := g.message(300)
		m.Date = date
		messages = append(messages, m)
	}
	return append(messages, Message{Body: []byte("Subject: a CR at the end\r\n\r\nend\r"), Date: g.date()})
}
