package postfix_dovecot

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

// systemServer is what look.sh prints of Debian's most common mail server.
const systemServer = `dovecot=2.3.19.1 (9b53102964)
mail_version=3.7.11
default_database_type=hash
mydestination=example.com, localhost, mail.example.com
myhostname=mail.example.com
myorigin=mail.example.com
local_transport=local:mail.example.com
mailbox_transport=lmtp:unix:private/dovecot-lmtp
alias_maps=hash:/etc/aliases
recipient_delimiter=+
forward_path=$home/.forward${recipient_delimiter}${extension}, $home/.forward
passwd_sources= files systemd
===
auth_username_format = %Ln
mail_location = maildir:~/Maildir
passdb {
  driver = pam
}
userdb {
  driver = passwd
}
`

func TestSystemLayout(t *testing.T) {
	for _, c := range []struct{ name, old, new, fails string }{
		{name: "as Debian has it"},
		{"names that are kept as they are written", "%Ln", "%n", ""},
		{"no logins by address", "auth_username_format = %Ln\n", "", "looks users of the system up by %Lu"},
		{"users of a directory", "files systemd", "files sss", "come from sss"},
		{"virtual users first", "passdb {", "passdb {\n  driver = passwd-file\n  args = /etc/dovecot/users\n}\npassdb {", "changes login names"},
		{"others after them", "userdb {", "passdb {\n  driver = passwd-file\n  args = /etc/dovecot/users\n}\nuserdb {", "others beside them"},
		{"homes elsewhere", "driver = passwd\n", "driver = static\n", "others beside them"},
		{"aliases are not used", "local_transport=local:", "local_transport=lmtp:unix:private/dovecot-lmtp:", "local_transport is"},
		{"Maildirs of local(8)", "mailbox_transport=lmtp:unix:private/dovecot-lmtp", "home_mailbox=Maildir/", "past Dovecot"},
		{"some users elsewhere", "recipient_delimiter", "mailbox_command_maps=hash:/etc/postfix/commands\nrecipient_delimiter", "mailbox_command_maps"},
		{"forward files elsewhere", "$home/.forward$", "/var/forward/$", "forward_path"},
	} {
		text := strings.Replace(systemServer, c.old, c.new, 1)
		l, err := parseLayout(text)
		switch {
		case c.fails == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.fails)
		case c.fails == "" && (!l.system() || l.delivery() != "lmtp:unix:private/dovecot-lmtp" || l.login("anna@example.com") != "anna"):
			t.Errorf("%s: got %+v", c.name, l)
		}
	}
}

const passwdText = `root:x:0:0:root:/root:/bin/bash
mail:x:8:8::/var/mail:/usr/sbin/nologin
murphy:x:1002:1002::/home/murphy:/bin/sh
office:x:1003:1003::/home/office:/usr/sbin/nologin
admin:x:1001:1001::/home/admin:/bin/bash
Upper:x:1004:1004::/home/Upper:/bin/sh
half:x:1005:1005::/home/half:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
+::::::
`

const shadowText = `root:$6$a$b:1:0:99999:7:::
mail:*:1:0:99999:7:::
murphy:$y$j9T$x$y:1:0:99999:7:::
office:$6$salt$hash:1:0:99999:7:::
admin:!:1:0:99999:7:::
Upper:$6$a$b:1:0:99999:7:::
half:!:1:0:99999:7:::
nobody:$6$a$b:1:0:99999:7:::
`

func testUsers(t *testing.T) *systemUsers {
	t.Helper()
	u, err := parseUsers(passwdText, shadowText, "# a comment\nUID_MIN\t\t 1000\nUID_MAX 60000\nUMASK 022\n")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSystemUsers(t *testing.T) {
	u := testUsers(t)
	var got []string
	for a := range u.people("example.com") {
		got = append(got, string(a))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"murphy@example.com", "office@example.com"}, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if _, err := parseUsers("", "", "UID_MIN many\n"); err == nil {
		t.Error("a limit that is no number was read")
	}
	u.made = []string{"half"}
	for _, c := range []struct {
		account mail.Account
		fails   string
	}{
		{mail.Account{Address: "anna.maria@example.com"}, ""},
		{mail.Account{Address: "murphy@example.com"}, ""},
		{mail.Account{Address: "half@example.com"}, ""}, // an attempt of ours
		{mail.Account{Address: "anna@example.com", Quota: 1}, "no limit of its own"},
		{mail.Account{Address: "mail@example.com"}, "uid 8"},
		{mail.Account{Address: "admin@example.com"}, "without a password"},
		{mail.Account{Address: "4711@example.com"}, "cannot be the name"},
		{mail.Account{Address: "a'b@example.com"}, "cannot be the name"},
		{mail.Account{Address: "a-name-that-is-longer-than-useradd-takes@example.com"}, "cannot be the name"},
	} {
		err := u.allow(mail.AccountEdit{Account: c.account})
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: got %v, want an error with %q", c.account.Address, err, c.fails)
		}
	}
}

