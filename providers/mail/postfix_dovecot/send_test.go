package postfix_dovecot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A store that is not the one which was copied is refused before rsync or dsync
// begins, and an account that is really empty is not.
func TestSendOfVanishedStore(t *testing.T) {
	const uidlist, other = "3 V1700000000 N8 G0123abcd\n7 :1\n", "3 V1764000000 N2 Gfedcba98\n1 :1\n"
	const copied = "V1700000000G0123abcd"
	for _, c := range []struct {
		name, there, identity string
		// files are made; a name that ends in / is a directory, one with -> a link.
		files []string
		list  string // dovecot-uidlist
		want  int
		says  string
	}{
		{"home gone", "messages", copied, nil, "", goneStatus, "not there or empty"},
		{"home gone, only scripts there", "items", "-", nil, "", goneStatus, "not there or empty"},
		{"home is an empty mount point", "messages", copied, []string{"/"}, "", goneStatus, "not there or empty"},
		{"Maildir gone", "messages", copied, []string{"sieve/a.sieve"}, "", goneStatus, "Maildir/cur is not there"},
		{"Maildir is an empty mount point", "messages", copied, []string{"Maildir/"}, "", goneStatus, "Maildir/cur is not there"},
		{"made anew by Dovecot", "messages", copied, []string{"Maildir/cur/"}, other, goneStatus, "made anew"},
		{"made anew, copy emptied", "nothing", copied, []string{"Maildir/cur/"}, other, goneStatus, "made anew"},
		{"a new account", "nothing", "-", nil, "", 0, ""},
		{"a new account with a home", "nothing", "-", []string{"/"}, "", 0, ""},
		{"a script, and never any mail", "items", "-", []string{"sieve/a.sieve"}, "", 0, ""},
		{"all was deleted", "messages", copied, []string{"Maildir/cur/", "Maildir/new/"}, uidlist, 0, ""},
		{"the same store", "messages", copied, []string{"Maildir/cur/1:2,S"}, uidlist, 0, ""},
		{"never looked at by Dovecot", "messages", copied, []string{"Maildir/cur/", "Maildir/new/1"}, "", 0, ""},
		{"Maildir is a link", "nothing", "-", []string{"elsewhere/cur/1:2,S", "Maildir->elsewhere"}, "", linkedStatus, "symbolic link"},
		{"a folder is a link", "nothing", "-", []string{"Maildir/cur/", "elsewhere/cur/1:2,S", "Maildir/.Sent->../elsewhere"}, "", linkedStatus, ".Sent is a symbolic link"},
	} {
		for _, method := range []string{"send", "backup"} {
			if method == "backup" && c.want == linkedStatus {
				continue // Dovecot follows links
			}
			s := newScript(t)
			home := filepath.Join(t.TempDir(), "anna")
			for _, name := range c.files {
				name, target, link := strings.Cut(name, "->")
				path := filepath.Join(home, name)
				var err error
				switch {
				case link:
					err = os.Symlink(target, path)
				case strings.HasSuffix(name, "/"):
					err = os.MkdirAll(path, 0o700)
				default:
					file(t, path, "x")
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if c.list != "" {
				file(t, home+"/Maildir/dovecot-uidlist", c.list)
			}
			began := filepath.Join(t.TempDir(), "began")
			s.standIn("rsync", `: >"`+began+`"`)
			s.standIn("doveadm", `: >"`+began+`"`)
			args := []string{"send", "1", c.there, c.identity, home, "Maildir", "Maildir", "sieve", ".dovecot.sieve"}
			if method == "backup" {
				args = []string{"backup", "anna", c.there, c.identity, home, home + "/Maildir", "maildir"}
			}
			s.want(c.want, args...)
			if !strings.Contains(s.errors, c.says) {
				t.Errorf("%s: %s says %q, want %q in it", c.name, method, s.errors, c.says)
			}
			// Where there is no home there is nothing that rsync could look into.
			begins := c.want == 0 && (method == "backup" || c.files != nil)
			if _, err := os.Stat(began); (err == nil) != begins {
				t.Errorf("%s: that the copying of %s began is %v", c.name, method, err == nil)
			}
		}
	}
}

// rsync that fails in part is an error, and not a pass.
func TestSendThatFails(t *testing.T) {
	home := t.TempDir()
	file(t, home+"/Maildir/cur/1:2,S", "12345")
	args := []string{"send", "1", "nothing", "-", home, "Maildir", "Maildir", "sieve"}
	s := newScript(t)
	for status, want := range map[string]int{"0": 0, "24": 0, "23": 1, "12": 1} {
		s.standIn("rsync", "echo it is written >&2; exit "+status)
		out := s.want(want, args...)
		if want == 0 && out != "1 5 0\n" {
			t.Errorf("the pass is %q", out)
		}
		if want != 0 && !strings.Contains(s.errors, "it is written") {
			t.Errorf("the error is %q", s.errors)
		}
	}
}
