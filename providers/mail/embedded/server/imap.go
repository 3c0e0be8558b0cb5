package server

import (
	"io"
	"log"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// separator is the hierarchy separator.
const separator = '/'

func (s *Server) newIMAP() *imapserver.Server {
	return imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			inside := c.NetConn().(*insideConn)
			return &mailbox{server: s, session: inside.session}, &imapserver.GreetingData{PreAuth: true}, nil
		},
		Caps: imap.CapSet{
			imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}, imap.CapNamespace: {}, imap.CapMove: {},
			imap.CapListExtended: {}, imap.CapListStatus: {}, imap.CapStatusSize: {}, imap.CapUnselect: {}, imap.CapIdle: {},
		},
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
	})
}

// A mailbox is one user's IMAP session and the folder it has selected. Everything
// it asks for is done under the server's lock, or not at all once it has ended.
type mailbox struct {
	server  *Server
	session *session
	folder  *folder
	name    string
	tracker *imapserver.SessionTracker
	// readOnly is EXAMINE's (RFC 9051 section 6.3.3).
	readOnly bool
}

var (
	_ imapserver.SessionNamespace = (*mailbox)(nil)
	_ imapserver.SessionMove      = (*mailbox)(nil)
)

var (
	errEnded   = &imap.Error{Type: imap.StatusResponseTypeBye, Text: "The session was ended"}
	errNone    = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeNonExistent, Text: "No such mailbox"}
	errTry     = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeTryCreate, Text: "No such mailbox"}
	errExists  = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeAlreadyExists, Text: "Mailbox exists"}
	errInbox   = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: "INBOX stays"}
	errReading = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: "Opened read-only"}
)

// do runs f with the account's store, or refuses if the session was ended.
func (m *mailbox) do(f func(*store) error) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	a := m.server.disk.accounts[m.session.account]
	if m.session.ended || m.server.down || a == nil {
		return errEnded
	}
	return f(a.store)
}

// normal returns the normal form of a folder's name.
func normal(name string) string {
	name = strings.TrimRight(name, string(separator))
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

func (m *mailbox) Close() error {
	if m.tracker != nil {
		m.tracker.Close()
		m.tracker = nil
	}
	m.server.forget(m.session)
	return nil
}

func (m *mailbox) Login(string, string) error { return imapserver.ErrAuthFailed }

func (m *mailbox) Namespace() (*imap.NamespaceData, error) {
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: separator}}}, nil
}

func (m *mailbox) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	var data *imap.SelectData
	err := m.do(func(s *store) error {
		f := s.folders[normal(name)]
		if f == nil {
			return errNone
		}
		m.folder, m.name, m.readOnly = f, normal(name), options.ReadOnly
		m.tracker = f.tracker.NewSession()
		flags := f.flags()
		data = &imap.SelectData{
			Flags: flags, PermanentFlags: append(slices.Clone(flags), imap.FlagWildcard),
			NumMessages: uint32(len(f.messages)), UIDNext: f.next, UIDValidity: f.validity,
		}
		return nil
	})
	return data, err
}

// flags returns all flags in use and the system's.
func (f *folder) flags() []imap.Flag {
	flags := slices.Clone(systemFlags)
	for _, msg := range f.messages {
		for flag := range msg.flags {
			if !slices.Contains(flags, flag) {
				flags = append(flags, flag)
			}
		}
	}
	slices.Sort(flags)
	return flags
}

func (m *mailbox) Unselect() error {
	if m.tracker != nil {
		m.tracker.Close()
	}
	m.folder, m.tracker = nil, nil
	return nil
}

func (m *mailbox) Create(name string, _ *imap.CreateOptions) error {
	return m.do(func(s *store) error {
		name = normal(name)
		if s.folders[name] != nil {
			return errExists
		}
		s.create(name)
		return nil
	})
}

func (m *mailbox) Delete(name string) error {
	return m.do(func(s *store) error {
		name = normal(name)
		switch {
		case name == "INBOX":
			return errInbox
		case s.folders[name] == nil:
			return errNone
		}
		delete(s.folders, name)
		return nil
	})
}

