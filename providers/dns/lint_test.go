package dns

import (
	"strings"
	"testing"

	"github.com/mailmove/mailmove/providers"
	"github.com/zclconf/go-cty/cty"
)

// plot builds an outlook phase by phase.
type plot struct {
	t       *testing.T
	outlook providers.Outlook
}

const block = "provider.rfc2136.zone"

func newPlot(t *testing.T) *plot {
	return &plot{t: t, outlook: providers.Outlook{
		Observed:  map[string]cty.Value{},
		Providers: map[string]providers.OutlookProvider{block: {Type: "rfc2136"}, "provider.other.zone": {Type: "other"}},
	}}
}

func (p *plot) encode(v *rrsetValue) cty.Value {
	value, err := providers.Encode(rrsetSchema(), v)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// set is a dns_rrset; the address is made of name and type.
func set(name, typ string, ttl int64, records ...string) *rrsetValue {
	return &rrsetValue{Name: name, Type: typ, TTL: &ttl, Records: records}
}

func address(v *rrsetValue) string { return "dns_rrset." + v.Name + v.Type }

func (p *plot) now(sets ...*rrsetValue) *plot {
	for _, v := range sets {
		p.outlook.Observed[address(v)] = p.encode(v)
	}
	return p
}

// phase appends a phase with these sets; the changes follow from the one before.
func (p *plot) phase(sets ...*rrsetValue) *plot {
	next := providers.OutlookPhase{Phase: string(rune('a' + len(p.outlook.Phases)))}
	before := map[string]cty.Value{}
	if n := len(p.outlook.Phases); n > 0 {
		for _, r := range p.outlook.Phases[n-1].Resources {
			before[r.Address] = r.Values
		}
	} else {
		before = p.outlook.Observed
	}
	there := map[string]bool{}
	for _, v := range sets {
		r := providers.OutlookResource{Address: address(v), Type: "dns_rrset", Provider: block, Values: p.encode(v)}
		there[r.Address] = true
		next.Resources = append(next.Resources, r)
		change := providers.OutlookChange{Address: r.Address, Type: r.Type, Provider: block, Action: providers.Create, Before: cty.NullVal(r.Values.Type()), After: r.Values}
		if was, ok := before[r.Address]; ok {
			change.Action, change.Before = providers.Update, was
		}
		next.Changes = append(next.Changes, change)
	}
	if len(p.outlook.Phases) > 0 {
		for at, was := range before {
			if !there[at] {
				next.Changes = append(next.Changes, providers.OutlookChange{Address: at, Type: "dns_rrset", Provider: block, Action: providers.Remove, Before: was, After: cty.NullVal(was.Type())})
			}
		}
	}
	p.outlook.Phases = append(p.outlook.Phases, next)
	return p
}

func able(cty.Value) Capabilities { return Capabilities{Atomic: true, Swap: true, List: true} }

func TestLint(t *testing.T) {
	oldMX, newMX := set(zone, "MX", 300, "10 old.example.com."), set(zone, "MX", 300, "10 new.example.com.")
	oldA, newA := set("old.example.com.", "A", 300, "198.51.100.10"), set("new.example.com.", "A", 300, "198.51.100.20")
	foreign := set(zone, "MX", 300, "10 old.example.com.")
	foreign.Others = []string{"20 backup.example.net."}
	foreignA := set("old.example.com.", "A", 300, "198.51.100.10")
	foreignA.Others = []string{"198.51.100.99"}
	exclusive := set(zone, "MX", 300, "10 new.example.com.")
	exclusive.Exclusive = true
	var many []*rrsetValue
	for _, label := range []string{"a", "b", "c", "d", "e", "f"} {
		many = append(many, set(label+".example.com.", "A", 300, "198.51.100.10"))
	}
	for _, test := range []struct {
		name string
		plot *plot
		want string
	}{
		{"a move as it should be", newPlot(t).now(set(zone, "MX", 3600, "10 old.example.com."), oldA).
			phase(oldMX, oldA, newA).phase(newMX, oldA, newA).phase(set(zone, "MX", 3600, "10 new.example.com."), oldA, newA), ""},
		{"MX without records", newPlot(t).now(oldMX).phase(oldMX).phase(set(zone, "MX", 300)), "DNS-MX-EMPTY"},
		{"MX removed", newPlot(t).now(oldMX).phase(oldMX).phase(), "DNS-MX-EMPTY"},
		{"MX of our own making removed", newPlot(t).phase(set("staging.example.com.", "MX", 60, "10 mx.example.net.")).phase(), ""},
		{"MX points at an alias", newPlot(t).phase(newMX, set("new.example.com.", "CNAME", 60, "host.example.net.")), "DNS-MX-ALIAS"},
		{"MX before its address", newPlot(t).now(oldMX).phase(newMX).phase(newMX, newA), "DNS-MX-DANGLING"},
		{"MX with an address that stands", newPlot(t).now(oldMX, newA).phase(newMX).phase(newMX, newA), ""},
		{"MX longer than its address", newPlot(t).now(oldA).phase(oldMX, oldA).phase(oldMX), "DNS-MX-DANGLING"},
		{"MX elsewhere", newPlot(t).phase(set(zone, "MX", 60, "10 mx.example.net.")), ""},
		{"exchanger that nobody knows", newPlot(t).now(foreign).phase(oldMX).phase(newMX), "DNS-MX-FOREIGN"},
		{"address that nobody knows", newPlot(t).now(foreignA).phase(oldA), "DNS-FOREIGN"},
		{"exchanger declared later", newPlot(t).now(foreign).phase(oldMX).phase(set(zone, "MX", 300, "10 new.example.com.", "20 backup.example.net.")), ""},
		{"exchanger to be removed", newPlot(t).now(foreign).phase(oldMX).phase(exclusive), ""},
		{"TTL raised while moving", newPlot(t).phase(oldMX).phase(set(zone, "MX", 3600, "10 old.example.com.")).phase(newMX), "DNS-TTL-RAISED"},
		{"replaced under a long TTL", newPlot(t).now(set(zone, "MX", 86400, "10 old.example.com.")).phase(newMX), "DNS-TTL-LONG"},
		{"name servers", newPlot(t).now(set(zone, "NS", 300, "ns1.example.com.")).phase(set(zone, "NS", 300, "ns9.example.com.")), "DNS-NS"},
		{"many removed", newPlot(t).now(many...).phase(many...).phase(many[3:]...), "DNS-LARGE-REMOVAL"},
		{"few removed", newPlot(t).now(many...).phase(many...).phase(many[2:]...), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var codes []string
			for _, danger := range Lint(test.plot.outlook, "rfc2136", able) {
				codes = append(codes, danger.Code)
				if danger.Summary == "" || danger.Fix == "" || danger.Address == "" || danger.Severity == "" {
					t.Errorf("incomplete danger: %+v", danger)
				}
			}
			if got := strings.Join(codes, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if dangers := Lint(test.plot.outlook, "other", able); len(dangers) != 0 {
				t.Errorf("another provider's linter: got %v, want none", dangers)
			}
		})
	}
}

// TestLintMXNotAtomic: a host that cannot replace a set in one step is refused
// for MX before anything happens.
func TestLintMXNotAtomic(t *testing.T) {
	p := newPlot(t).phase(set(zone, "MX", 300, "10 a.example.net.")).phase(set(zone, "MX", 300, "10 b.example.net."))
	dangers := Lint(p.outlook, "rfc2136", func(cty.Value) Capabilities { return Capabilities{List: true} })
	if len(dangers) != 1 || dangers[0].Code != "DNS-MX-NOT-ATOMIC" || dangers[0].Severity != providers.Fatal {
		t.Errorf("got %v, want one fatal DNS-MX-NOT-ATOMIC", dangers)
	}
}
