package dns_test

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
	"github.com/mailmove/mailmove/providers/dns/zoneserver"
	miekg "github.com/miekg/dns"
	"github.com/zclconf/go-cty/cty"
)

// serve starts a zone server and returns it with a host on it.
func serve(t *testing.T) (*zoneserver.Server, *rfc2136.Host) {
	t.Helper()
	server, err := zoneserver.Start(zoneserver.Config{Zones: map[string]string{dnstest.Zone: dnstest.ZoneFile}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
	})
	host, err := rfc2136.NewHost(rfc2136.Config{Zone: dnstest.Zone, Server: server.Address()})
	if err != nil {
		t.Fatal(err)
	}
	return server, host
}

func open(host dns.Host, lineage string, nameservers ...string) *dns.System {
	return dns.NewSystem(host, dns.Options{
		Env:         providers.Env{Lineage: lineage},
		Nameservers: nameservers,
		Patience:    time.Millisecond,
	})
}

func rrset(t *testing.T, system *dns.System, name, typ string, ttl int64, records ...string) cty.Value {
	t.Helper()
	values := map[string]cty.Value{}
	for attribute, schema := range dns.Resources()["dns_rrset"].Attributes {
		values[attribute] = cty.NullVal(schema.Type)
	}
	var members []cty.Value
	for _, text := range records {
		members = append(members, cty.StringVal(text))
	}
	values["name"], values["type"], values["ttl"] = cty.StringVal(name), cty.StringVal(typ), cty.NumberIntVal(ttl)
	values["records"], values["exclusive"] = cty.SetVal(members), cty.False
	normalizer, _ := providers.As[providers.Normalizer](system.Resource("dns_rrset"))
	normal, err := normalizer.Normalize(cty.ObjectVal(values))
	if err != nil {
		t.Fatal(err)
	}
	return normal
}

// silent is a Log that keeps nothing.
type silent struct{}

func (silent) Progress(int64, int64, string) {}
func (silent) Step(string) error             { return nil }
func (silent) Checkpoint(cty.Value) error    { return nil }

// update changes an existing object to desired.
func update(t *testing.T, system *dns.System, was, desired cty.Value) (providers.Outcome, error) {
	t.Helper()
	resource := system.Resource("dns_rrset")
	last, err := resource.Observe(t.Context(), was, cty.NullVal(was.Type()))
	if err != nil || last.IsNull() {
		t.Fatalf("observing: %#v, %v", last, err)
	}
	before, err := resource.Observe(t.Context(), desired, last)
	if err != nil {
		t.Fatal(err)
	}
	change := providers.Change{Op: "1", Address: "dns_rrset.test", Action: providers.Update, Before: before, After: desired, Last: last}
	outcome, _, err := resource.Apply(t.Context(), change, silent{})
	return outcome, err
}

// A bent host is a good one with something wrong.
type bent struct {
	*rfc2136.Host
	capabilities *dns.Capabilities
	replace      func(ctx context.Context, edits []dns.Edit) (providers.Outcome, error)
}

func (b bent) Capabilities() dns.Capabilities {
	if b.capabilities != nil {
		return *b.capabilities
	}
	return b.Host.Capabilities()
}

func (b bent) Replace(ctx context.Context, edits []dns.Edit) (providers.Outcome, error) {
	if b.replace != nil {
		return b.replace(ctx, edits)
	}
	return b.Host.Replace(ctx, edits)
}

