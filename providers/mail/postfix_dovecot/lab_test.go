package postfix_dovecot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// long leaves a test out that takes many minutes, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("MAILMOVE_TEST_LONG") == "" {
		t.Skip("MAILMOVE_TEST_LONG is not set: left out, since every change of a route takes real servers up to ten seconds")
	}
}

// A bench is a lab with two real mail servers, reached from its operator's host.
type bench struct {
	t        testing.TB
	name     string
	program  string
	old, new *System
}

// newBench starts a lab with seeded accounts on the old server.
func newBench(t *testing.T, accounts, messages int, flags ...string) *bench {
	t.Helper()
	b := newLab(t, flags...)
	b.lab("seed", "-accounts", fmt.Sprint(accounts), "-messages", fmt.Sprint(messages))
	return b
}

// newLab starts a lab without accounts; flags are those of mailmove-lab up.
func newLab(t testing.TB, flags ...string) *bench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: nothing is tested on real Postfix and Dovecot servers in network namespaces")
	}
	dir := t.TempDir()
	b := &bench{t: t, name: fmt.Sprintf("pd%d", time.Now().UnixNano()%1e9), program: filepath.Join(dir, "mailmove-lab")}
	if out, err := exec.Command("go", "build", "-o", b.program, "github.com/mailmove/mailmove/cmd/mailmove-lab").CombinedOutput(); err != nil {
		t.Fatalf("building the lab: %v\n%s", err, out)
	}
	b.lab(append([]string{"up"}, flags...)...)
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("MAILMOVE_TEST_KEEP") != "" {
			t.Log("the lab stays up: ", b.name)
			return
		}
		b.lab("down")
	})
	key, known := filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts")
	for file, from := range map[string]string{key: "/root/.ssh/id_ed25519", known: "/root/.ssh/known_hosts"} {
		if err := os.WriteFile(file, []byte(b.exec("op", "cat "+from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(host, address string) *System {
		machine, err := remote.New(remote.Config{Address: address, KeyFiles: []string{key}, KnownHosts: []string{known}, Agent: "none", DialContext: b.dial})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { machine.Close() })
		return New(machine, mail.Endpoint{Address: address, Name: "mail-" + host + ".example.com"}, providers.Env{Now: time.Now, Lineage: "test"})
	}
	b.old, b.new = open("old", "198.51.100.10"), open("new", "198.51.100.20")
	return b
}

// dial connects from the operator's host.
func (b *bench) dial(ctx context.Context, network, address string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/mmlab-" + b.name + "-op")
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // every later test would run in the lab's network
		}
	}()
	// Without a fallback, and with a literal address, it dials in this thread.
	return (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
}

func (b *bench) lab(args ...string) string {
	b.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(b.program, append([]string{"-name", b.name}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("mailmove-lab %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// exec runs a script on a host.
func (b *bench) exec(host, script string) string { return b.lab("exec", host, "sh", "-c", script) }

// send hands a message to a server as an outsider does, by the lab's sender host.
func (b *bench) send(server, from, to, marker string) {
	b.t.Helper()
	session := fmt.Sprintf("EHLO sender\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: %s\r\n\r\n%s\r\n.\r\nQUIT\r\n", from, to, marker, marker)
	conn, err := b.dial(b.t.Context(), "tcp", server+":25")
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	buffer := make([]byte, 4096)
	for line := range strings.SplitAfterSeq(session, "\r\n") {
		// One command, one answer; the message itself is one write.
		if strings.HasPrefix(line, "Subject:") {
			_, rest, _ := strings.Cut(session, "DATA\r\n")
			line, _, _ = strings.Cut(rest, "QUIT")
		} else if line == "" || !strings.ContainsAny(line[:1], "EMRDQ") {
			continue
		}
		if strings.HasPrefix(line, "EHLO") {
			if _, err := conn.Read(buffer); err != nil {
				b.t.Fatal(err)
			}
		}
		if _, err := io.WriteString(conn, line); err != nil {
			b.t.Fatal(err)
		}
		n, err := conn.Read(buffer)
		if err != nil && !strings.HasPrefix(line, "QUIT") {
			b.t.Fatal(err)
		}
		if n > 0 && buffer[0] != '2' && buffer[0] != '3' {
			b.t.Fatalf("%s answered %q to %q", server, buffer[:n], line)
		}
	}
}

// stored returns how many files of the account on host hold the marker.
func (b *bench) stored(host, account, marker string) int {
	b.t.Helper()
	local, domain, _ := strings.Cut(account, "@")
	out := b.exec(host, "grep -rl 'Subject: "+marker+"$' /var/vmail/"+domain+"/"+local+"/ /home/"+local+"/ 2>/dev/null | grep -c -e /cur/ -e /new/; :")
	var n int
	fmt.Sscan(out, &n)
	return n
}

// eventually waits for a condition, with more patience than any machine needs.
func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(45 * time.Second); !condition(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited 45 seconds in vain until %s", what)
		}
	}
}
