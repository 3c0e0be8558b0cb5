package remote

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOperation(t *testing.T) { checkOperation(t, testLocal(t)) }

func checkOperation(t *testing.T, r Runner) {
	t.Helper()
	ctx := context.Background()
	mark := t.TempDir() + "/runs"
	op := Operation{
		ID: "copy-1", Name: "copying", Args: []string{mark, "it's $(x)"}, Stdin: []byte("secret\x00data"),
		Script: `echo ran >>"$1"; printf '%s\n' "$2"; cat; echo trouble >&2; exit 3`,
	}
	if s, err := State(ctx, r, op.ID); err != nil || s.State != NotStarted {
		t.Fatalf("before: %+v, %v", s, err)
	}
	if _, err := Start(ctx, r, op); err != nil {
		t.Fatal(err)
	}
	var out []byte
	s, err := Wait(ctx, r, op.ID, func(p []byte) { out = append(out, p...) })
	if err != nil || s.State != Done || s.Code != 3 || s.Stderr != "trouble" || s.PID == 0 || s.BootID == "" || s.Started.IsZero() {
		t.Errorf("got %+v, %v", s, err)
	}
	if want := "it's $(x)\nsecret\x00data"; string(out) != want {
		t.Errorf("output %q, want %q", out, want)
	}
	var exited *ExitError
	if !errors.As(s.Err(), &exited) || exited.Status != 3 {
		t.Errorf("Err is %v, want exit status 3", s.Err())
	}
	// Started again, it is as it was.
	if s, err := Start(ctx, r, op); err != nil || s.State != Done || s.Code != 3 || string(s.Out) != string(out) {
		t.Errorf("started again: %+v, %v", s, err)
	}
	if got := read(t, mark); got != "ran\n" {
		t.Errorf("it ran %q, want once", got)
	}
	op.Args[1] = "other"
	if _, err := Start(ctx, r, op); !errors.Is(err, ErrOtherOperation) {
		t.Errorf("same id, other data: %v", err)
	}
	ids, err := Operations(ctx, r)
	if err != nil || !cmp.Equal(ids, []string{"copy-1"}) {
		t.Errorf("Operations: %q, %v", ids, err)
	}
	secrets := sh(t, "/", `grep -rl secret `+quote(r.StateDir())+` || true`)
	if want := r.StateDir() + "/ops/copy-1/out\n"; secrets != want {
		t.Errorf("the input is still in %q, want only what the script itself printed", secrets)
	}
	if ids, err := Reap(ctx, r, time.Hour); err != nil || len(ids) > 0 {
		t.Errorf("reaping by age: %q, %v; want nothing", ids, err)
	}
	if ids, err := Reap(ctx, r, 0); err != nil || !cmp.Equal(ids, []string{"copy-1"}) {
		t.Errorf("reaping: %q, %v", ids, err)
	}
	if left := sh(t, r.StateDir()+"/ops", "ls -A"); left != "" {
		t.Errorf("left: %q", left)
	}
}

// A blocked operation runs until its fifo is opened for writing.
func blocked(t *testing.T, id string) (op Operation, release func()) {
	t.Helper()
	dir := t.TempDir()
	fifo := dir + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	op = Operation{ID: id, Name: "waiting", Args: []string{fifo, dir + "/runs"}, Script: `echo ran >>"$2"; echo first; read -r x <"$1"; echo "then $x"`}
	return op, func() { write(t, fifo, "done\n", 0o600) }
}

func TestOperationIsFollowed(t *testing.T) {
	ctx := context.Background()
	l := testLocal(t)
	op, release := blocked(t, "a")
	if s, err := Start(ctx, l, op); err != nil || s.State != Running {
		t.Fatalf("got %+v, %v", s, err)
	}
	if s, err := Start(ctx, l, op); err != nil || s.State != Running || Temporary(s.Err()) || !Unknown(s.Err()) {
		t.Errorf("started again: %+v, %v", s, err)
	}
	if ids, err := Reap(ctx, l, 0); err != nil || len(ids) > 0 {
		t.Errorf("reaping: %q, %v; want nothing", ids, err)
	}
	released := false
	var out []string
	s, err := Wait(ctx, l, "a", func(p []byte) {
		out = append(out, string(p))
		if !released {
			released = true
			release()
		}
	})
	if want := "first\nthen done\n"; err != nil || s.Err() != nil || strings.Join(out, "") != want || len(out) < 2 {
		t.Errorf("got %+v, %v, output in %q; want %q in two parts", s, err, out, want)
	}
	if got := read(t, op.Args[1]); got != "ran\n" {
		t.Errorf("it ran %q, want once", got)
	}
}

