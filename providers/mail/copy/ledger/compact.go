package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const (
	// compactBatch is how many rows a line of a compacted ledger has.
	compactBatch = 1000
	// compactFrom is the size below which a ledger is not worth compacting.
	compactFrom = 4 << 20
	// rowBytes is about what a row takes in the file.
	rowBytes = 80
)

// worthCompacting reports whether most of the file tells of what is no more.
func (l *Ledger) worthCompacting() bool {
	live := int64(0)
	for _, m := range l.state.mailboxes {
		live += int64(len(m.rows)) * rowBytes
	}
	return l.size > compactFrom && l.size > 4*live
}

// Compact writes the ledger anew without what is no more. Open does so by itself
// when it is worth it. The new file is written beside the old one, synced, and renamed
// over it: at any instant the ledger is the old one or the new one.
func (l *Ledger) Compact() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.compact()
}

func (l *Ledger) compact() error {
	if l.broken != nil {
		return fmt.Errorf("compacting the ledger %s: an earlier write failed: %w", l.path, l.broken)
	}
	beside, size, last, err := l.writeBeside()
	if err != nil {
		return fmt.Errorf("compacting the ledger %s: %w", l.path, err)
	}
	if err := os.Rename(beside.Name(), l.path); err != nil {
		return errors.Join(fmt.Errorf("compacting the ledger %s: %w", l.path, err), beside.Close())
	}
	old := l.out
	l.out, l.size, l.last = beside, size, last
	if err := errors.Join(old.Close(), syncFolder(filepath.Dir(l.path))); err != nil {
		l.broken = err
		return fmt.Errorf("compacting the ledger %s: %w", l.path, err)
	}
	return nil
}

// writeBeside writes the compacted ledger into a file beside it and syncs it. What a
// crash left there is written over.
func (l *Ledger) writeBeside() (beside *os.File, size, last int64, err error) {
	beside, err = os.OpenFile(l.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, 0, err
	}
	out := bufio.NewWriterSize(beside, 256<<10)
	err = l.state.dump(func(e entry) error {
		last++
		e.N = last
		data, err := encode(e)
		if err != nil {
			return err
		}
		size += int64(len(data))
		_, err = out.Write(data)
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = beside.Sync()
	}
	if err != nil {
		return nil, 0, 0, errors.Join(err, beside.Close())
	}
	return beside, size, last, nil
}

// dump gives the entries which make this state from nothing.
func (s *state) dump(give func(entry) error) error {
	if err := give(entry{Head: &head{Version: FormatVersion, Ends: s.ends}}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.mailboxes)) {
		m := s.mailboxes[name]
		entries := []entry{{Mailbox: name, Reset: &m.binding}}
		for uids := range slices.Chunk(m.sources(), compactBatch) {
			rows := make([]Row, len(uids))
			for i, uid := range uids {
				rows[i] = s.row(m.rows[m.bySource[uid]])
			}
			entries = append(entries, entry{Mailbox: name, Rows: columnsOf(rows)})
		}
		if m.status != nil {
			entries = append(entries, entry{Mailbox: name, Complete: m.status})
		}
		for _, id := range slices.Sorted(maps.Keys(m.intents)) {
			intent := m.intents[id]
			entries = append(entries, entry{Mailbox: name, Begin: &begin{ID: id, UIDNext: intent.UIDNext, UIDs: formatRuns(intent.UIDs)}})
		}
		for _, e := range entries {
			if err := give(e); err != nil {
				return err
			}
		}
	}
	return nil
}
