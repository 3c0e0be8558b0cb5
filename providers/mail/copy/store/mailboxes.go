package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A Listing is what an account has.
type Listing struct {
	// Namespaces are the account's own; the first is where new mailboxes go.
	Namespaces []Namespace
	// Foreign are those of other users and of everybody (RFC 2342).
	Foreign []Namespace
	// Mailboxes are all that the login sees, in the order of their names.
	Mailboxes []Entry
	// Unnamed are, as the server wrote them, names that cannot be said to the server again
	// because they are not in modified UTF-7: at most a hundred of UnnamedCount.
	Unnamed      []string
	UnnamedCount int
}

// Personal returns the mailboxes that are the account's own.
func (l *Listing) Personal() []Entry {
	return slices.DeleteFunc(slices.Clone(l.Mailboxes), func(e Entry) bool { return e.Foreign })
}

// A Namespace is where a kind of mailboxes is: those whose names begin with Prefix.
type Namespace struct {
	Prefix    string
	Separator rune // 0: there are no levels
}

// An Entry is a mailbox, or a name that is none.
type Entry struct {
	Name      string
	Separator rune
	// Attributes are what LIST said of it, such as \HasChildren, special uses included.
	Attributes []string
	// Exists is false for a name that is only subscribed to, or only has others below it.
	Exists bool
	// Selectable is false where there can be no messages.
	Selectable bool
	Subscribed bool
	// SpecialUse are those of the attributes that RFC 6154 defines, and \Important.
	SpecialUse []string
	// Foreign says that it is another user's or everybody's.
	Foreign bool
	// Status is nil if the server does not give it.
	Status *Status
}

// A Status is what a server says of a mailbox without opening it. What it does not say is 0.
type Status struct {
	UIDValidity, UIDNext, Messages uint32
	HighestModSeq                  uint64 // with CONDSTORE
	Bytes                          int64  // with STATUS=SIZE
}

// maxMailboxes bounds a listing.
const maxMailboxes = 200_000