func TestHashes(t *testing.T) {
	for _, c := range []struct {
		hash, canonical, crypted string
		ok                       bool
	}{
		{"{SHA512-CRYPT}$6$s$h", "{SHA512-CRYPT}$6$s$h", "$6$s$h", true},
		{"{CRYPT}$6$s$h", "{SHA512-CRYPT}$6$s$h", "$6$s$h", true},
		{"{crypt}$2b$04$h", "{BLF-CRYPT}$2b$04$h", "$2b$04$h", true},
		{"{CRYPT}$y$j9T$s$h", "{CRYPT}$y$j9T$s$h", "$y$j9T$s$h", true},
		{"{DES-CRYPT}abcdefghijklm", "{CRYPT}abcdefghijklm", "abcdefghijklm", true},
		{"{ARGON2ID}$argon2id$x", "{ARGON2ID}$argon2id$x", "", false},
		{"{PLAIN}secret", "{PLAIN}secret", "", false},
		{"{SHA512-CRYPT.B64}JDYk", "{SHA512-CRYPT.B64}JDYk", "", false},
	} {
		if got := canonical(c.hash); got != c.canonical {
			t.Errorf("canonical(%q) = %q, want %q", c.hash, got, c.canonical)
		}
		if got, ok := crypted(c.hash); got != c.crypted || ok != c.ok {
			t.Errorf("crypted(%q) = %q, %v; want %q, %v", c.hash, got, ok, c.crypted, c.ok)
		}
	}
}

const localAliases = `# aliases(5)
postmaster: root
root:	murphy
"team": murphy, \office,
	anna@mail.example.com , "|/usr/bin/list, really"
news: :include:/etc/news, peter@example.org
list: murphy
owner-list: office
`

func TestLocalAliases(t *testing.T) {
	l, err := parseLayout(systemServer)
	if err != nil {
		t.Fatal(err)
	}
	f := &mapFile{local: true}
	f.parse([]byte(localAliases))
	for _, c := range []struct {
		name    string
		members []mail.Address
		code    []string
	}{
		{"postmaster", []mail.Address{"root@example.com"}, nil},
		{"team", []mail.Address{"anna@example.com", "murphy@example.com", "office@example.com"}, []string{`"|/usr/bin/list, really"`}},
		{"news", []mail.Address{"peter@example.org"}, []string{":include:/etc/news"}},
		{"list", []mail.Address{"murphy@example.com"}, []string{"owner-list"}},
	} {
		e, found := f.find(c.name)
		if !found {
			t.Errorf("%s is not found", c.name)
		}
		want := mail.Alias{Address: mail.Address(c.name + "@example.com"), Members: c.members, Code: c.code}
		if diff := cmp.Diff(want, l.readAlias(f, want.Address, e.value)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	f.set("root", "office@example.com")
	f.set("team", "")
	f.set("info", "murphy@example.com")
	want := `# aliases(5)
postmaster: root
root: office@example.com
news: :include:/etc/news, peter@example.org
list: murphy
owner-list: office
info: murphy@example.com
`
	if diff := cmp.Diff(want, string(f.content())); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
}

func TestAliasTables(t *testing.T) {
	l, err := parseLayout(systemServer)
	if err != nil {
		t.Fatal(err)
	}
	virtual := parseMap("hash", "/etc/postfix/virtual", []byte("sales  office\nsales@example.com  murphy\nhelp@example.org  murphy\n"))
	local := &mapFile{local: true}
	local.parse([]byte("sales: root\nhelp: root\n"))
	tables := []aliasTable{{virtual, false}, {virtual, true}, {local, true}}
	for a, want := range map[mail.Address]mail.Address{
		"sales@example.com": "murphy@example.com", // the whole address goes before the name
		"sales@example.org": "office@example.org",
		"help@example.com":  "root@example.com",
		"help@example.org":  "murphy@example.org",
	} {
		if _, got := l.aliasOf(tables, a); !slices.Equal(got, []mail.Address{want}) {
			t.Errorf("%s leads to %v, want %s", a, got, want)
		}
	}
	if got := l.luserRelay("@example.com"); len(got.Members)+len(got.Code) > 0 {
		t.Errorf("a catch-all that nobody set: %v", got)
	}
	l.postfix["luser_relay"] = "office"
	if got := l.luserRelay("@example.com").Members; !slices.Equal(got, []mail.Address{"office@example.com"}) {
		t.Errorf("the catch-all leads to %v", got)
	}
	l.postfix["luser_relay"] = "$user@example.org"
	if got := l.luserRelay("@example.com"); len(got.Members) > 0 || len(got.Code) != 1 {
		t.Errorf("a catch-all with macros is %+v, want code", got)
	}
}
