package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A server is a real sshd on loopback with users, sudoers and keys of its own: it
// lives in a mount namespace in which /etc/passwd and its like are ours.
type server struct {
	port       int
	dir        string
	knownHosts string // of the operator, knows the server
	key        string // of the operator, every user lets it in
}

// sshUsers are the accounts besides root, with the login shell of each.
var sshUsers = []struct{ name, shell, sudoers, rc string }{
	{"mm-bash", "/bin/bash", "mm-bash ALL=(root) NOPASSWD: ALL", "echo Welcome to this server; echo on stderr >&2; alias head=false\nset -x\n"},
	{"mm-fish", "/usr/bin/fish", "mm-fish ALL=(root) NOPASSWD: ALL", ""},
	{"mm-tcsh", "/usr/bin/tcsh", "mm-tcsh ALL=(root) NOPASSWD: ALL", ""},
	{"mm-dash", "/bin/dash", "mm-dash ALL=(root) NOPASSWD: ALL\nDefaults:mm-dash use_pty", ""},
	{"mm-password", "/bin/bash", "mm-password ALL=(root) ALL", ""},
	{"mm-tty", "/bin/bash", "mm-tty ALL=(root) NOPASSWD: ALL\nDefaults:mm-tty requiretty", ""},
	{"mm-nosudo", "/bin/bash", "", ""},
	{"mm-nologin", "/usr/sbin/nologin", "mm-nologin ALL=(root) NOPASSWD: ALL", ""},
}

// startServer starts an sshd; extra is added to its configuration.
func startServer(t *testing.T, extra string, hostKeyTypes ...string) *server {
	t.Helper()
	needRoot(t)
	sshd := needProgram(t, "/usr/sbin/sshd", "openssh-server")
	needProgram(t, "/usr/bin/sudo", "sudo")
	s := &server{dir: t.TempDir(), port: freePort(t)}
	// Every user must be able to pass.
	sh(t, s.dir, `p=$PWD; while [ "$p" != / ]; do chmod a+x "$p"; p=${p%/*}; [ -n "$p" ] || p=/; done; mkdir -p /run/sshd`)
	s.key = writeKey(t, s.dir+"/operator")
	if len(hostKeyTypes) == 0 {
		hostKeyTypes = []string{"ed25519", "ecdsa", "rsa"}
	}
	var config strings.Builder
	fmt.Fprintf(&config, "ListenAddress 127.0.0.1:%d\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"+
		"KbdInteractiveAuthentication no\nAuthorizedKeysFile %s/authorized_keys %s/authorized_keys.%%u\nMaxStartups 100\nLogLevel ERROR\n%s\n", s.port, s.dir, s.dir, extra)
	for _, typ := range hostKeyTypes {
		sh(t, s.dir, "ssh-keygen -q -t "+typ+" -N '' -f host_"+typ)
		fmt.Fprintf(&config, "HostKey %s/host_%s\n", s.dir, typ)
	}
	write(t, s.dir+"/sshd_config", config.String(), 0o600)
	sh(t, s.dir, "cp operator.pub authorized_keys; chmod 644 authorized_keys")
	s.knownHosts = s.dir + "/known_hosts"
	s.know(t, hostKeyTypes...)
	s.accounts(t)

	log, err := os.Create(s.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("unshare", "-m", "/bin/sh", "-ec",
		`cd "$1"; for f in passwd group shadow sudoers; do mount --bind $f /etc/$f; done; exec "$2" -D -e -f "$1/sshd_config"`, "sshd", s.dir, sshd)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its sessions end with their connections.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text := read(t, s.dir+"/log"); t.Failed() && text != "" {
			t.Logf("sshd: %s", text)
		}
	})
	waitFor(t, "sshd to listen", func() bool {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return s
}

// accounts writes the files that cover those of /etc.
func (s *server) accounts(t *testing.T) {
	t.Helper()
	passwd, group, shadow := read(t, "/etc/passwd"), read(t, "/etc/group"), read(t, "/etc/shadow")
	sudoers := "Defaults env_reset\nDefaults lecture=always\nroot ALL=(ALL) ALL\n"
	for i, u := range sshUsers {
		home := s.dir + "/home/" + u.name
		write(t, home+"/.bashrc", u.rc, 0o644)
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:%s\n", u.name, 61000+i, 61000+i, home, u.shell)
		group += fmt.Sprintf("%s:x:%d:\n", u.name, 61000+i)
		shadow += u.name + ":*:19000:0:99999:7:::\n"
		sudoers += u.sudoers + "\n"
		sh(t, home, fmt.Sprintf("chown -R %d:%d .", 61000+i, 61000+i))
	}
	write(t, s.dir+"/passwd", passwd, 0o644)
	write(t, s.dir+"/group", group, 0o644)
	write(t, s.dir+"/shadow", shadow, 0o600)
	write(t, s.dir+"/sudoers", sudoers, 0o440)
}

// know makes the host keys of the given types known to the operator.
func (s *server) know(t *testing.T, types ...string) {
	t.Helper()
	var b strings.Builder
	for _, typ := range types {
		fmt.Fprintf(&b, "[127.0.0.1]:%d %s", s.port, read(t, s.dir+"/host_"+typ+".pub"))
	}
	write(t, s.knownHosts, b.String(), 0o600)
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// config is what reaches the server as root.
func (s *server) config() Config {
	return Config{
		Address: "127.0.0.1", Port: s.port, KeyFiles: []string{s.key}, Agent: "none",
		KnownHosts: []string{s.knownHosts}, StateDir: s.dir + "/state",
	}
}

func open(t *testing.T, c Config) *Host {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return h
}

// needProgram installs a program that the test needs, or skips.
func needProgram(t testing.TB, file, pkg string) string {
	t.Helper()
	if _, err := os.Stat(file); err == nil {
		return file
	}
	cmd := exec.Command("/bin/sh", "-c", `
		[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d; }
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$1"`, "sh", pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%s is not there and %s cannot be installed (%v: %s): SSH is left out", file, pkg, err, printable(out))
	}
	return file
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// writeKey makes a key pair and returns the file of the private key.
func writeKey(t testing.TB, file string) string {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(pem.EncodeToMemory(block)), 0o600)
	public, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file+".pub", string(ssh.MarshalAuthorizedKey(public)), 0o644)
	return file
}

// A wire is the operator's side of a connection on which faults can be played.
type wire struct {
	mu sync.Mutex
	// cutSent and cutReceived close the connection after so many more bytes; -1 never.
	cutSent, cutReceived int
	sent, received       int
	stalled              bool
	open                 map[net.Conn]bool
}

func newWire() *wire { return &wire{cutSent: -1, cutReceived: -1, open: map[net.Conn]bool{}} }

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &wired{Conn: conn, wire: w}
	w.open[c] = true
	return c, nil
}

