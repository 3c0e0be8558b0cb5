package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// What holds on this machine holds through sshd, for each kind of user.
func TestHost(t *testing.T) {
	s := startServer(t, "")
	users := []string{"root", "mm-bash", "mm-dash"}
	for user, shell := range map[string]string{"mm-fish": "/usr/bin/fish", "mm-tcsh": "/usr/bin/tcsh"} {
		if _, err := os.Stat(shell); err == nil {
			users = append(users, user)
		} else {
			t.Logf("%s is not installed: this login shell is left out", shell)
		}
	}
	for _, user := range users {
		t.Run(user, func(t *testing.T) {
			c := s.config()
			c.User = user
			c.StateDir = s.dir + "/state-" + user
			h := open(t, c)
			checkEcho(t, h, hostileArgs, []byte("data\x00with everything\xff'\n"))
			checkEcho(t, h, nil, nil)
			checkEcho(t, h, []string{"big"}, bytes.Repeat([]byte{0, '\n', 0xff}, 400_000))
			res, err := h.Run(context.Background(), Command{Name: "looking", Script: `id -u; env; pwd; umask`})
			if out := string(res.Stdout); err != nil || !strings.HasPrefix(out, "0\n") || !strings.Contains(out, "\n/\n0077\n") || strings.Contains(out, "HOME=") {
				t.Errorf("environment %q, %v", out, err)
			}
			checkCancel(t, h)
			checkStream(t, h)
			checkReadFiles(t, h)
			checkEdit(t, h)
			checkOperation(t, h)
			checkForward(t, h)
		})
	}
}

func TestHostUsesItsConnection(t *testing.T) {
	s := startServer(t, "")
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	h := open(t, c)
	for range 5 {
		checkEcho(t, h, []string{"x"}, nil)
	}
	if w.conns() != 1 {
		t.Errorf("%d connections for five commands, want 1", w.conns())
	}
	var work sync.WaitGroup
	for range 40 {
		work.Go(func() { checkEcho(t, h, []string{"x"}, []byte("y")) })
	}
	work.Wait()
	if w.conns() > connsPerHost {
		t.Errorf("%d connections, want at most %d", w.conns(), connsPerHost)
	}
}

func TestServerWithFewSessions(t *testing.T) {
	s := startServer(t, "MaxSessions 2")
	h := open(t, s.config())
	var work sync.WaitGroup
	for range 12 {
		work.Go(func() { checkEcho(t, h, []string{"x"}, []byte("y")) })
	}
	work.Wait()
}

func TestReconnect(t *testing.T) {
	s := startServer(t, "")
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	h := open(t, c)
	for range 3 {
		checkEcho(t, h, []string{"x"}, nil)
		w.closeAll()
	}
}

