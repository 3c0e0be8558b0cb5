package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testLocal(t testing.TB) *Local { return &Local{State: filepath.Join(t.TempDir(), "state")} }

// echoArgs writes each parameter with its length, so that nothing can hide.
const echoArgs = `for a in "$@"; do printf '%s:%s\n' "${#a}" "$a"; done; cat`

func checkEcho(t testing.TB, r Runner, args []string, stdin []byte) {
	t.Helper()
	res, err := r.Run(context.Background(), Command{Name: "echo", Script: echoArgs, Args: args, Stdin: stdin})
	if err != nil {
		t.Fatalf("args %q: %v", args, err)
	}
	var want bytes.Buffer
	for _, a := range args {
		fmt.Fprintf(&want, "%d:%s\n", len(a), a)
	}
	want.Write(stdin)
	if !bytes.Equal(res.Stdout, want.Bytes()) {
		t.Errorf("args %q arrived as %q, want %q", args, res.Stdout, want.Bytes())
	}
	if len(res.Stderr) > 0 {
		t.Errorf("args %q: stderr %q", args, res.Stderr)
	}
}

var hostileArgs = []string{
	"", " ", "-rf", "--", "a;touch /tmp/pwned", "$(id)", "`id`", "a\nb", "\n", "\n\n", "'", "''", `'\''`, `"`, `\`, `\\`, "*", "~", "~root", "$1", "${x:-y}",
	"!x", "#", "a#b", "&", "|", ">x", "<x", "(", ")", "é", "\xff\xfe", "\x80\x81\x82\x83\x84\x85\x86\x87\x88", "\t", "\r", "\x1b[2J", "\x7f", "../../etc/passwd",
	strings.Repeat("x", 300), strings.Repeat("'", 1000), "EOF", "\nEOF\n", "x\n#", "%s%n", "\x01\x02",
}

func TestArgsArriveUnchanged(t *testing.T) {
	l := testLocal(t)
	for _, a := range hostileArgs {
		checkEcho(t, l, []string{a, "end"}, nil)
	}
	checkEcho(t, l, hostileArgs, []byte("data\x00with everything\xff'\n"))
	checkEcho(t, l, nil, bytes.Repeat([]byte{0, '\n', 0xff}, 400_000))

	const seed = 20261123
	random := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		args := make([]string, 200)
		for i := range args {
			a := make([]byte, random.IntN(40))
			for j := range a {
				a[j] = byte(1 + random.IntN(255))
			}
			args[i] = string(a)
		}
		checkEcho(t, l, args, nil)
	}
}

func FuzzArgs(f *testing.F) {
	for _, a := range hostileArgs {
		f.Add(a, "x", []byte("y"))
	}
	l := testLocal(f)
	f.Fuzz(func(t *testing.T, a, b string, stdin []byte) {
		if strings.ContainsRune(a+b, 0) {
			return
		}
		checkEcho(t, l, []string{a, b}, stdin)
	})
}

func TestArgsWithNUL(t *testing.T) {
	_, err := testLocal(t).Run(context.Background(), Command{Name: "x", Script: "true", Args: []string{"a\x00b"}})
	if err == nil || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("got %v, want an error that names NUL", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("BASH_ENV", "/nonexistent")
	t.Setenv("SECRET", "canary")
	res, err := testLocal(t).Run(context.Background(), Command{Name: "x", Script: `env; pwd; umask`})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LC_ALL=C\n", "PATH=" + defaultPath + "\n", "\n/\n", "\n0077\n"} {
		if !strings.Contains(string(res.Stdout), want) {
			t.Errorf("output %q lacks %q", res.Stdout, want)
		}
	}
	if strings.Contains(string(res.Stdout), "canary") {
		t.Error("a variable of the operator reached the script")
	}
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		script string
		want   int
		stderr string
	}{
		{"exit 3", 3, ""},
		{"echo no such map >&2; false", 1, "no such map"},
		{"kill -KILL $$", 137, ""},
		{"if then", 2, "yntax error"},
		{"printf 'red \\033[31m\\302\\205 text' >&2; exit 9", 9, "red \uFFFD[31m\uFFFD text"},
	} {
		res, err := testLocal(t).Run(context.Background(), Command{Name: "trying", Script: tt.script})
		var exited *ExitError
		if !errors.As(err, &exited) || exited.Status != tt.want || res.Status != tt.want || !strings.Contains(exited.Stderr, tt.stderr) {
			t.Errorf("%s: got %v, want status %d and %q", tt.script, err, tt.want, tt.stderr)
		}
		if Temporary(err) || Unknown(err) {
			t.Errorf("%s: temporary %v, unknown %v; want neither", tt.script, Temporary(err), Unknown(err))
		}
	}
}

func TestOutputBound(t *testing.T) {
	for _, script := range []string{"yes", "yes >&2", "yes & yes"} {
		_, err := testLocal(t).Run(context.Background(), Command{Name: "flooding", Script: script, MaxOutput: 100_000})
		var over *OutputError
		if !errors.As(err, &over) || !Unknown(err) {
			t.Errorf("%s: got %v, want an OutputError that says Unknown", script, err)
		}
	}
}

func TestCancelKillsTheScriptAndItsChildren(t *testing.T) {
	checkCancel(t, testLocal(t))
}

func checkCancel(t *testing.T, r Runner) {
	t.Helper()
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		waitFor(t, "the script to begin", func() bool { return len(lines(pids)) == 2 })
		cancel()
	}()
	_, err := r.Run(ctx, Command{Name: "sleeping", Script: `sh -c 'echo $$ >>"$0"; exec sleep 1000' "$1" & echo $$ >>"$1"; wait`, Args: []string{pids}})
	var cut *CutError
	if !errors.As(err, &cut) || !Unknown(err) || Temporary(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a CutError by cancellation that says Unknown", err)
	}
	for _, pid := range lines(pids) {
		waitFor(t, "process "+pid+" to end", func() bool {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

func lines(file string) []string {
	text, _ := os.ReadFile(file)
	return strings.Fields(string(text))
}

// waitFor waits for a condition, however slow the machine is.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Errorf("waited in vain for %s", what)
}

func TestDaemonThatKeepsTheOutputOpen(t *testing.T) {
	res, err := testLocal(t).Run(context.Background(), Command{Name: "starting a daemon", Script: `setsid sleep 30 & echo started $!`})
	if err != nil || !strings.HasPrefix(string(res.Stdout), "started ") {
		t.Errorf("got %q, %v; want the output without waiting for the daemon", res.Stdout, err)
	}
	killPid(t, strings.Fields(string(res.Stdout))[1])
}

func killPid(t *testing.T, pid string) {
	t.Helper()
	if _, err := testLocal(t).Run(context.Background(), Command{Name: "killing", Script: `kill "$1"`, Args: []string{pid}}); err != nil {
		t.Error(err)
	}
}

func TestStream(t *testing.T) { checkStream(t, testLocal(t)) }

func checkStream(t *testing.T, r Runner) {
	t.Helper()
	ctx := context.Background()
	s, err := r.Stream(ctx, Command{Name: "echoing", Script: `printf '%s\n' "$1"; exec cat`, Args: []string{"hello ' there"}})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789\x00\xff\n"), 200_000)
	go func() {
		if _, err := s.Write(data); err != nil {
			t.Error(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, append([]byte("hello ' there\n"), data...)) {
		t.Errorf("read %d bytes, %v; want what was written (%d)", len(got), err, len(data))
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}

	s, err = r.Stream(ctx, Command{Name: "failing", Script: `read -r x; echo "bad $x" >&2; exit 4`})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(s, "input")
	io.Copy(io.Discard, s)
	var exited *ExitError
	if err := s.Close(); !errors.As(err, &exited) || exited.Status != 4 || exited.Stderr != "bad input" {
		t.Errorf("got %v, want exit status 4 with bad input", err)
	}
}

func itoa(n int) string { return fmt.Sprint(n) }
