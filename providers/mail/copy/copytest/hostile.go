package copytest

import (
	"io"
	"log"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// Hostile starts a server in this process that has a corpus for the first of [Users] and tells lies. It needs neither
// root nor a package, and knows little: no CONDSTORE, no MULTIAPPEND. For a server that knows more, put [Tell] before
// a real one.
func Hostile(t testing.TB, corpus *Corpus, lies ...Lie) *Liar {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening for a server in memory: %v", err)
	}
	store := imapmemserver.New()
	for i, u := range Users() {
		user := imapmemserver.NewUser(u.Name, u.Password)
		if err := user.Create("INBOX", nil); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			fillMemory(t, user, corpus)
		}
		store.AddUser(user)
	}
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return store.NewSession(), nil, nil
		},
		Caps: imap.CapSet{
			imap.CapIMAP4rev1: {}, imap.CapNamespace: {}, imap.CapUIDPlus: {}, imap.CapESearch: {}, imap.CapListExtended: {},
			imap.CapListStatus: {}, imap.CapLiteralPlus: {},
		},
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0), // that clients go away is what many tests are about
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends when it is closed
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return Tell(t, listener.Addr().String(), lies...)
}

func fillMemory(t testing.TB, user *imapmemserver.User, corpus *Corpus) {
	t.Helper()
	for _, box := range corpus.Mailboxes {
		name := strings.Join(box.Path, "/")
		if name != "INBOX" {
			if err := user.Create(name, nil); err != nil {
				t.Fatalf("creating mailbox %q in memory: %v", name, err)
			}
		}
		if box.Subscribed {
			if err := user.Subscribe(name); err != nil {
				t.Fatalf("subscribing to mailbox %q in memory: %v", name, err)
			}
		}
		for _, m := range box.Messages {
			options := &imap.AppendOptions{Time: m.Date}
			for _, flag := range m.Flags {
				options.Flags = append(options.Flags, imap.Flag(flag))
			}
			if _, err := user.Append(name, literal{strings.NewReader(string(m.Body))}, options); err != nil {
				t.Fatalf("appending to mailbox %q in memory: %v", name, err)
			}
		}
	}
}

// literal is a message as imapserver takes it.
type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }
