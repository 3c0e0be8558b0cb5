package postfix_dovecot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A passes is a script with a store into which passes go.
type passes struct {
	*script
	home string
}

func newPasses(t *testing.T) *passes {
	return &passes{newScript(t), filepath.Join(t.TempDir(), "example.com", "anna")}
}

// begin begins a pass of the operator with an epoch and returns what it printed.
func (p *passes) begin(epoch int, pass string) string {
	p.t.Helper()
	return p.want(0, p.epoch(epoch, p.beginArgs(pass)...)...)
}

func (p *passes) beginArgs(pass string) []string {
	return []string{"begin", pass, "rsync", p.home, strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid()), p.home + "/Maildir", "Maildir", "sieve"}
}

func (p *passes) epoch(number int, args ...string) []string {
	return append([]string{"--epoch", "test", strconv.Itoa(number)}, args...)
}

func (p *passes) end(epoch int, pass string) {
	p.t.Helper()
	p.want(0, p.epoch(epoch, "end", pass, p.home, p.home+"/Maildir", "sieve")...)
}

// mark raises the mark on the server, as homes.sh does.
func (p *passes) mark(number int) {
	p.t.Helper()
	file(p.t, filepath.Join(p.state, "homes/epochs/test"), fmt.Sprintf("%d bob\n", number))
}

// slowly starts a writer that has a child and would write for ever, and returns
// when it writes.
func (p *passes) slowly(args ...string) *exec.Cmd {
	p.t.Helper()
	p.standIn("rsync", `trap '' TERM; while :; do date +%N >"`+p.home+`/written"; sleep 0.01; done & wait`)
	cmd := p.command(args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
	p.eventually("it writes", func() bool { return p.written() != "" })
	p.standIn("rsync", "exit 0") // for who comes later, and should not
	return cmd
}

func (p *passes) written() string {
	b, _ := os.ReadFile(filepath.Join(p.home, "written")) // absent: nothing yet
	return string(b)
}

func (p *passes) eventually(what string, condition func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(45 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited 45 seconds in vain until %s", what)
		}
	}
}

// When a later operator's first act has returned, nothing of an earlier one writes
// any more or can begin to, however it is made of processes that ignore signals.
func TestReceiversOfOvertakenOperator(t *testing.T) {
	p := newPasses(t)
	p.begin(7, "first")
	writer := p.slowly(p.epoch(7, "serve", "first", p.home)...)
	// The same turn, an earlier one and another migration have nothing to end here.
	p.want(0, "end-receivers", "test", "7")
	p.want(0, "end-receivers", "test", "6")
	p.want(0, "end-receivers", "other", "9")
	before := p.written()
	p.eventually("it goes on writing", func() bool { return p.written() != before })

	p.mark(8)
	p.want(0, "end-receivers", "test", "8")
	if err := writer.Wait(); err == nil {
		t.Error("the writer has ended by itself")
	}
	last := p.written()
	time.Sleep(200 * time.Millisecond) // twenty times what it takes to write once
	if p.written() != last {
		t.Error("it still writes")
	}
	for _, late := range [][]string{p.beginArgs("late"), {"serve", "first", p.home}, {"replica", "first", p.home, "anna"}, {"aside", "first", "op", p.home, "Maildir"}, {"end", "first", p.home, p.home + "/Maildir"}} {
		if said := p.want(staleStatus, p.epoch(7, late...)...); said != "8 bob\n" {
			t.Errorf("%s of an overtaken operator printed %q, want the mark", late[0], said)
		}
	}
	p.begin(8, "second")
	p.end(8, "second")
}

