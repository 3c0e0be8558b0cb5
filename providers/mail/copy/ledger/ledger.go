// Package ledger remembers, for one account, which message of the source is which
// message of the target: durably, in one append-only file, so that a copy that was
// cut off at any instant goes on without losing or doubling a message.
//
// Words. A [Row] is one message that is on both ends: its UID here and there, its
// content's hash, and its flags as we set them last. A [Mailbox] is a mailbox of
// the source with all its rows; it is bound to one mailbox of the target by a
// [Binding], which holds the UIDVALIDITY of both: with another UIDVALIDITY the rows
// mean nothing and [Mailbox.Reset] begins anew. An [Intent] is a batch that may have
// been sent and of which no answer is recorded.
//
// A copier does, for each batch:
//
//	id, err := mailbox.Begin(uidNext, uids) // on disk before anything is sent
//	...                                     // APPEND
//	err = mailbox.Settle(id, rows)          // what the server took
//
// and after a crash looks at [Mailbox.Intents]: of each, the messages of the target
// with a UID from UIDNext on that no row claims are what the lost answer was about.
//
// Promises. A target message is claimed by one row at most, and so is a source
// message; a second claim is an error and changes nothing. What [Mailbox.Begin] has
// returned is on disk; everything else is at the latest when the next Begin, Sync or
// Close returns, and in the same order: after a crash the ledger is what it was at
// some instant since the last of these. A torn end, which is what a crash leaves, is
// cut off, and [Ledger.Notice] says so. Any other damage is an error, and the file is
// left as it is. A ledger can be moved away at any time: the copier builds it
// again by comparing both ends by content, at the cost of reading both. The file
// holds no secret: no password, no address beyond the two identities, no message.
//
// All methods may be called concurrently.
package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gofrs/flock"

	"github.com/mailmove/mailmove/providers"
)

// FormatVersion is the version of the file's encoding.
const FormatVersion = 1

// Ends are the identities of an account's two ends: what tells one account on one
// server from every other, for example "imaps://murphy@mail.example.com". They hold
// no secret.
type Ends struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// A Ledger is an open ledger, locked against every other process.
type Ledger struct {
	path string
	lock *flock.Flock

	mu     sync.Mutex
	state  *state
	out    *os.File
	size   int64 // length of the file, all of it intact
	last   int64 // number of the last entry
	notice string
	broken error
}

// Open opens the ledger at path, which is made if it is not there, and locks it.
// Its folder must exist. The errors are a [LockedError], a [PairError] if the
// ledger is one of another pair, and a [DamageError].
func Open(path string, ends Ends) (*Ledger, error) {
	if ends.Source == "" || ends.Target == "" {
		return nil, errors.New("opening a ledger: both ends need an identity")
	}
	lock, err := acquire(path)
	if err != nil {
		return nil, err
	}
	l := &Ledger{path: path, lock: lock, state: newState()}
	if err := l.open(ends); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *Ledger) open(ends Ends) error {
	out, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	l.out = out
	if err := l.load(); err != nil {
		return err
	}
	if l.last == 0 {
		if err := syncFolder(filepath.Dir(l.path)); err != nil {
			return fmt.Errorf("making the ledger %s: %w", l.path, err)
		}
		return l.record(entry{Head: &head{Version: FormatVersion, Ends: ends}}, false)
	}
	if l.state.ends != ends {
		return &PairError{Path: l.path, Has: l.state.ends, Want: ends}
	}
	if l.worthCompacting() {
		return l.compact()
	}
	return nil
}

// load reads the file into the state and cuts off a torn end.
func (l *Ledger) load() error {
	in := bufio.NewReaderSize(l.out, 64<<10)
	for number := 1; ; number++ {
		text, err := readLine(in)
		if errors.Is(err, io.EOF) && len(text) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the ledger %s: %w", l.path, err)
		}
		e, cause := decode(text)
		if cause != nil {
			return l.cutOff(in, number, cause)
		}
		if version := (e.Head != nil && e.Head.Version != FormatVersion); version {
			return providers.Faultf("Use the version of mailmove that wrote it. Nothing was changed.",
				"reading the ledger %s: it has format version %d, and this mailmove reads version %d", l.path, e.Head.Version, FormatVersion)
		}
		if err := l.replay(e); err != nil {
			return &DamageError{Path: l.path, Line: number, Err: err}
		}
		l.size += int64(len(text))
	}
}

// cutOff ends the file before a broken line, which is what a crash leaves, unless
// something intact follows it: then the file has been damaged in another way.
func (l *Ledger) cutOff(rest *bufio.Reader, number int, cause error) error {
	for {
		text, err := readLine(rest)
		if _, broken := decode(text); broken == nil {
			return &DamageError{Path: l.path, Line: number, Err: cause}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the ledger %s: %w", l.path, err)
		}
	}
	end, err := l.out.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("reading the ledger %s: %w", l.path, err)
	}
	if l.last == 0 && end > maxHead {
		return &DamageError{Path: l.path, Line: number, Err: errors.New("it does not begin as a ledger does")}
	}
	if err := l.out.Truncate(l.size); err != nil {
		return fmt.Errorf("repairing the ledger %s: %w", l.path, err)
	}
	l.notice = fmt.Sprintf("The end of the ledger %s (%d bytes from line %d on) was torn by a crash and was cut off; what it told is found again by comparing both ends.", l.path, end-l.size, number)
	return nil
}

