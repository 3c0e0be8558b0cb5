package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail/copy/copytest"
	"github.com/mailmove/mailmove/providers/mail/copy/store"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// lied connects to a server in memory that has five messages and lies.
func lied(t *testing.T, lies ...copytest.Lie) *store.Source {
	t.Helper()
	corpus := copytest.NewCorpus(copytest.CorpusOptions{Seed: 7, Messages: 5, OneBox: true})
	corpus.Mailboxes = slices.DeleteFunc(corpus.Mailboxes, func(m copytest.Mailbox) bool { return len(m.Messages) == 0 })
	for i := range corpus.Mailboxes[0].Messages {
		corpus.Mailboxes[0].Messages[i].Flags = []string{`\Seen`}
	}
	return connect(t, copytest.Hostile(t, corpus, lies...).Address, 500*time.Millisecond)
}

func connect(t *testing.T, address string, idle time.Duration) *store.Source {
	t.Helper()
	s, err := try(t, address, idle)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// try fails if there is no login, and returns an error if the connection breaks after it.
func try(t *testing.T, address string, idle time.Duration) (*store.Source, error) {
	t.Helper()
	user := copytest.Users()[0]
	conn, err := wire.Dial(t.Context(), wire.Endpoint{Address: address, TLS: wire.Plain, Idle: idle}, wire.Login{
		User: user.Name, Secret: func(context.Context) ([]byte, error) { return []byte(user.Password), nil },
	})
	ok(t, err)
	return store.NewSource(t.Context(), conn.Handover(t.Context()), "liar.example.com")
}

// account reads everything, as a copier does, and returns a line for each thing it was told.
func account(ctx context.Context, s *store.Source) (told []string, err error) {
	listing, err := s.Mailboxes(ctx)
	if err != nil {
		return told, err
	}
	for _, name := range listing.Unnamed {
		told = append(told, fmt.Sprintf("unnamed %q", name))
	}
	for _, e := range listing.Mailboxes {
		told = append(told, fmt.Sprintf("mailbox %q", e.Name))
	}
	m, err := s.Open(ctx, "INBOX")
	if err != nil {
		return told, err
	}
	flags := map[string]bool{}
	for message, err := range m.List(ctx, 0) {
		if one := (*store.MessageError)(nil); errors.As(err, &one) {
			told = append(told, one.Error())
			continue
		}
		if err != nil {
			return told, err
		}
		if key := fmt.Sprint(message.Flags); !flags[key] {
			flags[key] = true
			told = append(told, key)
		}
	}
	uids, err := m.UIDs(ctx)
	if err != nil {
		return told, err
	}
	for body, err := range m.Bodies(ctx, uids) {
		one := (*store.MessageError)(nil)
		switch {
		case errors.As(err, &one):
			told = append(told, one.Error())
			continue
		case err != nil:
			return told, err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			told = append(told, fmt.Sprintf("UID %d breaks off", body.UID))
			continue
		}
		line := fmt.Sprintf("UID %d", body.UID)
		if body.Size != body.Announced {
			line += fmt.Sprintf(" announced with %+d octets", body.Announced-body.Size)
		}
		told = append(told, line)
	}
	return told, nil
}

// What servers say besides, or strangely, changes nothing: every message comes, and what
// does not is named.
func TestStrangeServers(t *testing.T) {
	bodies := []string{"UID 1", "UID 2", "UID 3", "UID 4", "UID 5"}
	plain := append([]string{`mailbox "INBOX"`, `[\Seen]`}, bodies...)
	extra := func(more ...string) []string { return append(more, plain...) }
	tests := []struct {
		name string
		lies []copytest.Lie
		want []string
	}{
		{"honest", nil, plain},
		{"E1: flags told unasked before the body", []copytest.Lie{copytest.UnsolicitedFetch()}, plain},
		{"E1: flags told unasked within a listing", []copytest.Lie{copytest.Interject(`^\* 3 FETCH`, `* 4 FETCH (UID 4 FLAGS (\Seen))`)}, plain},
		{"E1: flags told unasked, without UID", []copytest.Lie{copytest.Interject(`^\* 3 FETCH`, `* 4 FETCH (FLAGS ())`)}, plain},
		{"E2: responses of unknown kinds", []copytest.Lie{copytest.Interject(`^\* (3 FETCH|LIST|ESEARCH|FLAGS)`, "* XGREETING (a {3}\r\nb)c d) \"x\"")}, plain},
		{"E2: vanished", []copytest.Lie{copytest.Interject(`^\* 3 FETCH`, "* VANISHED (EARLIER) 300:310")}, plain},
		{"E6: no bodies", []copytest.Lie{copytest.NilBody()}, []string{`mailbox "INBOX"`, `[\Seen]`,
			noBody(1), noBody(2), noBody(3), noBody(4), noBody(5)}},
		{"E6: no bodies at first", []copytest.Lie{copytest.Times(2, copytest.NilBody())},
			[]string{`mailbox "INBOX"`, `[\Seen]`, "UID 3", "UID 4", "UID 5", "UID 1", "UID 2"}},
		{"E7: a keyword that is no atom", []copytest.Lie{copytest.ExtraFlag(`Foo]`), copytest.Replace(`PERMANENTFLAGS \(`, `PERMANENTFLAGS ("a"] `)},
			append([]string{`mailbox "INBOX"`, `[Foo] \Seen]`}, bodies...)},
		{"a name that is not in modified UTF-7", []copytest.Lie{copytest.ExtraMailbox("Entw\xfcrfe")}, extra(`unnamed "Entw\xfcrfe"`)},
		{"a name in another form", []copytest.Lie{copytest.ExtraMailbox("&AGE-")}, extra(`unnamed "&AGE-"`)},
		{"a name with dots", []copytest.Lie{copytest.ExtraMailbox("../../etc/passwd")}, append([]string{`mailbox "../../etc/passwd"`}, plain...)},
		{"lies about sizes", []copytest.Lie{copytest.WrongSize(7)}, []string{`mailbox "INBOX"`, `[\Seen]`,
			"UID 1 announced with +7 octets", "UID 2 announced with +7 octets", "UID 3 announced with +7 octets",
			"UID 4 announced with +7 octets", "UID 5 announced with +7 octets"}},
		{"a message is not listed at first", []copytest.Lie{copytest.Times(1, copytest.Replace(`^\* 2 FETCH [^\n]*\n`, ``))}, plain},
		{"a message is never listed", []copytest.Lie{copytest.Replace(`^\* 2 FETCH [^\n]*RFC822.SIZE[^{]*\n`, ``)},
			append([]string{`mailbox "INBOX"`, `[\Seen]`, (&store.MessageError{UID: 2, Err: store.ErrNotListed}).Error()}, bodies...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := account(t.Context(), lied(t, test.lies...))
			if err != nil {
				t.Error(err)
			}
			if diff := gocmp.Diff(test.want, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func noBody(uid uint32) string { return (&store.MessageError{UID: uid, Err: store.ErrNoBody}).Error() }

// What breaks the protocol ends the connection with an error that says what it was, in
// bounded memory and time.
func TestHostileServers(t *testing.T) {
	giant := strings.Repeat("x", 1<<20)
	tests := []struct {
		name  string
		lies  []copytest.Lie
		want  string
		cause any
	}{
		{"wrong tags", []copytest.Lie{copytest.WrongTag("UID FETCH")}, "unknown tag", new(*wire.ProtocolError)},
		{"UIDs that fall", []copytest.Lie{copytest.ReverseUIDs()}, "comes after the one with UID", new(*wire.ProtocolError)},
		{"a giant body that breaks off", []copytest.Lie{copytest.GiantLiteral(4 << 30)}, "", new(*wire.LostError)},
		{"a giant name", []copytest.Lie{copytest.Interject(`^\* LIST`, `* LIST () "/" "`+giant+`"`)}, "a response of more than 65536 octets", new(*wire.ProtocolError)},
		{"a giant literal for a name", []copytest.Lie{copytest.Interject(`^\* LIST`, "* LIST () \"/\" {4294967296}\r\nx")}, "a literal of 4294967296 octets", new(*wire.ProtocolError)},
		{"a giant flag", []copytest.Lie{copytest.ExtraFlag(giant)}, "a response of more than 65536 octets", new(*wire.ProtocolError)},
		{"more UIDs than messages", []copytest.Lie{copytest.Replace(`ALL [0-9:,]+`, `ALL 1:4294967295`)}, "4294967295 UIDs for 5 messages", new(*wire.ProtocolError)},
		{"UIDs without end", []copytest.Lie{copytest.Replace(`ALL [0-9:,]+`, `ALL 1:*`)}, "dynamic ALL number set", new(*wire.ProtocolError)},
		{"no UIDVALIDITY", []copytest.Lie{copytest.Replace(`\[UIDVALIDITY [0-9]+\]`, `[UIDVALIDITY 0]`)}, "no UIDVALIDITY", new(*wire.ProtocolError)},
		{"no flags", []copytest.Lie{copytest.Replace(`(FETCH .*)FLAGS \(\\Seen\) ?`, `$1`)}, "without its flags or its date", new(*wire.ProtocolError)},
		{"garbage", []copytest.Lie{copytest.Interject(`^\* 3 FETCH`, "\x00\xff(((")}, "what is not understood", new(*wire.ProtocolError)},
		{"silence", []copytest.Lie{copytest.Silent("UID FETCH")}, "nothing came or went", new(*wire.SilenceError)},
		{"goodbye", []copytest.Lie{copytest.Bye("UID FETCH", "too much for today")}, "too much for today", new(*wire.LostError)},
		{"refusal", []copytest.Lie{copytest.Refuse("EXAMINE", "NO [UNAVAILABLE] try later")}, `[UNAVAILABLE] "try later"`, new(*wire.RefusedError)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := lied(t, test.lies...)
			before := allocated()
			told, err := account(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, test.cause) {
				t.Errorf("got %v, want a %T with %q; told was %q", err, test.cause, test.want, told)
			}
			refused := errors.As(err, new(*wire.RefusedError))
			if lost := errors.As(err, new(*wire.LostError)); lost == refused {
				t.Errorf("%v: a lost connection: %v, a refusal: %v", err, lost, refused)
			}
			if _, err := s.Mailboxes(t.Context()); refused != (err == nil) {
				t.Errorf("after that the next command ends with %v", err)
			}
			const most = 40 << 20
			if grown := allocated() - before; grown > most {
				t.Errorf("%d octets were allocated, want at most %d", grown, most)
			}
		})
	}
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

// A context ends a call at once, also where the server is silent, and says that it did.
func TestContextEndsCall(t *testing.T) {
	s := connect(t, copytest.Hostile(t, copytest.NewCorpus(copytest.CorpusOptions{Seed: 7, Messages: 3, OneBox: true}), copytest.Silent("UID FETCH")).Address, time.Hour)
	m, err := s.Open(t.Context(), "INBOX")
	ok(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody pressed Ctrl-C")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	var ends []error
	for _, err := range m.Bodies(ctx, []uint32{1, 2}) {
		ends = append(ends, err)
	}
	if len(ends) != 1 || !errors.Is(ends[0], why) {
		t.Errorf("got %v, want the context's cause once", ends)
	}
	if _, err := s.Mailboxes(t.Context()); !errors.As(err, new(*wire.LostError)) && !errors.Is(err, why) {
		t.Errorf("afterwards: got %v, want a lost connection", err)
	}
}

// Wherever the connection breaks, it is a lost connection or everything had been told by then;
// what was told is right, and a body that came to its end is whole.
func TestCutAtManyOctets(t *testing.T) {
	corpus := copytest.NewCorpus(copytest.CorpusOptions{Seed: 7, Messages: 4, OneBox: true})
	proxy := copytest.NewProxy(t, copytest.Hostile(t, corpus).Address)
	want, err := account(t.Context(), connect(t, proxy.Address, time.Minute))
	ok(t, err)
	length, step := proxy.Count(1, copytest.FromServer), int64(41)
	if testing.Short() {
		step = 401
	}
	// The login is package wire's business.
	conn := connect(t, proxy.Address, time.Minute)
	first := proxy.Count(proxy.Connections(), copytest.FromServer)
	ok(t, conn.Close())
	for cut := first; cut < length; cut += step {
		proxy.Cut(proxy.Connections()+1, copytest.FromServer, cut)
		s, err := try(t, proxy.Address, time.Minute)
		var told []string
		if err == nil {
			told, err = account(t.Context(), s)
			ok(t, s.Close())
		}
		told = slices.DeleteFunc(told, func(line string) bool { return strings.HasSuffix(line, "breaks off") })
		if len(told) > len(want) || !slices.Equal(told, want[:len(told)]) {
			t.Fatalf("cut after %d octets of %d: told was %q, want the beginning of %q", cut, length, told, want)
		}
		if err == nil && len(told) < len(want) || err != nil && !errors.As(err, new(*wire.LostError)) {
			t.Fatalf("cut after %d octets of %d: got %v, want a lost connection; told was %q", cut, length, err, told)
		}
	}
}

// A context that ends in the middle of a body ends the reading of it.
func TestContextEndsBody(t *testing.T) {
	s := connect(t, copytest.Hostile(t, copytest.NewCorpus(copytest.CorpusOptions{Seed: 7, Messages: 3, Large: 1, OneBox: true})).Address, time.Minute)
	m, err := s.Open(t.Context(), "INBOX")
	ok(t, err)
	uids, err := m.UIDs(t.Context())
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ends []error
	for body, err := range m.Bodies(ctx, uids) {
		if err != nil {
			ends = append(ends, err)
			continue
		}
		if body.Size < copytest.LargeSize {
			continue
		}
		_, err := io.CopyN(io.Discard, body, 1<<20)
		ok(t, err)
		cancel()
		if n, err := io.Copy(io.Discard, body); err == nil {
			t.Errorf("%d octets more were read to the end", n)
		}
	}
	if len(ends) != 1 || !errors.Is(ends[0], context.Canceled) {
		t.Errorf("got %v, want the context's cause once", ends)
	}
}

// Whatever a server says, no call hangs or panics, and messages come with what they must
// have.
func FuzzSession(f *testing.F) {
	f.Add([]byte("* LIST (\\HasNoChildren) \"/\" INBOX\r\nT1 OK x\r\nT2 OK x\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 9] x\r\nT3 OK x\r\n" +
		"* 1 FETCH (UID 1 FLAGS (a]) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 3)\r\nT4 OK x\r\n" +
		"* SEARCH 1 2\r\nT5 OK x\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc RFC822.SIZE 3)\r\nT6 OK x\r\n"))
	f.Add([]byte("* LIST () \"/\" {5}\r\nINBOX\r\nT1 NO [CANNOT] x\r\n"))
	f.Add([]byte("* BYE {3}\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		here, there := net.Pipe()
		defer here.Close()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		go func() {
			_, _ = there.Write(append([]byte("* PREAUTH [CAPABILITY IMAP4rev1 LIST-EXTENDED] x\r\n"), said...))
			there.Close()
		}()
		s, err := store.NewSource(t.Context(), here, "fuzz")
		if err != nil {
			return
		}
		defer s.Close()
		if _, err := s.Mailboxes(t.Context()); err != nil && !errors.As(err, new(*wire.RefusedError)) {
			return
		}
		m, err := s.Open(t.Context(), "INBOX")
		if err != nil {
			return
		}
		for message, err := range m.List(t.Context(), 0) {
			if err == nil && message.UID == 0 {
				t.Error("a message without UID")
			}
		}
		for body, err := range m.Bodies(t.Context(), []uint32{1, 2}) {
			if err == nil && body.UID != 1 && body.UID != 2 {
				t.Errorf("the body of UID %d, which was not asked for", body.UID)
			}
		}
	})
}

// Who has enough before the end closes the connection; what was read counts.
func TestBodiesStoppedEarly(t *testing.T) {
	s := lied(t)
	m, err := s.Open(t.Context(), "INBOX")
	ok(t, err)
	for body, err := range m.Bodies(t.Context(), []uint32{1, 2, 3}) {
		ok(t, err)
		if body.UID == 2 {
			break
		}
	}
	if _, err := m.UIDs(t.Context()); !errors.As(err, new(*wire.LostError)) {
		t.Errorf("after stopping early: got %v, want a lost connection", err)
	}
}

// Bodies that are not read, or in part, do not disturb those after them.
func TestBodiesNotRead(t *testing.T) {
	s := lied(t)
	m, err := s.Open(t.Context(), "INBOX")
	ok(t, err)
	var got []uint32
	for body, err := range m.Bodies(t.Context(), []uint32{5, 3, 1, 3}) {
		ok(t, err)
		got = append(got, body.UID)
		if body.UID == 3 {
			_, err := io.CopyN(io.Discard, body, 10)
			ok(t, err)
		}
	}
	if want := []uint32{1, 3, 5}; !slices.Equal(got, want) {
		t.Errorf("got UIDs %v, want %v", got, want)
	}
	if uids, err := m.UIDs(t.Context()); err != nil || len(uids) != 5 {
		t.Errorf("afterwards: %v, %v", uids, err)
	}
}

// What is open is what was opened last.
func TestOneMailboxAtATime(t *testing.T) {
	s := lied(t)
	first, err := s.Open(t.Context(), "INBOX")
	ok(t, err)
	_, err = s.Open(t.Context(), "INBOX")
	ok(t, err)
	if _, err := first.UIDs(t.Context()); err == nil {
		t.Error("a mailbox that is not open any more was used")
	}
	for _, err := range first.Bodies(t.Context(), []uint32{1}) {
		if err == nil {
			t.Error("a mailbox that is not open any more was read")
		}
	}
}
