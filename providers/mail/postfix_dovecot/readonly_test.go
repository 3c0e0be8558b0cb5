package postfix_dovecot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers/mail"
)

// The directory with Postfix's maps cannot be written (a file system that is mounted
// read-only after an error, say): mailmove says so and exits with 1, changes nothing,
// mail goes on, and the same command goes on when that is put right.
func TestMapDirectoryReadOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	list, err := b.old.Accounts(t.Context(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	account := list[0].Address
	run := b.mailmove(t, account)
	files := "cd /etc/postfix && find . -type f | sort | xargs sha256sum && ls -A . | sort"
	before := b.exec("old", files)
	b.exec("old", "mount --bind /etc/postfix /etc/postfix && mount -o remount,bind,ro /etc/postfix")

	code, said := run("apply", "-auto-approve")
	if code != 1 {
		t.Errorf("mailmove ended with %d, want 1", code)
	}
	for _, want := range []string{"mail_alias.extra", "198.51.100.10", "Read-only file system", "/etc/postfix/virtual_aliases (nothing is changed)"} {
		if !strings.Contains(said, want) {
			t.Errorf("mailmove does not say %q:\n%s", want, said)
		}
	}
	if after := b.exec("old", files); after != before {
		t.Errorf("files have changed:\n%s\nwant\n%s", after, before)
	}
	b.send("198.51.100.10", "outsider@sender.test", string(account), "while-read-only")
	b.eventually("mail is delivered", func() bool { return b.stored("old", string(account), "while-read-only") == 1 })
	if code, said := run("plan", "-detailed-exitcode"); code != 2 || !strings.Contains(said, "1 to create") {
		t.Errorf("planning ended with %d, want 2 and the alias still to be created:\n%s", code, said)
	}

	b.exec("old", "mount -o remount,bind,rw /etc/postfix")
	if code, said := run("apply"); code != 0 {
		t.Fatalf("put right, mailmove ended with %d:\n%s", code, said)
	}
	if code, said := run("plan", "-detailed-exitcode"); code != 0 {
		t.Errorf("planning again ended with %d, want 0:\n%s", code, said)
	}
	b.send("198.51.100.10", "outsider@sender.test", "extra@example.com", "by-the-alias")
	b.eventually("mail to the alias is delivered", func() bool { return b.stored("old", string(account), "by-the-alias") == 1 })
}

// mailmove returns a function that runs mailmove on the operator's host, with a
// configuration of one alias of an account on the old server, and returns its exit
// code and what it says.
func (b *bench) mailmove(t *testing.T, account mail.Address) func(args ...string) (code int, said string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "mailmove")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/mailmove/mailmove/cmd/mailmove").CombinedOutput(); err != nil {
		t.Fatalf("building mailmove: %v\n%s", err, out)
	}
	for file, from := range map[string]string{"key": "/root/.ssh/id_ed25519", "known_hosts": "/root/.ssh/known_hosts"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(b.exec("op", "cat "+from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configuration := fmt.Sprintf(`
provider "postfix_dovecot" "old" {
  address = "198.51.100.10"
  ssh {
    key_file    = %q
    known_hosts = %q
  }
}

resource "mail_alias" "extra" {
  address = "extra@example.com"
  members = [%q]
}
`, filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts"), account)
	if err := os.WriteFile(filepath.Join(dir, "move.mm.hcl"), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (int, string) {
		t.Helper()
		cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/mmlab-" + b.name + "-op", "--", program, "-chdir=" + dir}, args...)...)
		cmd.Env = []string{"NO_COLOR=1", "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
}