// maxHead is the most that a crash can leave of a ledger whose first line was never
// on disk: identities are short. A longer file without a first line is something else.
const maxHead = 16 << 10

func (l *Ledger) replay(e entry) error {
	if e.N != l.last+1 {
		return fmt.Errorf("entry %d follows entry %d", e.N, l.last)
	}
	if (e.Head != nil) != (l.last == 0) {
		return errors.New("the head is not where it belongs")
	}
	if err := l.state.check(e); err != nil {
		return err
	}
	l.state.apply(e)
	l.last = e.N
	return nil
}

// readLine returns a line with its end; at the end of the file what is left, and
// io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	text, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	text = bytes.Clone(text)
	rest, err := in.ReadBytes('\n')
	return append(text, rest...), err
}

// record checks an entry, writes it and applies it. With sync it is on disk, and
// everything before it, when record returns.
func (l *Ledger) record(e entry, sync bool) error {
	if l.broken != nil {
		return fmt.Errorf("writing the ledger %s: an earlier write failed: %w", l.path, l.broken)
	}
	if err := l.state.check(e); err != nil {
		return fmt.Errorf("writing the ledger %s: %w", l.path, err)
	}
	e.N = l.last + 1
	data, err := encode(e)
	if err != nil {
		return fmt.Errorf("writing the ledger %s: %w", l.path, err)
	}
	if err := l.write(data, sync); err != nil {
		l.broken = err
		return fmt.Errorf("writing the ledger %s: %w", l.path, err)
	}
	l.last = e.N
	l.state.apply(e)
	return nil
}

func (l *Ledger) write(data []byte, sync bool) error {
	n, err := l.out.WriteAt(data, l.size)
	if err != nil {
		return err
	}
	l.size += int64(n)
	if sync {
		return l.out.Sync()
	}
	return nil
}

// Path returns where the ledger is.
func (l *Ledger) Path() string { return l.path }

// Notice returns what Open found and repaired, for a person; "" is nothing.
func (l *Ledger) Notice() string { return l.notice }

// Mailboxes returns the names of the source mailboxes that the ledger knows, sorted.
func (l *Ledger) Mailboxes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.state.mailboxes))
}

// Mailbox returns the view of a source mailbox, also of one that the ledger does not
// know yet.
func (l *Ledger) Mailbox(name string) *Mailbox { return &Mailbox{ledger: l, name: name} }

// Sync returns when everything that was recorded is on disk.
func (l *Ledger) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return fmt.Errorf("writing the ledger %s: an earlier write failed: %w", l.path, l.broken)
	}
	if err := l.out.Sync(); err != nil {
		l.broken = err // what a failed fsync has dropped, no later one brings back
		return fmt.Errorf("writing the ledger %s: %w", l.path, err)
	}
	return nil
}

// Close syncs, closes and unlocks the ledger, which is of no use afterwards.
func (l *Ledger) Close() error {
	var err error
	if l.broken == nil {
		err = l.Sync()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = fs.ErrClosed
	}
	return errors.Join(err, l.release())
}

// release gives up the file and the lock.
func (l *Ledger) release() error {
	var errs []error
	if l.out != nil {
		errs = append(errs, l.out.Close())
		l.out = nil
	}
	return errors.Join(append(errs, l.lock.Unlock())...)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// A DamageError says that a file is no intact ledger, and from which line on.
type DamageError struct {
	Path string
	Line int
	Err  error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("reading the ledger %s: line %d is damaged: %v", e.Path, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// Hint implements [providers.Error].
func (e *DamageError) Hint() string {
	return "Nothing was changed. Move the file away and copy again: the ledger is then built anew by comparing both ends by content, which reads every message of both once."
}

// Temporary implements [providers.Error].
func (e *DamageError) Temporary() bool { return false }

// A PairError says that a ledger is one of another pair of accounts.
type PairError struct {
	Path      string
	Has, Want Ends
}

func (e *PairError) Error() string {
	return fmt.Sprintf("opening the ledger %s: it is the one of copying %s to %s, not %s to %s", e.Path, e.Has.Source, e.Has.Target, e.Want.Source, e.Want.Target)
}

// Hint implements [providers.Error].
func (e *PairError) Hint() string {
	return "Name another file for this pair. If one end has only been renamed, move the file away: it is built anew by comparing both ends by content."
}

// Temporary implements [providers.Error].
func (e *PairError) Temporary() bool { return false }

var (
	_ providers.Error = (*DamageError)(nil)
	_ providers.Error = (*PairError)(nil)
	_ providers.Error = (*LockedError)(nil)
)
