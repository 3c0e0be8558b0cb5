package remote

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadFiles(t *testing.T) { checkReadFiles(t, testLocal(t)) }

func checkReadFiles(t *testing.T, r Runner) {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	write(t, dir+"/a 'quoted' $(name)", "one\ntwo\x00\xff\n", 0o640)
	write(t, dir+"/empty", "", 0o600)
	if err := os.Symlink(dir+"/a 'quoted' $(name)", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := ReadFiles(ctx, r, dir+"/a 'quoted' $(name)", dir+"/missing", dir+"/empty", dir+"/link", dir, dir+"/fifo", "/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	a := files[0]
	if string(a.Content) != "one\ntwo\x00\xff\n" || a.SHA256 != Digest(a.Content) || a.Mode != 0o640 || a.Size != 10 || a.Links != 1 || !a.Exists {
		t.Errorf("got %+v", a)
	}
	info, err := os.Stat(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !a.ModTime.Equal(info.ModTime().Truncate(1e9)) || a.UID != os.Getuid() {
		t.Errorf("got owner %d, time %v; want %d, %v", a.UID, a.ModTime, os.Getuid(), info.ModTime())
	}
	if want := (File{Path: dir + "/missing"}); !cmp.Equal(files[1], want) {
		t.Errorf("missing file: got %+v", files[1])
	}
	if e := files[2]; !e.Exists || e.SHA256 != Digest(nil) || len(e.Content) != 0 {
		t.Errorf("empty file: got %+v", e)
	}
	if l := files[3]; l.Link != a.Path || string(l.Content) != string(a.Content) {
		t.Errorf("link: got %+v", l)
	}
	if d := files[4]; !d.Mode.IsDir() || d.SHA256 != "" {
		t.Errorf("directory: got %+v", d)
	}
	if p := files[5]; p.Mode.Type() != fs.ModeNamedPipe {
		t.Errorf("fifo: got %+v", p)
	}
	if v := files[6]; v.Size == 0 || v.Size != int64(len(v.Content)) {
		t.Errorf("a file of /proc, whose size stat does not know: got %+v", v)
	}

	if _, err := ReadFile(ctx, r, dir+"/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	stats, err := Stat(ctx, r, a.Path)
	if err != nil || stats[0].Content != nil || stats[0].SHA256 != "" || stats[0].Size != 10 {
		t.Errorf("Stat: got %+v, %v", stats, err)
	}
	names, err := ListDir(ctx, r, dir)
	if want := []string{"a 'quoted' $(name)", "empty", "fifo", "link"}; err != nil || !cmp.Equal(names, want) {
		t.Errorf("ListDir: got %q, %v; want %q", names, err, want)
	}
	if _, err := ListDir(ctx, r, dir+"/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ListDir: got %v, want fs.ErrNotExist", err)
	}
	found, err := Glob(ctx, r, dir+"/[a-e]*", dir+"/$(x)*", dir+"/nothing*")
	if want := []string{a.Path, dir + "/empty"}; err != nil || !cmp.Equal(found, want) {
		t.Errorf("Glob: got %q, %v; want %q", found, err, want)
	}
}

func TestPathsMustBePlain(t *testing.T) {
	for _, p := range []string{"", "relative", "-rf", "/a/../b", "/a//b", "/a/", "/a\nb", "/a\x00b", "/a\x1bb", "/\xff"} {
		if _, err := ReadFiles(context.Background(), testLocal(t), p); err == nil {
			t.Errorf("path %q was accepted", p)
		}
	}
}

func write(t testing.TB, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
