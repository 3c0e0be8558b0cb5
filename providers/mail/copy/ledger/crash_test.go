package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// abandon leaves a ledger as a killed process does.
func (l *Ledger) abandon(t testing.TB) {
	t.Helper()
	ok(t, l.out.Close())
	ok(t, l.lock.Unlock())
}

// A crash can end the file at any byte: then the ledger is what it was at some instant
// before, and can be written on.
func TestCrashAtEveryByte(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	instants := []map[string]content{contents(l)}
	ends := []int64{l.size}
	history(t, l, func() { instants, ends = append(instants, contents(l)), append(ends, l.size) })
	ok(t, l.Close())
	whole, err := os.ReadFile(l.path)
	ok(t, err)

	path := filepath.Join(t.TempDir(), "ledger")
	for cut := range whole {
		ok(t, os.WriteFile(path, whole[:cut], 0o600))
		l, err := Open(path, testEnds)
		if err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		at := 0 // also before the head is whole
		for at+1 < len(ends) && ends[at+1] <= int64(cut) {
			at++
		}
		if diff := cmp.Diff(instants[at], contents(l)); diff != "" {
			t.Fatalf("cut at byte %d (-want +got):\n%s", cut, diff)
		}
		if torn := cut > 0 && int64(cut) != ends[at]; torn != (l.Notice() != "") {
			t.Fatalf("cut at byte %d: the notice is %q", cut, l.Notice())
		}
		new := l.Mailbox("New")
		ok(t, new.Reset(Binding{Target: "New", SourceValidity: 1, TargetValidity: 1}))
		ok(t, new.Adopt(testRows(1, 1, 1)))
		want := contents(l)
		l = reopen(t, l)
		if diff := cmp.Diff(want, contents(l)); diff != "" || l.Notice() != "" {
			t.Fatalf("cut at byte %d, written on, notice %q (-want +got):\n%s", cut, l.Notice(), diff)
		}
		ok(t, l.Close())
	}
}

// Some file systems leave zeros at the end, where the file had grown and the data
// had not been written.
func TestCrashLeavesZeros(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	ok(t, l.Mailbox("INBOX").Reset(inbox))
	want := contents(l)
	ok(t, l.Close())
	whole, err := os.ReadFile(l.path)
	ok(t, err)
	for _, tail := range []string{strings.Repeat("\x00", 5000), strings.Repeat("\x00", 100) + "}\n" + strings.Repeat("\x00", 50), "\n", "{}\n"} {
		ok(t, os.WriteFile(l.path, append(bytes.Clone(whole), tail...), 0o600))
		l := open(t, l.path)
		if diff := cmp.Diff(want, contents(l)); diff != "" || l.Notice() == "" {
			t.Errorf("tail %.10q, notice %q (-want +got):\n%s", tail, l.Notice(), diff)
		}
		ok(t, l.Close())
	}
}

// Damage that no crash leaves is an error, and the file stays as it is.
func TestDamage(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	history(t, l, func() {})
	ok(t, l.Close())
	whole, err := os.ReadFile(l.path)
	ok(t, err)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	without := func(n int) []byte { return bytes.Join(append(append([][]byte{}, lines[:n]...), lines[n+1:]...), nil) }
	tests := []struct {
		name string
		data []byte
		line int
	}{
		{"a line is missing", without(3), 4},
		{"the head is missing", without(0), 1},
		{"a line is there twice", bytes.Join(append(append([][]byte{}, lines[:4]...), lines[3:]...), nil), 5},
		{"a bit has changed", bytes.Replace(whole, []byte(`"uid_next":10`), []byte(`"uid_next":11`), 1), 3},
		{"zeros in the middle", bytes.Replace(whole, lines[4], bytes.Repeat([]byte{0}, len(lines[4])), 1), 5},
		{"something else", bytes.Repeat([]byte("Dear diary\n"), 3000), 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			ok(t, os.WriteFile(path, test.data, 0o600))
			_, err := Open(path, testEnds)
			damage := (*DamageError)(nil)
			if !errors.As(err, &damage) || damage.Line != test.line || !strings.Contains(damage.Hint(), "Move the file away") {
				t.Errorf("got %v, want damage in line %d", err, test.line)
			}
			after, err := os.ReadFile(path)
			ok(t, err)
			if !bytes.Equal(after, test.data) {
				t.Error("the damaged file was changed")
			}
			if _, err := Open(path, testEnds); errors.As(err, new(*LockedError)) {
				t.Error("the lock was kept")
			}
		})
	}
}

func TestAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	data, err := encode(entry{N: 1, Head: &head{Version: FormatVersion + 1, Ends: testEnds}})
	ok(t, err)
	ok(t, os.WriteFile(path, data, 0o600))
	if _, err := Open(path, testEnds); err == nil || !strings.Contains(err.Error(), "format version 2") {
		t.Errorf("got %v, want an error about the version", err)
	}
}

