package postfix_dovecot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

func TestCompareManifests(t *testing.T) {
	const files = "m|100|7|./cur/1:2,S\nm|50|7|./cur/2:2,\nf|abc|./subscriptions\nd|./.Sent\nc|def|./cur/1:2,S\nc|123|./cur/2:2,\n"
	const boxes = "b|7|INBOX\nu|100|2026 guid \\Seen|INBOX 1\ns|INBOX\nc|def|INBOX\n"
	for _, c := range []struct {
		name, here, there         string
		depth                     mail.Depth
		missing, extra, differing int64
		example                   string
	}{
		{name: "a store with itself", here: files, there: files, depth: mail.Content},
		{name: "nothing with nothing", depth: mail.Content},
		{"one of each", files, "m|100|8|./cur/1:2,S\nm|50|7|./cur/3:2,\nf|xyz|./subscriptions\nd|./.Sent\nc|def|./cur/1:2,S\nc|123|./cur/3:2,\n",
			mail.Content, 1, 1, 2, "cur/1:2,S differs"},
		{"other bytes", files, strings.Replace(files, "|def|", "|xyz|", 1), mail.Content, 0, 0, 1, "the content of cur/1:2,S differs"},
		{"bytes unread there", files, strings.Replace(files, "c|def|./cur/1:2,S\n", "", 1), mail.Content, 0, 0, 1, "the content of cur/1:2,S could not be read"},
		{"bytes unread here", strings.Replace(files, "c|def|./cur/1:2,S\n", "", 1), files, mail.Content, 0, 0, 1, "the content of cur/1:2,S could not be read"},
		{"bytes unread on both", strings.Replace(files, "c|def|./cur/1:2,S\n", "", 1), strings.Replace(files, "c|def|./cur/1:2,S\n", "", 1),
			mail.Content, 0, 0, 1, "the content of cur/1:2,S could not be read"},
		{name: "a listing needs no bytes", here: "m|100|7|./cur/1:2,S\n", there: "m|100|7|./cur/1:2,S\n", depth: mail.Listing},
		{"the source is gone", "", files, mail.Content, 0, 4, 0, "cur/1:2,S is only there"},
		{"the copy is gone", files, "", mail.Content, 4, 0, 0, "cur/1:2,S is missing"},
		{name: "as Dovecot sees it", here: boxes, there: boxes, depth: mail.Content},
		{"a mailbox unread", boxes, strings.Replace(boxes, "c|def|INBOX\n", "", 1), mail.Content, 0, 0, 1, "the content of mailbox INBOX could not be read"},
		{"a mailbox of a folder's name", "b|7|sieve\nc|x|sieve\nd|./sieve\n", "b|7|sieve\nc|x|sieve\n", mail.Content, 1, 0, 0, "sieve is missing"},
	} {
		read := func(text string) *manifest {
			m, err := parseManifest(strings.NewReplacer("|", "\t", "\n", "\x00").Replace(text))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			return m
		}
		got := compare(read(c.here), read(c.there), c.depth)
		if got.Missing != c.missing || got.Extra != c.extra || got.Differing != c.differing {
			t.Errorf("%s: got %+v, want %d missing, %d extra, %d differing", c.name, got, c.missing, c.extra, c.differing)
		}
		if c.example != "" && !strings.Contains(strings.Join(got.Examples, "\n"), c.example) {
			t.Errorf("%s: the examples are %q, want one to be %q", c.name, got.Examples, c.example)
		}
	}
}

func TestManifestsThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"garbage\x00", "m\t1\t2\tcur/1", "m\t1\tcur/1\x00", "m\tx\t2\tcur/1\x00", "f\tabc\t\x00", "\tx\x00"} {
		if m, err := parseManifest(text); err == nil {
			t.Errorf("%q was read as %+v", text, m)
		}
	}
}

