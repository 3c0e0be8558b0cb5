package dns

import (
	"strings"
	"testing"

	miekg "github.com/miekg/dns"
)

const zone = "example.com."

func TestAbsolute(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"@", "example.com."},
		{"example.com", "example.com."},
		{"Example.COM.", "example.com."},
		{"mail", "mail.example.com."},
		{"mail.example.com", "mail.example.com."},
		{"_imaps._tcp", "_imaps._tcp.example.com."},
		{"notexample.com", "notexample.com.example.com."},
		{"example.com.evil", "example.com.evil.example.com."},
		{"*", "*.example.com."},
		{"*.wild", "*.wild.example.com."},
		{"bücher", "xn--bcher-kva.example.com."},
		{"BÜCHER.example.com.", "xn--bcher-kva.example.com."},
		{"_dmarc.bücher", "_dmarc.xn--bcher-kva.example.com."},
		{"notexample.com.", ""},
		{"example.org.", ""},
		{"", ""},
		{".", ""},
		{"a..b", ""},
		{"a b", ""},
		{strings.Repeat("x", 64), ""},
		{strings.Repeat("abcdefgh.", 31), ""},
	} {
		got, err := Absolute(test.name, zone)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("Absolute(%q): got %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"mail", "mail.example.com."},
		{"mail.example.com", "mail.example.com."},
		{"mx.example.net", "mx.example.net."},
		{"MX.Example.NET.", "mx.example.net."},
		{".", "."},
		{"@", "example.com."},
		{"mx.münchen.example", "mx.xn--mnchen-3ya.example."},
		{"mx..example", ""},
	} {
		got, err := Target(test.name, zone)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("Target(%q): got %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}

func TestWildcards(t *testing.T) {
	for name, want := range map[string]string{
		"example.com.":      "",
		"a.example.com.":    "*.example.com.",
		"b.a.example.com.":  "*.a.example.com. *.example.com.",
		"*.example.com.":    "",
		"*.a.example.com.":  "*.example.com.",
		"x.other.test.":     "",
		"notexample.com.":   "",
		"a.notexample.com.": "",
	} {
		if got := strings.Join(wildcards(name, zone), " "); got != want {
			t.Errorf("wildcards(%q): got %q, want %q", name, got, want)
		}
	}
}

func TestNewRecord(t *testing.T) {
	for _, test := range []struct{ typ, text, want string }{
		{"A", "198.51.100.1", "198.51.100.1"},
		{"A", "198.51.100", ""},
		{"A", "2001:db8::1", ""},
		{"A", "mail.example.com.", ""},
		{"AAAA", "2001:DB8:0:0::1", "2001:db8::1"},
		{"AAAA", "198.51.100.1", ""},
		{"MX", "10 Mail", "10 mail.example.com."},
		{"MX", "10   mx.example.net", "10 mx.example.net."},
		{"MX", "0 .", "0 ."},
		{"MX", "mail.example.com.", ""},
		{"MX", "10 mail.example.com. 20", ""},
		{"MX", "70000 mail", ""},
		{"MX", "10 198.51.100.1", ""},
		{"MX", "10 2001:db8::1", ""},
		{"MX", "10 mail\n20 other", ""},
		{"CNAME", "mail", "mail.example.com."},
		{"SRV", "0 1 993 IMAP.example.com", "0 1 993 imap.example.com."},
		{"SRV", "0 1 imap.example.com", ""},
		{"CAA", `0 issue "ca.example.net"`, `0 issue "ca.example.net"`},
		{"TLSA", "3 1 1 D2ABDE", "3 1 1 d2abde"},
		{"TLSA", "3 1 1", ""},
		{"TXT", "v=spf1 -all", "v=spf1 -all"},
		{"TXT", `say "hi"`, `say "hi"`},
		{"TXT", `"v=spf1 -all"`, ""},
		{"TXT", `"v=DKIM1; " "p=abc"`, ""},
		{"TXT", "", ""},
	} {
		record, err := NewRecord(test.typ, test.text, zone)
		if test.typ == "TXT" && test.text == "" {
			// An empty text is a text.
			if err != nil || record.Raw != `""` {
				t.Errorf("empty TXT: got %+v, %v", record, err)
			}
			continue
		}
		if record.Text != test.want || (err != nil) != (test.want == "") {
			t.Errorf("NewRecord(%s, %q): got %q, %v; want %q", test.typ, test.text, record.Text, err, test.want)
		}
	}
}

func TestNormalType(t *testing.T) {
	if got, err := NormalType("mx"); got != "MX" || err != nil {
		t.Errorf("got %q, %v; want MX", got, err)
	}
	for _, typ := range []string{"SOA", "RRSIG", "ANY", "XX", ""} {
		if got, err := NormalType(typ); err == nil {
			t.Errorf("%q: got %q, want an error", typ, got)
		}
	}
}

func TestQuoteTXT(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		`a"b\c`:                  `"a\"b\\c"`,
		"ü\x00":                  `"\195\188\000"`,
		strings.Repeat("x", 256): `"` + strings.Repeat("x", 255) + `" "x"`,
	} {
		if got := quoteTXT(text); got != want {
			t.Errorf("quoteTXT(%q): got %s, want %s", text, got, want)
		}
	}
}

// FuzzTXT: any octets survive the way to the wire and back.
func FuzzTXT(f *testing.F) {
	for _, text := range []string{"", "v=spf1 -all", `\"`, `\.`, "\\", "ü\xff\x00", strings.Repeat("\xff", 600), "a;b(c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4000 {
			t.Skip("longer than the longest answer that servers give")
		}
		set := RRset{Name: zone, Type: "TXT", TTL: 60, Records: []Record{{Text: text, Raw: quoteTXT(text)}}}
		rrs, err := set.RRs()
		if err != nil {
			t.Fatal(err)
		}
		wire := make([]byte, 65535)
		n, err := miekg.PackRR(rrs[0], wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		rr, _, err := miekg.UnpackRR(wire[:n], 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := FromRR(rr).Text; got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	})
}

// FuzzRecord: what is accepted is in normal form, and can be written.
func FuzzRecord(f *testing.F) {
	for _, seed := range [][2]string{
		{"A", "198.51.100.1"}, {"MX", "10 mail"}, {"SRV", "0 1 993 imap"}, {"CAA", `0 issue "x"`}, {"TLSA", "3 1 1 AB"},
		{"CNAME", "a.b"}, {"TXT", "x"}, {"HTTPS", "1 . alpn=h2"}, {"MX", `10 a\.b`}, {"SSHFP", "4 2 AB"}, {"CNAME", "ä.ö"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, typ, text string) {
		typ, err := NormalType(typ)
		if err != nil {
			return
		}
		record, err := NewRecord(typ, text, zone)
		if err != nil {
			return
		}
		again, err := NewRecord(typ, record.Text, zone)
		if err != nil || again.Text != record.Text {
			t.Errorf("NewRecord(%s, %q) = %q, and of that %q, %v", typ, text, record.Text, again.Text, err)
		}
		if _, err := (RRset{Name: zone, Type: typ, Records: []Record{record}}).RRs(); err != nil {
			t.Errorf("NewRecord(%s, %q) = %q cannot be written: %v", typ, text, record.Raw, err)
		}
	})
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain ü ✓":         "plain ü ✓",
		"\x1b[31mred\r\n":   `\x1b[31mred\x0d\x0a`,
		"\xff\xc3":          `\xff\xc3`,
		"right\u202eleft":   `right\xe2\x80\xaeleft`,
		"zero\u200bwidth":   `zero\xe2\x80\x8bwidth`,
		"c1 \u009b control": `c1 \xc2\x9b control`,
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q): got %q, want %q", text, got, want)
		}
	}
}
