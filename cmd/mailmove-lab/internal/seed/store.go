package seed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/client"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
)

// manyKeywords is a folder with more keywords than the 26 for which a Maildir file name has letters: Dovecot keeps the
// rest in its index alone.
const manyKeywords = "Labels"

// folders of every account, with the share of the messages each gets, of 20.
var folders = []struct {
	name       string
	share      int
	subscribed bool
}{
	{"INBOX", 8, true}, {"Sent", 3, true}, {"Drafts", 1, true}, {"Trash", 1, true}, {"Archive", 1, true},
	{"Archive.2024", 0, true}, {"Archive.2024.Q1", 1, true}, {"Entwürfe & Müll", 1, true}, {"日本語.メール", 1, false},
	{"Projects.Übersicht", 1, true}, {manyKeywords, 1, true}, {"with space and 'quotes'", 1, false}, {"Empty", 0, true},
}

var (
	systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDraft, imap.FlagDeleted}
	keywords    = []imap.Flag{"$Forwarded", "$MDNSent", "$Label1", "NonJunk", "work", "Invoice-2024"}
)

// A writer fills one account.
type writer struct {
	host    *machine.Host
	account people.Account
	number  int // of the account
	random  *rand.Rand
	session *imapclient.Client
	written int // messages so far
}

func (w *writer) fill(ctx context.Context, at *client.Client, messages int) error {
	var err error
	w.session, err = w.login(ctx, at)
	if err != nil {
		return err
	}
	defer w.session.Close()
	for _, folder := range folders {
		if err := w.folder(folder.name, folder.subscribed, messages*folder.share/20); err != nil {
			return fmt.Errorf("folder %s: %w", folder.name, err)
		}
	}
	if err := w.subscribeToNothing(); err != nil {
		return err
	}
	if w.number == 0 && messages > 0 {
		if err := w.append("INBOX", huge(w.random, w.id(), w.date()), nil, w.date()); err != nil {
			return fmt.Errorf("the huge message: %w", err)
		}
	}
	if err := w.session.Logout().Wait(); err != nil {
		return err
	}
	if err := w.sieve(ctx); err != nil {
		return err
	}
	return w.downloadByPOP3(ctx, at)
}

func (w *writer) login(ctx context.Context, at *client.Client) (*imapclient.Client, error) {
	return at.IMAP(ctx, lab.MailServer(w.account.Home), w.account.Address(), w.account.Password, nil)
}

// folder makes a folder and its messages, then takes some away again, so that there are gaps in the UIDs.
func (w *writer) folder(name string, subscribed bool, messages int) error {
	if name != "INBOX" {
		if err := w.session.Create(name, nil).Wait(); err != nil && !exists(err) {
			return err
		}
	}
	if subscribed {
		if err := w.session.Subscribe(name).Wait(); err != nil {
			return err
		}
	}
	for i := range messages {
		if err := w.message(name, i); err != nil {
			return err
		}
	}
	if messages < 4 {
		return nil
	}
	if _, err := w.session.Select(name, nil).Wait(); err != nil {
		return err
	}
	gone := imap.UIDSetNum(2, imap.UID(messages))
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := w.session.Store(gone, store, nil).Close(); err != nil {
		return err
	}
	if err := w.session.UIDExpunge(gone).Close(); err != nil {
		return err
	}
	return w.session.Unselect().Wait()
}

// message writes the i-th message of a folder; every tenth is there twice, every twentieth in INBOX as well.
func (w *writer) message(folder string, i int) error {
	date := w.date()
	raw := kinds[w.written%len(kinds)](w.random, w.id(), date)
	flags := w.flags()
	if folder == manyKeywords {
		flags = append(flags, imap.Flag(fmt.Sprintf("label-%02d", i)), imap.Flag(fmt.Sprintf("label-%02d", 30+i)))
	}
	copies := []string{folder}
	if i%10 == 3 {
		copies = append(copies, folder)
	}
	if i%20 == 5 {
		copies = append(copies, "INBOX")
	}
	for _, to := range copies {
		if err := w.append(to, raw, flags, date); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) append(folder string, raw []byte, flags []imap.Flag, date time.Time) error {
	command := w.session.Append(folder, int64(len(raw)), &imap.AppendOptions{Flags: flags, Time: date})
	if _, err := command.Write(raw); err != nil {
		return err
	}
	if err := command.Close(); err != nil {
		return err
	}
	_, err := command.Wait()
	return err
}

func (w *writer) id() string {
	w.written++
	return fmt.Sprintf("%03d.%05d.%08x", w.number, w.written, w.random.Uint32())
}

// date is some second of the ten years before 2026, in some time zone.
func (w *writer) date() time.Time {
	zone := time.FixedZone("", []int{0, 3600, -5 * 3600, 5*3600 + 1800}[w.random.IntN(4)])
	return time.Unix(1451606400+w.random.Int64N(10*365*24*3600), 0).In(zone)
}

func (w *writer) flags() []imap.Flag {
	var flags []imap.Flag
	for _, flag := range systemFlags {
		if w.random.IntN(3) == 0 {
			flags = append(flags, flag)
		}
	}
	for _, keyword := range keywords {
		if w.random.IntN(6) == 0 {
			flags = append(flags, keyword)
		}
	}
	return flags
}

// subscribeToNothing leaves a subscription to a folder that has been deleted, which servers keep (RFC 9051 section 6.3.7).
func (w *writer) subscribeToNothing() error {
	for _, step := range []func() error{
		func() error { return w.session.Create("Gone", nil).Wait() },
		func() error { return w.session.Subscribe("Gone").Wait() },
		func() error { return w.session.Delete("Gone").Wait() },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("leaving a subscription: %w", err)
		}
	}
	return nil
}

func exists(err error) bool {
	var refusal *imap.Error
	return errors.As(err, &refusal) && refusal.Code == imap.ResponseCodeAlreadyExists
}

// The active script files mail, so that it can be seen to work after the move.
const (
	activeScript = "require [\"fileinto\", \"mailbox\"];\r\nif header :contains \"Subject\" \"[filing]\" {\r\n\tfileinto :create \"Filed\";\r\n}\r\n"
	otherScript  = "# Grüße: for next summer\r\nrequire \"vacation\";\r\nvacation :days 7 \"I am away.\";\r\n"
)

func (w *writer) sieve(ctx context.Context) error {
	for _, argv := range [][]string{{"put", "-a", "-u", w.account.Address(), "main"}, {"put", "-u", w.account.Address(), "holiday"}} {
		script := otherScript
		if argv[1] == "-a" {
			script = activeScript
		}
		if _, err := w.host.Run(ctx, strings.NewReader(script), append([]string{"doveadm", "sieve"}, argv...)...); err != nil {
			return fmt.Errorf("putting Sieve script: %w", err)
		}
	}
	return nil
}

// downloadByPOP3 lets a client that leaves mail on the server see it, so that its UIDLs are known out there.
func (w *writer) downloadByPOP3(ctx context.Context, at *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	server := lab.MailServer(w.account.Home)
	session, err := at.POP3(ctx, server, server, w.account.Address(), w.account.Password)
	if err != nil {
		return err
	}
	if _, err := session.UIDLs(); err != nil {
		return err
	}
	return session.Quit()
}