func TestLogin(t *testing.T) {
	s := startServer(t, "")
	stranger := writeKey(t, t.TempDir()+"/stranger")
	forced := writeKey(t, t.TempDir()+"/forced")
	write(t, s.dir+"/authorized_keys.root", `command="echo only backups here" `+read(t, forced+".pub"), 0o644)
	locked := t.TempDir() + "/locked"
	sh(t, s.dir, "cp operator "+locked+"; cp operator.pub "+locked+".pub; ssh-keygen -q -p -N 'pass phrase' -f "+locked)

	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   error  // a pointer to the type of error; nil for success
		text   string // of the message or the hint
	}{
		{"key", func(c *Config) {}, nil, ""},
		{"wrong key, then the right one", func(c *Config) { c.KeyFiles = []string{stranger, s.key} }, nil, ""},
		{"wrong key", func(c *Config) { c.KeyFiles = []string{stranger} }, new(AuthError), stranger},
		{"unknown user", func(c *Config) { c.User = "nosuchuser" }, new(AuthError), "nosuchuser@127.0.0.1"},
		{"no key file", func(c *Config) { c.KeyFiles = []string{"/nonexistent/key"} }, new(KeyError), "/nonexistent/key"},
		{"passphrase", func(c *Config) {
			c.KeyFiles, c.Passphrase = []string{locked}, func(string) ([]byte, error) { return []byte("pass phrase"), nil }
		}, nil, ""},
		{"wrong passphrase", func(c *Config) {
			c.KeyFiles, c.Passphrase = []string{locked}, func(string) ([]byte, error) { return []byte("other"), nil }
		}, new(KeyError), "ssh-add"},
		{"nobody knows the passphrase", func(c *Config) { c.KeyFiles = []string{locked} }, new(KeyError), "passphrase"},
		{"sudo wants a password", func(c *Config) { c.User = "mm-password" }, new(SudoError), "a password is required"},
		{"sudo wants a terminal", func(c *Config) { c.User = "mm-tty" }, new(SudoError), "tty"},
		{"not a sudoer", func(c *Config) { c.User = "mm-nosudo" }, new(SudoError), "mm-nosudo ALL=(root) NOPASSWD: ALL"},
		{"no sudo asked for", func(c *Config) { c.User, c.Sudo = "mm-nosudo", SudoNever }, nil, ""},
		{"sudo as root", func(c *Config) { c.Sudo = SudoAlways }, nil, ""},
		{"no login", func(c *Config) { c.User = "mm-nologin" }, new(ShellError), "not available"},
		{"forced command", func(c *Config) { c.KeyFiles = []string{forced} }, new(ShellError), "only backups here"},
		{"nothing listens", func(c *Config) { c.Port, c.HostKey = freePort(t), "SHA256:"+strings.Repeat("x", 43) }, new(UnreachableError), "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.config()
			tt.change(&c)
			_, err := open(t, c).Run(short(t), Command{Name: "trying", Script: "true"})
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				checkEcho(t, open(t, c), []string{"x"}, []byte("data"))
				return
			}
			if !sameType(err, tt.want) {
				t.Fatalf("got %v (%T), want a %T", err, err, tt.want)
			}
			hint := hintOf(err)
			if !strings.Contains(err.Error()+"\n"+hint, tt.text) || hint == "" || Unknown(err) {
				t.Errorf("got %v, hint %q, unknown %v; want %q", err, hint, Unknown(err), tt.text)
			}
			if _, want := tt.want.(*UnreachableError); Temporary(err) != want {
				t.Errorf("%v: temporary %v, want %v", err, Temporary(err), want)
			}
			t.Logf("%v\n%s", err, hint)
		})
	}
}

