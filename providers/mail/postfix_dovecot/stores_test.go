package postfix_dovecot

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhereMailLies(t *testing.T) {
	scripts := []string{"sieve", ".dovecot.sieve", ".dovecot.lda-dupes"}
	for _, c := range []struct {
		location, box, root, inbox string
		unknown                    bool
	}{
		{location: "maildir:~/Maildir", box: "Maildir", root: "/var/vmail/a/Maildir"},
		{location: "maildir:/var/vmail/a/mail:LAYOUT=fs", box: "mail", root: "/var/vmail/a/mail"},
		{location: "maildir:%h/x/../Mail", box: "Mail", root: "/var/vmail/a/Mail"},
		{location: "maildir:/srv/mail/%d/%n", root: "/srv/mail/example.com/anna"},
		{location: "maildir:~", root: "/var/vmail/a"},
		{location: "maildir:~/Mail[x]", root: "/var/vmail/a/Mail[x]"},
		{location: "maildir:~/Maildir:INDEX=/var/index/%u", root: "/var/vmail/a/Maildir"},
		{location: "mbox:~/mail:INBOX=/var/mail/%n", root: "/var/vmail/a/mail", inbox: "/var/mail/anna"},
		{location: "maildir:~/Maildir:INBOX=~/inbox", root: "/var/vmail/a/Maildir", inbox: "/var/vmail/a/inbox"},
		{location: "mbox:~/mail:INBOX=/var/mail/%{hash}", unknown: true},
		{location: "mdbox:~/mdbox", root: "/var/vmail/a/mdbox"},
		{location: "maildir:/srv/mail/%{hash}", unknown: true},
		{location: "", unknown: true},
	} {
		got, err := (&layout{}).store("anna@example.com", "/var/vmail/a/", c.location)
		if c.unknown {
			if err == nil {
				t.Errorf("%s: where the mail lies was guessed: %+v", c.location, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.location, err)
		}
		if got.home != "/var/vmail/a" || got.root != c.root || got.inbox != c.inbox || got.box != c.box || (got.why == nil) != (c.box != "") {
			t.Errorf("%s: got %+v, want root %q and box %q", c.location, got, c.root, c.box)
		}
		if diff := cmp.Diff(scripts, got.scripts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.location, diff)
		}
	}
	if _, err := (&layout{}).store("anna@example.com", "", "maildir:/srv/mail/anna"); err == nil {
		t.Error("an account without a home was taken")
	}
}
