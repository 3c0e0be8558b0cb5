package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read returns a file's content, or "absent".
func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// leftovers are the files of an edit that lie about under dir.
func leftovers(t testing.TB, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if strings.Contains(p, ".mailmove-") {
			found = append(found, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEdit(t *testing.T) { checkEdit(t, testLocal(t)) }

func checkEdit(t *testing.T, r Runner) {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	changed, made, gone := dir+"/it's $(a) map", dir+"/deep/er/new", dir+"/gone"
	write(t, changed, "old\n", 0o640)
	write(t, gone, "bye\n", 0o604)
	edits := []FileEdit{
		{Path: changed, Expect: Digest([]byte("old\n")), Content: []byte("new\x00\xff\n"), Validate: `[ "$(head -c 3 "$1")" = new ] && [ -f "$2" ]`},
		{Path: made, Content: []byte("made\n"), Mode: 0o644, DirMode: 0o755},
		{Path: gone, Expect: Digest([]byte("bye\n")), Remove: true},
	}
	got, err := Edit(ctx, r, "op1", edits...)
	want := []Edited{
		{Path: changed, Changed: true, SHA256: Digest([]byte("new\x00\xff\n"))},
		{Path: made, Changed: true, SHA256: Digest([]byte("made\n"))},
		{Path: gone, Changed: true},
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	checkFile(t, changed, "new\x00\xff\n", 0o640)
	checkFile(t, made, "made\n", 0o644)
	checkFile(t, dir+"/deep", "", fs.ModeDir|0o755)
	checkFile(t, dir+"/deep/er", "", fs.ModeDir|0o755)
	if s := read(t, gone); s != "absent" {
		t.Errorf("removed file holds %q", s)
	}

	// A second time nothing is to be done.
	got, err = Edit(ctx, r, "op1", edits...)
	for i := range want {
		want[i].Changed = false
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("repeated: got %+v, %v; want no change", got, err)
	}

	if got, err = Restore(ctx, r, "op1", map[string]string{
		changed: want[0].SHA256, made: want[1].SHA256, gone: "",
	}, ""); err != nil || len(got) != 3 {
		t.Errorf("restoring: %+v, %v", got, err)
	}
	checkFile(t, changed, "old\n", 0o640)
	checkFile(t, gone, "bye\n", 0o604)
	if s := read(t, made); s != "absent" {
		t.Errorf("after restoring, the new file holds %q", s)
	}
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left over: %q", l)
	}
}

func checkFile(t testing.TB, path, content string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if info.Mode() != mode {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
	}
	if !mode.IsDir() && read(t, path) != content {
		t.Errorf("%s holds %q, want %q", path, read(t, path), content)
	}
}

func TestEditRefuses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	l := testLocal(t)
	old := Digest([]byte("old"))
	good, f := dir+"/good", dir+"/f"
	for _, tt := range []struct {
		name  string
		setup string
		edit  FileEdit
		want  string
	}{
		{"a symbolic link", `ln -s good f`, FileEdit{Path: f, Expect: old}, "symbolic link to " + good},
		{"a dangling link", `ln -s nowhere f`, FileEdit{Path: f}, "symbolic link"},
		{"a hard link", `ln good f`, FileEdit{Path: f, Expect: old}, "hard link"},
		{"a directory", `mkdir f`, FileEdit{Path: f}, "not a regular file"},
		{"a fifo", `mkfifo f`, FileEdit{Path: f}, "not a regular file"},
		{"an open parent", `mkdir o; chmod 777 o`, FileEdit{Path: dir + "/o/f"}, "others may write"},
		{"a sticky open parent", `mkdir o; chmod 1777 o`, FileEdit{Path: dir + "/o/f"}, "others may write"},
		{"an open grandparent", `mkdir -p o/p; chmod 777 o`, FileEdit{Path: dir + "/o/p/f"}, "others may write"},
		{"a linked parent", `mkdir o; ln -s o p`, FileEdit{Path: dir + "/p/f"}, "use " + dir + "/o"},
		{"no parent", `true`, FileEdit{Path: dir + "/o/f"}, "no directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sh(t, dir, `rm -rf f o p good; printf old >good; `+tt.setup)
			before := sh(t, dir, `ls -lR`)
			tt.edit.Content = []byte("new")
			second := FileEdit{Path: good, Expect: old, Content: []byte("new")}
			if tt.name == "a hard link" {
				second = FileEdit{Path: dir + "/other", Content: []byte("new")}
			}
			_, err := Edit(ctx, l, "op", second, tt.edit)
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.want) || refused.Path != tt.edit.Path {
				t.Errorf("got %v, want a RefusedError with %q", err, tt.want)
			}
			if after := sh(t, dir, `ls -lR`); after != before {
				t.Errorf("changed:\n%s\nwas:\n%s", after, before)
			}
		})
	}
}

