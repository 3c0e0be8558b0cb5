package copytest

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func threeMessages() *Corpus {
	var messages []Message
	for _, word := range []string{"one", "two", "three"} {
		messages = append(messages, Message{Body: []byte("Subject: " + word + "\r\n\r\n" + word + "\r\n"), Date: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
	}
	return &Corpus{Mailboxes: []Mailbox{{Path: []string{"INBOX"}, Messages: messages}, {Path: []string{"Archive", "2020"}, Subscribed: true}}}
}

// A rawClient says what it is told to and returns what comes.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t *testing.T, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &rawClient{conn, bufio.NewReader(conn)}
	if _, err := c.in.ReadString('\n'); err != nil {
		t.Fatalf("reading the greeting: %v", err)
	}
	return c
}

// say returns everything up to the line that begins with until, or "…" behind what came before the connection ended.
func (c *rawClient) say(t *testing.T, text, until string) string {
	t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		return "…"
	}
	var answer strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		answer.WriteString(line)
		if err != nil {
			return answer.String() + "…"
		}
		if strings.HasPrefix(line, until) {
			return answer.String()
		}
	}
}

const fetchAll = "F UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[])\r\n"

// Each lie is told where it should be, and nothing else is changed.
func TestLies(t *testing.T) {
	honest := "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 21 BODY[] {21}\r\nSubject: one\r\n\r\none\r\n)\r\n" +
		"* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 21 BODY[] {21}\r\nSubject: two\r\n\r\ntwo\r\n)\r\n" +
		"* 3 FETCH (UID 3 FLAGS () RFC822.SIZE 25 BODY[] {25}\r\nSubject: three\r\n\r\nthree\r\n)\r\n"
	ok := "F OK UID FETCH completed\r\n"
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(honest) + ok }
	for name, test := range map[string]struct {
		lie     Lie
		command string
		until   string
		want    string
	}{
		"none":                         {Lie{}, fetchAll, "F ", honest + ok},
		"giant":                        {GiantLiteral(4 << 30), fetchAll, "F ", "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 21 BODY[] {4294967296}\r\nSubject: one\r\n\r\none\r\n)\r\n…"},
		"wrong tag":                    {WrongTag("UID FETCH"), fetchAll, "FX", honest + "FX OK UID FETCH completed\r\n"},
		"reverse":                      {ReverseUIDs(), fetchAll, "F ", edit("UID 1", "UID 999", "UID 2", "UID 998", "UID 3", "UID 997")},
		"twins":                        {TwinUIDs(), fetchAll, "F ", edit("UID 2", "UID 1")},
		"wrong size":                   {WrongSize(-5), fetchAll, "F ", edit("SIZE 21", "SIZE 16", "SIZE 25", "SIZE 20")},
		"flag":                         {ExtraFlag("Foo]"), fetchAll, "F ", edit("FLAGS ()", "FLAGS (Foo])")},
		"unsolicited":                  {UnsolicitedFetch(), fetchAll, "F ", edit("* 1 FETCH (UID 1", "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 1 FETCH (UID 1", "* 2 FETCH (UID 2", "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 2 FETCH (UID 2", "* 3 FETCH (UID 3", "* 3 FETCH (UID 3 FLAGS (\\Seen))\r\n* 3 FETCH (UID 3")},
		"once":                         {Times(1, UnsolicitedFetch()), fetchAll, "F ", edit("* 1 FETCH (UID 1", "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 1 FETCH (UID 1")},
		"nil":                          {NilBody(), fetchAll, "F ", edit("{21}\r\nSubject: one\r\n\r\none\r\n", "NIL", "{21}\r\nSubject: two\r\n\r\ntwo\r\n", "NIL", "{25}\r\nSubject: three\r\n\r\nthree\r\n", "NIL")},
		"expunge":                      {ExpungeUnderWay(), fetchAll, "F ", edit("* 2 FETCH", "* 1 EXPUNGE\r\n* 2 FETCH")},
		"replace":                      {Replace("completed", "\x00"), fetchAll, "F ", honest + "F OK UID FETCH \x00\r\n"},
		"interject":                    {Interject(`^\* 2 FETCH`, "* NONSENSE {}"), fetchAll, "F ", edit("* 2 FETCH", "* NONSENSE {}\r\n* 2 FETCH")},
		"refuse":                       {Refuse("^UID FETCH", "NO [UNAVAILABLE] later"), fetchAll, "F ", "F NO [UNAVAILABLE] later\r\n"},
		"bye":                          {Bye("^UID FETCH", "going down"), fetchAll, "F ", "* BYE going down\r\n…"},
		"no quota":                     {Refuse("^APPEND", "NO [OVERQUOTA] full"), "F APPEND INBOX {3+}\r\nabc\r\nG NOOP\r\n", "G ", "F NO [OVERQUOTA] full\r\nG OK NOOP completed\r\n"},
		"no quota, before the literal": {Refuse("^APPEND", "NO [OVERQUOTA] full"), "F APPEND INBOX {5000}\r\n", "F ", "F NO [OVERQUOTA] full\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, Hostile(t, threeMessages(), test.lie).Address)
			c.say(t, "L LOGIN ann@example.com swordfish\r\n", "L ")
			c.say(t, "S EXAMINE INBOX\r\n", "S ")
			if got := c.say(t, test.command, test.until); got != test.want {
				t.Errorf("answered\n%q, want\n%q", got, test.want)
			}
		})
	}
}

