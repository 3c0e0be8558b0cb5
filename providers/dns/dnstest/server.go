package dnstest

import (
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// RunServer speaks the protocol to a primary server of the zone as at the start,
// unsigned for questions and signed by key for the rest. A real server and the
// embedded one must answer alike, or what is tested on the one says nothing about
// the other.
func RunServer(t *testing.T, address, key, secret string) {
	c := wire{address: address, key: miekg.CanonicalName(key), secret: secret}
	t.Run("answers", func(t *testing.T) { c.testAnswers(t) })
	t.Run("updates", func(t *testing.T) { c.testUpdates(t) })
	t.Run("a set has one TTL", func(t *testing.T) { c.testOneTTL(t) })
	t.Run("too long for UDP", func(t *testing.T) { c.testTruncated(t) })
	t.Run("signatures", func(t *testing.T) { c.testSignatures(t) })
}

type wire struct{ address, key, secret string }

// ask sends a question over UDP.
func (c wire) ask(t *testing.T, name string, typ uint16) *miekg.Msg {
	t.Helper()
	question := new(miekg.Msg).SetQuestion(name, typ)
	question.RecursionDesired = false
	reply, err := miekg.Exchange(question, c.address)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// send sends an update over TCP, signed.
func (c wire) send(t *testing.T, message *miekg.Msg) *miekg.Msg {
	t.Helper()
	message.SetTsig(c.key, miekg.HmacSHA256, 300, time.Now().Unix())
	client := miekg.Client{Net: "tcp", TsigSecret: map[string]string{c.key: c.secret}}
	reply, _, err := client.Exchange(message, c.address)
	if err != nil && err != miekg.ErrAuth {
		t.Fatal(err)
	}
	return reply
}

func records(t *testing.T, texts ...string) []miekg.RR {
	t.Helper()
	var rrs []miekg.RR
	for _, text := range texts {
		rr, err := miekg.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

func (c wire) testAnswers(t *testing.T) {
	for _, test := range []struct {
		name string
		typ  uint16
		code int
		want string
	}{
		{"example.com.", miekg.TypeMX, miekg.RcodeSuccess, "10 Mail.EXAMPLE.com."},
		{"EXAMPLE.com.", miekg.TypeMX, miekg.RcodeSuccess, "10 Mail.EXAMPLE.com."},
		{"imap.example.com.", miekg.TypeA, miekg.RcodeSuccess, "mail.example.com. | 198.51.100.10"},
		{"imap.example.com.", miekg.TypeCNAME, miekg.RcodeSuccess, "mail.example.com."},
		{"mail.example.com.", miekg.TypeMX, miekg.RcodeSuccess, ""},
		{"wild.example.com.", miekg.TypeA, miekg.RcodeSuccess, ""},
		{"x.wild.example.com.", miekg.TypeA, miekg.RcodeSuccess, "198.51.100.30"},
		{"y.x.wild.example.com.", miekg.TypeA, miekg.RcodeSuccess, "198.51.100.30"},
		{"x.wild.example.com.", miekg.TypeMX, miekg.RcodeSuccess, ""},
		{"*.wild.example.com.", miekg.TypeA, miekg.RcodeSuccess, "198.51.100.30"},
		{"nothing.example.com.", miekg.TypeA, miekg.RcodeNameError, ""},
		{"example.org.", miekg.TypeA, miekg.RcodeRefused, ""},
	} {
		reply := c.ask(t, test.name, test.typ)
		var got []string
		for _, rr := range reply.Answer {
			got = append(got, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		if text := strings.Join(got, " | "); text != test.want || reply.Rcode != test.code {
			t.Errorf("%s %s: got %s %q, want %s %q", test.name, miekg.TypeToString[test.typ],
				miekg.RcodeToString[reply.Rcode], text, miekg.RcodeToString[test.code], test.want)
		}
		if reply.Rcode != miekg.RcodeRefused && !reply.Authoritative {
			t.Errorf("%s: the answer is not authoritative", test.name)
		}
		if len(reply.Answer) == 0 && reply.Rcode != miekg.RcodeRefused && (len(reply.Ns) != 1 || reply.Ns[0].Header().Rrtype != miekg.TypeSOA) {
			t.Errorf("%s: a negative answer without SOA: %v", test.name, reply.Ns)
		}
	}
}

func (c wire) testUpdates(t *testing.T) {
	for _, test := range []struct {
		name string
		fill func(m *miekg.Msg)
		code int
		// at is asked afterwards and wants so many records.
		at   string
		typ  uint16
		want int
	}{
		{"name in use", func(m *miekg.Msg) { m.NameUsed(records(t, "nothing.example.com. A 192.0.2.1")) }, miekg.RcodeNameError, "", 0, 0},
		{"name not in use", func(m *miekg.Msg) { m.NameNotUsed(records(t, "mail.example.com. A 192.0.2.1")) }, miekg.RcodeYXDomain, "", 0, 0},
		{"set exists", func(m *miekg.Msg) { m.RRsetUsed(records(t, "mail.example.com. MX 1 a.")) }, miekg.RcodeNXRrset, "", 0, 0},
		{"set that only a wildcard answers for", func(m *miekg.Msg) { m.RRsetUsed(records(t, "x.wild.example.com. A 192.0.2.1")) }, miekg.RcodeNXRrset, "", 0, 0},
		{"set does not exist", func(m *miekg.Msg) { m.RRsetNotUsed(records(t, "mail.example.com. A 192.0.2.1")) }, miekg.RcodeYXRrset, "", 0, 0},
		{"set is not so", func(m *miekg.Msg) { m.Used(records(t, "mail.example.com. A 192.0.2.1")) }, miekg.RcodeNXRrset, "", 0, 0},
		{"set is less", func(m *miekg.Msg) { m.Used(records(t, `example.com. TXT "v=spf1 ip4:198.51.100.10 -all"`)) }, miekg.RcodeNXRrset, "", 0, 0},
		{"texts cut otherwise", func(m *miekg.Msg) {
			m.Used(records(t, `example.com. TXT "v=spf1 ip4:198.51.100.10 -all"`, `example.com. TXT "site-verification=abc"`))
		}, miekg.RcodeNXRrset, "", 0, 0},
		{"names without regard to case", func(m *miekg.Msg) { m.Used(records(t, "example.com. MX 10 mail.example.com.")) }, miekg.RcodeSuccess, "", 0, 0},
		{"prerequisite outside", func(m *miekg.Msg) { m.RRsetNotUsed(records(t, "example.org. A 192.0.2.1")) }, miekg.RcodeNotZone, "", 0, 0},
		{"nothing of a message whose condition fails", func(m *miekg.Msg) {
			m.Used(records(t, "mail.example.com. A 192.0.2.1"))
			m.Insert(records(t, "left.example.com. 60 A 192.0.2.1"))
		}, miekg.RcodeNXRrset, "left.example.com.", miekg.TypeA, 0},
		{"nothing of a message that is refused", func(m *miekg.Msg) {
			m.Insert(records(t, "right.example.com. 60 A 192.0.2.1", "right.example.com. 60 MX 10 nowhere.example.com."))
		}, miekg.RcodeRefused, "right.example.com.", miekg.TypeA, 0},
		{"exchanger and its address together", func(m *miekg.Msg) {
			m.Insert(records(t, "both.example.com. 60 MX 10 both2.example.com.", "both2.example.com. 60 A 192.0.2.1"))
		}, miekg.RcodeSuccess, "both.example.com.", miekg.TypeMX, 1},
		{"alias beside others", func(m *miekg.Msg) { m.Insert(records(t, "mail.example.com. 60 CNAME new.example.com.")) }, miekg.RcodeSuccess, "mail.example.com.", miekg.TypeCNAME, 0},
		{"others beside an alias", func(m *miekg.Msg) { m.Insert(records(t, "imap.example.com. 60 TXT x")) }, miekg.RcodeSuccess, "imap.example.com.", miekg.TypeCNAME, 1},
		{"one member", func(m *miekg.Msg) { m.Remove(records(t, `example.com. TXT "v=spf1 ip4:198.51.100.10 -all"`)) }, miekg.RcodeSuccess, "example.com.", miekg.TypeTXT, 1},
		{"name servers of the apex", func(m *miekg.Msg) { m.RemoveRRset(records(t, "example.com. NS ns1.example.com.")) }, miekg.RcodeSuccess, "example.com.", miekg.TypeNS, 2},
		{"all of a name", func(m *miekg.Msg) { m.RemoveName(records(t, "both.example.com. A 192.0.2.1")) }, miekg.RcodeSuccess, "both.example.com.", miekg.TypeMX, 0},
	} {
		message := new(miekg.Msg)
		message.SetUpdate(Zone)
		test.fill(message)
		if reply := c.send(t, message); reply.Rcode != test.code {
			t.Errorf("%s: got %s, want %s", test.name, miekg.RcodeToString[reply.Rcode], miekg.RcodeToString[test.code])
		}
		if test.at != "" {
			if got := len(c.ask(t, test.at, test.typ).Answer); got != test.want {
				t.Errorf("%s: got %d records afterwards, want %d", test.name, got, test.want)
			}
		}
	}
	other := new(miekg.Msg)
	other.SetUpdate("example.org.")
	if reply := c.send(t, other); reply.Rcode != miekg.RcodeNotAuth {
		t.Errorf("another zone: got %s, want NOTAUTH", miekg.RcodeToString[reply.Rcode])
	}
}

func (c wire) testOneTTL(t *testing.T) {
	before := c.ask(t, Zone, miekg.TypeSOA).Answer[0].(*miekg.SOA).Serial
	message := new(miekg.Msg)
	message.SetUpdate(Zone)
	message.Insert(records(t, "ttl.example.com. 600 A 192.0.2.1", "ttl.example.com. 60 A 192.0.2.2"))
	c.send(t, message)
	for _, rr := range c.ask(t, "ttl.example.com.", miekg.TypeA).Answer {
		if rr.Header().Ttl != 60 {
			t.Errorf("got %v, want the TTL that came last, 60", rr)
		}
	}
	if after := c.ask(t, Zone, miekg.TypeSOA).Answer[0].(*miekg.SOA).Serial; after <= before {
		t.Errorf("serial: got %d, want more than %d", after, before)
	}
}

func (c wire) testTruncated(t *testing.T) {
	message := new(miekg.Msg)
	message.SetUpdate(Zone)
	long := `long.example.com. 60 TXT "` + strings.Repeat("x", 250) + `" "` + strings.Repeat("y", 250) + `" "` + strings.Repeat("z", 250) + `"`
	message.Insert(records(t, long))
	c.send(t, message)
	reply := c.ask(t, "long.example.com.", miekg.TypeTXT)
	if !reply.Truncated {
		t.Errorf("over UDP: got %d records, not truncated", len(reply.Answer))
	}
	client := miekg.Client{Net: "tcp"}
	reply, _, err := client.Exchange(new(miekg.Msg).SetQuestion("long.example.com.", miekg.TypeTXT), c.address)
	if err != nil || reply.Truncated || len(reply.Answer) != 1 {
		t.Errorf("over TCP: got %v, %v; want one record", reply, err)
	}
}

func (c wire) testSignatures(t *testing.T) {
	for _, test := range []struct {
		name, key, secret string
		clock             time.Duration
		code              int
		tsig              uint16
	}{
		{"none", "", "", 0, miekg.RcodeRefused, 0},
		{"unknown key", "nobody.", c.secret, 0, miekg.RcodeNotAuth, miekg.RcodeBadKey},
		{"another secret", c.key, "YW5vdGhlci1zZWNyZXQtb2YtdGhlLXNhbWUtbGVuZ3Ro", 0, miekg.RcodeNotAuth, miekg.RcodeBadSig},
		{"another time", c.key, c.secret, -time.Hour, miekg.RcodeNotAuth, miekg.RcodeBadTime},
	} {
		message := new(miekg.Msg)
		message.SetUpdate(Zone)
		message.Insert(records(t, "signed.example.com. 60 A 192.0.2.1"))
		client := miekg.Client{Net: "tcp"}
		if test.key != "" {
			client.TsigSecret = map[string]string{test.key: test.secret}
			message.SetTsig(test.key, miekg.HmacSHA256, 300, time.Now().Add(test.clock).Unix())
		}
		reply, _, err := client.Exchange(message, c.address)
		if reply == nil {
			t.Errorf("%s: no answer: %v", test.name, err)
			continue
		}
		if reply.Rcode != test.code {
			t.Errorf("%s: got %s, want %s", test.name, miekg.RcodeToString[reply.Rcode], miekg.RcodeToString[test.code])
		}
		if tsig := reply.IsTsig(); test.tsig != 0 && (tsig == nil || tsig.Error != test.tsig) {
			t.Errorf("%s: got TSIG %v, want error %d", test.name, tsig, test.tsig)
		}
	}
	if reply := c.ask(t, "signed.example.com.", miekg.TypeA); len(reply.Answer) != 0 {
		t.Errorf("an update with a wrong signature was carried out: %v", reply.Answer)
	}
	transfer := new(miekg.Transfer)
	envelopes, err := transfer.In(new(miekg.Msg).SetAxfr(Zone), c.address)
	if err != nil {
		t.Fatal(err)
	}
	for envelope := range envelopes {
		if envelope.Error == nil {
			t.Error("an unsigned transfer was served")
		}
	}
}