func sameType(err, want error) bool {
	switch want.(type) {
	case *AuthError:
		var e *AuthError
		return errors.As(err, &e)
	case *KeyError:
		var e *KeyError
		return errors.As(err, &e)
	case *SudoError:
		var e *SudoError
		return errors.As(err, &e)
	case *ShellError:
		var e *ShellError
		return errors.As(err, &e)
	case *UnreachableError:
		var e *UnreachableError
		return errors.As(err, &e)
	case *HostKeyError:
		var e *HostKeyError
		return errors.As(err, &e)
	case *TimeoutError:
		var e *TimeoutError
		return errors.As(err, &e)
	}
	return false
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func TestHostKeys(t *testing.T) {
	s := startServer(t, "")
	other := startServer(t, "", "ed25519")
	fingerprint := func(typ string) string {
		return strings.Fields(sh(t, s.dir, "ssh-keygen -lf host_"+typ+".pub"))[1]
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		ok     bool
		text   []string
	}{
		{"all known", func(c *Config) {}, true, nil},
		{"only ed25519 known", func(c *Config) { s.know(t, "ed25519") }, true, nil},
		{"only rsa known", func(c *Config) { s.know(t, "rsa") }, true, nil},
		{"only ecdsa known", func(c *Config) { s.know(t, "ecdsa") }, true, nil},
		{"hashed", func(c *Config) { s.know(t, "ed25519"); sh(t, s.dir, "ssh-keygen -q -H -f known_hosts") }, true, nil},
		{"pinned ed25519", func(c *Config) { c.HostKey, c.KnownHosts = fingerprint("ed25519"), nil }, true, nil},
		{"pinned ecdsa", func(c *Config) { c.HostKey = fingerprint("ecdsa") }, true, nil},
		{"pinned rsa", func(c *Config) { c.HostKey = fingerprint("rsa") }, true, nil},
		{"pinned line", func(c *Config) { c.HostKey = read(t, s.dir+"/host_rsa.pub") }, true, nil},
		{"unknown", func(c *Config) { write(t, s.knownHosts, "", 0o600) }, false,
			[]string{"is not known", "SHA256:", "ssh-keyscan -p ", " 127.0.0.1 >> " + s.knownHosts, `host_key = "SHA256:`}},
		{"no known_hosts", func(c *Config) { c.KnownHosts = []string{s.dir + "/none"} }, false, []string{"is not known", ">> " + s.dir + "/none"}},
		{"changed", func(c *Config) {
			write(t, s.knownHosts, strings.ReplaceAll(read(t, other.knownHosts), itoa(other.port), itoa(s.port)), 0o600)
		}, false, []string{fingerprint("ed25519"), s.knownHosts + ":1", "ssh-keygen -R [127.0.0.1]:" + itoa(s.port) + " -f " + s.knownHosts}},
		{"known type is gone", func(c *Config) {
			c.Port = other.port
			write(t, s.knownHosts, "[127.0.0.1]:"+itoa(other.port)+" "+read(t, s.dir+"/host_rsa.pub"), 0o600)
		}, false, []string{"ssh-ed25519", fingerprint("rsa")}},
		{"revoked", func(c *Config) {
			s.know(t, "ed25519")
			write(t, s.knownHosts, read(t, s.knownHosts)+"@revoked * "+read(t, s.dir+"/host_ed25519.pub"), 0o600)
		}, false, []string{"revoked"}},
		{"wrong pin", func(c *Config) { c.HostKey = "SHA256:" + strings.Repeat("x", 43) }, false,
			[]string{fingerprint("ed25519"), fingerprint("ecdsa"), fingerprint("rsa"), `host_key = "` + fingerprint("ed25519") + `"`}},
		{"wrong pinned line", func(c *Config) { c.HostKey = read(t, other.dir+"/host_ed25519.pub") }, false, []string{fingerprint("ed25519")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.know(t, "ed25519", "ecdsa", "rsa")
			c := s.config()
			tt.change(&c)
			h := open(t, c)
			_, err := h.Run(short(t), Command{Name: "trying", Script: "true"})
			if tt.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var bad *HostKeyError
			if !errors.As(err, &bad) || Temporary(err) {
				t.Fatalf("got %v, want a HostKeyError that is final", err)
			}
			for _, want := range tt.text {
				if !strings.Contains(err.Error()+"\n"+bad.Hint(), want) {
					t.Errorf("%v\n%s\nlacks %q", err, bad.Hint(), want)
				}
			}
			t.Logf("%v\n%s", err, bad.Hint())
		})
	}
}

func TestJump(t *testing.T) {
	inner, outer, first := startServer(t, ""), startServer(t, ""), startServer(t, "")
	c := inner.config()
	c.Jump = []Config{first.config(), outer.config()}
	w := newWire()
	c.DialContext = w.dial
	h := open(t, c)
	checkEcho(t, h, hostileArgs, []byte("x"))
	checkForward(t, h)
	if sent, _ := w.counts(); sent == 0 {
		t.Error("the first hop was not dialled as configured")
	}

	c = inner.config()
	jump := outer.config()
	jump.KnownHosts = []string{outer.dir + "/none"}
	c.Jump = []Config{jump}
	_, err := open(t, c).Run(short(t), Command{Name: "trying", Script: "true"})
	var bad *HostKeyError
	if !errors.As(err, &bad) || bad.Address != outer.address() || !strings.Contains(err.Error(), inner.address()) {
		t.Errorf("got %v, want the host key error of the jump host, and where it leads", err)
	}

	c.Jump = []Config{outer.config()}
	c.Port = freePort(t)
	if _, err = open(t, c).Run(short(t), Command{Name: "trying", Script: "true"}); !sameType(err, new(UnreachableError)) || !Temporary(err) {
		t.Errorf("got %v, want an UnreachableError", err)
	}
}

func TestAgent(t *testing.T) {
	s := startServer(t, "")
	ring := agent.NewKeyring()
	key, err := ssh.ParseRawPrivateKey([]byte(read(t, s.key)))
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := t.TempDir() + "/agent"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn) }()
		}
	}()
	c := s.config()
	c.KeyFiles = nil
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", socket)
	c.Agent = ""
	checkEcho(t, open(t, c), []string{"by the agent"}, nil)

	// A key file with a passphrase that the agent holds needs none.
	locked := t.TempDir() + "/locked"
	sh(t, s.dir, "cp operator "+locked+"; ssh-keygen -q -p -N 'pass phrase' -f "+locked)
	c.KeyFiles = []string{locked}
	checkEcho(t, open(t, c), []string{"by the agent"}, nil)

	c.KeyFiles, c.Agent = nil, "none"
	if _, err := open(t, c).Run(short(t), Command{Script: "true"}); !sameType(err, new(AuthError)) || !strings.Contains(err.Error(), "no key was offered") {
		t.Errorf("got %v, want an AuthError", err)
	}
	sh(t, s.dir, "mkdir -p $HOME/.ssh; cp operator $HOME/.ssh/id_ed25519")
	checkEcho(t, open(t, c), []string{"by the usual file"}, nil)
}

