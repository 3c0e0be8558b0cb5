package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A Message is what a listing tells of one.
type Message struct {
	UID   uint32
	Flags []string // sorted, without \Recent
	Date  time.Time
	// Size is RFC822.SIZE; there are servers that lie about it.
	Size   int64
	ModSeq uint64 // 0 without CONDSTORE
}

// List gives what the mailbox holds; with a mod-sequence only what has changed since it,
// which takes a mailbox with HighestModSeq (RFC 7162 section 3.1.4). The order is the
// server's, which is that of the UIDs. What has vanished is not told: see UIDs.
//
// An error that is a [MessageError] is about one message; any other is the last thing in
// the sequence.
func (m *Mailbox) List(ctx context.Context, changedSince uint64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		l := &lister{mailbox: m, yield: yield}
		switch {
		case changedSince == 0:
			l.everything(ctx)
		case m.HighestModSeq == 0:
			yield(Message{}, errors.Join(errors.New("listing what has changed"), ErrUnsupported))
		default:
			l.end(l.fetch(ctx, everyUID(1), 1, changedSince))
		}
	}
}

// ListFrom gives the messages with this UID or a higher one: after a lost answer, what may
// have come by the batch.
func (m *Mailbox) ListFrom(ctx context.Context, uid uint32) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		l := &lister{mailbox: m, yield: yield}
		l.end(l.fetch(ctx, everyUID(uid), uid, 0))
	}
}

// everyUID is UID:*.
func everyUID(from uint32) imap.UIDSet {
	var set imap.UIDSet
	set.AddRange(imap.UID(from), 0)
	return set
}

// A lister gives messages to who asked for them.
type lister struct {
	mailbox *Mailbox
	yield   func(Message, error) bool
	listed  []uint32
	stopped bool
}

func (l *lister) end(err error) {
	if err != nil && !l.stopped {
		l.yield(Message{}, err)
	}
}

// everything lists all messages. Fewer answers than the server says it has messages are
// not taken for all: it is asked which UIDs there are, and once more for what was left out.
func (l *lister) everything(ctx context.Context) {
	before := l.mailbox.exists()
	err := l.fetch(ctx, everyUID(1), 1, 0)
	if err != nil || l.stopped || len(l.listed) >= min(before, l.mailbox.exists()) {
		l.end(err)
		return
	}
	missing, err := l.missing(ctx)
	for _, set := range setsOf(missing, fetchBatch) {
		if err == nil && !l.stopped {
			err = l.fetch(ctx, setOf(set), 1, 0)
		}
	}
	if err == nil && len(missing) > 0 && !l.stopped {
		missing, err = l.missing(ctx)
	}
	for _, uid := range missing {
		if err == nil && !l.stopped {
			l.stopped = !l.yield(Message{UID: uid}, &MessageError{UID: uid, Err: ErrNotListed})
		}
	}
	l.end(err)
}

// missing returns the UIDs that are there, were before the mailbox was opened, and were
// not listed.
func (l *lister) missing(ctx context.Context) ([]uint32, error) {
	there, err := l.mailbox.UIDs(ctx)
	if err != nil {
		return nil, err
	}
	listed := make(map[uint32]bool, len(l.listed))
	for _, uid := range l.listed {
		listed[uid] = true
	}
	var missing []uint32
	for _, uid := range there {
		if !listed[uid] && uid < l.mailbox.UIDNext {
			missing = append(missing, uid)
		}
	}
	return missing, nil
}

// fetch lists a set of messages, without those below a UID: "n:*" always has the last one
// (RFC 9051 section 9, seq-range).
func (l *lister) fetch(ctx context.Context, set imap.UIDSet, from uint32, changedSince uint64) error {
	m := l.mailbox
	if err := m.check(); err != nil {
		return err
	}
	if m.exists() == 0 {
		return nil // there are servers to which UID FETCH 1:* is an error then
	}
	return m.session.do(ctx, "listing "+quote(m.name), func() error {
		m.session.screen.need("RFC822.SIZE")
		defer m.session.screen.need("")
		cmd := m.session.client.Fetch(set, &imap.FetchOptions{
			UID: true, Flags: true, InternalDate: true, RFC822Size: true, ModSeq: m.HighestModSeq > 0, ChangedSince: changedSince,
		})
		var lastSeq, last uint32
		for data := cmd.Next(); data != nil; data = cmd.Next() {
			message, err := messageOf(data)
			if err == nil && data.SeqNum > lastSeq && message.UID <= last {
				err = broken("UID %d for a message that comes after the one with UID %d", message.UID, last)
			}
			if err != nil {
				m.session.screen.end(err) // which ends the command
			}
			lastSeq, last = data.SeqNum, message.UID
			if l.stopped || message.UID < from || m.session.screen.cause() != nil {
				continue
			}
			l.listed = append(l.listed, message.UID)
			l.stopped = !l.yield(message, nil)
		}
		return cmd.Close()
	})
}

// messageOf reads what a listing asked for. That it has a UID and a size is certain.
func messageOf(data *imapclient.FetchMessageData) (m Message, err error) {
	var flags, date bool
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			m.UID = uint32(item.UID)
		case imapclient.FetchItemDataFlags:
			m.Flags, flags = flagsOf(item.Flags), true
		case imapclient.FetchItemDataInternalDate:
			m.Date, date = item.Time, true
		case imapclient.FetchItemDataRFC822Size:
			m.Size = item.Size
		case imapclient.FetchItemDataModSeq:
			m.ModSeq = item.ModSeq
		}
	}
	if !flags || !date {
		err = broken("UID %d without its flags or its date, which were asked for", m.UID)
	}
	return m, err
}
