package rfc2136_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	"github.com/mailmove/mailmove/providers/dns/dnstest"
	"github.com/mailmove/mailmove/providers/dns/rfc2136"
	miekg "github.com/miekg/dns"
)

func newHost(t *testing.T, config rfc2136.Config) *rfc2136.Host {
	t.Helper()
	host, err := rfc2136.NewHost(config)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// edit exchanges the address of mail.example.com.
func edit(typ, text string) []dns.Edit {
	name := "fresh.example.com."
	return []dns.Edit{{
		Expected: dns.RRset{Name: name, Type: typ},
		Wanted:   dns.RRset{Name: name, Type: typ, TTL: 60, Records: []dns.Record{{Text: text, Raw: text}}},
	}}
}

// TestRefusals asks a real BIND for what it refuses: nothing changes, and the
// error says what to do.
func TestRefusals(t *testing.T) {
	primary := startBind(t, primaryZone)
	secondary := startBind(t, secondaryZone(primary.address))
	const otherSecret = "YW5vdGhlci1zZWNyZXQtb2YtdGhlLXNhbWUtbGVuZ3Ro"
	good := func(t *testing.T) rfc2136.Config {
		return rfc2136.Config{Zone: dnstest.Zone, Server: primary.address, Key: key(t, keyName, secret)}
	}
	for _, test := range []struct {
		name       string
		change     func(t *testing.T, config *rfc2136.Config)
		clock      time.Duration
		edits      []dns.Edit
		want, hint string
	}{
		{name: "unknown key", want: "BADKEY", hint: "tsig.name",
			change: func(t *testing.T, c *rfc2136.Config) { c.Key = key(t, "nobody", secret) }},
		{name: "another secret", want: "BADSIG", hint: "tsig.secret",
			change: func(t *testing.T, c *rfc2136.Config) { c.Key = key(t, keyName, otherSecret) }},
		{name: "no base64", want: "not base64", hint: "tsig-keygen",
			change: func(t *testing.T, c *rfc2136.Config) { c.Key = key(t, keyName, "*") }},
		{name: "clock", want: "BADTIME", hint: "NTP", clock: -time.Hour},
		{name: "no key", want: "REFUSED", hint: "update-policy",
			change: func(t *testing.T, c *rfc2136.Config) { c.Key = nil }},
		{name: "key without the right", want: "REFUSED", hint: "update-policy",
			change: func(t *testing.T, c *rfc2136.Config) { c.Key = key(t, "other", secret) }},
		{name: "not the primary", want: "answers ", hint: "",
			change: func(t *testing.T, c *rfc2136.Config) { c.Server = secondary.address }},
		{name: "not a zone there", want: "answers NOTAUTH", hint: "primary server",
			change: func(t *testing.T, c *rfc2136.Config) { c.Zone = "mail.example.com." },
			edits: []dns.Edit{{Expected: dns.RRset{Name: "x.mail.example.com.", Type: "A"},
				Wanted: dns.RRset{Name: "x.mail.example.com.", Type: "A", Records: []dns.Record{{Raw: "198.51.100.1"}}}}}},
		{name: "outside the zone", want: "answers NOTZONE", hint: "zone in the provider block",
			edits: []dns.Edit{{Expected: dns.RRset{Name: "x.example.org.", Type: "A"},
				Wanted: dns.RRset{Name: "x.example.org.", Type: "A", Records: []dns.Record{{Raw: "198.51.100.1"}}}}}},
		{name: "exchanger without address", want: "REFUSED", hint: "address record", edits: edit("MX", "10 nowhere.example.com.")},
		{name: "nobody listens", want: "connecting to", hint: "reachable over TCP",
			change: func(t *testing.T, c *rfc2136.Config) { c.Server = freePort(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := good(t)
			if test.change != nil {
				test.change(t, &config)
			}
			host := newHost(t, config)
			host.SetClock(func() time.Time { return time.Now().Add(test.clock) })
			if test.edits == nil {
				test.edits = edit("A", "198.51.100.1")
			}
			outcome, err := host.Replace(t.Context(), test.edits)
			if outcome != providers.NotApplied || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("outcome %v, error %v; want not applied, %q", outcome, err, test.want)
			}
			var helpful providers.Error
			if !errors.As(err, &helpful) || helpful.Hint() == "" || !strings.Contains(helpful.Hint(), test.hint) {
				t.Errorf("error %v: want a hint with %q", err, test.hint)
			}
			set, err := newHost(t, good(t)).Get(t.Context(), "fresh.example.com.", test.edits[0].Wanted.Type)
			if err != nil || set.Exists() {
				t.Errorf("afterwards: got %v, %v; want none", set, err)
			}
		})
	}
}

// TestTransferRefused: a zone that may not be transferred is an error with a way
// out, never an empty list.
func TestTransferRefused(t *testing.T) {
	primary := startBind(t, strings.Replace(primaryZone, "key mailmove;", "none;", 1))
	config := rfc2136.Config{Zone: dnstest.Zone, Server: primary.address, Key: key(t, keyName, secret), AXFR: true}
	_, err := newHost(t, config).Transfer(t.Context())
	var helpful providers.Error
	if !errors.As(err, &helpful) || !strings.Contains(helpful.Hint(), "axfr = false") {
		t.Errorf("got %v, want an error that names axfr = false", err)
	}
	config.AXFR = false
	if _, err := newHost(t, config).Transfer(t.Context()); !errors.Is(err, dns.ErrNoTransfer) {
		t.Errorf("got %v, want %v", err, dns.ErrNoTransfer)
	}
}

// answering starts a server that reads one message and sends what answer makes
// of it; nil sends nothing until the other end gives up.
func answering(t *testing.T, taken chan<- struct{}, answer func(request *miekg.Msg) []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		stream, err := listener.Accept()
		if err != nil {
			return
		}
		connection := &miekg.Conn{Conn: stream}
		defer connection.Close()
		message, err := connection.ReadMsgHeader(nil)
		if err != nil {
			return
		}
		close(taken)
		request := new(miekg.Msg)
		if err := request.Unpack(message); err != nil {
			return
		}
		if reply := answer(request); reply != nil {
			_, _ = connection.Write(reply)
			return
		}
		_, _ = connection.ReadMsgHeader(nil)
	}()
	return listener.Addr().String()
}

