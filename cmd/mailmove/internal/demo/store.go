package demo

import (
	"bytes"
	"context"
	"fmt"
	"net"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/providers/mail"
)

// A session is an IMAP session that is cut when its context ends: go-imap has no
// other way to give up on a silent server.
type session struct {
	*imapclient.Client
	release func() bool
}

// login opens a session at host:port.
func login(ctx context.Context, address string, a account) (*session, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &session{imapclient.New(conn, nil), context.AfterFunc(ctx, func() { conn.Close() })}
	if err := s.Login(string(a.address), a.password).Wait(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) Close() error {
	s.release()
	return s.Client.Close()
}

// A store is all that IMAP shows of an account.
type store struct {
	folders    map[string]*folder
	subscribed []string
}

type folder struct {
	validity uint32
	messages map[imap.UID]message
}

// A message is what IMAP shows of one, and what it says of itself.
type message struct {
	flags  []string // in order, keywords among them
	date   time.Time
	digest string // of the content
	// pair names a message that was sent during the demonstration; damaged says that
	// its body is not what its sender wrote.
	pair    pair
	damaged bool
	// viaOld says that the old server took it from its sender.
	viaOld bool
}

// A pair is a message and a final address: one copy.
type pair struct {
	marker string
	final  mail.Address
}

// readStores reads accounts at a server.
func readStores(ctx context.Context, address string, p *people) (map[mail.Address]*store, error) {
	stores := map[mail.Address]*store{}
	for _, a := range p.accounts {
		s, err := readStore(ctx, address, a)
		if err != nil {
			return nil, fmt.Errorf("reading the account %s: %w", a.address, err)
		}
		stores[a.address] = s
	}
	return stores, nil
}

func readStore(ctx context.Context, address string, a account) (*store, error) {
	s, err := login(ctx, address, a)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	list, err := s.List("", "*", nil).Collect()
	if err != nil {
		return nil, err
	}
	found := &store{folders: map[string]*folder{}}
	for _, box := range list {
		if found.folders[box.Mailbox], err = s.read(box.Mailbox); err != nil {
			return nil, fmt.Errorf("folder %s: %w", box.Mailbox, err)
		}
	}
	subscribed, err := s.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil {
		return nil, err
	}
	for _, box := range subscribed {
		found.subscribed = append(found.subscribed, box.Mailbox)
	}
	slices.Sort(found.subscribed)
	return found, s.Logout().Wait()
}

// read reads a folder without changing anything.
func (s *session) read(name string) (*folder, error) {
	selected, err := s.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, err
	}
	f := &folder{validity: selected.UIDValidity, messages: map[imap.UID]message{}}
	if selected.NumMessages == 0 {
		return f, nil
	}
	list, err := s.fetch(imap.SeqSet{{Start: 1, Stop: 0}})
	if err != nil {
		return nil, err
	}
	for uid, m := range list {
		f.messages[uid] = m
	}
	if len(f.messages) != int(selected.NumMessages) {
		return nil, fmt.Errorf("it has %d messages, of which %d could be read", selected.NumMessages, len(f.messages))
	}
	return f, nil
}

// fetch reads messages of the selected folder.
func (s *session) fetch(set imap.NumSet) (map[imap.UID]message, error) {
	body := &imap.FetchItemBodySection{Peek: true}
	list, err := s.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{body}}).Collect()
	if err != nil {
		return nil, err
	}
	found := map[imap.UID]message{}
	for _, m := range list {
		found[m.UID] = newMessage(m.FindBodySection(body), m.Flags, m.InternalDate)
	}
	return found, nil
}

func newMessage(content []byte, flags []imap.Flag, date time.Time) message {
	m := message{date: date.UTC(), digest: digest(content)}
	for _, flag := range flags {
		if !strings.EqualFold(string(flag), `\Recent`) {
			m.flags = append(m.flags, string(flag))
		}
	}
	slices.Sort(m.flags)
	parsed, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil { // old mail need not be well formed
		return m
	}
	if marker := parsed.Header.Get(markerField); marker != "" {
		_, body, _ := bytes.Cut(content, []byte("\r\n\r\n"))
		m.pair = pair{marker, mail.Address(parsed.Header.Get("Delivered-To"))}
		m.damaged = digest(body) != parsed.Header.Get(digestField)
		m.viaOld = slices.ContainsFunc(parsed.Header["Received"], func(line string) bool { return strings.Contains(line, "by old."+domain+" ") })
	}
	return m
}
