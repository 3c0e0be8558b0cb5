package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Row is one message that is on both ends.
type Row struct {
	Source uint32 // its UID on the source
	Target uint32 // its UID on the target
	// Hash is the SHA-256 of its bytes as the source's FETCH gave them.
	Hash [sha256.Size]byte
	Size int64
	// Flags are those that we set on the target last, without \Recent; they are
	// shared and not to be changed.
	Flags []string
	Date  time.Time // INTERNALDATE, to the second, with its zone
}

// A Binding says which mailbox of the target holds a source mailbox's messages, and
// under which UIDVALIDITYs the UIDs of both ends hold (RFC 9051 section 2.3.1.1).
type Binding struct {
	Target         string `json:"target"`
	SourceValidity uint32 `json:"source_validity"`
	TargetValidity uint32 `json:"target_validity"`
}

// A Status is what the source said of a mailbox at the end of a complete pass. If it
// says the same again, nothing has changed there.
type Status struct {
	UIDNext       uint32 `json:"uid_next"`
	HighestModSeq uint64 `json:"highest_modseq,omitempty"` // 0: no CONDSTORE
	Messages      uint32 `json:"messages"`
}

// An Intent is a batch that may have been sent and has no answer.
type Intent struct {
	ID int64
	// UIDNext is the target mailbox's from before: what the batch has stored there
	// has this UID or a higher one.
	UIDNext uint32
	// UIDs are the source's, in the order of the batch, without those which have
	// a row by now.
	UIDs []uint32
}

// A Mailbox is the view of one source mailbox. It holds nothing itself.
type Mailbox struct {
	ledger *Ledger
	name   string
}

// read calls see with what is known, nil if the mailbox is not bound.
func (m *Mailbox) read(see func(s *state, rows *rowSet)) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	see(m.ledger.state, m.ledger.state.mailboxes[m.name])
}

func (m *Mailbox) record(e entry, sync bool) error {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	e.Mailbox = m.name
	return m.ledger.record(e, sync)
}

// Name returns the source mailbox's name.
func (m *Mailbox) Name() string { return m.name }

// Binding returns what the mailbox is bound to; false if nothing is known of it.
func (m *Mailbox) Binding() (b Binding, ok bool) {
	m.read(func(_ *state, rows *rowSet) {
		if ok = rows != nil; ok {
			b = rows.binding
		}
	})
	return b, ok
}

// Status returns what the source said at the end of the last complete pass since
// the last Reset; false if there was none.
func (m *Mailbox) Status() (status Status, ok bool) {
	m.read(func(_ *state, rows *rowSet) {
		if ok = rows != nil && rows.status != nil; ok {
			status = *rows.status
		}
	})
	return status, ok
}

// Len returns how many rows there are.
func (m *Mailbox) Len() (n int) {
	m.read(func(_ *state, rows *rowSet) {
		if rows != nil {
			n = len(rows.rows)
		}
	})
	return n
}

// Row returns the row of a source message.
func (m *Mailbox) Row(source uint32) (row Row, ok bool) {
	m.read(func(s *state, rows *rowSet) {
		if rows == nil {
			return
		}
		var i int32
		if i, ok = rows.bySource[source]; ok {
			row = s.row(rows.rows[i])
		}
	})
	return row, ok
}

// Claimed returns the row that claims a target message.
func (m *Mailbox) Claimed(target uint32) (row Row, ok bool) {
	m.read(func(s *state, rows *rowSet) {
		if rows == nil {
			return
		}
		var i int32
		if i, ok = rows.byTarget[target]; ok {
			row = s.row(rows.rows[i])
		}
	})
	return row, ok
}

// Rows gives the rows that there are now in the order of their source UIDs. The
// ledger may be written meanwhile: a row that is forgotten then is left out, and of
// a changed one the new flags are given.
func (m *Mailbox) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		var uids []uint32
		m.read(func(_ *state, rows *rowSet) {
			if rows != nil {
				uids = rows.sources()
			}
		})
		for _, uid := range uids {
			if row, ok := m.Row(uid); ok && !yield(row) {
				return
			}
		}
	}
}

// Intents returns the batches without an answer, the oldest first.
func (m *Mailbox) Intents() (open []Intent) {
	m.read(func(_ *state, rows *rowSet) {
		if rows == nil {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(rows.intents)) {
			intent := rows.intents[id]
			intent.UIDs = slices.Clone(intent.UIDs)
			open = append(open, intent)
		}
	})
	return open
}