func TestOperationStartedByManyAtOnce(t *testing.T) {
	l := testLocal(t)
	mark := t.TempDir() + "/runs"
	op := Operation{ID: "once", Name: "running once", Args: []string{mark}, Script: `echo ran >>"$1"`}
	var work sync.WaitGroup
	for range 12 {
		work.Go(func() {
			if _, err := Start(context.Background(), l, op); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if s, err := Wait(context.Background(), l, "once", nil); err != nil || s.Err() != nil {
		t.Errorf("got %+v, %v", s, err)
	}
	if got := read(t, mark); got != "ran\n" {
		t.Errorf("it ran %q, want once", got)
	}
}

func TestOperationDies(t *testing.T) {
	ctx := context.Background()
	l := testLocal(t)
	op, _ := blocked(t, "victim")
	op.Script = `echo last words >&2; ` + op.Script
	if _, err := Start(ctx, l, op); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the operation to run", func() bool { return read(t, op.Args[1]) != "absent" })
	s, err := State(ctx, l, "victim")
	if err != nil || s.State != Running {
		t.Fatalf("got %+v, %v", s, err)
	}
	if err := syscall.Kill(-s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s, err = Wait(ctx, l, "victim", nil)
	var died *DiedError
	if err != nil || s.State != Died || !errors.As(s.Err(), &died) || !Unknown(s.Err()) || s.Stderr != "last words" {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := Start(ctx, l, op); err != nil || s.State != Died {
		t.Errorf("started again: %+v, %v; what died is not run again", s, err)
	}
}

// While a process of the operation lives, it has not died, whatever became of the
// shell that carries it.
func TestOperationOutlivesItsShell(t *testing.T) {
	ctx := context.Background()
	l := testLocal(t)
	op, release := blocked(t, "orphan")
	if _, err := Start(ctx, l, op); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the operation to run", func() bool { return read(t, op.Args[1]) != "absent" })
	s, err := State(ctx, l, "orphan")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, err := State(ctx, l, "orphan"); err != nil || s.State != Running {
		t.Errorf("got %+v, %v; want running", s, err)
	}
	release()
	if s, err := Wait(ctx, l, "orphan", nil); err != nil || s.State != Died {
		t.Errorf("got %+v, %v; want died", s, err)
	}
}

func TestOperationStopped(t *testing.T) {
	ctx := context.Background()
	l := testLocal(t)
	op, _ := blocked(t, "stopped")
	if _, err := Start(ctx, l, op); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the operation to run", func() bool { return read(t, op.Args[1]) != "absent" })
	for range 2 {
		if s, err := Stop(ctx, l, "stopped"); err != nil || s.State != Done || s.Code != 128+15 {
			t.Errorf("got %+v, %v; want the status of SIGTERM", s, err)
		}
	}
}

// Killed before any command of its start, an operation has run once or not at all,
// and says which; started again it has run once, or has died.
func TestOperationKilledAtEachStep(t *testing.T) {
	for n := 1; ; n++ {
		dir := ramDir(t)
		l := &Local{State: dir + "/state", Path: counting(t, n, "kill -9 0") + ":" + defaultPath}
		op := Operation{ID: "x", Name: "adding a line", Args: []string{dir + "/runs"}, Script: `echo ran >>"$1"`}
		_, err := Start(context.Background(), l, op)
		if err == nil && !fired(l) {
			if _, err := Wait(context.Background(), l, "x", nil); err != nil && !fired(l) {
				t.Fatal(err)
			}
		}
		was := fired(l)
		l.Path = ""
		s, err := Wait(context.Background(), l, "x", nil)
		if err != nil {
			t.Fatalf("command %d: %v", n, err)
		}
		if runs := read(t, dir+"/runs"); s.State == NotStarted && runs != "absent" || s.State == Done && runs != "ran\n" {
			t.Errorf("command %d: %v, but the runs are %q", n, s.State, runs)
		}
		if _, err := Start(context.Background(), l, op); err != nil {
			t.Errorf("command %d: started again: %v", n, err)
		}
		s, err = Wait(context.Background(), l, "x", nil)
		if err != nil || s.State != Done && s.State != Died {
			t.Errorf("command %d: started again: %+v, %v", n, s, err)
		}
		if runs := read(t, dir+"/runs"); runs != "ran\n" && !(s.State == Died && runs == "absent") {
			t.Errorf("command %d: %v after runs %q", n, s.State, runs)
		}
		if !was {
			if n < 15 {
				t.Fatalf("only %d commands were seen: the stand-ins are not used", n)
			}
			return
		}
	}
}

func TestOperationIDsArePlain(t *testing.T) {
	for _, id := range []string{"", ".", "..", "../x", "a/b", "-x", "a b", "a\n", strings.Repeat("x", 200)} {
		if _, err := Start(context.Background(), testLocal(t), Operation{ID: id, Script: "true"}); err == nil {
			t.Errorf("id %q was accepted", id)
		}
	}
}

// The machine restarted: no process holds the lock and the boot id is another one.
func TestOperationAfterRestart(t *testing.T) {
	ctx := context.Background()
	l := testLocal(t)
	dir := filepath.Join(l.State, "ops", "before")
	for name, text := range map[string]string{"digest": "x\n", "lock": "", "started": "1700000000\n", "pid": "1\n", "boot_id": "0-0\n", "out": "half", "err": ""} {
		write(t, filepath.Join(dir, name), text, 0o600)
	}
	s, err := Stop(ctx, l, "before") // and process 1 is left alone
	if err != nil || s.State != Died || string(s.Out) != "half" || s.PID != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := exec.Command("kill", "-0", "1").Run(); os.Getuid() == 0 && err != nil {
		t.Errorf("process 1: %v", err)
	}
}
