package copytest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// Fill puts a corpus into a user's account, in the corpus's order. A Dovecot with Maildir finds it as files; the others
// are told by IMAP. Subscriptions to mailboxes that do not exist are made where the server's files are ours to write.
func Fill(t testing.TB, s *Server, user User, corpus *Corpus) {
	t.Helper()
	var err error
	if d, ok := s.daemon.(*dovecot); ok && d.format == Maildir {
		err = fillMaildir(filepath.Join(s.Home(user), "maildir"), corpus)
	} else {
		err = fillIMAP(t, s, user, corpus)
	}
	if err == nil {
		err = subscribe(t, s, user, corpus)
	}
	if err != nil {
		t.Fatalf("filling the account of %s at %s: %v", user.Name, s.Name, err)
	}
}

// names knows how a server puts names together.
type names struct{ prefix, separator string }

func namesOf(t testing.TB, s *Server, user User) names {
	t.Helper()
	client := s.Login(t, user)
	defer client.Close()
	root, err := client.List("", "", nil).Collect()
	if err != nil || len(root) == 0 {
		t.Fatalf("asking %s for the separator of its hierarchy: %v", s.Name, err)
	}
	return names{personalPrefix(t, client), string(root[0].Delim)}
}

func (n names) of(path []string) string {
	if len(path) == 1 && path[0] == "INBOX" {
		return "INBOX"
	}
	return n.prefix + strings.Join(path, n.separator)
}

// fillIMAP makes the mailboxes and appends the messages.
func fillIMAP(t testing.TB, s *Server, user User, corpus *Corpus) error {
	t.Helper()
	names := namesOf(t, s, user)
	client := s.Login(t, user)
	defer client.Close()
	session, err := s.open(user)
	if err != nil {
		return err
	}
	defer session.conn.Close()
	for _, box := range corpus.Mailboxes {
		name := names.of(box.Path)
		var refused *imap.Error
		if err := client.Create(name, nil).Wait(); err != nil && !(errors.As(err, &refused) && refused.Code == imap.ResponseCodeAlreadyExists || name == "INBOX") {
			return fmt.Errorf("creating mailbox %q: %w", name, err)
		}
		if err := session.appendAll(name, box.Messages); err != nil {
			return fmt.Errorf("appending to mailbox %q: %w", name, err)
		}
	}
	return nil
}

// subscribe sets the subscriptions.
func subscribe(t testing.TB, s *Server, user User, corpus *Corpus) error {
	t.Helper()
	names := namesOf(t, s, user)
	client := s.Login(t, user)
	defer client.Close()
	for _, box := range corpus.Mailboxes {
		if box.Subscribed {
			if err := client.Subscribe(names.of(box.Path)).Wait(); err != nil {
				return fmt.Errorf("subscribing to mailbox %q: %w", names.of(box.Path), err)
			}
		}
	}
	d, ok := s.daemon.(*dovecot)
	if !ok || len(corpus.Subscribed) == 0 {
		return nil
	}
	// Dovecot refuses to subscribe to what is not there. Such names stay in its file when a mailbox is deleted.
	file, err := os.OpenFile(filepath.Join(s.Home(user), string(d.format), "subscriptions"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("opening the list of subscriptions: %w", err)
	}
	defer file.Close()
	for _, path := range corpus.Subscribed {
		encoded := make([]string, len(path))
		for i, level := range path {
			encoded[i] = encodeUTF7(level)
		}
		if _, err := fmt.Fprintln(file, strings.Join(encoded, "\t")); err != nil {
			return err
		}
	}
	return nil
}

// fillMaildir writes a Maildir++ as Dovecot would, but for its index and list of UIDs, which it makes itself.
func fillMaildir(root string, corpus *Corpus) error {
	for _, box := range corpus.Mailboxes {
		dir := root
		if boxName(box.Path) != "INBOX" {
			dir = filepath.Join(root, "."+encodeUTF7(strings.Join(box.Path, ".")))
		}
		if err := fillMaildirFolder(dir, box.Messages); err != nil {
			return fmt.Errorf("writing mailbox %q: %w", boxName(box.Path), err)
		}
	}
	return filepath.WalkDir(filepath.Dir(root), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, mailUID, mailUID)
	})
}

func fillMaildirFolder(dir string, messages []Message) error {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "maildirfolder"), nil, 0o600); err != nil {
		return err
	}
	keywords, err := readKeywords(dir)
	if err != nil {
		return err
	}
	first, err := nextNumber(dir)
	if err != nil {
		return err
	}
	for i, m := range messages {
		stored := bytes.ReplaceAll(m.Body, []byte("\r\n"), []byte("\n"))
		var letters string
		letters, keywords = maildirFlags(m.Flags, keywords)
		// Dovecot numbers files that it has not seen in the order of the number at the front.
		name := fmt.Sprintf("%d%s,S=%d,W=%d:2,%s", first+i, fileMark, len(stored), len(m.Body), letters)
		file := filepath.Join(dir, "cur", name)
		if err := os.WriteFile(file, stored, 0o600); err != nil {
			return err
		}
		if err := os.Chtimes(file, m.Date, m.Date); err != nil {
			return err
		}
	}
	var list strings.Builder
	for i, keyword := range keywords {
		fmt.Fprintf(&list, "%d %s\n", i, keyword)
	}
	return os.WriteFile(filepath.Join(dir, "dovecot-keywords"), []byte(list.String()), 0o600)
}

// fileMark is in the names of files that this package writes, behind their number.
const fileMark = ".P1.copytest"

// nextNumber returns one above that of every file that was written before.
func nextNumber(dir string) (int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "cur"))
	if err != nil {
		return 0, err
	}
	next := 1_000_000_000 // looks like a time, as usual
	for _, entry := range entries {
		number, _, ours := strings.Cut(entry.Name(), fileMark)
		if n, err := strconv.Atoi(number); ours && err == nil {
			next = max(next, n+1)
		}
	}
	return next, nil
}

// readKeywords returns the keywords of a Maildir folder by the number of their letter.
func readKeywords(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "dovecot-keywords"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		_, keyword, _ := strings.Cut(strings.TrimSpace(line), " ")
		list = append(list, keyword)
	}
	return list, nil
}

// maildirFlags returns the letters of flags in a file's name, and the keywords with those that are new.
func maildirFlags(flags, keywords []string) (string, []string) {
	system := map[string]byte{`\Draft`: 'D', `\Flagged`: 'F', `\Answered`: 'R', `\Seen`: 'S', `\Deleted`: 'T'}
	var letters []byte
	for _, flag := range flags {
		letter, ok := system[flag]
		if !ok {
			i := slices.Index(keywords, flag)
			if i < 0 {
				i, keywords = len(keywords), append(keywords, flag)
			}
			letter = 'a' + byte(i)
		}
		letters = append(letters, letter)
	}
	slices.Sort(letters)
	return string(letters), keywords
}