// Compaction keeps everything, and wherever it is killed nothing is lost.
func TestCompactionKilled(t *testing.T) {
	made := func(t *testing.T) (*Ledger, map[string]content) {
		l := open(t, filepath.Join(t.TempDir(), "ledger"))
		history(t, l, func() {})
		return l, contents(l)
	}
	check := func(t *testing.T, path string, want map[string]content) {
		t.Helper()
		l := open(t, path)
		if diff := cmp.Diff(want, contents(l)); diff != "" || l.Notice() != "" {
			t.Fatalf("notice %q (-want +got):\n%s", l.Notice(), diff)
		}
		ok(t, l.Compact()) // over what was left
		ok(t, l.Mailbox("New").Reset(Binding{Target: "New", SourceValidity: 1, TargetValidity: 1}))
		l = reopen(t, l)
		delete(l.state.mailboxes, "New")
		if diff := cmp.Diff(want, contents(l)); diff != "" {
			t.Fatalf("compacted again (-want +got):\n%s", diff)
		}
		ok(t, l.Close())
		if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file beside it is still there: %v", err)
		}
	}
	t.Run("while the file beside it is written", func(t *testing.T) {
		l, want := made(t)
		beside, size, _, err := l.writeBeside()
		ok(t, err)
		ok(t, beside.Close())
		l.abandon(t)
		for cut := size; cut >= 0; cut -= 97 {
			ok(t, os.Truncate(l.path+".new", cut))
			again := open(t, l.path)
			if diff := cmp.Diff(want, contents(again)); diff != "" {
				t.Fatalf("killed at byte %d (-want +got):\n%s", cut, diff)
			}
			again.abandon(t)
		}
		check(t, l.path, want)
	})
	t.Run("before the renaming", func(t *testing.T) {
		l, want := made(t)
		beside, _, _, err := l.writeBeside()
		ok(t, err)
		ok(t, beside.Close())
		l.abandon(t)
		check(t, l.path, want)
	})
	t.Run("after the renaming", func(t *testing.T) {
		l, want := made(t)
		beside, _, _, err := l.writeBeside()
		ok(t, err)
		ok(t, beside.Close())
		ok(t, os.Rename(beside.Name(), l.path))
		l.abandon(t)
		check(t, l.path, want)
	})
	t.Run("after all", func(t *testing.T) {
		l, want := made(t)
		before := l.size
		ok(t, l.Compact())
		if l.size >= before {
			t.Errorf("%d bytes became %d", before, l.size)
		}
		l.abandon(t)
		check(t, l.path, want)
	})
}

// Open compacts a ledger most of which tells of what is no more.
func TestOpenCompacts(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger"))
	m := l.Mailbox("INBOX")
	for range 10 {
		ok(t, m.Reset(inbox))
		ok(t, m.Adopt(testRows(1, 1, maxRows)))
	}
	want, before := contents(l), l.size
	l = reopen(t, l)
	if l.size > before/8 {
		t.Errorf("%d bytes became %d, want about a tenth", before, l.size)
	}
	if diff := cmp.Diff(want, contents(l)); diff != "" {
		t.Error("it is not the same any more")
	}
	ok(t, l.Close())
}

// Whatever a file holds, Open gives an error or a ledger that can be written and
// compacted and claims nothing twice.
func FuzzOpen(f *testing.F) {
	l := open(f, filepath.Join(f.TempDir(), "ledger"))
	history(f, l, func() {})
	ok(f, l.Close())
	whole, err := os.ReadFile(l.path)
	ok(f, err)
	f.Add(whole, false)
	f.Add(whole[:len(whole)/2], false)
	var unsummed []byte
	for line := range bytes.Lines(whole) {
		unsummed = append(unsummed, line[len(crcField)+8:]...)
	}
	f.Add(unsummed, true)
	f.Fuzz(func(t *testing.T, data []byte, sum bool) {
		if sum { // with right checksums, so that what is behind them is reached
			var summed []byte
			for line := range bytes.Lines(data) {
				summed = append(append(append(summed, crcField...), checksum(line)...), line...)
			}
			data = summed
		}
		path := filepath.Join(t.TempDir(), "ledger")
		ok(t, os.WriteFile(path, data, 0o600))
		l, err := Open(path, testEnds)
		if err != nil {
			return
		}
		want := contents(l)
		for name, c := range want {
			if len(c.Claims) != len(c.Rows) {
				t.Errorf("mailbox %q: %d rows claim %d messages", name, len(c.Rows), len(c.Claims))
			}
		}
		ok(t, l.Compact())
		l = reopen(t, l)
		if diff := cmp.Diff(want, contents(l)); diff != "" {
			t.Errorf("after compaction (-want +got):\n%s", diff)
		}
		ok(t, l.Close())
	})
}

// A ledger of 50,000 messages copied in batches of 100.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "ledger")
	l := open(b, path)
	m := l.Mailbox("INBOX")
	ok(b, m.Reset(inbox))
	for n := uint32(1); n <= 50_000; n += 100 {
		ok(b, m.Adopt(testRows(n, n, 100)))
	}
	b.SetBytes(l.size)
	ok(b, l.Close())
	b.ReportAllocs()
	for b.Loop() {
		l := open(b, path)
		if l.Mailbox("INBOX").Len() != 50_000 {
			b.Fatal("rows are missing")
		}
		l.abandon(b)
	}
}
