package store

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A Mailbox is one that is open. It can be used until another one is opened.
type Mailbox struct {
	session *session
	name    string
	// As the server said when it was opened.
	UIDValidity, UIDNext, Messages uint32
	// HighestModSeq is 0 without CONDSTORE, or where this mailbox does not have it.
	HighestModSeq uint64
	// Flags are those that are in use in the mailbox.
	Flags []string
	// PermanentFlags are those that are kept; nil: all are (RFC 9051 section 7.1).
	PermanentFlags []string
}

// Name returns the mailbox's name.
func (m *Mailbox) Name() string { return m.name }

func (s *session) open(ctx context.Context, name string, readOnly bool) (*Mailbox, error) {
	m := &Mailbox{session: s, name: name}
	s.opened = nil
	s.screen.permanent.Store(false)
	err := s.do(ctx, "opening the mailbox "+quote(name), func() error {
		data, err := s.client.Select(name, &imap.SelectOptions{ReadOnly: readOnly, CondStore: s.Can(imap.CapCondStore)}).Wait()
		if err != nil {
			return err
		}
		m.UIDValidity, m.UIDNext, m.Messages, m.HighestModSeq = data.UIDValidity, uint32(data.UIDNext), data.NumMessages, data.HighestModSeq
		m.Flags = flagsOf(data.Flags)
		if s.screen.permanent.Load() {
			m.PermanentFlags = append([]string{}, flagsOf(data.PermanentFlags)...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if m.UIDNext == 0 { // optional in RFC 2060; STATUS is then the only way
		status, err := s.Status(ctx, name)
		if err != nil {
			return nil, err
		}
		m.UIDNext = status.UIDNext
	}
	if m.UIDValidity == 0 || m.UIDNext == 0 {
		return nil, s.fail("opening the mailbox "+quote(name), broken("no UIDVALIDITY and UIDNEXT, without which nothing can be told again"))
	}
	s.opened = m
	return m, nil
}

// Poll asks what has changed. Messages that came after the mailbox was opened may not be
// listed before that.
func (m *Mailbox) Poll(ctx context.Context) error {
	if err := m.check(); err != nil {
		return err
	}
	return m.session.do(ctx, "polling "+quote(m.name), func() error { return m.session.client.Noop().Wait() })
}

// exists returns how many messages the server says that there are now.
func (m *Mailbox) exists() int { return int(max(0, m.session.screen.messages.Load())) }

// errClosed is a mistake of the caller's.
var errClosed = errors.New("the mailbox is not open any more: another one was opened after it")

func (m *Mailbox) check() error {
	if m.session.opened != m {
		return errClosed
	}
	return nil
}

// UIDs returns the UIDs of all messages that the mailbox has now, sorted.
func (m *Mailbox) UIDs(ctx context.Context) ([]uint32, error) { return m.search(ctx, nil) }

// search returns which of some UIDs, nil for all, are there.
func (m *Mailbox) search(ctx context.Context, among imap.UIDSet) (uids []uint32, err error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	doing := "listing the UIDs of " + quote(m.name)
	err = m.session.do(ctx, doing, func() error {
		criteria := &imap.SearchCriteria{}
		if among != nil {
			criteria.UID = []imap.UIDSet{among}
		}
		var options *imap.SearchOptions
		if m.session.Can(imap.CapESearch) {
			options = &imap.SearchOptions{ReturnAll: true} // ranges instead of single UIDs, RFC 4731
		}
		data, err := m.session.client.UIDSearch(criteria, options).Wait()
		if err != nil {
			return err
		}
		set, _ := data.All.(imap.UIDSet)
		uids, err = m.expand(set)
		if err != nil {
			m.session.screen.end(err)
		}
		return err
	})
	return uids, err
}

// arrivals is how many messages more than it has said a mailbox may have.
const arrivals = 10_000

// expand makes UIDs of ranges; there cannot be many more than the mailbox has messages.
func (m *Mailbox) expand(set imap.UIDSet) ([]uint32, error) {
	most := uint64(m.exists())
	count := uint64(0)
	for _, r := range set {
		if r.Start == 0 || r.Stop < r.Start {
			return nil, broken("%s for a list of UIDs", quote(set.String()))
		}
		count += uint64(r.Stop-r.Start) + 1
	}
	if count > most+arrivals {
		return nil, broken("%d UIDs for %d messages", count, most)
	}
	uids := make([]uint32, 0, count)
	for _, r := range set {
		for uid := uint64(r.Start); uid <= uint64(r.Stop); uid++ {
			uids = append(uids, uint32(uid))
		}
	}
	slices.Sort(uids)
	return uids, nil
}

// flagsOf returns flags as the server wrote them, sorted, without \Recent, which no client
// can set.
func flagsOf(flags []imap.Flag) []string {
	var all []string
	for _, flag := range flags {
		if !strings.EqualFold(string(flag), `\Recent`) {
			all = append(all, unveil(string(flag)))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// setsOf makes sets of UIDs whose commands stay below the 8,000 octets that servers take
// (RFC 7162 section 4) and of at most some messages each.
func setsOf(uids []uint32, most int) [][]uint32 {
	const octets = 7500
	var sets [][]uint32
	sorted := slices.Clone(uids)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	for len(sorted) > 0 {
		n, length := 1, 11
		for n < len(sorted) && n < most && length < octets {
			if sorted[n] != sorted[n-1]+1 {
				length += 2 + int(math.Log10(float64(sorted[n]))+1)*2
			}
			n++
		}
		sets = append(sets, sorted[:n])
		sorted = sorted[n:]
	}
	return sets
}

func setOf(uids []uint32) imap.UIDSet {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	return set
}
