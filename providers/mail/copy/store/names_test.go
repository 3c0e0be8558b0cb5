package store

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	slash    = Namespace{Separator: '/'}
	dot      = Namespace{Separator: '.'}
	inboxDot = Namespace{Prefix: "INBOX.", Separator: '.'}
	flat     = Namespace{}
)

func TestMapNames(t *testing.T) {
	tests := []struct {
		name           string
		source, target Namespace
		from, want     string
	}{
		{"inbox", slash, inboxDot, "INBOX", "INBOX"},
		{"inbox in another case", slash, slash, "Inbox", "INBOX"},
		{"the same on both", slash, slash, "Archive/2026", "Archive/2026"},
		{"another separator", slash, dot, "Archive/2026", "Archive.2026"},
		{"a prefix is put before", slash, inboxDot, "Archive/2026", "INBOX.Archive.2026"},
		{"a prefix is taken off", inboxDot, slash, "INBOX.Archive.2026", "Archive/2026"},
		{"a prefix in another case", inboxDot, slash, "Inbox.Archive", "Archive"},
		{"below INBOX", slash, inboxDot, "INBOX/lists", "INBOX.INBOX.lists"},
		{"below INBOX, and back", inboxDot, slash, "INBOX.INBOX.lists", "INBOX/lists"},
		{"the other separator in a level", dot, slash, "Lists.a/b", "Lists/a_b"},
		{"no levels on the target", slash, flat, "Archive/2026", "Archive_2026"},
		{"no levels on the source", flat, slash, "a.b", "a.b"},
		{"spaces, quotes, wildcards", slash, dot, ` "a & b"/% * `, ` "a & b".% * `},
		{"dots upwards", slash, dot, "../../etc", "__.__.etc"},
		{"not in English", slash, inboxDot, "Gesendete Käse/日本語", "INBOX.Gesendete Käse.日本語"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names, err := MapNames([]Namespace{test.source}, test.target, []string{test.from})
			if err != nil {
				t.Fatal(err)
			}
			got, _ := names.Target(test.from)
			back, _ := names.Source(test.want)
			if got != test.want || back != test.from {
				t.Errorf("%q is %q there and %q back, want %q", test.from, got, back, test.want)
			}
		})
	}
}

func TestMapNamesRefuses(t *testing.T) {
	tests := []struct {
		name           string
		source, target Namespace
		names          []string
		refused, other string
	}{
		{"two become one", dot, slash, []string{"a/b", "a_b"}, "a_b", "a/b"},
		{"two become one without levels", slash, flat, []string{"a/b", "a_b"}, "a_b", "a/b"},
		{"INBOX twice", inboxDot, slash, []string{"INBOX", "INBOX.INBOX"}, "INBOX.INBOX", "INBOX"},
		{"INBOX in another case", inboxDot, slash, []string{"INBOX.inbox"}, "INBOX.inbox", "INBOX"},
		{"below INBOX in another case", slash, dot, []string{"INBOX/a", "Inbox/a"}, "Inbox/a", "INBOX/a"},
		{"no name", slash, dot, []string{"a//b"}, "a//b", ""},
		{"no name at the end", slash, dot, []string{"a/"}, "a/", ""},
		{"elsewhere", inboxDot, slash, []string{"shared.a"}, "shared.a", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names, err := MapNames([]Namespace{test.source}, test.target, append(test.names, "INBOX"))
			refused := (*NameError)(nil)
			if !errors.As(err, &refused) || refused.Name != test.refused || refused.Other != test.other {
				t.Fatalf("got %v, want an error that names %q and %q", err, test.refused, test.other)
			}
			if _, ok := names.Target(test.refused); ok {
				t.Error("what was refused has a name all the same")
			}
			if _, ok := names.Target("INBOX"); !ok {
				t.Error("the others have no name")
			}
		})
	}
}

// Whatever the names, no two mailboxes share one, and the way back leads to where one came
// from; and mapped to the target and from there as from a source, nothing collides.
func TestMapNamesIsReversible(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	spaces := []Namespace{slash, dot, inboxDot, flat, {Prefix: "Mail/", Separator: '/'}}
	word := func() string {
		letters := []string{"a", "b", "_", ".", "/", " ", "INBOX", "inbox", "ä", "&", "-", `"`, "日"}
		var b strings.Builder
		for range 1 + random.IntN(4) {
			b.WriteString(letters[random.IntN(len(letters))])
		}
		return b.String()
	}
	for range 2000 {
		source, target := spaces[random.IntN(len(spaces))], spaces[random.IntN(len(spaces))]
		all := []string{"INBOX"}
		for range random.IntN(12) {
			all = append(all, source.Prefix+word())
		}
		names, err := MapNames([]Namespace{source}, target, all)
		refused := map[string]bool{}
		for _, err := range unjoin(err) {
			refused[err.(*NameError).Name] = true
		}
		seen := map[string]string{}
		for _, from := range all {
			there, ok := names.Target(from)
			if ok == refused[from] {
				t.Fatalf("%+v to %+v: %q has a name: %v, was refused: %v", source, target, from, ok, refused[from])
			}
			if !ok {
				continue
			}
			if back, _ := names.Source(there); back != from {
				t.Fatalf("%+v to %+v: %q is %q, which is %q", source, target, from, there, back)
			}
			if other, taken := seen[folded(target, there)]; taken && other != from {
				t.Fatalf("%+v to %+v: %q and %q are both %q", source, target, from, other, there)
			}
			seen[folded(target, there)] = from
			if _, err := part([]Namespace{target}, there); err != nil {
				t.Fatalf("%+v to %+v: %q is %q, where there can be none: %v", source, target, from, there, err)
			}
		}
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

func TestEncodeName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"INBOX", "INBOX"},
		{"a & b", "a &- b"},
		{"Entwürfe", "Entw&APw-rfe"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, // RFC 3501 section 5.1.3
		{"😀", "&2D3eAA-"},
		{"a\tb", "a&AAk-b"},
	}
	for _, test := range tests {
		if got := EncodeName(test.name); got != test.want {
			t.Errorf("EncodeName(%q): got %q, want %q", test.name, got, test.want)
		}
		if got, err := DecodeName(test.want); got != test.name || err != nil {
			t.Errorf("DecodeName(%q): got %q, %v, want %q", test.want, got, err, test.name)
		}
	}
	for _, wire := range []string{"a & b", "&", "&AGE-", "&AGEAYg-", "&U,BTFw-&ZeVnLIqe-", "Käse", "&2D0-", "a\nb", "&APx-", "&AP-", "\xff"} {
		if got, err := DecodeName(wire); err == nil {
			t.Errorf("DecodeName(%q): got %q, want an error", wire, got)
		}
	}
}

func FuzzDecodeName(f *testing.F) {
	f.Add("Entw&APw-rfe")
	f.Add("&-&2D3eAA-")
	f.Fuzz(func(t *testing.T, wire string) {
		name, err := DecodeName(wire)
		if err == nil && EncodeName(name) != wire {
			t.Errorf("%q is read as %q, which is written %q", wire, name, EncodeName(name))
		}
	})
}
