package postfix_dovecot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailmove/mailmove/providers/mail"
)

const aliasText = `# aliases of the shop
info@example.com  murphy@example.com
Team@example.com	murphy@example.com,
	office@example.com   info@example.com
# the last one

murphy@example.com  murphy@example.com
@example.com  office@example.com
run@example.com  "|/bin/sh"
`

func TestMapKeepsWhatIsNotOurs(t *testing.T) {
	f := parseMap("hash", "/etc/postfix/virtual", []byte(aliasText))
	if e, found := f.find("team@example.com"); !found || e.value != "murphy@example.com, office@example.com   info@example.com" {
		t.Errorf("team is %q, %v", e.value, found)
	}
	f.set("team@example.com", "office@example.com")
	f.set("info@example.com", "")
	f.set("new@example.com", "anna@example.com")
	f.set("@example.com", "office@example.com") // as it is
	want := `# aliases of the shop
team@example.com  office@example.com
# the last one

murphy@example.com  murphy@example.com
@example.com  office@example.com
run@example.com  "|/bin/sh"
new@example.com  anna@example.com
`
	if diff := cmp.Diff(want, string(f.content())); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
	g := parseMap("hash", "/etc/postfix/virtual", []byte(aliasText))
	g.set("info@example.com", "murphy@example.com")
	if g.changed {
		t.Error("setting what is there already changes the file")
	}
}

func FuzzMapSet(f *testing.F) {
	f.Add(aliasText)
	f.Add("a b\n c\n#\n\td")
	f.Fuzz(func(t *testing.T, text string) {
		before := parseMap("hash", "/f", []byte(text))
		after := parseMap("hash", "/f", before.content())
		after.set("x@example.com", "y@example.com")
		got := parseMap("hash", "/f", after.content())
		if e, found := got.find("x@example.com"); !found || e.value != "y@example.com" {
			t.Fatalf("the entry reads %q, %v in %q", e.value, found, after.content())
		}
		for _, e := range before.entries {
			if e.key == "x@example.com" {
				continue
			}
			first, _ := before.find(e.key)
			if now, found := got.find(e.key); !found || now.value != first.value {
				t.Fatalf("entry %q was %q and is %q", e.key, first.value, now.value)
			}
		}
	})
}

func TestReadAlias(t *testing.T) {
	for _, c := range []struct {
		value   string
		members []mail.Address
		code    []string
	}{
		{"b@example.com, A@Example.com b@example.com", []mail.Address{"a@example.com", "b@example.com"}, nil},
		{`a@example.com, "|/bin/sh"`, []mail.Address{"a@example.com"}, []string{`"|/bin/sh"`}},
		{":include:/etc/list", nil, []string{":include:/etc/list"}},
		{"root", nil, []string{"root"}},
	} {
		got := (&layout{users: "/etc/dovecot/users"}).readAlias(&mapFile{}, "x@example.com", c.value)
		if diff := cmp.Diff(mail.Alias{Address: "x@example.com", Members: c.members, Code: c.code}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.value, diff)
		}
	}
}

func TestPasswdFile(t *testing.T) {
	const text = "murphy@example.com:{PLAIN}a::::::userdb_quota_rule=*:storage=10M other=x\n" +
		"# a comment: with a colon\nanna@example.com:{PLAIN}b:500:500::/srv/example.com/anna::\n"
	f := parsePasswd("/etc/dovecot/users", []byte(text))
	if got := string(f.content()); got != text {
		t.Errorf("unchanged it is\n%s\nwant\n%s", got, text)
	}
	if q := quota(f.find("murphy@example.com")[fieldExtra]); q != 10<<20 {
		t.Errorf("the quota is %d, want 10 MiB", q)
	}
	for _, a := range []struct {
		account mail.Account
		hash    string
		changed bool
	}{
		{mail.Account{Address: "murphy@example.com", Quota: 10 << 20}, "", false},
		{mail.Account{Address: "murphy@example.com", Quota: 5}, "{PLAIN}c", true},
		{mail.Account{Address: "bob@example.org"}, "{PLAIN}d", true},
	} {
		f.changed = false
		if err := f.put(a.account, a.hash); err != nil || f.changed != a.changed {
			t.Errorf("putting %v: changed is %v, %v; want %v", a.account, f.changed, err, a.changed)
		}
	}
	if err := f.put(mail.Account{Address: "eve@example.com"}, ""); err == nil {
		t.Error("an account without a hash was made")
	}
	want := "murphy@example.com:{PLAIN}c::::::other=x userdb_quota_rule=*:bytes=5\n" +
		"# a comment: with a colon\nanna@example.com:{PLAIN}b:500:500::/srv/example.com/anna::\n" +
		"bob@example.org:{PLAIN}d:500:500::/srv/example.org/bob::\n"
	if diff := cmp.Diff(want, string(f.content())); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
}