// Names may hold anything: a manifest has each message of such a store, and
// tells which one was altered.
func TestListOfOddNames(t *testing.T) {
	home := t.TempDir()
	names := []string{
		"Maildir/cur/1.a:2,S", "Maildir/cur/2\nm\t1\t2\t.b:2,", "Maildir/cur/3\\n:2,", "Maildir/cur/\\4:2,", "Maildir/cur/5\ttab:2,",
		"Maildir/new/-6", "Maildir/new/7 d\xff'\"$(id)", "Maildir/.-x/cur/8:2,", "sieve/-rf\n.sieve", "Maildir/dovecot-\\uidlist",
	}
	for _, name := range names {
		file(t, filepath.Join(home, name), name)
	}
	if err := os.Symlink("sieve/a\tb", filepath.Join(home, ".dovecot.sieve")); err != nil {
		t.Fatal(err)
	}
	read := func() *manifest {
		m, err := parseManifest(newScript(t).want(0, "list", "content", home, "Maildir", "sieve", ".dovecot.sieve", "-absent"))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	before := read()
	if before.messages != 8 || len(before.contents) != 8 {
		t.Errorf("%d messages, %d of them with content: want 8", before.messages, len(before.contents))
	}
	var got []string
	for t := range before.things {
		if t.kind == "m" || t.kind == "f" {
			got = append(got, t.name)
		}
	}
	if diff := cmp.Diff(sorted(names), sorted(got)); diff != "" {
		t.Errorf("the names (-want +got):\n%s", diff)
	}
	if c := compare(before, read(), mail.Content); c.Behind() != 0 {
		t.Errorf("a store compared with itself: %+v", c)
	}
	for _, name := range names {
		whole := filepath.Join(home, name)
		info, err := os.Stat(whole)
		if err != nil {
			t.Fatal(err)
		}
		file(t, whole, strings.Repeat("X", len(name)))
		if err := os.Chtimes(whole, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if c := compare(before, read(), mail.Content); c.Behind() != 1 {
			t.Errorf("after %q was altered: %+v, want one difference", name, c)
		}
		file(t, whole, name)
		if err := os.Chtimes(whole, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
}

// A store of which something cannot be read is an error that names it, not a
// shorter manifest.
func TestListOfUnreadableStores(t *testing.T) {
	for _, c := range []struct{ locked, depth string }{
		{"Maildir/cur/1:2,S", "content"},
		{"Maildir/dovecot-uidlist", "listing"},
		{"sieve/a.sieve", "listing"},
		{"Maildir/.Sent", "listing"},
		{"Maildir/.Sent/cur", "listing"},
		{"Maildir", "listing"},
		{"", "listing"},
	} {
		s := newScript(t).asNobody()
		home := filepath.Join(t.TempDir(), "home")
		for _, name := range []string{"Maildir/cur/1:2,S", "Maildir/.Sent/cur/2:2,S", "Maildir/dovecot-uidlist", "sieve/a.sieve"} {
			file(t, filepath.Join(home, name), "x")
		}
		s.own(home)
		s.want(0, "list", c.depth, home, "Maildir", "sieve")
		locked := filepath.Join(home, c.locked)
		if err := os.Chmod(locked, 0); err != nil {
			t.Fatal(err)
		}
		s.want(1, "list", c.depth, home, "Maildir", "sieve")
		if !strings.Contains(s.errors, c.locked) || !strings.Contains(s.errors, "Permission denied") {
			t.Errorf("%q cannot be read: the error is %q, want it to say so", c.locked, s.errors)
		}
		if err := os.Chmod(locked, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// While somebody works, a Maildir's files change their names between the listing
// and the reading: that is no error, and counts as different.
func TestListOfStoreInUse(t *testing.T) {
	home := t.TempDir()
	file(t, filepath.Join(home, "Maildir/cur/1:2,"), "x")
	file(t, filepath.Join(home, "Maildir/cur/2:2,"), "x")
	s := newScript(t)
	s.standIn("sha256sum", `mv "$HOME/Maildir/cur/1:2," "$HOME/Maildir/cur/1:2,S" 2>/dev/null; exec /usr/bin/sha256sum "$@"`)
	s.env = append(s.env, "HOME="+home)
	m, err := parseManifest(s.want(0, "list", "content", home, "Maildir"))
	if err != nil {
		t.Fatal(err)
	}
	if c := compare(m, m, mail.Content); m.messages != 2 || c.Differing != 1 {
		t.Errorf("%d messages, compared with themselves %+v: want two, one of them not read", m.messages, c)
	}
	// A program that fails and does not say why is no race with a user.
	s.standIn("sha256sum", "exit 1")
	s.want(1, "list", "content", home, "Maildir")
}

// What Dovecot tells is whole, or an error; it is asked again about what vanished.
func TestBoxesFailClosed(t *testing.T) {
	const dovecot = `
count=$(($(cat "$COUNT" 2>/dev/null || echo 0) + 1)); echo $count >"$COUNT"
case $* in
*"$FAILING"*) [ $count -ge "$UNTIL" ] || { printf 'uid\thalf a line'; echo 'mailbox a: Permission denied' >&2; exit 75; } ;;
esac
case $* in
*status*) printf 'mailbox\tuidvalidity\nINBOX\t7\nA b\t8\n' ;;
*'list -s'*) echo INBOX ;;
*list*) printf 'INBOX\nA b\n' ;;
*text*) echo "$*" ;;
*) printf 'uid\tguid\tflags\tdate.received\tsize.physical\tmailbox\n3\tg\t\\Seen $x \\Recent\t2026-01-02 03:04:05\t100\tA b\n' ;;
esac`
	for _, failing := range []string{"uidvalidity", "size.physical", "list -s", "list -u", "text"} {
		s := newScript(t)
		s.standIn("doveadm", dovecot)
		s.env = append(s.env, "COUNT="+filepath.Join(t.TempDir(), "count"), "FAILING="+failing)
		never := s.env
		s.env = append(never, "UNTIL=1000")
		s.want(1, "boxes", "content", "anna", t.TempDir())
		if !strings.Contains(s.errors, "Permission denied") || !strings.Contains(s.errors, "anna") {
			t.Errorf("%s fails: the error is %q", failing, s.errors)
		}
		s.env = append(never, "UNTIL=1")
		m, err := parseManifest(s.want(0, "boxes", "content", "anna", t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		if m.messages != 1 || m.bytes != 100 || len(m.contents) != 2 || m.things[thing{"u", "A b 3"}] != `100	2026-01-02 03:04:05 g $x \Seen` {
			t.Errorf("got %+v", m)
		}
	}
	s := newScript(t)
	s.standIn("doveadm", dovecot)
	s.env = append(s.env, "COUNT="+filepath.Join(t.TempDir(), "count"), "FAILING=size.physical", "UNTIL=3")
	s.want(0, "boxes", "listing", "anna", t.TempDir())
}