// Mailboxes lists the account.
func (s *session) Mailboxes(ctx context.Context) (*Listing, error) {
	l := &Listing{}
	if err := s.namespaces(ctx, l); err != nil {
		return nil, err
	}
	options := &imap.ListOptions{ReturnSpecialUse: s.Can(imap.CapListExtended) && s.Can(imap.CapSpecialUse)}
	if s.Can(imap.CapListStatus) && s.Can(imap.CapListExtended) {
		options.ReturnStatus = s.statusOptions()
	}
	found, err := s.list(ctx, "listing the mailboxes", options)
	if err != nil {
		return nil, err
	}
	l.Unnamed, l.UnnamedCount = s.screen.takeUnnamed()
	byName := map[string]int{}
	for _, data := range found {
		if _, twice := byName[data.Mailbox]; !twice {
			byName[data.Mailbox] = len(l.Mailboxes)
			l.Mailboxes = append(l.Mailboxes, entryOf(data))
		}
	}
	// RFC 5258 section 3.2: RETURN (SUBSCRIBED) would leave out what does not exist.
	subscribed, err := s.list(ctx, "listing the subscriptions", &imap.ListOptions{SelectSubscribed: true})
	if err != nil {
		return nil, err
	}
	s.screen.takeUnnamed()
	for _, data := range subscribed {
		if !s.Can(imap.CapListExtended) && slices.Contains(data.Attrs, imap.MailboxAttrNoSelect) {
			continue // to LSUB this is a name above a subscribed one, RFC 3501 section 6.3.9
		}
		at, known := byName[data.Mailbox]
		if !known {
			at, byName[data.Mailbox] = len(l.Mailboxes), len(l.Mailboxes)
			l.Mailboxes = append(l.Mailboxes, Entry{Name: data.Mailbox, Separator: data.Delim})
		}
		l.Mailboxes[at].Subscribed = true
	}
	for i := range l.Mailboxes {
		l.Mailboxes[i].Foreign = l.isForeign(l.Mailboxes[i].Name)
	}
	slices.SortFunc(l.Mailboxes, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	l.guessNamespace()
	if options.ReturnStatus == nil {
		err = s.statusOfAll(ctx, l)
	}
	return l, err
}

func (s *session) namespaces(ctx context.Context, l *Listing) error {
	if !s.Can(imap.CapNamespace) {
		return nil
	}
	return s.do(ctx, "reading the namespaces", func() error {
		data, err := s.client.Namespace().Wait()
		if err != nil {
			return err
		}
		for _, n := range data.Personal {
			l.Namespaces = append(l.Namespaces, Namespace{n.Prefix, n.Delim})
		}
		for _, n := range slices.Concat(data.Other, data.Shared) {
			l.Foreign = append(l.Foreign, Namespace{n.Prefix, n.Delim})
		}
		return nil
	})
}

// guessNamespace is for a server without NAMESPACE: all it lists is the account's own.
func (l *Listing) guessNamespace() {
	if len(l.Namespaces) > 0 {
		return
	}
	n := Namespace{}
	for _, e := range l.Mailboxes {
		if e.Separator != 0 {
			n.Separator = e.Separator
			break
		}
	}
	l.Namespaces = []Namespace{n}
}

// isForeign reports whether the longest prefix that fits a name is a foreign one.
func (l *Listing) isForeign(name string) bool {
	longest, foreign := -1, false
	for i, n := range slices.Concat(l.Namespaces, l.Foreign) {
		// "#shared" itself is of the namespace "#shared/", too.
		if (strings.HasPrefix(name, n.Prefix) || name+string(n.Separator) == n.Prefix) && len(n.Prefix) > longest {
			longest, foreign = len(n.Prefix), i >= len(l.Namespaces)
		}
	}
	return foreign && !strings.EqualFold(name, "INBOX")
}

func (s *session) list(ctx context.Context, doing string, options *imap.ListOptions) ([]*imap.ListData, error) {
	var found []*imap.ListData
	err := s.do(ctx, doing, func() error {
		cmd := s.client.List("", "*", options)
		for data := cmd.Next(); data != nil; data = cmd.Next() {
			if len(found) == maxMailboxes {
				s.screen.end(broken("more than %d mailboxes", maxMailboxes))
				continue // until the command has noticed
			}
			found = append(found, data)
		}
		return cmd.Close()
	})
	return found, err
}

func entryOf(data *imap.ListData) Entry {
	e := Entry{Name: data.Mailbox, Separator: data.Delim, Exists: true, Selectable: true}
	for _, attr := range data.Attrs {
		e.Attributes = append(e.Attributes, string(attr))
		switch attr {
		case imap.MailboxAttrNonExistent:
			e.Exists, e.Selectable = false, false
		case imap.MailboxAttrNoSelect:
			e.Selectable = false
		case imap.MailboxAttrAll, imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrFlagged, imap.MailboxAttrJunk,
			imap.MailboxAttrSent, imap.MailboxAttrTrash, imap.MailboxAttrImportant:
			e.SpecialUse = append(e.SpecialUse, string(attr))
		}
	}
	if data.Status != nil && e.Selectable {
		e.Status = statusOf(data.Status)
	}
	return e
}

func (s *session) statusOptions() *imap.StatusOptions {
	return &imap.StatusOptions{
		NumMessages: true, UIDNext: true, UIDValidity: true,
		HighestModSeq: s.Can(imap.CapCondStore), Size: s.Can(imap.CapStatusSize),
	}
}

func statusOf(data *imap.StatusData) *Status {
	st := &Status{UIDValidity: data.UIDValidity, UIDNext: uint32(data.UIDNext), HighestModSeq: data.HighestModSeq}
	if data.NumMessages != nil {
		st.Messages = *data.NumMessages
	}
	if data.Size != nil {
		st.Bytes = *data.Size
	}
	return st
}

// Status asks for the status of one mailbox, which must not be the one that is open.
func (s *session) Status(ctx context.Context, mailbox string) (*Status, error) {
	data, err := s.status(ctx, mailbox, s.statusOptions())
	if err != nil {
		return nil, err
	}
	return statusOf(data), nil
}

func (s *session) status(ctx context.Context, mailbox string, options *imap.StatusOptions) (data *imap.StatusData, err error) {
	err = s.do(ctx, "asking for the status of "+quote(mailbox), func() error {
		data, err = s.client.Status(mailbox, options).Wait()
		return err
	})
	return data, err
}

// statusOfAll asks for the status of every mailbox; some tens of questions are under way at
// a time.
func (s *session) statusOfAll(ctx context.Context, l *Listing) error {
	var asked []int
	for i, e := range l.Mailboxes {
		if e.Selectable && !e.Foreign {
			asked = append(asked, i)
		}
	}
	for part := range slices.Chunk(asked, 30) {
		err := s.do(ctx, "asking for the status of the mailboxes", func() error {
			commands := make([]*imapclient.StatusCommand, len(part))
			for i, at := range part {
				commands[i] = s.client.Status(l.Mailboxes[at].Name, s.statusOptions())
			}
			for i, cmd := range commands {
				data, err := cmd.Wait()
				if refused := (*imap.Error)(nil); errors.As(err, &refused) {
					continue // that of one mailbox: opening it will say why
				}
				if err != nil {
					return err
				}
				l.Mailboxes[part[i]].Status = statusOf(data)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
