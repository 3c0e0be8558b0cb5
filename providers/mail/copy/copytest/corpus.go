package copytest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Corpus is what an account holds.
type Corpus struct {
	Mailboxes []Mailbox
	// Subscribed are names in the list of subscriptions that no mailbox has.
	Subscribed [][]string
}

// A Mailbox is named by its path: what one reads at each level of the hierarchy. A level above that is not in the
// corpus is \NoSelect.
type Mailbox struct {
	Path       []string
	Subscribed bool
	Messages   []Message // in the order of their UIDs
}

// A Message is as a server sends it: lines end with CR LF.
type Message struct {
	Body  []byte
	Flags []string
	Date  time.Time // INTERNALDATE, to the second
}

// CorpusOptions say what a corpus is made of. The same options make the same corpus.
type CorpusOptions struct {
	Seed     uint64
	Messages int   // ordinary messages
	Bytes    int64 // of all ordinary messages, about; 0: small ones of under a kilobyte
	Large    int   // messages of 20 MB, besides
	OneBox   bool  // all ordinary messages are in INBOX

	// Odd adds what is awkward: names, content, dates, flags, twins and subscriptions.
	Odd bool
	// Strict leaves out what not every server takes and keeps. Cyrus refuses names with quotes, percent signs or
	// backslashes, subscriptions to nothing, and messages whose first line is no whole header; it makes a mailbox at each
	// level of the hierarchy; it replaces 8-bit characters in headers, unless "munge8bit: no" is in its configuration.
	// Courier refuses names with characters beyond the first 65,536 of Unicode, drops a lone CR, and adds a newline at
	// the end where there is none.
	Strict bool
	// Lossy adds what Dovecot's APPEND does not keep: it puts the present in the place of a date that is yet to come, and
	// drops a CR that ends a message.
	Lossy bool
	// Empty adds a message of no octets, which only a Maildir takes.
	Empty bool
}

// LargeSize is how long a large message is.
const LargeSize = 20 << 20

// pool is as long as text that messages take their bodies from.
const poolSize = 1 << 20

// keywords that messages have. There are fewer than 26, so that a Maildir's file names can hold them all.
var keywords = [...]string{
	"$Forwarded", "$MDNSent", "$Junk", "NonJunk", "$Label1", "$Label5", "work", "Receipt-2024", "a+b", "x_y:z", "$Important",
}

var systemFlags = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// NewCorpus makes a corpus.
func NewCorpus(options CorpusOptions) *Corpus {
	g := &generator{rand: rand.New(rand.NewPCG(options.Seed, 0x6d61696c)), options: options}
	g.pool = g.text(poolSize)
	c := &Corpus{}
	for i, path := range g.paths() {
		c.Mailboxes = append(c.Mailboxes, Mailbox{Path: path, Subscribed: i%3 != 2})
	}
	busy := len(c.Mailboxes)
	if options.OneBox {
		busy = 1
	} else if busy > 2 {
		busy-- // the last one stays empty
	}
	mean := 700
	if options.Bytes > 0 && options.Messages > 0 {
		mean = int(options.Bytes) / options.Messages
	}
	for i := range options.Messages {
		box := &c.Mailboxes[0]
		if i%2 == 1 { // half of a person's mail is in the inbox
			box = &c.Mailboxes[g.rand.IntN(busy)]
		}
		box.Messages = append(box.Messages, g.message(g.length(mean)))
	}
	for i := range options.Large {
		box := &c.Mailboxes[i%busy]
		box.Messages = slices.Insert(box.Messages, len(box.Messages)/2, g.message(LargeSize))
	}
	if options.Odd {
		g.addOdd(c)
	}
	if options.Lossy {
		c.Mailboxes[0].Messages = append(c.Mailboxes[0].Messages, g.lossy()...)
	}
	if options.Empty {
		c.Mailboxes[0].Messages = append(c.Mailboxes[0].Messages, Message{Date: g.date()})
	}
	return c
}