func sh(t testing.TB, dir, script string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: other users, a file system of its own or sshd are left out")
	}
}

func TestEditKeepsOwnersAndRefusesOthers(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	dir := t.TempDir()
	l := &Local{State: dir + "/state"}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody: files of other owners are left out")
	}
	f := dir + "/f"
	write(t, f, "old", 0o604)
	sh(t, dir, `chown nobody:daemon f`)
	edit := FileEdit{Path: f, Expect: Digest([]byte("old")), Content: []byte("new")}
	var refused *RefusedError
	if _, err := Edit(ctx, l, "op", edit); !errors.As(err, &refused) || !strings.Contains(err.Error(), "belongs to nobody") {
		t.Errorf("got %v, want a refusal that names nobody", err)
	}
	edit.Owner = "nobody"
	if _, err := Edit(ctx, l, "op", edit); err != nil {
		t.Error(err)
	}
	if got := sh(t, dir, `stat -c %U:%G:%a f`); got != "nobody:daemon:604\n" || read(t, f) != "new" {
		t.Errorf("got %s", got)
	}
	edit = FileEdit{Path: f, Expect: Digest([]byte("new")), Content: []byte("new"), Owner: nobody.Uid + ":0", Mode: 0o600}
	if _, err := Edit(ctx, l, "op", edit); err != nil {
		t.Error(err)
	}
	if got := sh(t, dir, `stat -c %U:%G:%a f`); got != "nobody:root:600\n" {
		t.Errorf("changing only owner and mode: got %s", got)
	}
	sh(t, dir, `mkdir d; chown nobody d`)
	if _, err := Edit(ctx, l, "op", FileEdit{Path: dir + "/d/f", Content: []byte("x")}); !errors.As(err, &refused) {
		t.Errorf("in nobody's directory: got %v, want a refusal", err)
	}
}

func TestEditConflict(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	l := &Local{State: dir + "/state"}
	write(t, dir+"/a", "old", 0o600)
	write(t, dir+"/b", "other", 0o600)
	for _, tt := range []struct {
		edit FileEdit
		got  string
	}{
		{FileEdit{Path: dir + "/b", Expect: Digest([]byte("old"))}, Digest([]byte("other"))},
		{FileEdit{Path: dir + "/b"}, Digest([]byte("other"))},
		{FileEdit{Path: dir + "/c", Expect: Digest([]byte("old"))}, ""},
		{FileEdit{Path: dir + "/b", Expect: Digest([]byte("old")), Remove: true}, Digest([]byte("other"))},
	} {
		if !tt.edit.Remove {
			tt.edit.Content = []byte("new")
		}
		_, err := Edit(ctx, l, "op", FileEdit{Path: dir + "/a", Expect: Digest([]byte("old")), Content: []byte("new")}, tt.edit)
		var conflict *ConflictError
		if !errors.As(err, &conflict) || conflict.Got != tt.got || conflict.Want != tt.edit.Expect || conflict.Path != tt.edit.Path || Unknown(err) {
			t.Errorf("got %v, want a conflict with %q", err, tt.got)
		}
		if read(t, dir+"/a") != "old" || read(t, dir+"/b") != "other" || read(t, dir+"/c") != "absent" {
			t.Error("a conflict changed something")
		}
	}
}

func TestEditInvalid(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	l := &Local{State: dir + "/state"}
	write(t, dir+"/a", "old", 0o600)
	_, err := Edit(ctx, l, "op", FileEdit{Path: dir + "/a", Expect: Digest([]byte("old")), Content: []byte("new"),
		Validate: `echo "$(cat "$1"): bad line 3 for ${2##*/}"; exit 1`})
	var invalid *InvalidError
	if !errors.As(err, &invalid) || invalid.Said != "new: bad line 3 for a" {
		t.Errorf("got %v, want what the validation said", err)
	}
	if read(t, dir+"/a") != "old" || len(leftovers(t, dir)) > 0 {
		t.Error("an invalid edit left something behind")
	}
}

