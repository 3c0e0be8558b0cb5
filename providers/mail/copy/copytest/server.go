package copytest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// A User is a login name and its password, which has no colon.
type User struct{ Name, Password string }

// Users are those that a server has unless [Options.Users] names others.
func Users() []User {
	return []User{
		{"ann@example.com", "swordfish"},
		{"bob@example.com", `pass "word" \ with spaces`},
		{"cy@example.com", "pässword"},
	}
}

// Master may log in as any user of a Dovecot server: by SASL PLAIN with the user as authorisation identity, or with
// the name user*admin.
func Master() User { return User{"admin", "masterkey"} }

// Options change a server from what its package has. What a server does not know is refused by the function that
// starts it.
type Options struct {
	Users  []User // nil: those of [Users]
	Memory bool   // mail lies in memory, for benchmarks
	Sync   bool   // Dovecot calls fsync as it does by default; without it, never

	Separator string // of the hierarchy; "": the server's own
	Prefix    string // of the personal namespace, such as "INBOX."
	Quota     string // of each user, in Dovecot's words: "storage=10M", "messages=100"; "": none

	MaxConnections int   // of one user from one address; 0: as many as you like
	MaxMessage     int64 // octets of one message; 0: as many as you like

	// Hide are capabilities that the server does not name, though it has them: "MULTIAPPEND", "LITERAL+", …
	Hide []string
	// Show are capabilities that the server names, whether it has them or not.
	Show []string

	// ACL loads Dovecot's acl plugin; ACLUser is its acl_user. If that is empty, a master user sees no mailbox, which
	// is a common mistake; "%u" puts it right.
	ACL     bool
	ACLUser string

	// Tokens has Dovecot offer OAUTHBEARER and XOAUTH2, beside passwords; [Server.Token] issues tokens.
	Tokens bool

	Config string // more of the server's configuration, put last: dovecot.conf, imapd.conf, Courier's variables
}

// A Server is a real IMAP server on loopback. Its methods end the test where something goes wrong. Those that start and
// end it are not to be called at the same time as others.
type Server struct {
	Name  string // which server it is, for the messages of tests
	IMAPS string // 127.0.0.1:port, TLS from the start
	IMAP  string // 127.0.0.1:port, with STARTTLS
	CA    *x509.CertPool
	Users []User

	certificate, key string // PEM
	tokenKey         []byte // of HS256 (RFC 7518 section 3.2)
	options          Options
	chamber          chamber
	daemon           daemon
}

// A daemon is what differs from one server program to the other.
type daemon interface {
	// files are the configuration, by path below the server's root, and the argv that runs it in the foreground.
	files(s *Server) (files map[string]string, argv []string)
	// prepare makes, as root of the machine, what has to stand below /srv before a start.
	prepare(s *Server) error
}

// newServer starts a server of a kind; it ends with the test.
func newServer(t testing.TB, name, tree string, options Options, daemon daemon) *Server {
	t.Helper()
	s := &Server{Name: name, Users: options.Users, options: options, daemon: daemon}
	if s.Users == nil {
		s.Users = Users()
	}
	s.CA, s.certificate, s.key = newCertificate(t)
	s.tokenKey = newTokenKey()
	s.chamber = chamber{dir: newDir(t, options.Memory), tree: tree}
	s.IMAPS, s.IMAP = freeAddress(t), freeAddress(t)
	t.Cleanup(func() {
		s.chamber.kill()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", s.Name, s.Log())
		}
	})
	if err := s.chamber.ownDir("log"); err != nil {
		t.Fatal(err)
	}
	log, err := s.chamber.syslog(s.chamber.srv("log/messages"))
	if err != nil {
		t.Fatalf("listening for the log of %s: %v", s.Name, err)
	}
	t.Cleanup(func() { log.Close() })
	s.Start(t)
	return s
}

// memoryDirs are directories of this package in memory; the number of the process that made one follows.
const memoryDirs = "/dev/shm/copytest-"

