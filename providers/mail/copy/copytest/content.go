package copytest

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Content is what an account has, as far as a copy has to keep it. Mailboxes that cannot be selected hold nothing and
// are left out.
type Content struct {
	// Mailboxes are multisets of messages, by name: the levels of the hierarchy with a slash between, whatever the
	// server puts there, without the prefix of the personal namespace. A slash in a level's name is written \/.
	Mailboxes  map[string]map[Item]int
	Subscribed map[string]bool
}

// An Item is what is the same in a message and its copy.
type Item struct {
	SHA256 [sha256.Size]byte
	Size   int64
	Flags  string // sorted, with spaces between, without \Recent
	Date   int64  // INTERNALDATE in seconds of Unix: zones are not kept by every store
}

func (i Item) String() string {
	return fmt.Sprintf("%x… of %d octets (%s) at %d", i.SHA256[:6], i.Size, i.Flags, i.Date)
}

func newItem(sum [sha256.Size]byte, size int64, flags []string, date int64) Item {
	flags = slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return strings.EqualFold(flag, `\Recent`) })
	slices.Sort(flags)
	return Item{sum, size, strings.Join(flags, " "), date}
}

// boxName is the key of [Content.Mailboxes].
func boxName(path []string) string {
	escaped := make([]string, len(path))
	for i, level := range path {
		escaped[i] = strings.ReplaceAll(level, "/", `\/`)
	}
	return strings.Join(escaped, "/")
}

// Content returns what an account that was filled with the corpus has.
func (c *Corpus) Content() Content {
	content := Content{Mailboxes: map[string]map[Item]int{}, Subscribed: map[string]bool{}}
	for _, box := range c.Mailboxes {
		name := boxName(box.Path)
		items := map[Item]int{}
		for _, m := range box.Messages {
			items[newItem(sha256.Sum256(m.Body), int64(len(m.Body)), m.Flags, m.Date.Unix())]++
		}
		content.Mailboxes[name] = items
		if box.Subscribed {
			content.Subscribed[name] = true
		}
	}
	for _, path := range c.Subscribed {
		content.Subscribed[boxName(path)] = true
	}
	return content
}

// Read reads all that a user has, by plain IMAP, and trusts nothing but the octets of the messages. Every mailbox is
// opened read-only.
func Read(t testing.TB, s *Server, user User) Content {
	t.Helper()
	client := s.Login(t, user)
	defer client.Close()
	content := Content{Mailboxes: map[string]map[Item]int{}, Subscribed: map[string]bool{}}
	prefix := personalPrefix(t, client)
	boxes, err := client.List("", "*", nil).Collect()
	if err != nil {
		t.Fatalf("listing mailboxes of %s at %s: %v", user.Name, s.Name, err)
	}
	for _, box := range boxes {
		if slices.Contains(box.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(box.Attrs, imap.MailboxAttrNonExistent) {
			continue
		}
		items, err := readMailbox(client, box.Mailbox)
		if err != nil {
			t.Fatalf("reading mailbox %q of %s at %s: %v", box.Mailbox, user.Name, s.Name, err)
		}
		content.Mailboxes[relativeName(box, prefix)] = items
	}
	subscribed, err := listSubscribed(s, user)
	if err != nil {
		t.Fatalf("listing subscriptions of %s at %s: %v", user.Name, s.Name, err)
	}
	for _, box := range subscribed {
		content.Subscribed[relativeName(box, prefix)] = true
	}
	return content
}

// personalPrefix returns the prefix of the user's own mailboxes (RFC 2342).
func personalPrefix(t testing.TB, client *imapclient.Client) string {
	t.Helper()
	if !client.Caps().Has(imap.CapNamespace) {
		return ""
	}
	data, err := client.Namespace().Wait()
	if err != nil {
		t.Fatalf("asking for namespaces: %v", err)
	}
	if len(data.Personal) == 0 {
		return ""
	}
	return data.Personal[0].Prefix
}

func relativeName(box *imap.ListData, prefix string) string {
	name := box.Mailbox
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	name = strings.TrimPrefix(name, prefix)
	if box.Delim == 0 {
		return boxName([]string{name})
	}
	return boxName(strings.Split(name, string(box.Delim)))
}

func readMailbox(client *imapclient.Client, name string) (map[Item]int, error) {
	selected, err := client.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, err
	}
	items := map[Item]int{}
	if selected.NumMessages == 0 {
		return items, nil
	}
	all := imap.SeqSet{imap.SeqRange{Start: 1, Stop: selected.NumMessages}}
	fetch := client.Fetch(all, &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	})
	defer fetch.Close()
	count := 0
	for message := fetch.Next(); message != nil; message = fetch.Next() {
		item, err := readItem(message)
		if err != nil {
			return nil, err
		}
		items[item]++
		count++
	}
	if err := fetch.Close(); err != nil {
		return nil, err
	}
	if count != int(selected.NumMessages) {
		return nil, fmt.Errorf("it has %d messages and sent %d", selected.NumMessages, count)
	}
	return items, nil
}