// A writer that was about to begin when the mark was raised finds it: it looks
// once it can be found itself.
func TestReceiverThatBeginsMeanwhile(t *testing.T) {
	p := newPasses(t)
	p.begin(7, "first")
	// The mark is raised, and receivers are ended, between the lock and the look.
	p.standIn("rsync", `echo wrote >"`+p.home+`/written"`)
	p.standIn("flock", `/usr/bin/flock "$@" || exit
case $* in *9) echo '8 bob' >"$MAILMOVE_STATE/homes/epochs/test" ;; esac`)
	if err := os.MkdirAll(filepath.Join(p.state, "homes/epochs"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.want(staleStatus, p.epoch(7, "serve", "first", p.home)...)
	if p.written() != "" {
		t.Error("it wrote")
	}
	if err := os.Remove(filepath.Join(p.state, "homes/epochs/test")); err != nil {
		t.Fatal(err)
	}
	p.want(staleStatus, p.epoch(7, p.beginArgs("late")...)...)
}

// A pass begins when the writers of the one before have ended, and takes the
// store from it.
func TestPassesOneAfterTheOther(t *testing.T) {
	p := newPasses(t)
	p.standIn("flock", `for a; do shift; [ "$a" != 30 ] || a=0.2; set -- "$@" "$a"; done; exec /usr/bin/flock "$@"`)
	if said := p.begin(7, "first"); said != "nothing\n-\n" {
		t.Errorf("of an empty store begin said %q", said)
	}
	writer := p.slowly(p.epoch(7, "serve", "first", p.home)...)
	p.want(busyStatus, p.epoch(7, p.beginArgs("second")...)...)
	p.want(0, "end-receivers", "test", "8")
	writer.Wait() // killed
	p.begin(7, "second")
	for _, late := range []string{"serve", "forget"} {
		p.want(busyStatus, p.epoch(7, late, "first", p.home)...)
	}
	p.end(7, "second")
	if said := p.want(0, "methods", p.home, "/elsewhere"); said != "rsync\nnone\n" {
		t.Errorf("the methods are %q", said)
	}
}

// What a pass wrote is flushed when it has ended, and what an earlier one wrote
// that was broken off; few files by themselves, many with their file system.
func TestPassIsFlushed(t *testing.T) {
	p := newPasses(t)
	record := filepath.Join(t.TempDir(), "flushed")
	p.standIn("sync", `printf '%s\n' "$@" >>"`+record+`"; exec /usr/bin/sync "$@"`)
	flushed := func() string {
		b, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(record)
		return string(b)
	}
	p.begin(1, "a")
	file(t, p.home+"/Maildir/cur/1", "x")
	p.begin(1, "b") // a was broken off
	file(t, p.home+"/Maildir/.Sent/cur/2", "x")
	file(t, p.home+"/sieve/a.sieve", "x")
	p.end(1, "b")
	got := flushed()
	for _, want := range []string{"/Maildir/cur/1", "/Maildir/cur", "/Maildir/.Sent/cur/2", "/Maildir/.Sent", "/Maildir", ""} {
		if !strings.Contains(got, p.home+want+"\n") {
			t.Errorf("%q was not flushed:\n%s", want, got)
		}
	}
	if !strings.Contains(got, "./sieve/a.sieve\n") || !strings.Contains(got, filepath.Dir(p.home)+"\n") {
		t.Errorf("the script or the home's place was not flushed:\n%s", got)
	}
	p.begin(1, "c")
	if err := os.Rename(p.home+"/Maildir/cur/1", p.home+"/Maildir/cur/1:2,S"); err != nil {
		t.Fatal(err)
	}
	p.end(1, "c")
	if got := flushed(); !strings.Contains(got, "cur/1:2,S\n") || strings.Contains(got, "cur/2\n") || strings.Contains(got, "-f\n") {
		t.Errorf("of a pass that renamed one message it flushed:\n%s", got)
	}
	p.begin(1, "d")
	for i := range 300 {
		file(t, fmt.Sprintf("%s/Maildir/new/%d", p.home, i), "x")
	}
	p.end(1, "d")
	if got := flushed(); !strings.Contains(got, "-f\n"+p.home+"\n") || strings.Contains(got, "new/7\n") {
		t.Errorf("of a large pass it flushed:\n%s", got)
	}
}

// A disk that did not take a copy is not asked twice: the second time it says yes.
func TestDiskThatFails(t *testing.T) {
	p := newPasses(t)
	p.begin(1, "a")
	file(t, p.home+"/Maildir/cur/1", "x")
	p.standIn("sync", `echo "sync: error syncing 'x': Input/output error" >&2; exit 1`)
	p.want(diskStatus, p.epoch(1, "end", "a", p.home, p.home+"/Maildir", "sieve")...)
	if !strings.Contains(p.errors, "Input/output error") {
		t.Errorf("the error is %q", p.errors)
	}
	p.standIn("sync", "exit 0")
	p.want(diskStatus, p.epoch(1, p.beginArgs("b")...)...)
	// With the copy out of the way it is begun anew.
	if err := os.Rename(p.home, p.home+".away"); err != nil {
		t.Fatal(err)
	}
	if said := p.begin(1, "c"); said != "nothing\n-\n" {
		t.Errorf("begin said %q", said)
	}
}

// begin tells what is there, which is what a vanished source would cost.
func TestBeginTellsWhatIsThere(t *testing.T) {
	p := newPasses(t)
	file(t, p.home+"/sieve/a.sieve", "x")
	if said := p.begin(1, "a"); said != "items\n-\n" {
		t.Errorf("of a store with a script begin said %q", said)
	}
	file(t, p.home+"/Maildir/.Sent/new/1", "x")
	if err := os.Mkdir(p.home+"/Maildir/cur", 0o700); err != nil {
		t.Fatal(err)
	}
	file(t, p.home+"/Maildir/dovecot-uidlist", "3 V1700000000 N8 G0123abcd\n7 :1\n")
	p.begin(1, "b")
	p.end(1, "b")
	if said := p.begin(1, "c"); said != "messages\nV1700000000G0123abcd\n" {
		t.Errorf("of a copy with messages begin said %q", said)
	}
	if err := os.Rename(p.home+"/Maildir", p.home+"/elsewhere"); err != nil {
		t.Fatal(err)
	}
	// Out of the way, it is compared with nothing.
	if said := p.begin(1, "d"); said != "items\n-\n" {
		t.Errorf("of a store without its copy begin said %q", said)
	}
	if err := os.Symlink("elsewhere", p.home+"/Maildir"); err != nil {
		t.Fatal(err)
	}
	p.want(linkedStatus, p.epoch(1, p.beginArgs("e")...)...)
}

// What is set aside stays as it is, whatever Dovecot writes into the store later.
func TestAside(t *testing.T) {
	p := newPasses(t)
	for _, name := range []string{"Maildir/cur/1:2,S", "Maildir/dovecot.index.log", "sieve/a.sieve"} {
		file(t, filepath.Join(p.home, name), "before")
	}
	p.begin(1, "a")
	p.want(0, p.epoch(1, "aside", "a", "op", p.home, "Maildir", "sieve", ".absent")...)
	for _, name := range []string{"Maildir/dovecot.index.log", "sieve/a.sieve"} {
		file(t, filepath.Join(p.home, name), "after") // in place
	}
	if err := os.Remove(p.home + "/Maildir/cur/1:2,S"); err != nil {
		t.Fatal(err)
	}
	p.want(0, p.epoch(1, "aside", "a", "op", p.home, "Maildir", "sieve")...)
	for _, name := range []string{"Maildir/cur/1:2,S", "Maildir/dovecot.index.log", "sieve/a.sieve"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(p.home), ".mailmove-aside/op/anna", name))
		if err != nil || string(b) != "before" {
			t.Errorf("%s was set aside as %q, %v", name, b, err)
		}
	}
	// What lies elsewhere is kept there, and what is behind a link is kept itself.
	inbox := filepath.Join(t.TempDir(), "mail", "anna")
	file(t, inbox, "before")
	file(t, filepath.Join(p.home, "elsewhere/cur/2"), "before")
	if err := os.Symlink("elsewhere", p.home+"/linked"); err != nil {
		t.Fatal(err)
	}
	p.want(0, p.epoch(1, "aside", "a", "op1", p.home, inbox, "linked")...)
	for _, name := range []string{filepath.Join(filepath.Dir(inbox), ".mailmove-aside/op1/anna"), filepath.Join(filepath.Dir(p.home), ".mailmove-aside/op1/anna/linked/cur/2")} {
		if b, err := os.ReadFile(name); err != nil || string(b) != "before" {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	// If anything cannot be kept, it says so and nothing counts as kept.
	p.standIn("cp", `case $* in *-p*index.log*) exit 1 ;; esac; exec /bin/cp "$@"`)
	p.want(1, p.epoch(1, "aside", "a", "op2", p.home, "Maildir", "sieve")...)
	if _, err := os.Stat(filepath.Join(filepath.Dir(p.home), ".mailmove-aside/op2/anna/Maildir")); err == nil {
		t.Error("a store that was kept in part counts as kept")
	}
}