// Reset binds the mailbox to one of the target and forgets all rows, intents and the
// status. Two source mailboxes cannot be bound to the same one.
func (m *Mailbox) Reset(b Binding) error { return m.record(entry{Reset: &b}, false) }

// Remove forgets the mailbox.
func (m *Mailbox) Remove() error {
	if _, ok := m.Binding(); !ok {
		return nil
	}
	return m.record(entry{Remove: true}, false)
}

// Begin records that the messages with these source UIDs are about to be sent, and
// the target mailbox's UIDNEXT from before. It is on disk when Begin returns.
func (m *Mailbox) Begin(uidNext uint32, uids []uint32) (id int64, err error) {
	if len(uids) == 0 || len(uids) > maxRows || slices.Contains(uids, 0) {
		return 0, fmt.Errorf("writing the ledger: mailbox %q: a batch of %d messages, or with UID 0", m.name, len(uids))
	}
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	id = m.ledger.state.lastID + 1
	err = m.ledger.record(entry{Mailbox: m.name, Begin: &begin{ID: id, UIDNext: uidNext, UIDs: formatRuns(uids)}}, true)
	return id, err
}

// Settle records what a batch has stored, which may be less than what was sent, or
// nothing, and closes the intent. If it fails the intent stays open.
func (m *Mailbox) Settle(id int64, rows []Row) error {
	if id <= 0 {
		return fmt.Errorf("writing the ledger: mailbox %q: intent %d", m.name, id)
	}
	return m.settle(id, rows)
}

// Adopt records messages that were found on both ends without a batch of ours, or
// the first answers of a batch whose intent stays open.
func (m *Mailbox) Adopt(rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	return m.settle(0, rows)
}

func (m *Mailbox) settle(id int64, rows []Row) error {
	for _, r := range rows {
		if err := r.valid(); err != nil {
			return fmt.Errorf("writing the ledger: mailbox %q: source UID %d: %w", m.name, r.Source, err)
		}
	}
	if len(rows) <= maxRows {
		e := entry{Settle: id}
		if len(rows) > 0 {
			e.Rows = columnsOf(rows)
		}
		return m.record(e, false)
	}
	// Only what is adopted can be so many; an intent is closed with the last of them.
	if err := m.settle(0, rows[:maxRows]); err != nil {
		return err
	}
	return m.settle(id, rows[maxRows:])
}

func (r Row) valid() error {
	if r.Source == 0 || r.Target == 0 {
		return errors.New("a row needs both UIDs")
	}
	if _, offset := r.Date.Zone(); offset/60 < math.MinInt16 || offset/60 > math.MaxInt16 {
		return fmt.Errorf("date %v: no zone", r.Date)
	}
	return validFlags(r.Flags)
}

func validFlags(flags []string) error {
	for _, flag := range flags {
		if fields := strings.Fields(flag); len(fields) != 1 || fields[0] != flag || !utf8.ValidString(flag) {
			return fmt.Errorf("flag %q: not a word", flag)
		}
	}
	return nil
}

// Update records the flags that were set on the target, by source UID.
func (m *Mailbox) Update(flags map[uint32][]string) error {
	for uid, f := range flags {
		if err := validFlags(f); err != nil || uid == 0 {
			return fmt.Errorf("writing the ledger: mailbox %q: source UID %d: %w", m.name, uid, err)
		}
	}
	left := maps.Clone(flags)
	for len(left) > 0 {
		part := map[uint32][]string{}
		for uid, f := range left {
			if len(part) == maxRows {
				break
			}
			part[uid] = f
		}
		if err := m.record(entry{Update: updatesOf(part)}, false); err != nil {
			return err
		}
		maps.DeleteFunc(left, func(uid uint32, _ []string) bool { _, done := part[uid]; return done })
	}
	return nil
}

// Forget drops the rows of these source UIDs: the messages are copied again if they
// are still there, and those on the target belong to nobody.
func (m *Mailbox) Forget(uids []uint32) error {
	for part := range slices.Chunk(uids, maxRows) {
		if slices.Contains(part, 0) {
			return fmt.Errorf("writing the ledger: mailbox %q: forgetting UID 0", m.name)
		}
		if err := m.record(entry{Forget: formatRuns(part)}, false); err != nil {
			return err
		}
	}
	return nil
}

// Complete records that a pass has carried everything that the source had when it
// said status. A batch without an answer is an error.
func (m *Mailbox) Complete(status Status) error { return m.record(entry{Complete: &status}, false) }