func TestLayout(t *testing.T) {
	const postfix = "dovecot=2.3.19.1 (9b53102964)\nmail_version=3.7.11\ndefault_database_type=hash\nvirtual_transport=lmtp:unix:private/dovecot-lmtp\n"
	const users = "passdb {\n  args = scheme=sha512-crypt username_format=%u /etc/dovecot/users\n  driver = passwd-file\n}\n"
	for _, c := range []struct{ name, text, fails string }{
		{"passwd-file", postfix + "===\n" + users, ""},
		{"our passdb first", postfix + "===\npassdb {\n  args = /etc/dovecot/mailmove/held/%s/%Lu\n  driver = passwd-file\n}\n" + users, ""},
		{"no dovecot", "mail_version=3.7.11\ndefault_database_type=hash\n", "not both installed"},
		{"missing program", "missing=rsync\n", "rsync is missing"},
		{"dovecot 2.4", strings.Replace(postfix, "2.3.19.1", "2.4.1-4", 1) + "===\n" + users, "2.4.1-4 is not supported"},
		{"sql", postfix + "===\npassdb {\n  args = /etc/dovecot/dovecot-sql.conf.ext\n  driver = sql\n}\n", `passdb "sql"`},
		{"by local part", postfix + "===\n" + strings.Replace(users, "%u", "%n", 1), "looked up by %n"},
		{"a file for each domain", postfix + "===\n" + strings.Replace(users, "/users", "/%d", 1), "not one file"},
		{"changed login names", postfix + "===\nauth_username_format = %Ln\n" + users, "auth_username_format = %Ln"},
		{"sdbm", strings.Replace(postfix, "=hash", "=sdbm", 1) + "===\n" + users, `type "sdbm"`},
		{"no passdb", postfix + "===\n", "no passdb"},
		{"half a section", postfix + "===\npassdb {\n", "does not end"},
	} {
		l, err := parseLayout(c.text)
		switch {
		case c.fails == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.fails)
		case c.name == "passwd-file" && (l.users != "/etc/dovecot/users" || l.scheme != "SHA512-CRYPT" || l.delivery() != "lmtp:unix:private/dovecot-lmtp"):
			t.Errorf("%s: got %+v", c.name, l)
		}
	}
}

func TestTables(t *testing.T) {
	got, err := parseTables("route a@example.com left 198.51.100.20 10525\nroute b@example.com hold - 0\n" +
		"login a@example.com a@example.com left 198.51.100.20 mail.example.com 143 995\nlogin b@example.com b parked - - 0 0\ntrust 198.51.100.20 example.com\nchanging b@example.com\n")
	if err != nil {
		t.Fatal(err)
	}
	want := &tables{
		routes: map[mail.Address]mail.Route{
			"a@example.com": {Mode: mail.Relay, Left: true, Peer: mail.Endpoint{Address: "198.51.100.20", Relay: 10525}},
			"b@example.com": {Mode: mail.Hold},
		},
		changing: map[mail.Address]bool{"b@example.com": true},
		logins: map[mail.Address]mail.Login{
			"a@example.com": {Mode: mail.Proxied, Left: true, Peer: mail.Endpoint{Address: "198.51.100.20", Name: "mail.example.com", IMAP: 143, POP3: 995}},
			"b@example.com": {Mode: mail.Parked},
		},
		trusts: []mail.Trust{{Peer: "198.51.100.20", Domain: "example.com"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tables{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parseTables("route a@example.com relay\n"); err == nil {
		t.Error("half a line was read")
	}
}
