package mail

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]Address{
		"Murphy@Example.COM":  "murphy@example.com",
		"a+b.c_d@example.com": "a+b.c_d@example.com",
		"@example.com":        "@example.com",
		"x@bücher.example":    "x@xn--bcher-kva.example",
		"o'neil@example.com":  "o'neil@example.com",
	} {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	// What could be taken for anything but a name in a map, a path or a line.
	for _, in := range []string{
		"", "murphy", "a b@example.com", "a;rm -rf /@example.com", "$(id)@example.com", "`id`@example.com", "a\nb@example.com",
		"a\x00@example.com", "-f@example.com", "../../etc@example.com", "a/b@example.com", "\"a b\"@example.com", "a..b@example.com",
		".a@example.com", "a.@example.com", "|/bin/sh@example.com", ":include:x@example.com", "a@", "a@b c", "a@example.com.",
		"a@-", strings.Repeat("a", 65) + "@example.com", "ä@example.com", "a%b@example.com", "a\u202eb@example.com", "a@b@example.com",
	} {
		if got, err := ParseAddress(in); err == nil {
			t.Errorf("ParseAddress(%q) = %q, want an error", in, got)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("murphy@example.com")
	f.Add("@bücher.example")
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParseAddress(in)
		if err != nil {
			return
		}
		if again, err := ParseAddress(string(a)); err != nil || again != a {
			t.Errorf("%q is %q, which is %q, %v", in, a, again, err)
		}
		if strings.ContainsAny(string(a), " \t\r\n\x00\"'/\\;|<>()`:,") && !strings.Contains(string(a), "'") {
			t.Errorf("%q is %q, which cannot stand in a map", in, a)
		}
	})
}
