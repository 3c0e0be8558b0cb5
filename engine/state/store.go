package state

import (
	"errors"
	"time"
)

// A Store keeps a state. It is used by one goroutine at a time, between Lock and
// the returned unlock for writing.
type Store interface {
	// Lock takes the right to write, waiting at most timeout. The error is a
	// [*LockedError] if somebody else has it.
	Lock(holder Holder, timeout time.Duration) (unlock func() error, err error)
	// Load returns the state with the journal replayed; nil if there is none yet.
	// Damage is a [*DamageError].
	Load() (*Snapshot, error)
	// Append makes entries durable, all of them in order, that have been applied to s
	// already. An error is final: the process must have no further effect.
	Append(s *Snapshot, entries ...Entry) error
	// Fold writes the snapshot as a whole with a new serial and empties the journal.
	Fold(s *Snapshot) error
	// Name says for people where the state is.
	Name() string
}

// Commit applies entries to the state and makes them durable.
func Commit(store Store, s *Snapshot, entries ...Entry) error {
	for _, e := range entries {
		if err := s.Apply(e); err != nil {
			return err
		}
	}
	return store.Append(s, entries...)
}

// ErrBroken says that an earlier write failed, so that what is durable is no
// longer known. An fsync is never repeated: after a failure it can succeed
// without having written anything.
var ErrBroken = errors.New("an earlier write of the state failed")

// A DamageError says that a state file is not what mailmove wrote.
type DamageError struct {
	File string
	Line int // of the journal, 0 if not
	Err  error
}

func (e *DamageError) Error() string { return "reading the state " + e.File + ": " + e.Err.Error() }
func (e *DamageError) Unwrap() error { return e.Err }

// Hint implements [providers.Error].
func (e *DamageError) Hint() string {
	return "Nothing was changed. Restore the newest intact backup beside it (" + e.File + ".backup.1 …) together with an empty journal, or read docs/runbook.md, section \"The state file is damaged\"."
}

// Temporary implements [providers.Error].
func (e *DamageError) Temporary() bool { return false }
