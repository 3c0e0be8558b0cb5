package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mailmove/mailmove/providers"
)

// keptBackups is how many former snapshots are kept beside the state.
const keptBackups = 10

// A File is a [Store] in files of one folder: PATH holds the snapshot,
// PATH.journal what came after it, PATH.lock the lock and its holder,
// PATH.backup.N former snapshots, 1 the newest. All have mode 0600.
type File struct {
	path    string
	out     *os.File // the journal, open for appending; nil until first needed
	journal journal
	intact  int64 // length of the journal that is known to be intact
	broken  error
}

// NewFile returns a store at path. Nothing is read or made.
func NewFile(path string) *File { return &File{path: path} }

// Name implements [Store].
func (f *File) Name() string { return f.path }

func (f *File) journalPath() string { return f.path + ".journal" }

// Load implements [Store].
func (f *File) Load() (*Snapshot, error) {
	data, err := os.ReadFile(f.path)
	journalData, journalErr := os.ReadFile(f.journalPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if len(journalData) > 0 {
			return nil, &DamageError{File: f.path, Err: errors.New("the snapshot is missing, but its journal is there")}
		}
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the state: %w", err)
	case journalErr != nil && !errors.Is(journalErr, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the state: %w", journalErr)
	}
	s, err := decode(data)
	if version := (*versionError)(nil); errors.As(err, &version) {
		return nil, providers.Faultf("Use the version of mailmove that wrote it. Nothing was changed.", "reading the state %s: %w", f.path, err)
	}
	if err != nil {
		return nil, &DamageError{File: f.path, Err: err}
	}
	f.journal = journal{seq: s.Sequence}
	intact, number, err := f.journal.replay(journalData, func(seq int64, e Entry) error {
		if seq <= s.Sequence {
			return nil // folded already; a crash came before the journal was emptied
		}
		if seq != s.Sequence+1 {
			return fmt.Errorf("entry %d follows a snapshot that ends with entry %d: the snapshot is an older one", seq, s.Sequence)
		}
		s.Sequence = seq
		return s.Apply(e)
	})
	if err != nil {
		return nil, &DamageError{File: f.journalPath(), Line: number, Err: fmt.Errorf("line %d: %w", number, err)}
	}
	f.intact = int64(intact)
	return s, nil
}

// A versionError says that another version of mailmove wrote the snapshot.
type versionError struct{ version int }

func (e *versionError) Error() string {
	return fmt.Sprintf("it has format version %d, and this mailmove reads version %d", e.version, FormatVersion)
}

// decode reads a snapshot strictly.
func decode(data []byte) (*Snapshot, error) {
	var version struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, err
	}
	if version.FormatVersion != FormatVersion {
		return nil, &versionError{version.FormatVersion}
	}
	s := NewSnapshot("", "")
	if err := strict(data, s); err != nil {
		return nil, err
	}
	if s.Lineage == "" {
		return nil, errors.New("it has no lineage")
	}
	return s, nil
}

// Append implements [Store].
func (f *File) Append(s *Snapshot, entries ...Entry) error {
	if f.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, f.broken)
	}
	data, err := f.journal.encode(entries)
	if err != nil {
		return err
	}
	s.Sequence += int64(len(entries))
	if err := f.write(data); err != nil {
		f.broken = err
		return fmt.Errorf("writing the journal %s: %w", f.journalPath(), err)
	}
	return nil
}

func (f *File) write(data []byte) error {
	if f.out == nil {
		out, err := os.OpenFile(f.journalPath(), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		f.out = out
		if err := out.Truncate(f.intact); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(f.path)); err != nil {
			return err
		}
	}
	n, err := f.out.WriteAt(data, f.intact)
	if err != nil {
		return err
	}
	f.intact += int64(n)
	return f.out.Sync()
}

// Fold implements [Store].
func (f *File) Fold(s *Snapshot) error {
	if f.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, f.broken)
	}
	s.Serial++
	if err := f.fold(s); err != nil {
		f.broken = err
		return fmt.Errorf("writing the state %s: %w", f.path, err)
	}
	return nil
}

func (f *File) fold(s *Snapshot) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := f.backup(); err != nil {
		return err
	}
	if err := replace(f.path, append(data, '\n')); err != nil {
		return err
	}
	if f.out != nil {
		if err := f.out.Close(); err != nil {
			return err
		}
		f.out = nil
	}
	f.journal, f.intact = journal{seq: s.Sequence}, 0
	return replace(f.journalPath(), nil)
}

// backup keeps the present snapshot as backup 1 and moves the others on.
func (f *File) backup() error {
	present, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	name := func(n int) string { return fmt.Sprintf("%s.backup.%d", f.path, n) }
	for n := keptBackups - 1; n >= 1; n-- {
		if err := os.Rename(name(n), name(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return replace(name(1), present)
}

// replace writes a whole file: beside it, synced, renamed over it, and the folder
// synced, so that at any instant it is the old one or the new one.
func replace(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if _, err := bytes.NewReader(data).WriteTo(tmp); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Sync(); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
