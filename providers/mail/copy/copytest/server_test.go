package copytest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// Every kind of server has its users, keeps its mail, and is found where it was.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(t testing.TB) *Server{
		"Dovecot Maildir": func(t testing.TB) *Server { return Dovecot(t, Maildir, Options{}) },
		"Dovecot mdbox":   func(t testing.TB) *Server { return Dovecot(t, MDBox, Options{Memory: true}) },
		"Cyrus":           func(t testing.TB) *Server { return Cyrus(t, Options{}) },
		"Courier":         func(t testing.TB) *Server { return Courier(t, Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time they wait for one another's daemons
			s := start(t)
			for _, user := range s.Users {
				s.Login(t, user).Close()
			}
			if err := login(t, s, sasl.NewPlainClient("", s.Users[0].Name, "wrong")); !isRefused(err) {
				t.Errorf("a wrong password was answered %v, want a refusal", err)
			}
			startTLS(t, s)
			corpus := NewCorpus(CorpusOptions{Seed: 1, Messages: 10, Strict: true})
			Fill(t, s, s.Users[1], corpus)
			s.Stop(t)
			s.Start(t)
			if diff := Diff(corpus.Content(), Read(t, s, s.Users[1])); diff != "" {
				t.Errorf("after a restart:\n%s", diff)
			}
			killed := s.Login(t, s.Users[1])
			s.Kill()
			if err := killed.Noop().Wait(); err == nil {
				t.Error("a killed server answers")
			}
			if _, err := net.Dial("tcp", s.IMAP); err == nil {
				t.Error("a killed server listens")
			}
			s.Start(t)
			if diff := Diff(corpus.Content(), Read(t, s, s.Users[1])); diff != "" {
				t.Errorf("after a crash:\n%s", diff)
			}
		})
	}
}

// login logs in by SASL.
func login(t *testing.T, s *Server, mechanism sasl.Client) error {
	t.Helper()
	client, err := imapclient.DialTLS(s.IMAPS, &imapclient.Options{TLSConfig: s.TLS()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Authenticate(mechanism)
}

func isRefused(err error) bool {
	var refused *imap.Error
	return errors.As(err, &refused)
}

// startTLS checks that the other port offers STARTTLS with a certificate that the pool vouches for.
func startTLS(t *testing.T, s *Server) {
	t.Helper()
	client, err := imapclient.DialStartTLS(s.IMAP, &imapclient.Options{TLSConfig: s.TLS()})
	if err != nil {
		t.Errorf("STARTTLS: %v", err)
		return
	}
	defer client.Close()
	if err := client.Login(s.Users[0].Name, s.Users[0].Password).Wait(); err != nil {
		t.Errorf("logging in after STARTTLS: %v", err)
	}
	if _, err := tls.Dial("tcp", s.IMAPS, &tls.Config{ServerName: ServerName}); err == nil {
		t.Error("the certificate is one that the machine trusts")
	}
}

func TestMasterLogsInForOthers(t *testing.T) {
	for name, start := range map[string]func(t testing.TB) *Server{
		"Dovecot": func(t testing.TB) *Server { return Dovecot(t, Maildir, Options{}) },
		"Cyrus":   func(t testing.TB) *Server { return Cyrus(t, Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			Fill(t, s, s.Users[0], threeMessages())
			client, err := imapclient.DialTLS(s.IMAPS, &imapclient.Options{TLSConfig: s.TLS()})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.Authenticate(sasl.NewPlainClient(s.Users[0].Name, Master().Name, Master().Password)); err != nil {
				t.Fatalf("logging in as master: %v", err)
			}
			if got, err := client.Select("INBOX", nil).Wait(); err != nil || got.NumMessages != 3 {
				t.Errorf("a master sees %+v (%v), want three messages", got, err)
			}
			if err := login(t, s, sasl.NewPlainClient(s.Users[0].Name, s.Users[1].Name, s.Users[1].Password)); err == nil {
				t.Error("a user may log in for another")
			}
		})
	}
}

func TestDovecotTakesTokens(t *testing.T) {
	s := Dovecot(t, Maildir, Options{Tokens: true})
	bearer := func(token string) sasl.Client {
		return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: s.Users[0].Name, Token: token})
	}
	if err := login(t, s, bearer(s.Token(s.Users[0], time.Now().Add(time.Hour)))); err != nil {
		t.Errorf("a good token is answered %v", err)
	}
	for name, token := range map[string]string{
		"an expired one":   s.Token(s.Users[0], time.Now().Add(-time.Minute)),
		"another user's":   s.Token(s.Users[1], time.Now().Add(time.Hour)),
		"a forged one":     s.Token(s.Users[0], time.Now().Add(time.Hour)) + "x",
		"none that is any": "x",
		"another server's": (&Server{tokenKey: newTokenKey()}).Token(s.Users[0], time.Now().Add(time.Hour)),
	} {
		var refused *sasl.OAuthBearerError
		if err := login(t, s, bearer(token)); !errors.As(err, &refused) || refused.Status != "invalid_token" {
			t.Errorf("%s is answered %v, want a refusal", name, err)
		}
	}
	s.Login(t, s.Users[0])
}