// TestBentHosts: what a host does wrong is found by reading, and named.
func TestBentHosts(t *testing.T) {
	for _, test := range []struct {
		name    string
		bend    func(host *rfc2136.Host, server *zoneserver.Server) bent
		outcome providers.Outcome
		want    string
	}{
		{"cannot replace in one step", func(h *rfc2136.Host, _ *zoneserver.Server) bent {
			return bent{Host: h, capabilities: &dns.Capabilities{}}
		}, providers.NotApplied, "cannot replace it in one step"},
		{"raises the TTL", func(h *rfc2136.Host, _ *zoneserver.Server) bent {
			return bent{Host: h, replace: func(ctx context.Context, edits []dns.Edit) (providers.Outcome, error) {
				edits[0].Wanted.TTL = 600
				return h.Replace(ctx, edits)
			}}
		}, providers.Partial, "made the TTL 600 of 60"},
		{"says yes and does nothing", func(h *rfc2136.Host, _ *zoneserver.Server) bent {
			return bent{Host: h, replace: func(context.Context, []dns.Edit) (providers.Outcome, error) { return providers.Applied, nil }}
		}, providers.Unknown, "holds something else"},
		{"loses the change", func(h *rfc2136.Host, s *zoneserver.Server) bent {
			s.SetFaults(zoneserver.Faults{LoseUpdate: 1})
			return bent{Host: h}
		}, providers.Unknown, "the answer was lost"},
		{"refuses", func(h *rfc2136.Host, s *zoneserver.Server) bent {
			s.SetFaults(zoneserver.Faults{Refuse: true})
			return bent{Host: h}
		}, providers.NotApplied, "REFUSED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, host := serve(t)
			system := open(test.bend(host, server), "one", server.Address())
			outcome, err := update(t, system, rrset(t, system, "@", "MX", 3600, "10 mail"), rrset(t, system, "@", "MX", 60, "10 new"))
			if outcome != test.outcome || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("outcome %v, error %v; want %v, %q", outcome, err, test.outcome, test.want)
			}
			var helpful providers.Error
			if !errors.As(err, &helpful) || helpful.Hint() == "" {
				t.Errorf("error %v: want a hint", err)
			}
		})
	}
}

// TestOvertaken: the other operator's turn begins between our look at the mark
// and our update; the server itself refuses ours.
func TestOvertaken(t *testing.T) {
	server, host := serve(t)
	theirs := open(host, "one", server.Address())
	overtake := false
	ours := open(bent{Host: host, replace: func(ctx context.Context, edits []dns.Edit) (providers.Outcome, error) {
		if overtake {
			if err := theirs.Claim(ctx, providers.Epoch{Number: 2, Holder: "they"}); err != nil {
				t.Error(err)
			}
		}
		return host.Replace(ctx, edits)
	}}, "one", server.Address())
	if err := ours.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "we"}); err != nil {
		t.Fatal(err)
	}
	claim(t, ours)
	overtake = true
	outcome, err := update(t, ours, rrset(t, ours, "@", "MX", 3600, "10 mail"), rrset(t, ours, "@", "MX", 60, "10 new"))
	var stale *providers.StaleError
	if outcome != providers.NotApplied || !errors.As(err, &stale) || stale.Theirs.Holder != "they" {
		t.Errorf("outcome %v, error %v; want not applied, stale", outcome, err)
	}
	set, err := host.Get(t.Context(), dnstest.Zone, "MX")
	if err != nil || !set.Has("10 mail.example.com.") {
		t.Errorf("stored: got %v, %v; want the old exchanger", set, err)
	}
}

// claim creates the mark.
func claim(t *testing.T, system *dns.System) {
	t.Helper()
	typ := dns.Resources()["dns_claim"].Attributes.Type()
	values := map[string]cty.Value{}
	for name, attribute := range typ.AttributeTypes() {
		values[name] = cty.NullVal(attribute)
	}
	change := providers.Change{Op: "1", Address: "dns_claim.zone", Action: providers.Create, Before: cty.NullVal(typ), After: cty.ObjectVal(values), Last: cty.NullVal(typ)}
	if outcome, _, err := system.Resource("dns_claim").Apply(t.Context(), change, silent{}); outcome != providers.Applied {
		t.Fatalf("claiming the zone: outcome %v, error %v", outcome, err)
	}
}