// arm sets the faults and begins to count.
func (w *wire) arm(sent, received int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutSent, w.cutReceived, w.sent, w.received = sent, received, 0, 0
}

func (w *wire) counts() (sent, received int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent, w.received
}

// stall makes both directions silent without closing anything.
func (w *wire) stall(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = on
}

// pass says how many of n bytes still go through.
func (w *wire) pass(n int, sending bool) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	count, limit := &w.received, w.cutReceived
	if sending {
		count, limit = &w.sent, w.cutSent
	}
	if w.stalled {
		return 0, false
	}
	if limit >= 0 && *count+n > limit {
		n = max(0, limit-*count)
		*count += n
		w.cutSent, w.cutReceived = -1, -1 // one cut; the next connection is good
		return n, true
	}
	*count += n
	return n, false
}

type wired struct {
	net.Conn
	wire *wire
}

func (c *wired) Write(p []byte) (int, error) {
	n, cut := c.wire.pass(len(p), true)
	if n == 0 && !cut && len(p) > 0 {
		return len(p), nil // swallowed by the stall
	}
	if n > 0 {
		if _, err := c.Conn.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	if cut {
		c.Conn.Close()
		return n, net.ErrClosed
	}
	return len(p), nil
}

func (c *wired) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		passed, cut := c.wire.pass(n, false)
		if cut {
			c.Conn.Close()
			return passed, net.ErrClosed
		}
		if passed > 0 || err != nil {
			return passed, err
		}
	}
}

// syncBuffer is a transcript.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// short is a context for what must fail soon.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// conns is how many connections were made.
func (w *wire) conns() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

func (w *wire) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.open {
		conn.Close()
	}
}
