package users

import (
	"bytes"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
)

// what users set, where they file, and how often they do what, of 100.
var (
	flags   = []imap.Flag{imap.FlagFlagged, imap.FlagAnswered, imap.FlagSeen, "$Label1", "work", "todo", "urgent"}
	filing  = []string{"Archive", "Projects.Übersicht", "Filed by hand"}
	reading = []string{"INBOX", "INBOX", "INBOX", "Sent", "Archive", "Drafts", "日本語.メール"}
)

// act does one thing in a session. The error is the records'; what the server or the connection does wrong is recorded,
// or shows when the session is used next.
func (u *user) act(session *imapclient.Client, by string) error {
	defer watch(session)()
	action := Action{Account: u.account.Address(), Client: by, Folder: reading[u.random.IntN(len(reading))]}
	switch n := u.random.IntN(100); {
	case n < 45:
		action.Verb, action.Flag = Flag, string(flags[u.random.IntN(len(flags))])
	case n < 55:
		action.Verb = See
	case n < 70 && !u.account.Full:
		action.Verb, action.To = Move, filing[u.random.IntN(len(filing))]
	case n < 90 && !u.account.Full:
		return u.draft(session, action)
	default:
		action.Verb = Expunge
	}
	if !u.pick(session, &action) {
		return nil
	}
	var err error
	switch action.Verb {
	case Flag:
		err = setFlag(session, &action, imap.Flag(action.Flag))
	case Move:
		err = move(session, &action)
	case Expunge:
		err = expunge(session, &action)
	}
	return u.record(action, err)
}

// record writes the action with what the server said to it.
func (u *user) record(action Action, cause error) error {
	action.Time, action.Result = time.Now(), Done
	var answer *imap.Error
	switch {
	case cause == nil:
	case errors.As(cause, &answer) || errors.Is(cause, errNothing):
		action.Result, action.Reply = Denied, cause.Error()
	default:
		action.Result, action.Reply = Unknown, cause.Error()
	}
	return u.actions.Write(action)
}

// errNothing means that the server said OK and did nothing, because the message was gone.
var errNothing = errors.New("the message was not there any more")

// pick opens the action's folder, takes one of its messages and reads who it is. It reports whether there is one.
func (u *user) pick(session *imapclient.Client, action *Action) bool {
	selected, err := session.Select(action.Folder, nil).Wait()
	if err != nil {
		return false
	}
	found, err := session.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
	if err != nil || len(found.AllUIDs()) == 0 {
		return false
	}
	uids := found.AllUIDs()
	uid := uids[u.random.IntN(len(uids))]
	section := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{traffic.MarkerField}, Peek: true}
	fetched, err := session.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil || len(fetched) != 1 || fetched[0].UID != uid {
		return false
	}
	header := fetched[0].FindBodySection(section)
	if header == nil {
		return false
	}
	message, err := mail.ReadMessage(bytes.NewReader(header))
	if err != nil {
		return false
	}
	action.UIDValidity, action.UID, action.Marker = selected.UIDValidity, uint32(uid), message.Header.Get(traffic.MarkerField)
	return true
}

// setFlag sets a flag and looks whether the server says that it is set.
func setFlag(session *imapclient.Client, action *Action, flag imap.Flag) error {
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{flag}}
	changed, err := session.Store(imap.UIDSetNum(imap.UID(action.UID)), store, nil).Collect()
	if err != nil {
		return err
	}
	for _, message := range changed {
		for _, f := range message.Flags {
			if strings.EqualFold(string(f), string(flag)) {
				return nil
			}
		}
	}
	return errNothing // set before, or gone: nothing new to be found
}

func move(session *imapclient.Client, action *Action) error {
	var exists *imap.Error
	if err := session.Create(action.To, nil).Wait(); err != nil && !errors.As(err, &exists) {
		return errNothing // cut before it began
	}
	moved, err := session.Move(imap.UIDSetNum(imap.UID(action.UID)), action.To).Wait()
	if err != nil {
		return err
	}
	// RFC 4315 section 3: COPYUID says what it is called now.
	uids, ok := moved.DestUIDs.(imap.UIDSet)
	if !ok {
		return errNothing
	}
	numbers, ok := uids.Nums()
	if !ok || len(numbers) != 1 {
		return errNothing
	}
	action.ToValidity, action.ToUID = moved.UIDValidity, uint32(numbers[0])
	return nil
}

func expunge(session *imapclient.Client, action *Action) error {
	uid := imap.UIDSetNum(imap.UID(action.UID))
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := session.Store(uid, store, nil).Close(); err != nil {
		return err
	}
	return session.UIDExpunge(uid).Close()
}

// draft writes a new message into Drafts.
func (u *user) draft(session *imapclient.Client, action Action) error {
	u.drafts++
	action.Verb, action.Folder = Append, "Drafts"
	action.Marker = fmt.Sprintf("draft.%s.%d.%d", u.account.Local, time.Now().UnixNano(), u.drafts)
	body := strings.Repeat("I have been meaning to write.\r\n", 1+u.random.IntN(20))
	text := fmt.Sprintf("Date: %s\r\nFrom: <%s>\r\nSubject: Draft\r\n%s: %s\r\n%s: %s\r\n\r\n%s", time.Now().Format(time.RFC1123Z),
		action.Account, traffic.MarkerField, action.Marker, traffic.DigestField, traffic.Digest([]byte(body)), body)
	command := session.Append(action.Folder, int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft, imap.FlagSeen}})
	if _, err := command.Write([]byte(text)); err != nil {
		return u.record(action, err)
	}
	if err := command.Close(); err != nil {
		return u.record(action, err)
	}
	stored, err := command.Wait()
	if err == nil {
		action.UIDValidity, action.UID = stored.UIDValidity, uint32(stored.UID)
	}
	return u.record(action, err)
}