// Size returns how many messages a corpus has, and octets.
func (c *Corpus) Size() (messages int, octets int64) {
	for _, box := range c.Mailboxes {
		messages += len(box.Messages)
		for _, m := range box.Messages {
			octets += int64(len(m.Body))
		}
	}
	return messages, octets
}

type generator struct {
	rand    *rand.Rand
	options CorpusOptions
	pool    []byte
	count   int
}

// paths are the names of mailboxes, INBOX first.
func (g *generator) paths() [][]string {
	paths := [][]string{{"INBOX"}, {"Sent"}, {"Archive", "2019", "Q1"}, {"Archive", "2020"}, {"Drafts"}}
	if g.options.Odd {
		paths = append(paths, oddPaths()...)
		if !g.options.Strict {
			paths = append(paths, []string{"emoji 📬"}, []string{`"quotes"`}, []string{"100 %"}, []string{`back\slash`})
		}
	}
	paths = append(paths, []string{"Empty"})
	if g.options.Strict {
		return withParents(paths)
	}
	return paths
}

// withParents puts the mailboxes above each one before it.
func withParents(paths [][]string) [][]string {
	var all [][]string
	for _, path := range paths {
		for depth := range len(path) {
			if above := path[:depth+1]; !slices.ContainsFunc(all, func(p []string) bool { return slices.Equal(p, above) }) {
				all = append(all, above)
			}
		}
	}
	return all
}

func oddPaths() [][]string {
	return [][]string{
		{"Entwürfe & Ideen"},
		{"日本語", "メール"},
		{"R&D"},
		{"A name with spaces"},
		{"nested", "deeply", "and", "so", "on"},
		{"Inbox copy"},
		{"&-"}, // looks as if it were encoded
		{"[Gmail]", "All Mail"},
		{strings.Repeat("long ", 20) + "name"},
		{"trailing space "},
		{" leading space"},
		{"star *"},
	}
}

// text returns lines of letters and spaces.
func (g *generator) text(size int) []byte {
	const letters = "etaoin shrdlu cmfwyp vbgkqj xz"
	text := make([]byte, size)
	for i := range text {
		switch i % 76 {
		case 74:
			text[i] = '\r'
		case 75:
			text[i] = '\n'
		default:
			text[i] = letters[g.rand.IntN(len(letters))]
		}
	}
	return text
}

// length varies about a mean as mail does: many short ones, a few long.
func (g *generator) length(mean int) int {
	return max(200, int(g.rand.ExpFloat64()*float64(mean)))
}

// message returns one of about a length, unlike every other.
func (g *generator) message(length int) Message {
	g.count++
	var m bytes.Buffer
	fmt.Fprintf(&m, "From: Sender %d <sender%d@example.net>\r\nTo: <ann@example.com>\r\nSubject: message %d of corpus %d\r\n"+
		"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <%d.%d@example.net>\r\n\r\n",
		g.count%50, g.count%50, g.count, g.options.Seed, g.count, g.options.Seed)
	for rest := length - m.Len() - 2; rest > 0; {
		from := g.rand.IntN(len(g.pool)/76) * 76 // at the start of a line
		piece := g.pool[from:min(len(g.pool), from+rest)]
		m.Write(bytes.TrimRight(piece, "\r\n"))
		m.WriteString("\r\n")
		rest -= len(piece)
	}
	return Message{Body: m.Bytes(), Flags: g.flags(), Date: g.date()}
}

// flags are often none or \Seen, as in life.
func (g *generator) flags() []string {
	var flags []string
	for i, flag := range systemFlags {
		if g.rand.IntN(2+4*i) == 0 {
			flags = append(flags, flag)
		}
	}
	for range max(0, g.rand.IntN(6)-3) {
		if keyword := keywords[g.rand.IntN(len(keywords))]; !slices.Contains(flags, keyword) {
			flags = append(flags, keyword)
		}
	}
	return flags
}

// date is between 1990 and 2024, in any zone.
func (g *generator) date() time.Time {
	first, last := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2024, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
	zone := (g.rand.IntN(27*4) - 12*4) * 15 * 60
	return time.Unix(first+g.rand.Int64N(last-first), 0).In(time.FixedZone("", zone))
}
