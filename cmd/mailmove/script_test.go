package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mailmove": main})
}

// The scripts specify the command line. Each holds a configuration, commands and
// what must come of them. The first word of a script's name is its category. Besides
// testscript's own commands there are those of scriptCommands, in words of the
// domain; the servers that they start are real ones on loopback, in this process.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[worldKey{}] = &world{servers: map[string]*server.Server{}}
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			env.Defer(func() {
				if err := env.Values[worldKey{}].(*world).close(); err != nil {
					fmt.Fprintln(os.Stderr, "closing the script's servers:", err)
				}
			})
			return nil
		},
		Cmds: scriptCommands(),
		Condition: func(name string) (bool, error) {
			if name == "sshd" {
				return canSSHD()
			}
			return false, fmt.Errorf("there is no condition %q", name)
		},
	})
}

func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"exits":            scriptExits,
		"kill9":            scriptKill9,
		"zone":             scriptZone,
		"zone-fault":       scriptZoneFault,
		"record":           scriptRecord,
		"lookup":           scriptLookup,
		"lines":            scriptLines,
		"mode":             scriptMode,
		"damage":           scriptDamage,
		"lock-state":       scriptLockState,
		"unlock-state":     scriptUnlockState,
		"sleep":            scriptSleep,
		"until":            scriptUntil,
		"sshd":             scriptSSHD,
		"another-host-key": scriptAnotherHostKey,
	}
	maps.Copy(commands, mailCommands())
	return commands
}

// exits CODE COMMAND [ARG…] runs a command that must end with that exit code.
// stdout and stderr are those of the command.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// lines FILE N checks that a file, stdout or stderr has N lines.
func scriptLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if got := strings.Count(ts.ReadFile(args[0]), "\n"); got != want {
		ts.Fatalf("%s has %d lines, want %d", args[0], got, want)
	}
}

// mode FILE MODE checks a file's permissions.
func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// damage FILE OLD NEW replaces a text in a file, as an accident would.
func scriptDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage FILE OLD NEW")
	}
	data := ts.ReadFile(args[0])
	if !strings.Contains(data, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(data, args[1], args[2], 1)), 0o600))
}

// kill9 PATTERN COMMAND [ARG…] runs a command and kills it, as a crash would, as
// soon as its standard error has PATTERN.
func scriptKill9(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: kill9 PATTERN COMMAND [ARG...]")
	}
	cmd := exec.Command(findProgram(ts, args[1]), args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(environ(ts), "PWD="+ts.MkAbs("."))
	seen := &watcher{pattern: args[0], found: make(chan struct{})}
	cmd.Stderr, cmd.Stdout = seen, seen
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-seen.found:
		ts.Check(cmd.Process.Kill())
		<-ended
	case err := <-ended:
		ts.Fatalf("%s ended (%v) before it said %q; it said:\n%s", args[1], err, args[0], seen.text())
	}
}

// lock-state FILE USER takes the lock of a state, as another operator would.
func scriptLockState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lock-state FILE USER")
	}
	holder := state.Holder{User: args[1], Host: "elsewhere", PID: 4711, Command: "mailmove apply", Since: time.Now()}
	unlock, err := state.NewFile(ts.MkAbs(args[0])).Lock(holder, 0)
	ts.Check(err)
	worldOf(ts).unlock = unlock
}

// unlock-state gives the lock back.
func scriptUnlockState(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) != 0 || w.unlock == nil {
		ts.Fatalf("usage: unlock-state, after lock-state")
	}
	ts.Check(w.unlock())
	w.unlock = nil
}

// sleep DURATION lets time pass, for what has a time.
func scriptSleep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sleep DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

// until PATTERN COMMAND [ARG…] runs a command again and again until its standard
// output matches.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND [ARG...]")
	}
	pattern := regexp.MustCompile(args[0])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command(findProgram(ts, args[1]), args[2:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), environ(ts)
		out, err := cmd.CombinedOutput()
		if err == nil && pattern.Match(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not say %q; at last it said (%v):\n%s", args[1], args[0], err, out)
		}
	}
}
