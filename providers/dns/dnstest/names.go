package dnstest

import (
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	"github.com/zclconf/go-cty/cty"
)

func testTexts(t *testing.T, o *operator) {
	for name, content := range map[string]string{
		"dkim._domainkey": "v=DKIM1; k=rsa; p=" + strings.Repeat("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", 12) + "IDAQAB",
		"quotes":          `say "hi" to 'them'`,
		"backslash":       `a\b \" \010 \\`,
		"utf8":            "grüße 日本 — ✓",
		"spaces":          " a  b ",
		"semicolon":       "a;b ; c (d) @ $x",
		"exactly":         strings.Repeat("x", 255),
		"more":            strings.Repeat("y", 256),
	} {
		first := o.apply(t, "dns_rrset", o.rrset(t, name, "TXT", 60, content), none)
		if got := texts(first, "records"); got != content {
			t.Errorf("%s: got %q, want %q", name, got, content)
		}
		o.apply(t, "dns_rrset", o.rrset(t, name, "TXT", 60, content+"."), first)
	}
}

func testWildcard(t *testing.T, o *operator) {
	// The wildcard answers for the name, but the name does not exist.
	desired := o.rrset(t, "a.wild", "A", 300, "198.51.100.30")
	if observed := o.observe(t, "dns_rrset", desired, none); !observed.IsNull() {
		t.Fatalf("a name that only a wildcard answers for: got %#v, want null", observed)
	}
	made := o.apply(t, "dns_rrset", desired, none)
	if observed := o.observe(t, "dns_rrset", desired, made); observed.IsNull() {
		t.Error("a name beside an equal wildcard: got null, want the object")
	}
	o.apply(t, "dns_rrset", cty.NullVal(made.Type()), made)
	// The wildcard itself is a name like others.
	wild := o.apply(t, "dns_rrset", o.rrset(t, "*.wild", "A", 300, "198.51.100.30"), none)
	o.apply(t, "dns_rrset", o.rrset(t, "*.wild", "A", 300, "198.51.100.31"), wild)
}