func TestDovecotMasterWithACL(t *testing.T) {
	s := Dovecot(t, Maildir, Options{ACL: true})
	Fill(t, s, s.Users[0], threeMessages())
	sees := func() error {
		t.Helper()
		client := s.Login(t, User{s.Users[0].Name + "*" + Master().Name, Master().Password})
		defer client.Close()
		_, err := client.Select("INBOX", nil).Wait()
		return err
	}
	if err := sees(); err == nil {
		t.Error("with the acl plugin alone, a master sees the user's mailbox")
	}
	s.Reconfigure(t, func(o *Options) { o.ACLUser = "%u" })
	if err := sees(); err != nil {
		t.Errorf("with acl_user, a master sees no mailbox: %v", err)
	}
}

// As the manual of [Server.Doveadm] has it.
func TestDovecotChangesUIDValidity(t *testing.T) {
	s := Dovecot(t, MDBox, Options{})
	Fill(t, s, s.Users[0], threeMessages())
	before := s.Login(t, s.Users[0])
	if _, err := before.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	s.Doveadm(t, "mailbox", "update", "-u", s.Users[0].Name, "--uid-validity", "77", "INBOX")
	if err := before.Noop().Wait(); err == nil {
		t.Error("a session goes on in a mailbox whose UIDVALIDITY has changed")
	}
	got, err := s.Login(t, s.Users[0]).Select("INBOX", nil).Wait()
	if err != nil || got.UIDValidity != 77 || got.UIDNext != 4 || got.NumMessages != 3 {
		t.Errorf("the mailbox is %+v (%v), want the same UIDs under UIDVALIDITY 77", got, err)
	}
}

func TestDovecotNames(t *testing.T) {
	s := Dovecot(t, MDBox, Options{Separator: "/", Prefix: "INBOX/"})
	corpus := NewCorpus(CorpusOptions{Messages: 20, Odd: true})
	Fill(t, s, s.Users[0], corpus)
	if names := namesOf(t, s, s.Users[0]); names.prefix != "INBOX/" || names.separator != "/" {
		t.Errorf("the server's names are %+v", names)
	}
	if diff := Diff(corpus.Content(), Read(t, s, s.Users[0])); diff != "" {
		t.Errorf("what was filled in is not what is read:\n%s", diff)
	}
	if list := s.Doveadm(t, "mailbox", "list", "-u", s.Users[0].Name); !strings.Contains(list, "INBOX/Archive/2019/Q1\n") {
		t.Errorf("doveadm lists\n%s", list)
	}
}

// Limits are refused in the servers' own words.
func TestLimits(t *testing.T) {
	tooMuch := make([]byte, 100_000)
	for i := range tooMuch {
		tooMuch[i] = "0123456789abcde\n"[i%16]
	}
	message := Message{Body: append([]byte("Subject: long\r\n\r\n"), tooMuch...), Date: time.Now()}
	for name, test := range map[string]struct {
		server func(t testing.TB) *Server
		want   string
	}{
		"Dovecot quota":        {func(t testing.TB) *Server { return Dovecot(t, Maildir, Options{Quota: "storage=50k"}) }, "[OVERQUOTA]"},
		"Dovecot message size": {func(t testing.TB) *Server { return Dovecot(t, Maildir, Options{MaxMessage: 50_000}) }, "NO "},
		"Cyrus message size":   {func(t testing.TB) *Server { return Cyrus(t, Options{MaxMessage: 50_000}) }, "NO "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := test.server(t)
			c, err := s.open(s.Users[0])
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			if err := c.appendAll("INBOX", []Message{{Body: []byte("Subject: short\r\n\r\n"), Date: time.Now()}}); err != nil {
				t.Errorf("a short message is refused: %v", err)
			}
			if err := c.appendAll("INBOX", []Message{message}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("a long message is answered %v, want %s", err, test.want)
			}
		})
	}
}