func TestLiesAboutMailboxes(t *testing.T) {
	c := dialRaw(t, Hostile(t, threeMessages(), ChangingUIDValidity(), ExtraMailbox("../../x\r\ny")).Address)
	c.say(t, "L LOGIN ann@example.com swordfish\r\n", "L ")
	list := c.say(t, "F LIST \"\" *\r\n", "F ")
	if !strings.Contains(list, "* LIST () \"/\" {10}\r\n../../x\r\ny\r\nF OK") || !strings.Contains(list, "Archive/2020") {
		t.Errorf("listed %q, want the mailboxes that there are and one more", list)
	}
	first, second := c.say(t, "F EXAMINE INBOX\r\n", "F "), c.say(t, "F EXAMINE INBOX\r\n", "F ")
	if !strings.Contains(first, "UIDVALIDITY") || first == second {
		t.Errorf("two EXAMINEs gave the same UIDVALIDITY: %q", first)
	}
}

// An honest APPEND comes through, however its literal is sent, also behind one that the server itself refuses.
func TestLiarPassesLiterals(t *testing.T) {
	liar := Hostile(t, threeMessages())
	c := dialRaw(t, liar.Address)
	c.say(t, "L LOGIN ann@example.com swordfish\r\n", "L ")
	if got := c.say(t, "A APPEND INBOX {5+}\r\nF NOO\r\n", "A "); !strings.HasPrefix(got, "A OK [APPENDUID") {
		t.Errorf("an unasked literal was answered %q", got)
	}
	if got := c.say(t, "A APPEND INBOX {7}\r\n", "+"); !strings.HasPrefix(got, "+") {
		t.Errorf("a literal was announced and answered %q", got)
	}
	if got := c.say(t, "A\r\nB NO\r\n", "A "); !strings.HasPrefix(got, "A OK [APPENDUID") {
		t.Errorf("a literal was answered %q", got)
	}
	if got := c.say(t, "S SELECT INBOX\r\n", "S "); !strings.Contains(got, "* 5 EXISTS") {
		t.Errorf("after two APPENDs the mailbox is %q", got)
	}
	// What looks like commands within the literals is none.
	want := []string{"LOGIN ann@example.com swordfish", "APPEND INBOX {5+}", "APPEND INBOX {7}", "SELECT INBOX"}
	if got := liar.Commands(); !slices.Equal(got, want) {
		t.Errorf("the commands were %q, want %q", got, want)
	}
}

func TestSilentLiar(t *testing.T) {
	c := dialRaw(t, Hostile(t, threeMessages(), Silent("^UID FETCH")).Address)
	c.say(t, "L LOGIN ann@example.com swordfish\r\n", "L ")
	c.say(t, "S EXAMINE INBOX\r\n", "S ")
	c.conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if got := c.say(t, fetchAll+"G NOOP\r\n", "G "); got != "…" {
		t.Errorf("a silent server said %q", got)
	}
}

// Lies before a real server, which knows MULTIAPPEND and CONDSTORE.
func TestLiesOfARealServer(t *testing.T) {
	s := Dovecot(t, Maildir, Options{})
	Fill(t, s, s.Users[0], threeMessages())
	liar := Tell(t, s.IMAP, UnsolicitedFetch(), ExtraFlag("Foo]"), NilBody())
	c := dialRaw(t, liar.Address)
	c.say(t, "L LOGIN ann@example.com swordfish\r\n", "L ")
	c.say(t, "S EXAMINE INBOX\r\n", "S ")
	got := c.say(t, fetchAll, "F ")
	for want, count := range map[string]int{" BODY[] NIL)\r\n": 3, "(Foo] ": 6, "(Foo] \\Seen))\r\n": 3, " FETCH (": 6, "Subject": 0} {
		if strings.Count(got, want) != count {
			t.Errorf("%q is %d times in %q, want %d", want, strings.Count(got, want), got, count)
		}
	}
}
