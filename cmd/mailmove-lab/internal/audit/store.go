package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
)

// A Store is everything an account has on one server.
type Store struct {
	Folders       map[string]*Folder
	Subscriptions []string          // sorted
	Scripts       map[string]string // Sieve, by name
	Active        string            // the name of the active script
	UIDLs         []string          // of INBOX, in the order of its UIDs
	Files         map[string]int    // how many message files of each [fileKey] there are
}

// A Folder is an IMAP mailbox.
type Folder struct {
	UIDValidity uint32
	Messages    map[uint32]Message // by UID
}

// A Message is what IMAP shows of a message.
type Message struct {
	Flags  []string  // sorted; keywords, too; \Recent left out
	Date   time.Time // INTERNALDATE
	Digest string    // of the content, however lines end
	Marker string    `json:",omitempty"` // of a message that came during the trial
	Whole  bool      // whether its body is what its header says; only of one with a marker
	From   string    `json:",omitempty"` // of one without a marker
}

// digest is the same for a message in a file and over IMAP: Maildir keeps lines with LF, IMAP shows CRLF.
func digest(content []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))))
}

// readStore reads what account has on host, past logins and proxies, without changing anything.
func readStore(ctx context.Context, host *machine.Host, account people.Account) (*Store, error) {
	at, err := client.Locate(ctx, host, account.Address())
	if err != nil {
		return nil, err
	}
	s := &Store{Folders: make(map[string]*Folder)}
	if err := s.readIMAP(ctx, host, account.Address(), at); err != nil {
		return nil, err
	}
	if s.Files, err = readFiles(host, at.Home); err != nil {
		return nil, err
	}
	if err := s.readSieve(ctx, host, account.Address()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) readIMAP(ctx context.Context, host *machine.Host, address string, at client.Location) error {
	session, err := client.Store(ctx, host, address, at)
	if err != nil {
		return err
	}
	defer session.Close()
	folders, err := session.List("", "*", nil).Collect()
	if err != nil {
		return fmt.Errorf("listing folders: %w", err)
	}
	for _, folder := range folders {
		if slices.Contains(folder.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(folder.Attrs, imap.MailboxAttrNonExistent) {
			continue
		}
		if s.Folders[folder.Mailbox], err = readFolder(session, folder.Mailbox); err != nil {
			return fmt.Errorf("reading folder %s: %w", folder.Mailbox, err)
		}
	}
	subscribed, err := session.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil {
		return fmt.Errorf("listing subscriptions: %w", err)
	}
	for _, folder := range subscribed {
		s.Subscriptions = append(s.Subscriptions, folder.Mailbox)
	}
	slices.Sort(s.Subscriptions)
	return session.Logout().Wait()
}

func readFolder(session *imapclient.Client, name string) (*Folder, error) {
	selected, err := session.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, err
	}
	folder := &Folder{UIDValidity: selected.UIDValidity, Messages: make(map[uint32]Message)}
	if selected.NumMessages == 0 {
		return folder, nil
	}
	body := &imap.FetchItemBodySection{Peek: true}
	options := &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{body}}
	fetched, err := session.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, options).Collect()
	if err != nil {
		return nil, err
	}
	for _, m := range fetched {
		content := m.FindBodySection(body)
		if content == nil || m.UID == 0 {
			return nil, fmt.Errorf("message %d came without its body", m.SeqNum)
		}
		folder.Messages[uint32(m.UID)] = newMessage(content, m.Flags, m.InternalDate)
	}
	if len(folder.Messages) != int(selected.NumMessages) {
		return nil, fmt.Errorf("%d messages, of which %d could be read", selected.NumMessages, len(folder.Messages))
	}
	return folder, nil
}

func newMessage(content []byte, flags []imap.Flag, date time.Time) Message {
	m := Message{Date: date.UTC(), Digest: digest(content)}
	for _, flag := range flags {
		if !strings.EqualFold(string(flag), `\Recent`) {
			m.Flags = append(m.Flags, string(flag))
		}
	}
	slices.Sort(m.Flags)
	parsed, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil { // old mail need not be well formed
		return m
	}
	m.Marker = parsed.Header.Get(traffic.MarkerField)
	if m.Marker == "" {
		m.From = parsed.Header.Get("From")
		return m
	}
	_, body, _ := bytes.Cut(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	m.Whole = traffic.Digest(bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))) == parsed.Header.Get(traffic.DigestField)
	return m
}

// fileKey names the content of a message, and of old mail the date, too: it is the file's time, which Dovecot's cache may
// hide for a while.
func (m Message) fileKey() string {
	if m.Marker != "" {
		return m.Digest
	}
	return m.Digest + " " + m.Date.Format(time.DateTime)
}

// readFiles counts the message files below the account's Maildir.
func readFiles(host *machine.Host, home string) (map[string]int, error) {
	root, err := host.Path(filepath.Join(home, "Maildir"))
	if err != nil {
		return nil, err
	}
	files := make(map[string]int)
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if path == root && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		kind := filepath.Base(filepath.Dir(path))
		if err != nil || entry.IsDir() || kind != "cur" && kind != "new" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[newMessage(content, nil, info.ModTime()).fileKey()]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading files: %w", err)
	}
	return files, nil
}

func (s *Store) readSieve(ctx context.Context, host *machine.Host, address string) error {
	output, err := host.Run(ctx, nil, "doveadm", "sieve", "list", "-u", address)
	if err != nil {
		return fmt.Errorf("listing Sieve scripts: %w", err)
	}
	s.Scripts = make(map[string]string)
	for line := range strings.Lines(string(output)) {
		name, active := strings.CutSuffix(strings.TrimSpace(line), " ACTIVE")
		if name == "" {
			continue
		}
		if active {
			s.Active = name
		}
		script, err := host.Run(ctx, nil, "doveadm", "sieve", "get", "-u", address, name)
		if err != nil {
			return fmt.Errorf("reading Sieve script %s: %w", name, err)
		}
		s.Scripts[name] = string(script)
	}
	return nil
}

// readPOP3 asks the server itself, over the network, for the UIDLs of the account.
func (s *Store) readPOP3(ctx context.Context, at *client.Client, account people.Account) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	name := at.Host().FQDN
	session, err := at.POP3(ctx, "127.0.0.1", name, account.Address(), account.Password)
	if err != nil {
		return err
	}
	if s.UIDLs, err = session.UIDLs(); err != nil {
		return fmt.Errorf("reading UIDLs: %w", err)
	}
	return session.Quit()
}

// uidls returns INBOX's UIDLs by UID, or nil if POP3 and IMAP do not show the same number of messages.
func (s *Store) uidls() map[uint32]string {
	inbox := s.Folders["INBOX"]
	if inbox == nil || len(inbox.Messages) != len(s.UIDLs) {
		return nil
	}
	uids := make([]uint32, 0, len(s.UIDLs))
	for uid := range inbox.Messages {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	byUID := make(map[uint32]string)
	for i, uid := range uids {
		byUID[uid] = s.UIDLs[i]
	}
	return byUID
}