func (m *mailbox) Rename(from, to string, _ *imap.RenameOptions) error {
	return m.do(func(s *store) error {
		from, to = normal(from), normal(to)
		switch {
		case from == "INBOX":
			return errInbox
		case s.folders[from] == nil:
			return errNone
		case s.folders[to] != nil:
			return errExists
		}
		for _, name := range s.names() {
			if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || rest[0] == separator) {
				s.folders[to+rest] = s.folders[name]
				delete(s.folders, name)
			}
		}
		return nil
	})
}

func (m *mailbox) Subscribe(name string) error {
	return m.do(func(s *store) error { s.subscribed[normal(name)] = true; return nil })
}

func (m *mailbox) Unsubscribe(name string) error {
	return m.do(func(s *store) error { delete(s.subscribed, normal(name)); return nil })
}

func (m *mailbox) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	if len(patterns) == 0 {
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: separator})
	}
	var list []imap.ListData
	err := m.do(func(s *store) error {
		names := s.names()
		if options.SelectSubscribed {
			names = names[:0]
			for name := range s.subscribed {
				names = append(names, name)
			}
			sort.Strings(names)
		}
		for _, name := range names {
			if !slices.ContainsFunc(patterns, func(p string) bool { return imapserver.MatchList(name, separator, ref, p) }) {
				continue
			}
			list = append(list, s.listData(name, options))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, data := range list {
		if err := w.WriteList(&data); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) listData(name string, options *imap.ListOptions) imap.ListData {
	data := imap.ListData{Mailbox: name, Delim: separator}
	if s.subscribed[name] && (options.SelectSubscribed || options.ReturnSubscribed) {
		data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
	}
	f := s.folders[name]
	if f == nil {
		data.Attrs = append(data.Attrs, imap.MailboxAttrNonExistent)
	} else if options.ReturnStatus != nil {
		data.Status = f.status(name, options.ReturnStatus)
	}
	return data
}

func (m *mailbox) Status(name string, options *imap.StatusOptions) (*imap.StatusData, error) {
	var data *imap.StatusData
	err := m.do(func(s *store) error {
		f := s.folders[normal(name)]
		if f == nil {
			return errNone
		}
		data = f.status(name, options)
		return nil
	})
	return data, err
}

func (f *folder) status(name string, options *imap.StatusOptions) *imap.StatusData {
	data := &imap.StatusData{Mailbox: name, UIDNext: f.next, UIDValidity: f.validity}
	var unseen, deleted uint32
	var size int64
	for _, msg := range f.messages {
		if !msg.flags[imap.FlagSeen] {
			unseen++
		}
		if msg.flags[imap.FlagDeleted] {
			deleted++
		}
		size += int64(len(msg.body))
	}
	if options.NumMessages {
		data.NumMessages = new(uint32(len(f.messages)))
	}
	if options.NumUnseen {
		data.NumUnseen = &unseen
	}
	if options.NumDeleted {
		data.NumDeleted = &deleted
	}
	if options.Size {
		data.Size = &size
	}
	if options.NumRecent {
		data.NumRecent = new(uint32(0))
	}
	return data
}

func (m *mailbox) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	date := options.Time
	if date.IsZero() {
		date = m.server.options.Now()
	}
	var data *imap.AppendData
	err = m.do(func(s *store) error {
		f := s.folders[normal(name)]
		if f == nil {
			return errTry
		}
		msg := f.add(body, date.Truncate(time.Second), options.Flags)
		data = &imap.AppendData{UIDValidity: f.validity, UID: msg.uid}
		return nil
	})
	return data, err
}

func (m *mailbox) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	if m.tracker == nil {
		return nil
	}
	return m.tracker.Poll(w, allowExpunge)
}

func (m *mailbox) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	if m.tracker == nil {
		<-stop
		return nil
	}
	return m.tracker.Idle(w, stop)
}
