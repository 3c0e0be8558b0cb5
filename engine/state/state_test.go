package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

func entry(i int) Entry {
	at := time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)
	value := plan.NewValue(cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(fmt.Sprint("box", i))}))
	op := fmt.Sprint("op", i/3)
	if i == 20 {
		return Entry{At: at, Confirm: &Confirmation{Step: "a step", By: "murphy", At: at}}
	}
	switch i % 3 {
	case 0:
		return Entry{At: at, Begin: &Intent{Op: op, Address: fmt.Sprint("t.r", i/3), Action: providers.Create, After: value, Resource: Resource{Type: "t", Values: value}}}
	case 1:
		return Entry{At: at, Checkpoint: &Checkpoint{Op: op, Value: value}}
	default:
		return Entry{At: at, End: &End{Op: op, Outcome: providers.Applied.String(), Value: value}}
	}
}

// fresh returns a store with a state in it.
func fresh(t *testing.T) (*File, *Snapshot) {
	t.Helper()
	f := NewFile(filepath.Join(t.TempDir(), "x.state.json"))
	s := NewSnapshot("1", "lineage")
	if err := f.Fold(s); err != nil {
		t.Fatal(err)
	}
	return f, s
}

func encoded(t *testing.T, s *Snapshot) string {
	t.Helper()
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReplayEqualsState(t *testing.T) {
	f, s := fresh(t)
	for i := range 21 {
		if err := Commit(f, s, entry(i)); err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			if err := f.Fold(s); err != nil {
				t.Fatal(err)
			}
		}
		loaded, err := NewFile(f.path).Load()
		if err != nil {
			t.Fatalf("after entry %d: %v", i, err)
		}
		if diff := cmp.Diff(encoded(t, s), encoded(t, loaded)); diff != "" {
			t.Fatalf("after entry %d: replay is not the state:\n%s", i, diff)
		}
	}
}

func TestFoldKeepsBackupsAndModes(t *testing.T) {
	f, s := fresh(t)
	for range keptBackups + 3 {
		if err := f.Fold(s); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(f.path + "*")
	if err != nil {
		t.Fatal(err)
	}
	if want := keptBackups + 2; len(files) != want {
		t.Errorf("got %d files, want %d: %v", len(files), want, files)
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	old, err := NewFile(f.path + ".backup.1").Load()
	if err != nil || old.Serial != s.Serial-1 {
		t.Errorf("backup 1 has serial %v, %v; want %d", old, err, s.Serial-1)
	}
}

// A crash can leave any prefix of what was appended last; whatever it leaves, the
// state is one that was durable, and writing goes on.
func TestEveryTornTail(t *testing.T) {
	f, s := fresh(t)
	for i := range 4 {
		if err := Commit(f, s, entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(f.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(f.journalPath(), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		again := NewFile(f.path)
		loaded, err := again.Load()
		if err != nil {
			t.Fatalf("with %d of %d bytes: %v", n, len(whole), err)
		}
		lines := int64(bytes.Count(whole[:n], []byte("\n")))
		if loaded.Sequence != lines {
			t.Fatalf("with %d bytes: sequence %d, want %d", n, loaded.Sequence, lines)
		}
		if err := Commit(again, loaded, Entry{Turn: &Turn{Epoch: 9}}); err != nil {
			t.Fatal(err)
		}
		if reread, err := NewFile(f.path).Load(); err != nil || reread.Epoch != 9 {
			t.Fatalf("with %d bytes: appending after it: %v, %v", n, reread, err)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	f, s := fresh(t)
	for i := range 6 {
		if err := Commit(f, s, entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(f.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(journal), "\n")
	for name, test := range map[string]struct{ snapshot, journal string }{
		"bit flipped in the middle": {string(snapshot), strings.Replace(string(journal), "box1", "box7", 1)},
		"line lost":                 {string(snapshot), lines[0] + strings.Join(lines[2:], "")},
		"line doubled":              {string(snapshot), lines[0] + lines[0] + strings.Join(lines[1:], "")},
		"lines exchanged":           {string(snapshot), lines[1] + lines[0] + strings.Join(lines[2:], "")},
		"garbage in the middle":     {string(snapshot), lines[0] + "xx\n" + strings.Join(lines[1:], "")},
		"snapshot truncated":        {string(snapshot[:len(snapshot)/2]), ""},
		"snapshot empty":            {"", ""},
		"unknown field":             {strings.Replace(string(snapshot), `"serial"`, `"cereal"`, 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			broken := NewFile(filepath.Join(t.TempDir(), "x"))
			for path, content := range map[string]string{broken.path: test.snapshot, broken.journalPath(): test.journal} {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := broken.Load()
			var damage *DamageError
			if !errors.As(err, &damage) {
				t.Errorf("Load = %v, want damage", err)
			}
		})
	}
}

// The state of another version is intact: its way out is not a backup.
func TestStateOfAnotherVersion(t *testing.T) {
	f, _ := fresh(t)
	data, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path, bytes.Replace(data, []byte(`"format_version": 1`), []byte(`"format_version": 2`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = NewFile(f.path).Load()
	var damage *DamageError
	var help providers.Error
	if errors.As(err, &damage) || !errors.As(err, &help) || !strings.Contains(err.Error(), "format version 2") || !strings.Contains(help.Hint(), "version of mailmove that wrote it") {
		t.Errorf("Load = %v, want an error that names the version and what to use", err)
	}
}

func TestJournalOfAnotherSnapshot(t *testing.T) {
	f, s := fresh(t)
	for i := range 6 {
		if err := Commit(f, s, entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Fold(s); err != nil {
		t.Fatal(err)
	}
	if err := Commit(f, s, entry(6)); err != nil {
		t.Fatal(err)
	}
	older, err := os.ReadFile(f.path + ".backup.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path, older, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewFile(f.path).Load(); err == nil || !strings.Contains(err.Error(), "older") {
		t.Errorf("Load with an older snapshot = %v, want an error that says so", err)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	f, _ := fresh(t)
	unlock, err := f.Lock(Holder{User: "murphy", Host: "op", PID: 42, Command: "mailmove apply"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewFile(f.path).Lock(Holder{}, 0)
	var locked *LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "murphy@op, process 42 (mailmove apply)") {
		t.Errorf("second lock = %v, want one that names murphy", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := NewFile(f.path).Lock(Holder{}, 0)
	if err != nil {
		t.Fatalf("after the unlock: %v", err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
}

// After a failed write nothing more is written.
func TestFailureIsFinal(t *testing.T) {
	f, s := fresh(t)
	if err := Commit(f, s, entry(0)); err != nil {
		t.Fatal(err)
	}
	if err := f.out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Commit(f, s, entry(1)); err == nil {
		t.Fatal("Append to a closed file succeeded")
	}
	if err := Commit(f, s, entry(2)); !errors.Is(err, ErrBroken) {
		t.Errorf("second Append = %v, want ErrBroken", err)
	}
	if err := f.Fold(s); !errors.Is(err, ErrBroken) {
		t.Errorf("Fold = %v, want ErrBroken", err)
	}
}

func FuzzJournal(f *testing.F) {
	j := journal{}
	seed, err := j.encode([]Entry{entry(0), entry(1), entry(2)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewSnapshot("1", "l")
		j := journal{}
		intact, _, err := j.replay(data, func(_ int64, e Entry) error { return s.Apply(e) })
		if err == nil && intact < len(data) && bytes.IndexByte(data[intact:], '\n') >= 0 && json.Valid(data[intact:]) {
			t.Errorf("a whole line was dropped: %q", data[intact:])
		}
	})
}
