package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A state is what the entries so far say. It changes by apply alone, and only by an
// entry that check has let through, whether it is new or read from the file.
type state struct {
	ends      Ends
	mailboxes map[string]*rowSet // by the source's name
	bound     map[string]string  // the source's name by the target's
	flagSets  [][]string         // the sets of flags that rows point at
	flags     map[string]uint32  // index in flagSets by flagKey
	lastID    int64              // of an intent
}

// A rowSet is what is known of one mailbox.
type rowSet struct {
	binding  Binding
	status   *Status
	intents  map[int64]Intent
	rows     []packed
	bySource map[uint32]int32 // index in rows by source UID
	byTarget map[uint32]int32 // the same by target UID: who claims it
}

// packed is a row in 64 bytes.
type packed struct {
	hash           [sha256.Size]byte
	size, date     int64
	source, target uint32
	flags          uint32
	zone           int16
}

func newState() *state {
	return &state{mailboxes: map[string]*rowSet{}, bound: map[string]string{}, flags: map[string]uint32{}}
}

func newRowSet(b Binding) *rowSet {
	return &rowSet{binding: b, intents: map[int64]Intent{}, bySource: map[uint32]int32{}, byTarget: map[uint32]int32{}}
}

// check reports why an entry cannot follow.
func (s *state) check(e entry) error {
	if e.Head != nil {
		if e.Mailbox != "" {
			return errors.New("a head that is about a mailbox")
		}
		return nil
	}
	if e.Reset != nil {
		return s.checkReset(e.Mailbox, *e.Reset)
	}
	m := s.mailboxes[e.Mailbox]
	if m == nil {
		return fmt.Errorf("mailbox %q: it is bound to no mailbox of the target", e.Mailbox)
	}
	var err error
	switch {
	case e.Begin != nil:
		err = s.checkBegin(m, e.Begin)
	case e.Settle != 0 || e.Rows != nil:
		err = m.checkRows(e)
	case e.Update != nil:
		err = e.Update.each(func(uid uint32, _ []string) error { return m.known(uid) })
	case e.Forget != "":
		err = m.checkForget(e.Forget)
	case e.Complete != nil:
		if len(m.intents) > 0 {
			err = errors.New("a pass cannot be complete while there is a batch without an answer")
		}
	case !e.Remove:
		err = errors.New("an entry that says nothing")
	}
	if err != nil {
		return fmt.Errorf("mailbox %q: %w", e.Mailbox, err)
	}
	return nil
}

func (s *state) checkReset(name string, b Binding) error {
	for _, n := range []string{name, b.Target} {
		if n == "" || !utf8.ValidString(n) {
			return fmt.Errorf("mailbox %q: no name in UTF-8", n)
		}
	}
	if b.SourceValidity == 0 || b.TargetValidity == 0 {
		return fmt.Errorf("mailbox %q: without UIDVALIDITY no message can be told again", name)
	}
	if other, ok := s.bound[b.Target]; ok && other != name {
		return fmt.Errorf("mailbox %q: the target's %q is bound to %q already", name, b.Target, other)
	}
	return nil
}

func (s *state) checkBegin(m *rowSet, b *begin) error {
	uids, err := parseRuns(b.UIDs, maxRows)
	if err != nil {
		return err
	}
	if b.ID <= 0 || b.UIDNext == 0 {
		return fmt.Errorf("intent %d with UIDNEXT %d", b.ID, b.UIDNext)
	}
	if _, ok := m.intents[b.ID]; ok {
		return fmt.Errorf("intent %d is open already", b.ID)
	}
	begun := map[uint32]bool{}
	for _, intent := range m.intents {
		for _, uid := range intent.UIDs {
			begun[uid] = true
		}
	}
	for _, uid := range uids {
		if _, ok := m.bySource[uid]; ok {
			return fmt.Errorf("source UID %d is copied already", uid)
		}
		if begun[uid] {
			return fmt.Errorf("source UID %d is being copied already", uid)
		}
		begun[uid] = true
	}
	return nil
}

func (m *rowSet) checkRows(e entry) error {
	if e.Settle != 0 {
		if _, ok := m.intents[e.Settle]; !ok {
			return fmt.Errorf("intent %d is not open", e.Settle)
		}
	}
	if e.Rows == nil {
		return nil
	}
	rows, err := e.Rows.rows()
	if err != nil {
		return err
	}
	sources, targets := make([]uint32, len(rows)), make([]uint32, len(rows))
	for i, r := range rows {
		if _, ok := m.bySource[r.Source]; ok {
			return fmt.Errorf("source UID %d has a row already", r.Source)
		}
		if held, ok := m.byTarget[r.Target]; ok {
			return &ClaimError{Target: r.Target, Source: r.Source, Holder: m.rows[held].source}
		}
		if r.Size < 0 {
			return fmt.Errorf("source UID %d: size %d", r.Source, r.Size)
		}
		sources[i], targets[i] = r.Source, r.Target
	}
	if uid, ok := twice(sources); ok {
		return fmt.Errorf("source UID %d has a row already", uid)
	}
	if uid, ok := twice(targets); ok {
		return &ClaimError{Target: uid}
	}
	return nil
}

