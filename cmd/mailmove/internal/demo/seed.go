package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// folders of every account and how many messages each gets. Users file into the
// last of them.
var folders = []struct {
	name       string
	messages   int
	subscribed bool
}{
	{"INBOX", 16, true}, {"Sent", 6, true}, {"Drafts", 2, true}, {"Archive", 4, true}, {"Archive/2024/Käse & Brot", 5, true},
	{"日本語", 3, false}, {"Empty", 0, true}, {"Projects/Übersicht", 4, true}, {filed, 2, true},
}

// filed is where users file, drafts where they write.
const (
	filed  = "Filed by hand"
	drafts = "Drafts"
)

// seed gives every account a store such as real ones are.
func (w *world) seed(ctx context.Context) error {
	for i, a := range w.people.accounts {
		if err := w.fill(ctx, a, rand.New(rand.NewPCG(2, uint64(i)))); err != nil {
			return fmt.Errorf("filling the account %s: %w", a.address, err)
		}
	}
	return nil
}

// fill writes an account's old mail by IMAP, as its owner's programs would have.
func (w *world) fill(ctx context.Context, a account, random *rand.Rand) error {
	s, err := login(ctx, w.old.IMAPAddr(), a)
	if err != nil {
		return err
	}
	defer s.Close()
	written := 0
	for _, f := range folders {
		if f.name != "INBOX" {
			if err := s.Create(f.name, nil).Wait(); err != nil {
				return err
			}
		}
		if f.subscribed {
			if err := s.Subscribe(f.name).Wait(); err != nil {
				return err
			}
		}
		for range f.messages {
			text, date := oldMessage(random, a, written), oldDate(random)
			copies := 1
			if written%7 == 3 { // identical twins
				copies = 2
			}
			for range copies {
				if _, err := s.put(f.name, text, oldFlags(random), date); err != nil {
					return err
				}
			}
			written++
		}
	}
	if err := s.leaveGap("Archive"); err != nil {
		return err
	}
	return s.Logout().Wait()
}

// oldMessage is one of the kinds that have broken moves before.
func oldMessage(random *rand.Rand, a account, number int) string {
	id := fmt.Sprintf("Message-ID: <%s.%d@old.example>\r\n", a.address.Local(), number)
	subject, body := fmt.Sprintf("Old %d", number), strings.Repeat(fmt.Sprintf("%016x\r\n", random.Uint64()), 1+random.IntN(60))
	switch number % 6 {
	case 1: // without Message-ID
		id = ""
	case 2: // with one that others have, too
		id = "Message-ID: <always-the-same@old.example>\r\n"
	case 3:
		subject, body = "8-bit \xe9\xff", "\x80\xfe bytes\r\n"
	case 4:
		body = strings.Repeat("x", 20000) + "\r\n"
	case 5: // no end of line at the end
		body = "From a line like mbox's\r\n.\r\ncut off"
	}
	return fmt.Sprintf("From: <friend@outside.example>\r\nTo: <%s>\r\nSubject: %s\r\n%s\r\n%s", a.address, subject, id, body)
}

// oldDate is some second of ten years, in some time zone.
func oldDate(random *rand.Rand) time.Time {
	zone := time.FixedZone("", []int{0, 3600, -5 * 3600, 5*3600 + 1800}[random.IntN(4)])
	return time.Unix(1451606400+random.Int64N(10*365*24*3600), 0).In(zone)
}

func oldFlags(random *rand.Rand) []imap.Flag {
	var flags []imap.Flag
	for _, flag := range []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDraft, imap.FlagDeleted, "$Forwarded", "$Label1", "Invoice-2024"} {
		if random.IntN(4) == 0 {
			flags = append(flags, flag)
		}
	}
	return flags
}

// put appends a message and returns where it is (RFC 4315 section 3).
func (s *session) put(folder, text string, flags []imap.Flag, date time.Time) (*imap.AppendData, error) {
	command := s.Append(folder, int64(len(text)), &imap.AppendOptions{Flags: flags, Time: date})
	_, err := io.WriteString(command, text)
	if err = errors.Join(err, command.Close()); err != nil {
		return nil, err
	}
	return command.Wait()
}

// leaveGap removes a folder's first message, so that its UIDs do not begin with 1.
func (s *session) leaveGap(folder string) error {
	if _, err := s.Select(folder, nil).Wait(); err != nil {
		return err
	}
	return s.remove(1)
}

// remove removes a message of the selected folder for good.
func (s *session) remove(uid imap.UID) error {
	set := imap.UIDSetNum(uid)
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := s.Store(set, store, nil).Close(); err != nil {
		return err
	}
	return s.UIDExpunge(set).Close()
}
