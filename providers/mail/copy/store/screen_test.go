package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVeilFlags(t *testing.T) {
	tests := []struct {
		line string
		want string // with the flags unveiled again: the line
	}{
		{`* 1 FETCH (UID 1 FLAGS (\Seen a b))`, `* 1 FETCH (UID 1 FLAGS (\Seen a b))`},
		{`* 1 FETCH (UID 1 FLAGS (Foo]) RFC822.SIZE 1)`, "* 1 FETCH (UID 1 FLAGS (Foo\xf8) RFC822.SIZE 1)"},
		{`* 1 FETCH (FLAGS (]{%*") BODY[] {3}`, "* 1 FETCH (FLAGS (\xf8\xf9\xfa\xfb\xfc) BODY[] {3}"},
		{`* OK [PERMANENTFLAGS (a] \*)] "kept"`, "* OK [PERMANENTFLAGS (a\xf8 \\*)] \"kept\""},
		{`* flags (]`, "* flags (\xf8"},
		{`* FLAGS ()`, `* FLAGS ()`},
	}
	for _, test := range tests {
		got := string(veilFlags([]byte(test.line)))
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.line, got, test.want)
		}
		if back := unveil(got); back != test.line {
			t.Errorf("%s: unveiled it is %q", test.line, back)
		}
	}
}

func TestNameIn(t *testing.T) {
	tests := []struct {
		kind, line, want string
		ok               bool
	}{
		{"LIST", `* LIST (\HasNoChildren) "/" INBOX` + "\r\n", "INBOX", true},
		{"LIST", `* LIST () NIL "a \"b\" \\ c" ("CHILDINFO" ("SUBSCRIBED"))` + "\r\n", `a "b" \ c`, true},
		{"LSUB", `* LSUB () "." "INBOX.a b"` + "\r\n", "INBOX.a b", true},
		{"LIST", `* LIST () "/" {5}` + "\r\n", "{5}", false},
		{"LIST", `* LIST` + "\r\n", "", false},
		{"STATUS", `* STATUS "a b" (MESSAGES 1)` + "\r\n", "a b", true},
		{"STATUS", `* STATUS &AGE- (MESSAGES 1)` + "\r\n", "&AGE-", true},
	}
	for _, test := range tests {
		if got, ok := nameIn(test.kind, []byte(test.line)); got != test.want || ok != test.ok {
			t.Errorf("%q: got %q, %v, want %q, %v", test.line, got, ok, test.want, test.ok)
		}
	}
}

func TestForeign(t *testing.T) {
	dovecot := Listing{Namespaces: []Namespace{{"", '/'}}, Foreign: []Namespace{{"Users/", '/'}, {"Shared/", '/'}}}
	cyrus := Listing{Namespaces: []Namespace{{"INBOX.", '.'}}, Foreign: []Namespace{{"user.", '.'}, {"", '.'}}}
	tests := []struct {
		listing *Listing
		name    string
		want    bool
	}{
		{&dovecot, "INBOX", false}, {&dovecot, "a/b", false}, {&dovecot, "Shared", true}, {&dovecot, "Shared/team", true},
		{&dovecot, "Sharedness", false}, {&dovecot, "Users/bob/Sent", true},
		{&cyrus, "INBOX", false}, {&cyrus, "inbox", false}, {&cyrus, "INBOX.Sent", false}, {&cyrus, "user.bob", true}, {&cyrus, "news", true},
	}
	for _, test := range tests {
		if got := test.listing.isForeign(test.name); got != test.want {
			t.Errorf("%q with the namespaces %v and %v: foreign is %v, want %v", test.name, test.listing.Namespaces, test.listing.Foreign, got, test.want)
		}
	}
}

func TestSetsOf(t *testing.T) {
	var even []uint32
	for uid := uint32(4_000_000_000); uid < 4_000_010_000; uid += 2 {
		even = append(even, uid)
	}
	var all []uint32
	for _, set := range setsOf(append([]uint32{7, 3, 7}, even...), 1000) {
		if length := len(setOf(set).String()); length > 7600 || len(set) > 1000 {
			t.Errorf("a set of %d UIDs takes %d octets", len(set), length)
		}
		all = append(all, set...)
	}
	if diff := cmp.Diff(append([]uint32{3, 7}, even...), all); diff != "" {
		t.Errorf("all sets together (-want +got):\n%s", diff)
	}
}

func TestKeeps(t *testing.T) {
	tests := []struct {
		permanent []string
		flag      string
		want      bool
	}{
		{nil, "work", true}, {nil, `\Seen`, true}, {nil, "a]b", false}, {nil, `\`, false}, {nil, "", false}, {nil, "ä", false},
		{[]string{}, `\Seen`, false},
		{[]string{`\Seen`, `\*`}, "work", true}, {[]string{`\Seen`, `\*`}, `\Flagged`, false}, {[]string{`\Seen`, "Work"}, "work", true},
		{[]string{`\Seen`}, "work", false}, {[]string{`\Seen`}, `\SEEN`, true},
	}
	for _, test := range tests {
		m := &TargetMailbox{&Mailbox{PermanentFlags: test.permanent}}
		if got := m.Keeps(test.flag); got != test.want {
			t.Errorf("%q with PERMANENTFLAGS %q: kept is %v, want %v", test.flag, test.permanent, got, test.want)
		}
	}
}