// checkForward reaches a listener of this machine through the machine, and through
// a port of the machine.
func checkForward(t *testing.T, f Forwarder) {
	t.Helper()
	ctx := context.Background()
	tunnel, err := f.Forward(ctx, func(c net.Conn) {
		// Answers only after the end of the question.
		question, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		if _, err := c.Write(append([]byte("you said "), question...)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		conn, err := f.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", itoa(tunnel.Port())))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || string(answer) != "you said hello" {
			t.Errorf("got %q, %v", answer, err)
		}
		conn.Close()
	}
	if err := tunnel.Close(); err != nil {
		t.Error(err)
	}
	<-tunnel.Done()
	if conn, err := f.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", itoa(tunnel.Port()))); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

func TestForward(t *testing.T) { checkForward(t, testLocal(t)) }

func TestForwardingRefused(t *testing.T) {
	s := startServer(t, "AllowTcpForwarding no")
	h := open(t, s.config())
	_, err := h.Forward(short(t), func(net.Conn) {})
	var refused *ForwardingError
	if !errors.As(err, &refused) || !strings.Contains(refused.Hint(), "AllowTcpForwarding") {
		t.Errorf("listening: got %v", err)
	}
	if _, err = h.Dial(short(t), "tcp", s.address()); !errors.As(err, &refused) {
		t.Errorf("dialling: got %v", err)
	}
	checkEcho(t, h, []string{"the connection is still good"}, nil)
}

// The way of a copy from one server to another: the old server connects to a port
// of its own loopback, the operator joins that with a program on the new one.
func TestBridge(t *testing.T) {
	s := startServer(t, "")
	old, target := open(t, s.config()), open(t, s.config())
	ctx := context.Background()
	bridged := make(chan error, 1)
	tunnel, err := old.Forward(ctx, func(c net.Conn) {
		stream, err := target.Stream(ctx, Command{Name: "summing", Script: `sha256sum; echo end`})
		if err != nil {
			t.Error(err)
			return
		}
		bridged <- Bridge(c, stream)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	data := bytes.Repeat([]byte("mail\x00"), 3_000_000)
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", itoa(tunnel.Port())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := Digest(data) + "  -\nend\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if err := <-bridged; err != nil {
		t.Error(err)
	}
}

func TestTranscriptHoldsNoSecrets(t *testing.T) {
	s := startServer(t, "")
	var transcript syncBuffer
	c := s.config()
	c.Transcript = &transcript
	h := open(t, c)
	const secret = "{SHA512-CRYPT}canary"
	_, _ = h.Run(context.Background(), Command{Name: "set a password", Args: []string{"murphy\x1b[2J"}, Stdin: []byte(secret), Script: `tee /dev/stderr; exit 7`})
	if _, err := Edit(context.Background(), h, "op", FileEdit{Path: s.dir + "/passwd-file", Content: []byte(secret)}); err != nil {
		t.Error(err)
	}
	got := transcript.String()
	if strings.Contains(got, "canary") || strings.Contains(got, "\x1b") {
		t.Errorf("the transcript holds a secret or an escape: %s", got)
	}
	for _, want := range []string{"root@127.0.0.1", `set a password "murphy\x1b[2J"`, "status 7", "edit " + s.dir + "/passwd-file"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %q", got, want)
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // never speaks
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Agent: "none", ConnectTimeout: 200 * time.Millisecond, HostKey: "SHA256:" + strings.Repeat("x", 43)}
	_, err = open(t, c).Run(short(t), Command{Script: "true"})
	var late *TimeoutError
	if !errors.As(err, &late) || !Temporary(err) || !strings.Contains(err.Error(), "200ms") {
		t.Errorf("got %v, want a TimeoutError", err)
	}
	c.ConnectTimeout = 0
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	var cut *CutError
	if _, err = open(t, c).Run(ctx, Command{Script: "true"}); !errors.As(err, &cut) || !Temporary(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a CutError before the script began", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{
		{}, {Address: "-oProxyCommand=x"}, {Address: "a b"}, {Address: "a;b"}, {Address: "a", User: "-l"}, {Address: "a", User: "a b"}, {Address: "a", Port: 70000},
		{Address: "a", HostKey: "MD5:xx"}, {Address: "a", StateDir: "relative"}, {Address: "a", StateDir: "/a b"}, {Address: "a", StateDir: "/a/../b"},
		{Address: "a", Jump: []Config{{Address: "$(x)"}}}, {Address: "a", Jump: []Config{{Address: "b", Jump: []Config{{Address: "c"}}}}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