func TestEditWaitsForTheLock(t *testing.T) {
	dir := t.TempDir()
	l := &Local{State: dir + "/state", Path: stub(t, "flock", `exec /usr/bin/flock -w 0 9`) + ":" + defaultPath}
	if err := os.Mkdir(l.State, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(l.State+"/lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = Edit(context.Background(), l, "op", FileEdit{Path: dir + "/a", Content: []byte("x")})
	var locked *LockedError
	if !errors.As(err, &locked) || !Temporary(err) {
		t.Errorf("got %v, want a LockedError that is temporary", err)
	}
}

// stub makes a directory with a program of the given name.
func stub(t testing.TB, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/"+name, "#!/bin/sh\n"+script+"\n", 0o755)
	return dir
}

func TestConcurrentEditsOfOneFile(t *testing.T) {
	dir := t.TempDir()
	l := &Local{State: dir + "/state"}
	f := dir + "/counter"
	write(t, f, "", 0o600)
	const writers, rounds = 6, 5
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for n := range rounds {
				for done := false; !done; {
					old, err := ReadFile(context.Background(), l, f)
					if err != nil {
						t.Error(err)
						return
					}
					_, err = Edit(context.Background(), l, "op", FileEdit{Path: f, Expect: old.SHA256, Content: fmt.Appendf(old.Content, "%d.%d\n", w, n)})
					var conflict *ConflictError
					if done = err == nil; !done && !errors.As(err, &conflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	work.Wait()
	seen := map[string]int{}
	for _, line := range lines(f) {
		seen[line]++
	}
	if len(seen) != writers*rounds || len(lines(f)) != writers*rounds {
		t.Errorf("%d lines, %d different; want %d: an edit was lost", len(lines(f)), len(seen), writers*rounds)
	}
}

// A write by somebody else, between any two commands of the script, is never lost:
// either the edit sees it and leaves the file, or it came after the edit.
func TestWriteByOthersInBetween(t *testing.T) {
	for n := 1; ; n++ {
		dir := ramDir(t)
		f := dir + "/f"
		write(t, f, "old", 0o600)
		write(t, dir+"/g", "old", 0o600)
		l := &Local{State: dir + "/state", Path: counting(t, n, `printf 'by others' >`+quote(f)) + ":" + defaultPath}
		_, err := Edit(context.Background(), l, "op",
			FileEdit{Path: dir + "/g", Expect: Digest([]byte("old")), Content: []byte("new")},
			FileEdit{Path: f, Expect: Digest([]byte("old")), Content: []byte("new")})
		if read(t, f) != "by others" {
			if err == nil && read(t, f) == "new" && !fired(l) {
				return // the script has fewer commands than n
			}
			t.Fatalf("command %d: the file holds %q (edit: %v), want what the other wrote", n, read(t, f), err)
		}
		var conflict *ConflictError
		if err != nil && !errors.As(err, &conflict) {
			t.Errorf("command %d: %v, want a conflict or success", n, err)
		}
		want := "new"
		if err != nil {
			want = "old"
		}
		if got := read(t, dir+"/g"); got != want {
			t.Errorf("command %d: the other file holds %q, want %q (edit: %v)", n, got, want, err)
		}
		if l := leftovers(t, dir); len(l) > 0 {
			t.Errorf("command %d: left over: %q", n, l)
		}
	}
}

// counting makes stand-ins of the programs that edit.sh and operation.sh use; the
// n-th call runs script first, every call then the real program.
func counting(t testing.TB, n int, script string) string {
	t.Helper()
	dir := ramDir(t)
	write(t, dir+"/calls", "0\n", 0o600)
	for _, name := range []string{"sha256sum", "mv", "ln", "rm", "cp", "sync", "mkdir", "head", "flock", "chmod", "chown", "install", "stat", "setsid", "cat", "ls", "readlink"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir+"/"+name, fmt.Sprintf(`#!/bin/sh
n=0
read -r n <%[1]s/calls
n=$((n + 1))
echo $n >%[1]s/calls
if [ "$n" = %[2]d ]; then
	echo %[3]s >%[1]s/fired
	%[4]s
fi
exec %[5]s "$@"
`, dir, n, name, script, real), 0o755)
	}
	return dir
}

// fired reports whether the stand-ins of counting have run their script.
func fired(l *Local) bool {
	dir, _, _ := strings.Cut(l.Path, ":")
	_, err := os.Stat(dir + "/fired")
	return err == nil
}

// Killed before any of its commands, an edit leaves each file old or new, and the
// same edit afterwards completes the work.
func TestEditKilledAtEachStep(t *testing.T) {
	for n := 1; ; n++ {
		dir := ramDir(t)
		write(t, dir+"/a", "old a", 0o640)
		write(t, dir+"/gone", "bye", 0o600)
		l := &Local{State: dir + "/state", Path: counting(t, n, "kill -9 0") + ":" + defaultPath}
		edits := []FileEdit{
			{Path: dir + "/a", Expect: Digest([]byte("old a")), Content: []byte("new a"), Validate: "true"},
			{Path: dir + "/d/b", Content: []byte("new b"), Mode: 0o644, DirMode: 0o755},
			{Path: dir + "/gone", Expect: Digest([]byte("bye")), Remove: true},
		}
		_, err := Edit(context.Background(), l, "op", edits...)
		if !fired(l) {
			if err != nil {
				t.Fatal(err)
			}
			if n < 30 {
				t.Fatalf("only %d commands were seen: the stand-ins are not used", n)
			}
			return
		}
		if err == nil {
			t.Errorf("command %d: a killed edit reports success", n)
		}
		for path, either := range map[string][2]string{"/a": {"old a", "new a"}, "/d/b": {"absent", "new b"}, "/gone": {"bye", "absent"}} {
			if got := read(t, dir+path); got != either[0] && got != either[1] {
				t.Errorf("command %d: %s holds %q, want old or new", n, path, got)
			}
		}
		l.Path = ""
		if _, err := Edit(context.Background(), l, "op", edits...); err != nil {
			t.Errorf("command %d: repeated: %v", n, err)
		}
		checkFile(t, dir+"/a", "new a", 0o640)
		checkFile(t, dir+"/d/b", "new b", 0o644)
		if got := read(t, dir+"/gone"); got != "absent" {
			t.Errorf("command %d: repeated: the file to be removed holds %q", n, got)
		}
		if l := leftovers(t, dir); len(l) > 0 {
			t.Errorf("command %d: left over: %q", n, l)
		}
		if n%4 != 0 {
			continue // one restoration in four is enough
		}
		if _, err := Restore(context.Background(), l, "op", map[string]string{
			dir + "/a": Digest([]byte("new a")), dir + "/d/b": Digest([]byte("new b")), dir + "/gone": "",
		}, ""); err != nil {
			t.Errorf("command %d: restoring: %v", n, err)
		}
		checkFile(t, dir+"/a", "old a", 0o640)
		if read(t, dir+"/d/b") != "absent" || read(t, dir+"/gone") != "bye" {
			t.Errorf("command %d: restoring left %q and %q", n, read(t, dir+"/d/b"), read(t, dir+"/gone"))
		}
	}
}

func TestEditOnFullDisk(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a tmpfs (%s): the full disk is left out", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { sh(t, "/", "umount "+quote(dir)) })
	l := testLocal(t)
	write(t, dir+"/a", "old", 0o600)
	_, err := Edit(context.Background(), l, "op", FileEdit{Path: dir + "/a", Expect: Digest([]byte("old")), Content: make([]byte, 100_000)})
	if err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("got %v, want the server's message", err)
	}
	if read(t, dir+"/a") != "old" || len(leftovers(t, dir)) > 0 {
		t.Error("a full disk left something behind")
	}
}

// ramDir is a directory in memory, where a flush costs nothing: tests that flush
// thousands of times would wait for the disk alone.
func ramDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mailmove-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// What a file carries besides its content stays, or the edit is refused.
func TestEditKeepsAttributes(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	l := testLocal(t)
	f := dir + "/f"
	write(t, f, "old", 0o640)
	edit := FileEdit{Path: f, Expect: Digest([]byte("old")), Content: []byte("new")}
	if err := syscall.Setxattr(f, "user.origin", []byte("admin"), 0); err != nil {
		t.Skipf("the file system has no extended attributes (%v): they are left out", err)
	}
	if _, err := Edit(context.Background(), l, "op", edit); err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 20)
	if n, err := syscall.Getxattr(f, "user.origin", value); err != nil || string(value[:n]) != "admin" {
		t.Errorf("the extended attribute is %q, %v", value[:max(n, 0)], err)
	}

	if out, err := exec.Command("chattr", "+i", f).CombinedOutput(); err != nil {
		t.Skipf("no file can be made immutable here (%s): that is left out", strings.TrimSpace(string(out)))
	}
	defer sh(t, dir, "chattr -i f")
	edit = FileEdit{Path: f, Expect: Digest([]byte("new")), Content: []byte("newer")}
	var exited *ExitError
	if _, err := Edit(context.Background(), l, "op", edit); !errors.As(err, &exited) || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("an immutable file: got %v", err)
	}
	if read(t, f) != "new" || len(leftovers(t, dir)) > 0 {
		t.Errorf("the file holds %q, left over: %q", read(t, f), leftovers(t, dir))
	}
}
