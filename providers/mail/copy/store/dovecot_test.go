package store_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/store"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t testing.TB, server *copytest.Server, user copytest.User) *wire.Conn {
	t.Helper()
	conn, err := wire.Dial(t.Context(), wire.Endpoint{Address: server.IMAPS, Config: server.TLS()}, wire.Login{
		User: user.Name, Secret: func(context.Context) ([]byte, error) { return []byte(user.Password), nil },
	})
	ok(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func source(t testing.TB, server *copytest.Server, user copytest.User) *store.Source {
	t.Helper()
	s, err := store.NewSource(t.Context(), dial(t, server, user).Handover(t.Context()), server.Name)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func target(t testing.TB, server *copytest.Server, user copytest.User) *store.Target {
	t.Helper()
	s, err := store.NewTarget(t.Context(), dial(t, server, user).Handover(t.Context()), server.Name)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// read is everything an account holds as this package tells it, in the form of the
// independent judge.
func read(t testing.TB, s *store.Source, ctx context.Context) copytest.Content {
	t.Helper()
	content := copytest.Content{Mailboxes: map[string]map[copytest.Item]int{}, Subscribed: map[string]bool{}}
	listing, err := s.Mailboxes(ctx)
	ok(t, err)
	for _, e := range listing.Personal() {
		name := pathOf(listing, e)
		if e.Subscribed {
			content.Subscribed[name] = true
		}
		if !e.Selectable {
			continue
		}
		m, err := s.Open(ctx, e.Name)
		ok(t, err)
		if e.Status == nil || e.Status.Messages != m.Messages || e.Status.UIDValidity != m.UIDValidity || e.Status.UIDNext != m.UIDNext {
			t.Errorf("%q: the listing says %+v, opened it has %d messages, UIDNEXT %d, UIDVALIDITY %d", e.Name, e.Status, m.Messages, m.UIDNext, m.UIDValidity)
		}
		content.Mailboxes[name] = messages(t, m, ctx)
	}
	return content
}

func messages(t testing.TB, m *store.Mailbox, ctx context.Context) map[copytest.Item]int {
	t.Helper()
	listed := map[uint32]store.Message{}
	var uids []uint32
	for message, err := range m.List(ctx, 0) {
		ok(t, err)
		listed[message.UID], uids = message, append(uids, message.UID)
	}
	searched, err := m.UIDs(ctx)
	ok(t, err)
	if !slices.Equal(uids, searched) {
		t.Errorf("%q: listed are UIDs %v, found %v", m.Name(), uids, searched)
	}
	items := map[copytest.Item]int{}
	for body, err := range m.Bodies(ctx, uids) {
		ok(t, err)
		sum := sha256.New()
		n, err := io.Copy(sum, body)
		ok(t, err)
		message := listed[body.UID]
		if n != body.Size || n != message.Size || n != body.Announced {
			t.Errorf("%q: UID %d: %d octets came, of %d, %d were listed and %d announced", m.Name(), body.UID, n, body.Size, message.Size, body.Announced)
		}
		item := copytest.Item{Size: n, Flags: strings.Join(message.Flags, " "), Date: message.Date.Unix()}
		copy(item.SHA256[:], sum.Sum(nil))
		items[item]++
	}
	return items
}

// pathOf is how the judge writes a name.
func pathOf(listing *store.Listing, e store.Entry) string {
	name := e.Name
	for _, n := range listing.Namespaces {
		if name != "INBOX" && n.Prefix != "" {
			name = strings.TrimPrefix(name, n.Prefix)
		}
	}
	levels := strings.Split(name, string(cmp.Or(e.Separator, '/')))
	for i := range levels {
		levels[i] = strings.ReplaceAll(levels[i], "/", `\/`)
	}
	return strings.Join(levels, "/")
}

func odd(messages int) *copytest.Corpus {
	return copytest.NewCorpus(copytest.CorpusOptions{Seed: 1, Messages: messages, Odd: true})
}

// Everything that a corpus of awkward mail holds is told as it is, with all extensions and
// without.
func TestDovecotIsRead(t *testing.T) {
	corpus := odd(300)
	for _, test := range []struct {
		name    string
		options copytest.Options
	}{
		{"with everything", copytest.Options{}},
		{"with a prefix", copytest.Options{Separator: ".", Prefix: "INBOX."}},
		{"without extensions", copytest.Options{Hide: []string{
			"LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "CONDSTORE", "QRESYNC", "ESEARCH", "NAMESPACE", "UIDPLUS", "LITERAL+",
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := copytest.Dovecot(t, copytest.Maildir, test.options)
			copytest.Fill(t, server, server.Users[0], corpus)
			got := read(t, source(t, server, server.Users[0]), t.Context())
			if diff := copytest.Diff(corpus.Content(), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// So it is with servers that do it their own way; Courier has neither LIST-EXTENDED nor
// CONDSTORE.
func TestOthersAreRead(t *testing.T) {
	corpus := copytest.NewCorpus(copytest.CorpusOptions{Seed: 1, Messages: 100, Odd: true, Strict: true})
	for name, start := range map[string]func(testing.TB, copytest.Options) *copytest.Server{"Cyrus": copytest.Cyrus, "Courier": copytest.Courier} {
		t.Run(name, func(t *testing.T) {
			server := start(t, copytest.Options{})
			copytest.Fill(t, server, server.Users[0], corpus)
			want := copytest.Read(t, server, server.Users[0])
			got := read(t, source(t, server, server.Users[0]), t.Context())
			if diff := copytest.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A source has no way to change anything, not even \Seen or \Recent.
func TestDovecotSourceIsNotChanged(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	user := server.Users[0]
	copytest.Fill(t, server, user, copytest.NewCorpus(copytest.CorpusOptions{Seed: 2, Messages: 20, OneBox: true}))
	before := copytest.Read(t, server, user)
	read(t, source(t, server, user), t.Context())
	if diff := copytest.Diff(before, copytest.Read(t, server, user)); diff != "" {
		t.Error(diff)
	}
}

func TestDovecotTarget(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{Quota: "storage=5M"})
	user := server.Users[0]
	s, ctx := target(t, server, user), t.Context()
	const name = `Käse & "Wein".2026 `
	_, err := s.Create(ctx, name, nil)
	ok(t, err)
	if _, err := s.Create(ctx, name, nil); !store.Exists(err) {
		t.Errorf("making it again: got %v, want that it exists", err)
	}
	if _, err := s.Open(ctx, "Nowhere"); !errors.As(err, new(*wire.RefusedError)) {
		t.Errorf("opening what is not there: got %v, want a refusal", err)
	}
	ok(t, s.Subscribe(ctx, name))
	withUses, err := s.Create(ctx, "Old things", []string{string(imap.MailboxAttrArchive)})
	ok(t, err)
	if want := s.Can(imap.CapCreateSpecialUse); withUses != want {
		t.Errorf("made with its special use: got %v, want %v", withUses, want)
	}
	quotas, err := s.Quotas(ctx, "INBOX")
	ok(t, err)
	if len(quotas) != 1 || quotas[0].BytesLimit != 5<<20 {
		t.Errorf("quotas: got %+v, want one of 5 MiB", quotas)
	}
	copytest.Fill(t, server, user, copytest.NewCorpus(copytest.CorpusOptions{Seed: 3, Messages: 10, OneBox: true}))
	inbox, err := s.Open(ctx, "INBOX")
	ok(t, err)
	before := inbox.HighestModSeq
	uids, err := inbox.UIDs(ctx)
	ok(t, err)
	flags := []string{"$Forwarded", `\Seen`, "a+b"}
	for _, flag := range flags {
		if !inbox.Keeps(flag) {
			t.Errorf("flag %q is not kept", flag)
		}
	}
	ok(t, inbox.StoreFlags(ctx, []uint32{uids[1], uids[3], 4_000_000}, flags))
	var changed []uint32
	for message, err := range inbox.List(ctx, before) {
		ok(t, err)
		if changed = append(changed, message.UID); !slices.Equal(message.Flags, flags) {
			t.Errorf("UID %d has the flags %q, want %q", message.UID, message.Flags, flags)
		}
	}
	if want := []uint32{uids[1], uids[3]}; !slices.Equal(changed, want) {
		t.Errorf("changed are UIDs %v, want %v", changed, want)
	}
	ok(t, inbox.StoreFlags(ctx, uids[5:6], []string{string(imap.FlagDeleted)}))
	ok(t, inbox.Expunge(ctx, uids[:2]))
	left, err := inbox.UIDs(ctx)
	ok(t, err)
	if !slices.Equal(left, uids[2:]) {
		t.Errorf("left are UIDs %v, want %v", left, uids[2:])
	}
	var tail []uint32
	for message, err := range inbox.ListFrom(ctx, uids[8]) {
		ok(t, err)
		tail = append(tail, message.UID)
	}
	if !slices.Equal(tail, uids[8:]) {
		t.Errorf("from UID %d on there are %v, want %v", uids[8], tail, uids[8:])
	}
	for message := range inbox.ListFrom(ctx, inbox.UIDNext) {
		t.Errorf("from UIDNEXT on there is UID %d", message.UID)
	}
	listing, err := s.Mailboxes(ctx)
	ok(t, err)
	at := slices.IndexFunc(listing.Mailboxes, func(e store.Entry) bool { return e.Name == name })
	if at < 0 || !listing.Mailboxes[at].Subscribed || !listing.Mailboxes[at].Selectable {
		t.Errorf("the new mailbox is not listed as it should be: %+v", listing.Mailboxes)
	}
}

// What the server says of itself is heard: limits, and which flags it keeps.
func TestDovecotLimits(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{Show: []string{"APPENDLIMIT=77"}, Hide: []string{"UIDPLUS"}})
	s := target(t, server, server.Users[0])
	if limit, err := s.AppendLimit(t.Context(), "INBOX"); limit != 77 || err != nil {
		t.Errorf("the limit is %d, %v, want 77", limit, err)
	}
	m, err := s.Open(t.Context(), "INBOX")
	ok(t, err)
	if err := m.Expunge(t.Context(), []uint32{1}); !errors.Is(err, store.ErrUnsupported) {
		t.Errorf("deleting without UIDPLUS: got %v, want that it cannot be done", err)
	}
	quotas, err := s.Quotas(t.Context(), "INBOX")
	if len(quotas) != 0 || err != nil {
		t.Errorf("quotas: got %+v, %v, want none", quotas, err)
	}
	read, err := source(t, server, server.Users[0]).Open(t.Context(), "INBOX")
	ok(t, err)
	if read.PermanentFlags == nil || len(read.PermanentFlags) != 0 {
		t.Errorf("opened read-only the flags that are kept are %#v, want none", read.PermanentFlags)
	}
	ok(t, s.Logout(t.Context()))
}

// A message that is not there is told apart, and the others come all the same.
func TestDovecotVanished(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	user := server.Users[0]
	copytest.Fill(t, server, user, copytest.NewCorpus(copytest.CorpusOptions{Seed: 4, Messages: 5, OneBox: true}))
	m, err := source(t, server, user).Open(t.Context(), "INBOX")
	ok(t, err)
	uids, err := m.UIDs(t.Context())
	ok(t, err)
	other, err := target(t, server, user).Open(t.Context(), "INBOX")
	ok(t, err)
	ok(t, other.Expunge(t.Context(), uids[2:3]))
	var got []string
	for body, err := range m.Bodies(t.Context(), uids) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, fmt.Sprint(body.UID))
	}
	want := []string{fmt.Sprint(uids[0]), fmt.Sprint(uids[1]), fmt.Sprint(uids[3]), fmt.Sprint(uids[4]),
		(&store.MessageError{UID: uids[2], Err: store.ErrVanished}).Error()}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

// What this package reads and package wire writes is a copy: the bodies go from one
// connection to the other.
func TestDovecotCopy(t *testing.T) {
	from := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	to := copytest.Dovecot(t, copytest.MDBox, copytest.Options{Separator: "/", Prefix: "INBOX/"})
	user, corpus, ctx := from.Users[0], odd(200), t.Context()
	corpus.Subscribed = nil // Dovecot subscribes to no mailbox that is not there
	copytest.Fill(t, from, user, corpus)
	old, new := source(t, from, user), target(t, to, user)
	here, err := old.Mailboxes(ctx)
	ok(t, err)
	there, err := new.Mailboxes(ctx)
	ok(t, err)
	var mailboxes []string
	for _, e := range here.Personal() {
		mailboxes = append(mailboxes, e.Name)
	}
	names, err := store.MapNames(here.Namespaces, there.Namespaces[0], mailboxes)
	ok(t, err)
	appending := dial(t, to, user)
	for _, e := range here.Personal() {
		name, _ := names.Target(e.Name)
		if !e.Selectable {
			continue
		}
		if _, err := new.Create(ctx, name, e.SpecialUse); err != nil && !store.Exists(err) {
			t.Fatal(err)
		}
		if e.Subscribed {
			ok(t, new.Subscribe(ctx, name))
		}
		m, err := old.Open(ctx, e.Name)
		ok(t, err)
		listed, uids := map[uint32]store.Message{}, []uint32{}
		for message, err := range m.List(ctx, 0) {
			ok(t, err)
			listed[message.UID], uids = message, append(uids, message.UID)
		}
		_, err = appending.Appender(store.EncodeName(name)).Append(ctx, func(yield func(wire.Message, error) bool) {
			for body, err := range m.Bodies(ctx, uids) {
				if err != nil {
					yield(wire.Message{}, err)
					return
				}
				message := listed[body.UID]
				if !yield(wire.Message{Size: body.Size, Flags: message.Flags, Date: message.Date, Body: body}, nil) {
					return
				}
			}
		})
		ok(t, err)
	}
	if diff := copytest.Diff(corpus.Content(), copytest.Read(t, to, user)); diff != "" {
		t.Error(diff)
	}
}

// A message is never held whole, however large it is and however slowly it is read.
func TestDovecotLargeMessage(t *testing.T) {
	server := copytest.Dovecot(t, copytest.Maildir, copytest.Options{})
	copytest.Fill(t, server, server.Users[0], copytest.NewCorpus(copytest.CorpusOptions{Seed: 4, Messages: 1, Large: 1, OneBox: true}))
	m, err := source(t, server, server.Users[0]).Open(t.Context(), "INBOX")
	ok(t, err)
	uids, err := m.UIDs(t.Context())
	ok(t, err)
	before, octets := allocated(), int64(0)
	for body, err := range m.Bodies(t.Context(), uids) {
		ok(t, err)
		n, err := io.Copy(io.Discard, body)
		ok(t, err)
		octets += n
	}
	if grown := allocated() - before; octets < copytest.LargeSize || grown > 4<<20 {
		t.Errorf("to read %d octets %d were allocated", octets, grown)
	}
}

func BenchmarkList(b *testing.B) {
	server := copytest.Dovecot(b, copytest.Maildir, copytest.Options{Memory: true})
	copytest.Fill(b, server, server.Users[0], copytest.NewCorpus(copytest.CorpusOptions{Seed: 5, Messages: 20_000, OneBox: true}))
	m, err := source(b, server, server.Users[0]).Open(b.Context(), "INBOX")
	ok(b, err)
	for b.Loop() {
		n := 0
		for _, err := range m.List(b.Context(), 0) {
			ok(b, err)
			n++
		}
		if n != 20_000 {
			b.Fatalf("%d messages", n)
		}
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func BenchmarkBodies(b *testing.B) {
	server := copytest.Dovecot(b, copytest.Maildir, copytest.Options{Memory: true})
	copytest.Fill(b, server, server.Users[0], copytest.NewCorpus(copytest.CorpusOptions{Seed: 6, Messages: 5000, OneBox: true}))
	m, err := source(b, server, server.Users[0]).Open(b.Context(), "INBOX")
	ok(b, err)
	uids, err := m.UIDs(b.Context())
	ok(b, err)
	for b.Loop() {
		for body, err := range m.Bodies(b.Context(), uids) {
			ok(b, err)
			_, err := io.Copy(io.Discard, body)
			ok(b, err)
		}
	}
	b.ReportMetric(5000*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
