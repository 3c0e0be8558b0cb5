package postfix_dovecot

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// parking is park.sh with doors of its own.
type parking struct {
	t     *testing.T
	doors string
}

func newParking(t *testing.T) *parking {
	p := &parking{t: t, doors: t.TempDir()}
	for _, kind := range []string{"held", "away"} {
		if err := os.MkdirAll(filepath.Join(p.doors, kind, "imap"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// door makes the file of a login.
func (p *parking) door(kind, login, line string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.doors, kind, "imap", login), []byte(line+"\n"), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// answer runs the program as Dovecot does, and returns its status and its answer.
func (p *parking) answer(user string, meanwhile func()) (int, string) {
	p.t.Helper()
	const doors = "doors=/etc/dovecot/mailmove\n"
	if !strings.Contains(parkScript, doors) {
		p.t.Fatal("park.sh does not say where its doors are")
	}
	dir := p.t.TempDir()
	program := filepath.Join(dir, "park.sh")
	if err := os.WriteFile(program, []byte(strings.Replace(parkScript, doors, "doors="+p.doors+"\n", 1)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	credentials, err := os.Open(os.DevNull)
	if err != nil {
		p.t.Fatal(err)
	}
	defer credentials.Close()
	answer, err := os.Create(filepath.Join(dir, "answer"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Close()
	cmd := exec.Command("/bin/sh", program)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "SERVICE=imap", "AUTH_USER=" + user}
	cmd.ExtraFiles = []*os.File{credentials, answer} // descriptors 3 and 4
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	meanwhile()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if _, err := answer.Seek(0, io.SeekStart); err != nil {
		p.t.Fatal(err)
	}
	said, err := io.ReadAll(answer)
	if err != nil {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(said)
}

func TestParkedLoginIsAnswered(t *testing.T) {
	t.Parallel()
	const fields = "proxy=y host=new.example hostip=198.51.100.20 port=993 ssl=yes destuser=anna@example.com"
	for _, c := range []struct {
		name, away string
		status     int
		answer     string
	}{
		{"at home here", "", 0, "user=Anna@example.com"},
		{"away", "anna@example.com::::::: " + fields + " nopassword=y", 0, "user=Anna@example.com\t" + strings.ReplaceAll(fields, " ", "\t")},
		// Let in here he would be in a store that is not his home.
		{"away, and nowhere to go to", "anna@example.com::::::: nopassword=y", 111, ""},
		{"away, and an empty file", "", 111, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParking(t)
			if c.status != 0 || c.away != "" {
				p.door("away", "anna@example.com", c.away)
			}
			status, answer := p.answer("Anna@example.com", func() {})
			if status != c.status || answer != c.answer {
				t.Errorf("the program ended with %d and answered %q, want %d and %q", status, answer, c.status, c.answer)
			}
		})
	}
}

// The decision is made after the wait, by what is then.
func TestParkedLoginWaits(t *testing.T) {
	t.Parallel()
	p := newParking(t)
	p.door("held", "anna@example.com", "anna@example.com:{PLAIN}x::::::")
	status, answer := p.answer("anna@example.com", func() {
		time.Sleep(300 * time.Millisecond) // it has looked, or finds the same later
		p.door("away", "anna@example.com", "anna@example.com::::::: proxy=y host=new.example")
		if err := os.Remove(filepath.Join(p.doors, "held", "imap", "anna@example.com")); err != nil {
			t.Fatal(err)
		}
	})
	if want := "user=anna@example.com\tproxy=y\thost=new.example"; status != 0 || answer != want {
		t.Errorf("the program ended with %d and answered %q, want 0 and %q", status, answer, want)
	}
}
