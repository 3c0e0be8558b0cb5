package rfc2136_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers/dns/dnstest"
	miekg "github.com/miekg/dns"
)

const (
	keyName = "mailmove"
	secret  = "bWFpbG1vdmUtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ=="
)

// named returns the path of BIND's server. As root it installs the package where
// it is missing; nothing is started by that.
func named(t *testing.T) string {
	t.Helper()
	find := func() string {
		for _, path := range []string{"/usr/sbin/named", "/usr/local/sbin/named"} {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
		return ""
	}
	if path := find(); path != "" {
		return path
	}
	if os.Geteuid() != 0 {
		t.Skip("BIND is not installed and this is not root: the test on a real name server is left out")
	}
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); os.IsNotExist(err) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(policy)
	}
	for _, arguments := range [][]string{
		{"-o", "DPkg::Lock::Timeout=600", "-qq", "update"},
		{"-o", "DPkg::Lock::Timeout=600", "-qq", "-y", "--no-install-recommends", "install", "bind9"},
	} {
		command := exec.CommandContext(t.Context(), "apt-get", arguments...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := command.CombinedOutput(); err != nil {
			t.Skipf("BIND cannot be installed, so the test on a real name server is left out: %v\n%s", err, out)
		}
	}
	return find()
}

// A bind is a running BIND.
type bind struct{ address string }

// startBind starts named in the foreground with one zone, as a child of the test.
// It listens on loopback alone and has a folder of its own.
func startBind(t *testing.T, zone string) *bind {
	t.Helper()
	program := named(t)
	for range 5 {
		if b := tryBind(t, program, zone); b != nil {
			return b
		}
	}
	t.Fatal("named found its port taken five times")
	return nil
}

// tryBind returns nil if somebody took the port before named did.
func tryBind(t *testing.T, program, zone string) *bind {
	t.Helper()
	directory := t.TempDir()
	b := &bind{address: freePort(t)}
	host, port, err := net.SplitHostPort(b.address)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(bindConfig, directory, directory, port, host, keyName, secret, secret, zone)
	path, log := filepath.Join(directory, "named.conf"), filepath.Join(directory, "log")
	for file, text := range map[string]string{path: config, filepath.Join(directory, "zone"): dnstest.ZoneFile} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // named has its own
	command := exec.Command(program, "-c", path, "-g", "-n", "1")
	command.Stderr = out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("named on %s:\n%s", b.address, tail(read(), 15))
		}
	})
	taken := false
	waitFor(t, "named to answer", func() bool {
		answers := b.serial() != 0
		taken = strings.Contains(read(), "address in use")
		return taken || answers
	})
	if taken {
		return nil
	}
	return b
}

// bindConfig takes the folder twice, port, address, the key's name and secret,
// the other key's secret, and the zone statement.
const bindConfig = `
options {
	directory %q; pid-file none; session-keyfile none; managed-keys-directory %q;
	listen-on port %s { %s; }; listen-on-v6 { none; };
	recursion no; notify no; allow-query { any; }; max-journal-size 1m;
	minimal-responses yes; serial-query-rate 1000; min-refresh-time 1; min-retry-time 1; transfers-in 100;
};
controls { };
key %q { algorithm hmac-sha256; secret %q; };
key "other" { algorithm hmac-sha256; secret %q; };
%s
`

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// freePort returns a loopback address and port that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// waitFor waits for a condition, with a deadline that only a hung daemon reaches.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// serial returns the zone's serial there, 0 if there is no answer.
func (b *bind) serial() uint32 {
	reply, err := miekg.Exchange(new(miekg.Msg).SetQuestion(dnstest.Zone, miekg.TypeSOA), b.address)
	if err != nil || len(reply.Answer) != 1 {
		return 0
	}
	return reply.Answer[0].(*miekg.SOA).Serial
}

// A follower tells a secondary of the primary's changes, as long as it is not held.
type follower struct {
	primary, secondary *bind
	held               atomic.Bool
}

// follow notifies the secondary whenever it is behind, until the test ends.
func follow(t *testing.T, primary, secondary *bind) *follower {
	f := &follower{primary: primary, secondary: secondary}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if !f.held.Load() && f.primary.serial() != f.secondary.serial() {
				_, _ = miekg.Exchange(new(miekg.Msg).SetNotify(dnstest.Zone), f.secondary.address)
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return f
}

// A lossy is a proxy in front of a server that can swallow the answer to an
// update.
type lossy struct {
	listener net.Listener
	target   string
	lose     atomic.Int32
}

func startLossy(t *testing.T, target string) *lossy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossy{listener: listener, target: target}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return p
}

func (p *lossy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	var update atomic.Bool
	go func() {
		defer close(done)
		_, _ = io.Copy(client, &watched{Reader: server, stop: func() bool { return update.Load() && p.lose.CompareAndSwap(1, 0) }})
		_ = client.Close()
	}()
	_, _ = io.Copy(server, io.TeeReader(client, opcode(func(message []byte) {
		// RFC 1035 section 4.1.1 after the length: opcode in the third octet; RFC
		// 2136 section 2.2: the count of updates in the ninth and tenth.
		if len(message) >= 14 && message[4]>>3&0xF == miekg.OpcodeUpdate && message[10]|message[11] != 0 {
			update.Store(true)
		}
	})))
	_ = server.Close()
	<-done
}

// opcode is a writer that looks at what passes.
type opcode func([]byte)

func (o opcode) Write(p []byte) (int, error) {
	o(p)
	return len(p), nil
}

// watched ends when stop says so after something was read.
type watched struct {
	io.Reader
	stop func() bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 && w.stop() {
		return 0, io.EOF
	}
	return n, err
}