func testLabels(t *testing.T, o *operator) {
	for _, test := range []struct{ name, want string }{
		{"notexample.com", "notexample.com.example.com."},
		{"MAIL2", "mail2.example.com."},
		{"Deep.Sub.Example.COM", "deep.sub.example.com."},
		{"xn--bcher-kva", "xn--bcher-kva.example.com."},
		{"bücher2", "xn--bcher2-3ya.example.com."},
	} {
		got := o.apply(t, "dns_rrset", o.rrset(t, test.name, "A", 60, "198.51.100.20"), none)
		if got := text(got, "name"); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// testAlias: what stands beside an alias would be ignored silently.
func testAlias(t *testing.T, o *operator) {
	desired := o.rrset(t, "imap", "A", 60, "198.51.100.20")
	outcome, _, err := o.try(t, "dns_rrset", o.observe(t, "dns_rrset", desired, none), desired, none)
	if outcome != providers.NotApplied || err == nil || !strings.Contains(err.Error(), "alias") {
		t.Errorf("outcome %v, error %v; want not applied, because of the alias", outcome, err)
	}
	// There is only one alias at a name, so the one that is there is ours to replace.
	first := o.apply(t, "dns_rrset", o.rrset(t, "imap", "CNAME", 60, "new.example.com"), none)
	o.apply(t, "dns_rrset", o.rrset(t, "imap", "CNAME", -1, "mail"), first)
}

func testLag(t *testing.T, o *operator) {
	if o.fixture.Hold == nil {
		t.Skip("the fixture cannot hold a server back")
	}
	last := o.apply(t, "dns_rrset", o.rrset(t, "@", "MX", -1, "10 mail.example.com."), none)
	o.fixture.Hold()
	o.reopen(t, time.Second)
	desired := o.rrset(t, "@", "MX", 60, "10 new.example.com.")
	before := o.observe(t, "dns_rrset", desired, last)
	outcome, _, err := o.try(t, "dns_rrset", before, desired, last)
	if outcome != providers.Partial || err == nil || !strings.Contains(err.Error(), "still answers") {
		t.Fatalf("outcome %v, error %v; want partial, and the server that lags named", outcome, err)
	}
	if got, want := strings.Join(o.stored(t, Zone, "MX").Texts(), " | "), "10 new.example.com."; got != want {
		t.Errorf("stored: got %q, want %q", got, want)
	}
	o.now = o.now.Add(10 * time.Minute)
	observed := o.observe(t, "dns_rrset", desired, last)
	if names := dns.Resources()["dns_rrset"].Differs(desired, observed); len(names) == 0 {
		t.Fatal("observed as desired although a server still answers the old set")
	}
	// Whoever asks that server now keeps the old set for its whole TTL.
	if got, want := text(observed, "cached_until"), at(70*time.Minute); got != want {
		t.Errorf("cached_until while it lags: got %q, want %q", got, want)
	}
	o.now = o.now.Add(10 * time.Minute)
	o.fixture.Release()
	o.reopen(t, 30*time.Second)
	outcome, after, err := o.try(t, "dns_rrset", observed, desired, observed)
	if outcome != providers.Applied || err != nil {
		t.Fatalf("outcome %v, error %v; want applied", outcome, err)
	}
	if got, want := text(after, "cached_until"), at(80*time.Minute); got != want {
		t.Errorf("cached_until when it has followed: got %q, want %q", got, want)
	}
}

// claim is the desired dns_claim.
func (o *operator) claim(t *testing.T) cty.Value {
	return o.object(t, "dns_claim", map[string]cty.Value{
		"watch":  stringSet([]string{"mail.example.com", "198.51.100.10"}),
		"ignore": stringSet([]string{"imap CNAME"}),
	})
}

func testStale(t *testing.T, o *operator) {
	second := o.another(t)
	// Before there is a mark, a claim only remembers.
	if err := o.system.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "first@one"}); err != nil {
		t.Fatal(err)
	}
	mark := o.apply(t, "dns_claim", o.claim(t), none)
	if got, want := o.stored(t, "_mailmove.example.com.", "TXT").Texts()[0], "lineage="+o.lineage+" epoch=1 holder=first@one"; got != want {
		t.Errorf("mark: got %q, want %q", got, want)
	}
	last := o.apply(t, "dns_rrset", o.rrset(t, "mail", "A", 60, "198.51.100.10"), none)
	if err := second.system.Claim(t.Context(), providers.Epoch{Number: 2, Holder: "second@two"}); err != nil {
		t.Fatal(err)
	}
	desired := o.rrset(t, "mail", "A", 60, "198.51.100.20")
	outcome, _, err := o.try(t, "dns_rrset", last, desired, last)
	var stale *providers.StaleError
	if outcome != providers.NotApplied || !wraps(err, &stale) {
		t.Fatalf("outcome %v, error %v; want not applied, stale", outcome, err)
	}
	if got, want := stale.Theirs, (providers.Epoch{Number: 2, Holder: "second@two"}); got != want {
		t.Errorf("theirs: got %v, want %v", got, want)
	}
	if err := o.system.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "first@one"}); !wraps(err, &stale) {
		t.Errorf("claiming a lower epoch: got %v, want stale", err)
	}
	if err := second.system.Claim(t.Context(), providers.Epoch{Number: 2, Holder: "second@two"}); err != nil {
		t.Errorf("claiming the same epoch again: %v", err)
	}
	second.apply(t, "dns_rrset", desired, last)
	second.apply(t, "dns_claim", cty.NullVal(mark.Type()), mark)
	if set := o.stored(t, "_mailmove.example.com.", "TXT"); set.Exists() {
		t.Errorf("the mark after its removal: got %v, want none", set)
	}
	second.apply(t, "dns_rrset", o.rrset(t, "mail", "A", 60, "198.51.100.21"), last)
}

// testSameEpoch: two who copied one state file count alike; the second loses.
func testSameEpoch(t *testing.T, o *operator) {
	second := o.another(t)
	if err := o.system.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "first@one"}); err != nil {
		t.Fatal(err)
	}
	o.apply(t, "dns_claim", o.claim(t), none)
	var stale *providers.StaleError
	if err := second.system.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "second@two"}); !wraps(err, &stale) {
		t.Errorf("claiming the same epoch: got %v, want stale", err)
	}
}

func testList(t *testing.T, o *operator) {
	lister, ok := providers.As[providers.Lister](o.system.Resource("dns_claim"))
	if !ok {
		t.Fatal("dns_claim is no Lister")
	}
	listed, err := lister.List(t.Context(), o.claim(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range listed {
		line := text(l.Values, "name") + " " + text(l.Values, "type") + " " + texts(l.Values, "records")
		if l.Ignored {
			line += " (ignored)"
		}
		got = append(got, line)
	}
	want := []string{
		"example.com. MX 10 mail.example.com.",
		"example.com. TXT v=spf1 ip4:198.51.100.10 -all",
		"imap.example.com. CNAME mail.example.com. (ignored)",
		"mail.example.com. A 198.51.100.10",
	}
	if !sameLines(got, want) {
		t.Errorf("listed: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