// twice sorts UIDs and returns one that is there more than once.
func twice(uids []uint32) (uint32, bool) {
	slices.Sort(uids)
	for i := 1; i < len(uids); i++ {
		if uids[i] == uids[i-1] {
			return uids[i], true
		}
	}
	return 0, false
}

func (m *rowSet) checkForget(runs string) error {
	uids, err := parseRuns(runs, maxRows)
	if err != nil {
		return err
	}
	for _, uid := range uids {
		if err := m.known(uid); err != nil {
			return err
		}
	}
	if uid, ok := twice(uids); ok {
		return fmt.Errorf("source UID %d twice", uid)
	}
	return nil
}

func (m *rowSet) known(source uint32) error {
	if _, ok := m.bySource[source]; !ok {
		return fmt.Errorf("source UID %d has no row", source)
	}
	return nil
}

// A ClaimError says that a target message would be claimed by two rows.
type ClaimError struct {
	Target uint32
	Source uint32 // who claims it; 0: two of one batch
	Holder uint32 // source UID of the row that has it; 0: another one of the same batch
}

func (e *ClaimError) Error() string {
	if e.Holder == 0 {
		return fmt.Sprintf("target UID %d is claimed twice in one batch", e.Target)
	}
	return fmt.Sprintf("target UID %d is claimed by source UID %d, and belongs to source UID %d", e.Target, e.Source, e.Holder)
}

// apply changes the state by an entry that check has let through.
func (s *state) apply(e entry) {
	m := s.mailboxes[e.Mailbox]
	switch {
	case e.Head != nil:
		s.ends = e.Head.Ends
	case e.Reset != nil:
		if m != nil {
			delete(s.bound, m.binding.Target)
		}
		s.mailboxes[e.Mailbox], s.bound[e.Reset.Target] = newRowSet(*e.Reset), e.Mailbox
	case e.Begin != nil:
		m.intents[e.Begin.ID] = Intent{ID: e.Begin.ID, UIDNext: e.Begin.UIDNext, UIDs: must(parseRuns(e.Begin.UIDs, maxRows))}
		s.lastID = max(s.lastID, e.Begin.ID)
	case e.Settle != 0 || e.Rows != nil:
		delete(m.intents, e.Settle)
		if e.Rows != nil {
			s.add(m, must(e.Rows.rows()))
		}
	case e.Update != nil:
		err := e.Update.each(func(uid uint32, flags []string) error {
			m.rows[m.bySource[uid]].flags = s.intern(flags)
			return nil
		})
		must(0, err)
	case e.Forget != "":
		for _, uid := range must(parseRuns(e.Forget, maxRows)) {
			m.forget(uid)
		}
	case e.Complete != nil:
		m.status = e.Complete
	case e.Remove:
		delete(s.bound, m.binding.Target)
		delete(s.mailboxes, e.Mailbox)
	}
}

// must is for what check has tried already.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("ledger: an entry that was checked cannot be applied: %v", err))
	}
	return v
}

func (s *state) add(m *rowSet, rows []Row) {
	for _, r := range rows {
		_, offset := r.Date.Zone()
		m.bySource[r.Source], m.byTarget[r.Target] = int32(len(m.rows)), int32(len(m.rows))
		m.rows = append(m.rows, packed{
			hash: r.Hash, size: r.Size, date: r.Date.Unix(), zone: int16(offset / 60),
			source: r.Source, target: r.Target, flags: s.intern(r.Flags),
		})
	}
	for id, intent := range m.intents {
		intent.UIDs = slices.DeleteFunc(slices.Clone(intent.UIDs), func(uid uint32) bool { return m.known(uid) == nil })
		m.intents[id] = intent
	}
}

// forget takes a row out; the last one takes its place.
func (m *rowSet) forget(source uint32) {
	at, end := m.bySource[source], int32(len(m.rows)-1)
	delete(m.bySource, source)
	delete(m.byTarget, m.rows[at].target)
	if at != end {
		moved := m.rows[end]
		m.rows[at] = moved
		m.bySource[moved.source], m.byTarget[moved.target] = at, at
	}
	m.rows = m.rows[:end]
}

// sources returns the source UIDs in their order.
func (m *rowSet) sources() []uint32 {
	uids := make([]uint32, len(m.rows))
	for i, r := range m.rows {
		uids[i] = r.source
	}
	slices.Sort(uids)
	return uids
}

func (s *state) intern(flags []string) uint32 {
	key := flagKey(flags)
	n, ok := s.flags[key]
	if !ok {
		n = uint32(len(s.flagSets))
		s.flagSets, s.flags[key] = append(s.flagSets, strings.Fields(key)), n
	}
	return n
}

func (s *state) row(p packed) Row {
	return Row{
		Source: p.source, Target: p.target, Hash: p.hash, Size: p.size, Flags: s.flagSets[p.flags],
		Date: time.Unix(p.date, 0).In(time.FixedZone("", int(p.zone)*60)),
	}
}
