package demo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// reading is where users look for something to do.
var reading = []string{"INBOX", "INBOX", "INBOX", "Sent", "Archive/2024/Käse & Brot", "日本語"}

// userFlags are what they set.
var userFlags = []imap.Flag{imap.FlagSeen, imap.FlagFlagged, imap.FlagAnswered, "$Label2", "todo"}

// act does one thing in a session and records it. A session that is cut shows when
// it is used next.
func (u *user) act(s *session) {
	a := action{account: u.account.address}
	choice := u.random.IntN(100)
	if choice < 20 {
		u.write(s, a)
		return
	}
	if !u.pick(s, &a) {
		return
	}
	var err error
	switch {
	case choice < 65:
		a.verb, a.flag = flag, string(userFlags[u.random.IntN(len(userFlags))])
		err = s.setFlag(a)
	case choice < 88:
		a.verb = move
		a.to, err = s.move(a)
	default:
		a.verb = remove
		err = s.remove(a.place.uid)
	}
	u.record(a, err)
}

// record writes down what the server said to an action.
func (u *user) record(a action, err error) {
	var answer *imap.Error
	switch {
	case err == nil:
	case errors.As(err, &answer) && (answer.Type == imap.StatusResponseTypeNo || answer.Type == imap.StatusResponseTypeBad), errors.Is(err, errNothing):
		return
	default:
		a.unknown = true
	}
	u.diary.mu.Lock()
	defer u.diary.mu.Unlock()
	u.diary.actions = append(u.diary.actions, a)
}

// errNothing means that the server said OK to something that had no effect.
var errNothing = errors.New("nothing was done")

// pick opens a folder and chooses one of its messages. It reports whether there is
// one.
func (u *user) pick(s *session, a *action) bool {
	name := reading[u.random.IntN(len(reading))]
	selected, err := s.Select(name, nil).Wait()
	if err != nil || selected.NumMessages == 0 {
		return false
	}
	number := 1 + uint32(u.random.IntN(int(selected.NumMessages)))
	found, err := s.fetch(imap.SeqSetNum(number))
	if err != nil || len(found) != 1 {
		return false
	}
	for uid, m := range found {
		a.place, a.message = place{name, uid}, m
	}
	return true
}

// setFlag sets a flag and looks whether the server says that it is set.
func (s *session) setFlag(a action) error {
	change := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.Flag(a.flag)}}
	list, err := s.Store(imap.UIDSetNum(a.place.uid), change, nil).Collect()
	if err != nil {
		return err
	}
	for _, m := range list {
		if slices.Contains(m.Flags, imap.Flag(a.flag)) {
			return nil
		}
	}
	return errNothing
}

// move files a message and returns where it is now (RFC 6851 section 4.3).
func (s *session) move(a action) (place, error) {
	data, err := s.Move(imap.UIDSetNum(a.place.uid), filed).Wait()
	if err != nil {
		return place{}, err
	}
	if set, ok := data.DestUIDs.(imap.UIDSet); ok {
		if uids, ok := set.Nums(); ok && len(uids) == 1 {
			return place{filed, uids[0]}, nil
		}
	}
	return place{}, errNothing
}

// write writes a draft.
func (u *user) write(s *session, a action) {
	u.written++
	a.verb, a.place.folder = write, drafts
	text := fmt.Sprintf("From: <%s>\r\nSubject: Draft %d\r\n\r\n%s", a.account, u.written, strings.Repeat("I have been meaning to write.\r\n", 1+u.random.IntN(20)))
	flags, date := []imap.Flag{imap.FlagDraft, imap.FlagSeen}, time.Now().Truncate(time.Second)
	a.message = newMessage([]byte(text), flags, date)
	data, err := s.put(drafts, text, flags, date)
	if err == nil {
		a.place.uid = data.UID
	}
	u.record(a, err)
}