// TestZoneIsHeld: another migration's mark stops the plan.
func TestZoneIsHeld(t *testing.T) {
	server, host := serve(t)
	first, second := open(host, "one", server.Address()), open(host, "two", server.Address())
	for _, system := range []*dns.System{first, second} {
		if err := system.Claim(t.Context(), providers.Epoch{Number: 1, Holder: "somebody"}); err != nil {
			t.Fatal(err)
		}
	}
	claim(t, first)
	typ := dns.Resources()["dns_claim"].Attributes.Type()
	values := map[string]cty.Value{}
	for name, attribute := range typ.AttributeTypes() {
		values[name] = cty.NullVal(attribute)
	}
	_, err := second.Resource("dns_claim").Observe(t.Context(), cty.ObjectVal(values), cty.NullVal(typ))
	if err == nil || !strings.Contains(err.Error(), "another migration holds example.com.") {
		t.Errorf("got %v, want that another migration holds the zone", err)
	}
}

// TestServersThatDoNotAnswer: a look is complete or an error that names the server.
func TestServersThatDoNotAnswer(t *testing.T) {
	server, host := serve(t)
	lame, err := zoneserver.Start(zoneserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lame.Close(); err != nil {
			t.Error(err)
		}
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{"lame": lame.Address(), "closed": closed.Addr().String(), "cache": cache(t)} {
		system := open(host, "one", server.Address(), address)
		desired := rrset(t, system, "@", "MX", 3600, "10 mail")
		value, err := system.Resource("dns_rrset").Observe(t.Context(), desired, cty.NullVal(desired.Type()))
		var helpful providers.Error
		if !errors.As(err, &helpful) || !strings.Contains(err.Error(), address) || !helpful.Temporary() || !strings.Contains(helpful.Hint(), "nameservers") {
			t.Errorf("%s: got %#v, %v; want an error that names %s", name, value, err, address)
		}
	}
}

// cache starts a server that answers what it likes, and does not claim to know.
func cache(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &miekg.Server{Listener: listener, Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, request *miekg.Msg) {
		_ = w.WriteMsg(new(miekg.Msg).SetReply(request))
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// TestNormalize: what people write comes out in one form, or with a reason.
func TestNormalize(t *testing.T) {
	_, host := serve(t)
	system := open(host, "one")
	normal := rrset(t, system, "Mail", "mx", 60, "20 B.example.net", "10 new", "10 NEW.example.com.")
	if got, want := normal.GetAttr("name").AsString()+" "+normal.GetAttr("type").AsString(), "mail.example.com. MX"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := cty.SetVal([]cty.Value{cty.StringVal("10 new.example.com."), cty.StringVal("20 b.example.net.")})
	if got := normal.GetAttr("records"); !got.RawEquals(want) {
		t.Errorf("records: got %#v, want %#v", got, want)
	}
	normalizer, _ := providers.As[providers.Normalizer](system.Resource("dns_rrset"))
	again, err := normalizer.Normalize(normal)
	if err != nil || !again.RawEquals(normal) {
		t.Errorf("normal form of the normal form: got %#v, %v; want %#v", again, err, normal)
	}
	for name, change := range map[string]cty.Value{
		"name": cty.StringVal("example.org."), "type": cty.StringVal("SOA"), "ttl": cty.NumberIntVal(-1),
		"records": cty.SetVal([]cty.Value{cty.StringVal("10 198.51.100.1")}), "no records": cty.SetValEmpty(cty.String),
	} {
		values := normal.AsValueMap()
		values[strings.TrimPrefix(name, "no ")] = change
		if got, err := normalizer.Normalize(cty.ObjectVal(values)); err == nil {
			t.Errorf("%s %#v: got %#v, want an error", name, change, got)
		}
	}
}

// TestListByNames: a host that cannot list its zone is asked for the usual names.
func TestListByNames(t *testing.T) {
	_, host := serve(t)
	system := open(host, "one")
	values := map[string]cty.Value{}
	for name, attribute := range dns.Resources()["dns_claim"].Attributes {
		values[name] = cty.NullVal(attribute.Type)
	}
	values["watch"] = cty.SetVal([]cty.Value{cty.StringVal("mail.example.com.")})
	lister, _ := providers.As[providers.Lister](system.Resource("dns_claim"))
	listed, err := lister.List(t.Context(), cty.ObjectVal(values))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range listed {
		got = append(got, l.Values.GetAttr("name").AsString()+" "+l.Values.GetAttr("type").AsString())
	}
	if got, want := strings.Join(got, ", "), "example.com. MX, imap.example.com. CNAME"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