func TestDovecotLimitsConnections(t *testing.T) {
	s := Dovecot(t, Maildir, Options{MaxConnections: 2})
	s.Login(t, s.Users[0])
	s.Login(t, s.Users[0])
	s.Login(t, s.Users[1])
	if err := login(t, s, sasl.NewPlainClient("", s.Users[0].Name, s.Users[0].Password)); err == nil {
		t.Error("a third connection of the same user is taken")
	}
}

// The judge reads what the server has, not what it was told: one octet changed in a file is a difference.
func TestReadSeesWhatIsInTheStore(t *testing.T) {
	s := Dovecot(t, Maildir, Options{})
	corpus := threeMessages()
	Fill(t, s, s.Users[0], corpus)
	files, err := filepath.Glob(filepath.Join(s.Home(s.Users[0]), "maildir", "cur", "*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("found %q (%v), want three files", files, err)
	}
	before, err := os.Stat(files[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[1], []byte("Subject: two\n\ntWo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(files[1], before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	diff := Diff(corpus.Content(), Read(t, s, s.Users[0]))
	if lines := strings.Split(diff, "\n"); len(lines) != 2 || !strings.Contains(diff, "of 21 octets") {
		t.Errorf("one changed octet makes the differences\n%s\nwant two: one message missing, another there", diff)
	}
}

// What a killed test has left in memory is removed by the next one; what a running one has there is not.
func TestMemoryIsSwept(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf("%s%d-left", memoryDirs, ended.Process.Pid)
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Skipf("no memory to put files into, so nothing to sweep: %v", err)
	}
	mine := newDir(t, true)
	newDir(t, true)
	if _, err := os.Stat(left); err == nil {
		t.Errorf("%s is still there", left)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a directory in use was swept: %v", err)
	}
}

// The processes of a server do not outlive the program that started it, also if it has no time to say goodbye.
func TestServerEndsWithItsProgram(t *testing.T) {
	if address := os.Getenv("COPYTEST_DIES"); address != "" {
		s := Dovecot(t, Maildir, Options{})
		fmt.Printf("listening %s\n", s.IMAP)
		time.Sleep(time.Minute)
		return
	}
	needTree(t, "Dovecot", "dovecot-imapd")
	child := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithItsProgram$", "-test.v")
	child.Env = append(os.Environ(), "COPYTEST_DIES=1", "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	var address string
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			address = rest
		}
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("the program's server: %v", err)
	}
	defer conn.Close()
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server's connection is still open after its program was killed")
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still listens after its program was killed")
		}
	}
}

// A copier that is known to be exact finds favour with the judge, between stores of different kinds.
func TestJudgeApprovesOfDsync(t *testing.T) {
	from, to := Dovecot(t, Maildir, Options{}), Dovecot(t, MDBox, Options{Separator: "."}) // dsync maps none
	corpus := NewCorpus(CorpusOptions{Seed: 5, Messages: 100, Odd: true})
	Fill(t, from, from.Users[0], corpus)
	user := from.Users[0]
	to.Doveadm(t, "-o", "imapc_host=127.0.0.1", "-o", "imapc_port="+port(from.IMAP), "-o", "imapc_user="+user.Name,
		"-o", "imapc_password="+user.Password, "-o", "imapc_features=rfc822.size fetch-headers", "backup", "-R", "-u", user.Name, "imapc:")
	if diff := Diff(corpus.Content(), Read(t, to, user)); diff != "" {
		t.Errorf("doveadm backup has copied with differences:\n%s", diff)
	}
}

func TestToolRunsAProgramThatIsNotInstalled(t *testing.T) {
	tool := NewTool(t, "isync")
	if err := os.WriteFile(filepath.Join(tool.Dir, "config"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := tool.Cmd(t, "mbsync", "--version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "isync ") {
		t.Errorf("mbsync says %q (%v)", out, err)
	}
	if out, err := tool.Cmd(t, "ls", "/srv").CombinedOutput(); err != nil || string(out) != "config\n" {
		t.Errorf("the program sees %q (%v) in its directory, want the test's file", out, err)
	}
}
