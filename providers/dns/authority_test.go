package dns

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers"
)

// A shelf is a Host that only reads: sets by "name type".
type shelf map[string][]string

func (s shelf) Zone() string { return zone }

func (s shelf) Get(_ context.Context, name, typ string) (RRset, error) {
	set := RRset{Name: name, Type: typ, TTL: 60}
	for _, text := range s[name+" "+typ] {
		record, err := NewRecord(typ, text, zone)
		if err != nil {
			return RRset{}, err
		}
		set.add(record)
	}
	return set, nil
}

func (s shelf) Replace(context.Context, []Edit) (providers.Outcome, error) {
	return providers.NotApplied, errors.New("a shelf cannot be changed")
}

func (s shelf) Capabilities() Capabilities { return Capabilities{} }

// TestServers: every address of every server of the zone, from the zone itself.
func TestServers(t *testing.T) {
	host := shelf{
		"example.com. NS":       {"ns1", "ns2"},
		"ns1.example.com. A":    {"192.0.2.1", "192.0.2.11"},
		"ns2.example.com. A":    {"192.0.2.2"},
		"ns2.example.com. AAAA": {"2001:db8::2"},
	}
	for _, test := range []struct {
		name  string
		host  shelf
		fixed []string
		want  string
	}{
		{"discovered", host, nil, "192.0.2.11 192.0.2.1 192.0.2.2 [2001:db8::2]:53"},
		{"fixed addresses", host, []string{"192.0.2.9", "192.0.2.8:5353", "2001:db8::1", "[2001:db8::1]:54", "192.0.2.9"}, "192.0.2.8:5353 192.0.2.9 2001:db8::1 [2001:db8::1]:54"},
		{"fixed name", host, []string{"ns1.example.com:5300"}, "192.0.2.11:5300 192.0.2.1:5300"},
		{"no servers", shelf{}, nil, ""},
		{"not a name", host, []string{"ns 1"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &authority{host: test.host, fixed: test.fixed}
			servers, err := a.servers(t.Context())
			if (err != nil) != (test.want == "") {
				t.Fatalf("got %v, %v; want %q", servers, err, test.want)
			}
			var got []string
			for _, server := range servers {
				got = append(got, server.String())
			}
			want := strings.ReplaceAll(test.want, "[2001:db8::2]:53", "2001:db8::2")
			if got := strings.Join(got, " "); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestParseMark(t *testing.T) {
	m := newMark("6f1d", providers.Epoch{Number: 7, Holder: "murphy@op (4242)\x1b[31m"})
	if got, want := m.String(), `lineage=6f1d epoch=7 holder=murphy@op (4242)\x1b[31m`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, ok := parseMark(m.String()); !ok || got != m {
		t.Errorf("read back: got %+v, %v; want %+v", got, ok, m)
	}
	for _, text := range []string{"", "lineage=x", "lineage=x epoch=y holder=z", "v=spf1 -all", "epoch=1 lineage=x"} {
		if got, ok := parseMark(text); ok {
			t.Errorf("%q: got %+v, want no mark", text, got)
		}
	}
}

func TestMentions(t *testing.T) {
	watches := []watch{}
	for _, text := range []string{"mail.example.com", "198.51.100.10", "2001:db8::10"} {
		w, err := newWatch(text, zone)
		if err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
	}
	for _, test := range []struct {
		typ, text string
		want      bool
	}{
		{"A", "198.51.100.10", true},
		{"A", "198.51.100.1", false},
		{"AAAA", "2001:db8::10", true},
		{"MX", "10 mail.example.com.", true},
		{"MX", "10 hotmail.example.com.", false},
		{"SRV", "0 1 993 mail.example.com.", true},
		{"CNAME", "mail.example.com.", true},
		{"TXT", "v=spf1 ip4:198.51.100.10 -all", true},
		{"TXT", "v=spf1 ip4:198.51.100.0/24 -all", true},
		{"TXT", "v=spf1 ip4:198.51.100.100 -all", false},
		{"TXT", "v=spf1 +ip6:2001:db8::/32 -all", true},
		{"TXT", "v=spf1 a:mail.example.com -all", true},
		{"TXT", "v=spf1 mx:mail.example.com/24 -all", true},
		{"TXT", "v=spf1 redirect=mail.example.com", true},
		{"TXT", "v=spf1 include:other.example.net mx -all", false},
		{"TXT", "mail.example.com is our server", false},
		{"CAA", `0 issue "mail.example.com"`, false},
	} {
		record, err := NewRecord(test.typ, test.text, zone)
		if err != nil {
			t.Fatal(err)
		}
		set := RRset{Name: zone, Type: test.typ, Records: []Record{record}}
		if got := mentions(set, watches, zone).Exists(); got != test.want {
			t.Errorf("%s %q: got %v, want %v", test.typ, test.text, got, test.want)
		}
	}
}