// TestLostAnswers: after a message was sent, whatever is no answer that can be
// trusted leaves its outcome unknown; and a caller that gives up is not kept waiting.
func TestLostAnswers(t *testing.T) {
	pack := func(reply *miekg.Msg) []byte {
		packed, err := reply.Pack()
		if err != nil {
			t.Error(err)
		}
		return packed
	}
	for name, answer := range map[string]func(request *miekg.Msg) []byte{
		"silence":  func(*miekg.Msg) []byte { return nil },
		"nonsense": func(*miekg.Msg) []byte { return []byte("no message") },
		"unsigned": func(request *miekg.Msg) []byte { return pack(new(miekg.Msg).SetReply(request)) },
		"to another message": func(request *miekg.Msg) []byte {
			reply := new(miekg.Msg).SetReply(request)
			reply.Id++
			return pack(reply)
		},
	} {
		for _, signed := range []bool{true, false} {
			if name == "unsigned" && !signed {
				continue
			}
			taken := make(chan struct{})
			config := rfc2136.Config{Zone: dnstest.Zone, Server: answering(t, taken, answer)}
			if signed {
				config.Key = key(t, keyName, secret)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if name == "silence" {
				go func() {
					<-taken
					cancel()
				}()
			}
			outcome, err := newHost(t, config).Replace(ctx, edit("A", "198.51.100.1"))
			cancel()
			if outcome != providers.Unknown || err == nil {
				t.Errorf("%s, signed %v: outcome %v, error %v; want unknown", name, signed, outcome, err)
			}
		}
	}
}