func readItem(message *imapclient.FetchMessageData) (Item, error) {
	var (
		uid   imap.UID
		flags []string
		date  int64
		size  int64 = -1
		sum   [sha256.Size]byte
	)
	for data := message.Next(); data != nil; data = message.Next() {
		switch data := data.(type) {
		case imapclient.FetchItemDataUID:
			uid = data.UID
		case imapclient.FetchItemDataFlags:
			for _, flag := range data.Flags {
				flags = append(flags, string(flag))
			}
		case imapclient.FetchItemDataInternalDate:
			date = data.Time.Unix()
		case imapclient.FetchItemDataBodySection:
			size = 0
			hash := sha256.New()
			if data.Literal != nil { // NIL or ""
				n, err := io.Copy(hash, data.Literal)
				if err != nil {
					return Item{}, fmt.Errorf("reading message %d: %w", uid, err)
				}
				size = n
			}
			hash.Sum(sum[:0])
		}
	}
	if size < 0 || uid == 0 {
		return Item{}, fmt.Errorf("message %d came without a body", uid)
	}
	return newItem(sum, size, flags, date), nil
}

// Diff tells how got differs from want, a line for each difference; "" if it does not.
func Diff(want, got Content) string {
	var lines []string
	names := slices.Concat(slices.Collect(maps.Keys(want.Mailboxes)), slices.Collect(maps.Keys(got.Mailboxes)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		wanted, inWant := want.Mailboxes[name]
		found, inGot := got.Mailboxes[name]
		switch {
		case !inGot:
			lines = append(lines, fmt.Sprintf("mailbox %q is missing, with %d messages", name, total(wanted)))
		case !inWant:
			lines = append(lines, fmt.Sprintf("mailbox %q is unwanted, with %d messages", name, total(found)))
		default:
			lines = append(lines, diffItems(name, wanted, found)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.Subscribed)) {
		if !got.Subscribed[name] {
			lines = append(lines, fmt.Sprintf("mailbox %q is not subscribed to", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got.Subscribed)) {
		if !want.Subscribed[name] {
			lines = append(lines, fmt.Sprintf("mailbox %q is subscribed to and should not be", name))
		}
	}
	const most = 40
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d differences more", len(lines)-most))
	}
	return strings.Join(lines, "\n")
}

func total(items map[Item]int) int {
	sum := 0
	for _, n := range items {
		sum += n
	}
	return sum
}

func diffItems(name string, want, got map[Item]int) []string {
	items := slices.Concat(slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(slices.Compare(a.SHA256[:], b.SHA256[:]), cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Date, b.Date))
	})
	var lines []string
	for _, item := range slices.Compact(items) {
		if want[item] != got[item] {
			lines = append(lines, fmt.Sprintf("mailbox %q has %d of %v, want %d", name, got[item], item, want[item]))
		}
	}
	return lines
}