// newDir returns a directory that is gone after the test.
func newDir(t testing.TB, memory bool) string {
	t.Helper()
	if !memory {
		return t.TempDir()
	}
	if err := sweepMemory(); err != nil {
		t.Fatalf("removing what a killed test has left in memory: %v", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(memoryDirs), fmt.Sprintf("%s%d-", filepath.Base(memoryDirs), os.Getpid()))
	if err != nil {
		t.Fatalf("making a directory in memory: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// sweepMemory removes the directories of processes that are no more.
func sweepMemory() error {
	dirs, err := filepath.Glob(memoryDirs + "*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(dir, memoryDirs), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// freeAddress returns an address nobody listens on. Its port is not one of those that the kernel gives to outgoing
// connections, so that it stays free while its server is down.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000))
		listener, err := net.Listen("tcp", address)
		if err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// Start starts the server on the data it has, and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.daemon.prepare(s); err != nil {
		t.Fatalf("preparing %s: %v", s.Name, err)
	}
	files, argv := s.daemon.files(s)
	if err := s.chamber.start(files, argv...); err != nil {
		t.Fatalf("starting %s: %v", s.Name, err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := greeted(s.IMAP)
		if err == nil {
			return
		}
		select {
		case <-s.chamber.ended:
			t.Fatalf("starting %s: it ended: %v\n%s", s.Name, err, s.Log())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("starting %s: %v\n%s", s.Name, err, s.Log())
		}
	}
}

// greeted connects and waits for the greeting.
func greeted(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "* OK") {
		err = errors.New("greeted by " + line)
	}
	return err
}

// Stop asks the server to end, as its service manager does, and waits until it has.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.chamber.stop(); err != nil {
		t.Fatalf("stopping %s: %v\n%s", s.Name, err, s.Log())
	}
}

// Kill ends all processes of the server at once, as a crash does.
func (s *Server) Kill() { s.chamber.kill() }

// Reconfigure stops the server, changes its options, and starts it again.
func (s *Server) Reconfigure(t testing.TB, change func(*Options)) {
	t.Helper()
	s.Stop(t)
	change(&s.options)
	s.Start(t)
}

// Cmd returns a command that will run as root where the server runs.
func (s *Server) Cmd(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	cmd, err := s.chamber.command(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Command runs a program as root where the server runs, and returns what it printed.
func (s *Server) Command(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := s.Cmd(t, argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("running %q at %s: %v: %s", argv, s.Name, err, out)
	}
	return string(out)
}

// Home returns the directory in which Dovecot and Courier keep a user's mail, for tests that change files behind the
// server's back.
func (s *Server) Home(user User) string { return s.chamber.srv("mail", user.Name) }

// Log returns what the server has logged.
func (s *Server) Log() string {
	var all strings.Builder
	for _, file := range []string{s.chamber.console(), s.chamber.srv("log/messages")} {
		if data, err := os.ReadFile(file); err == nil { // it may not have come to that log
			all.Write(data)
		}
	}
	return all.String()
}

// expand fills in a template of a configuration file.
func expand(text string, values map[string]any) string {
	var file strings.Builder
	if err := template.Must(template.New("configuration").Parse(text)).Execute(&file, values); err != nil {
		panic(err) // the template and its values are both of this package
	}
	return file.String()
}

// TLS returns a configuration that trusts the server.
func (s *Server) TLS() *tls.Config {
	return &tls.Config{RootCAs: s.CA, ServerName: ServerName}
}

// Login connects and logs in with go-imap. The connection ends with the test.
func (s *Server) Login(t testing.TB, user User) *imapclient.Client {
	t.Helper()
	client, err := imapclient.DialTLS(s.IMAPS, &imapclient.Options{TLSConfig: s.TLS()})
	if err != nil {
		t.Fatalf("connecting to %s: %v", s.Name, err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Login(user.Name, user.Password).Wait(); err != nil {
		t.Fatalf("logging in to %s as %s: %v", s.Name, user.Name, err)
	}
	return client
}
