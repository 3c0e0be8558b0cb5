package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns/zoneserver"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// An example is what the servers have that a folder of examples/ moves.
type example struct {
	domain   string
	accounts []string
	aliases  map[string][]string
	zone     []string
	// dangers are the warnings that its plan has.
	dangers []string
}

var examples = map[string]example{
	"single-domain": {
		domain:   "example.com",
		accounts: []string{"murphy", "office"},
		aliases:  map[string][]string{"info": {"murphy"}, "sales": {"murphy"}},
		zone:     []string{"@ 3600 IN MX 10 mail.old.example."},
		dangers:  []string{"MAIL-NO-RETURN"},
	},
	"full": {
		domain:   "example.org",
		accounts: []string{"murphy", "office", "intern", "root"},
		aliases: map[string][]string{
			"postmaster": {"murphy"}, "info": {"office"}, "staff": {"murphy", "office", "lists"},
			"lists": {"info", "archive@elsewhere.example"}, "abuse": {"murphy"}, "billing": {"office"}, "": {"office"}, "cron": {"root"},
		},
		zone: []string{
			"@ 86400 IN MX 10 mail.old.example.", `@ 86400 IN TXT "v=spf1 ip4:198.51.100.10 -all"`, `@ 86400 IN TXT "site-verification=1"`,
			"imap 86400 IN A 198.51.100.10", "smtp 86400 IN A 198.51.100.10", "webmail 86400 IN A 198.51.100.10", "autoconfig 86400 IN A 198.51.100.10",
			"www 86400 IN A 198.51.100.10",
		},
		dangers: []string{"DNS-TTL-LONG", "MAIL-NO-RETURN"},
	},
	"waves": {
		domain:   "example.net",
		accounts: []string{"murphy", "office", "sales"},
		aliases:  map[string][]string{"info": {"office"}, "team": {"murphy", "sales"}},
		zone:     []string{"@ 3600 IN MX 10 mail.old.example."},
		dangers:  []string{"MAIL-NO-RETURN"},
	},
}

// Every folder of examples/ is planned as it stands, its servers replaced by
// embedded ones and its zone's server by one on loopback.
func TestExamples(t *testing.T) {
	folders, err := filepath.Glob("../../examples/*")
	if err != nil || len(folders) < 3 {
		t.Fatalf("found %q, %v; want three examples at least", folders, err)
	}
	for i, folder := range folders {
		name := filepath.Base(folder)
		t.Run(name, func(t *testing.T) {
			fixture, ok := examples[name]
			if !ok {
				t.Fatalf("the test knows nothing of examples/%s: say what its servers have", name)
			}
			planExample(t, folder, fixture, byte(100+2*i))
		})
	}
}

func planExample(t *testing.T, folder string, fixture example, address byte) {
	t.Setenv("EXAMPLE_TOKEN", serverToken)
	stand := newStandIns(t, fixture, address)
	c, diags := config.Load(config.Options{Dir: folder, Modules: modules(), Schemas: stand, Version: version})
	for _, d := range diags {
		t.Errorf("%+v", d)
	}
	if diags.HasErrors() {
		t.FailNow()
	}
	e := &engine.Engine{
		Program: program{c}, Registry: stand, Store: state.NewFile(filepath.Join(t.TempDir(), "state.json")),
		Now: time.Now, Version: version, Parallelism: 4, Validity: time.Hour,
	}
	p, err := e.Plan(t.Context(), engine.Target{})
	if err != nil {
		t.Fatal(err)
	}
	var dangers []string
	for _, d := range p.Dangers {
		dangers = append(dangers, d.Code)
		if d.Severity == providers.Fatal {
			t.Errorf("%s %s: %s %s", d.Code, d.Address, d.Summary, d.Fix)
		}
	}
	if got, want := strings.Join(dangers, " "), strings.Join(fixture.dangers, " "); got != want {
		t.Errorf("dangers are %q, want %q", got, want)
	}
	if n := handovers(p); n == 0 {
		t.Error("the plan hands over no account")
	}
}

// handovers counts the accounts that a plan leads to the new server.
func handovers(p *plan.Plan) int {
	n := 0
	for _, clock := range p.Clocks {
		for _, stage := range clock.Stages {
			for _, change := range stage.Changes {
				if change.Type == "mail_handoff" && change.Action == providers.Update {
					n++
				}
			}
		}
	}
	return n
}

// standIns are the providers, with embedded servers in the place of real ones.
type standIns = providerTypes

func newStandIns(t *testing.T, fixture example, address byte) standIns {
	t.Helper()
	servers := map[string]*server.Server{}
	for i, ip := range []string{"198.51.100.10", "198.51.100.20"} {
		s, err := server.Start(server.NewDisk(), server.Options{Address: fmt.Sprintf("127.79.0.%d", int(address)+i), Token: serverToken})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		servers[ip] = s
	}
	old := servers["198.51.100.10"]
	old.AddDomain(fixture.domain)
	at := func(name string) mail.Address {
		if strings.Contains(name, "@") && name != "" {
			return mail.Address(name)
		}
		return mail.Address(name + "@" + fixture.domain)
	}
	for _, name := range fixture.accounts {
		old.AddAccount(at(name), password, 0)
	}
	for name, members := range fixture.aliases {
		alias := mail.Alias{Address: at(name)}
		for _, member := range members {
			alias.Members = append(alias.Members, at(member))
		}
		old.AddAlias(alias)
	}
	text := "@ 3600 IN SOA ns1 hostmaster 1 3600 600 86400 300\n@ 3600 IN NS ns1\nns1 3600 IN A 198.51.100.53\n" + strings.Join(fixture.zone, "\n") + "\n"
	zone, err := zoneserver.Start(zoneserver.Config{Zones: map[string]string{fixture.domain + ".": text}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { zone.Close() })
	types := registry(nil)
	types["postfix_dovecot"] = mailStandIn{Provider: types["postfix_dovecot"], servers: servers}
	types["rfc2136"] = zoneStandIn{Provider: types["rfc2136"], address: zone.Address()}
	return types
}

// mailStandIn has another platform's configuration and is an embedded server.
type mailStandIn struct {
	providers.Provider
	servers map[string]*server.Server
}

func (m mailStandIn) Open(_ context.Context, c cty.Value, env providers.Env) (providers.System, error) {
	u, err := url.Parse(m.servers[c.GetAttr("address").AsString()].ControlURL())
	if err != nil {
		return nil, err
	}
	token, err := providers.NewSecret("env:EXAMPLE_TOKEN")
	if err != nil {
		return nil, err
	}
	return embedded.New(u, token, env), nil
}

func (m mailStandIn) Lint(o providers.Outlook) []providers.Danger { return mail.Lint(o) }

// zoneStandIn asks a server on loopback, unsigned.
type zoneStandIn struct {
	providers.Provider
	address string
}

func (z zoneStandIn) Open(ctx context.Context, c cty.Value, env providers.Env) (providers.System, error) {
	values := c.AsValueMap()
	values["server"] = cty.StringVal(z.address)
	for name, attr := range z.Schema().Config {
		if name == "tsig" {
			values[name] = cty.NullVal(attr.Type)
		}
		if name == "nameservers" {
			values[name] = cty.ListVal([]cty.Value{cty.StringVal(z.address)})
			if attr.Type.IsSetType() {
				values[name] = cty.SetVal([]cty.Value{cty.StringVal(z.address)})
			}
		}
	}
	return z.Provider.Open(ctx, cty.ObjectVal(values), env)
}

func (z zoneStandIn) Lint(o providers.Outlook) []providers.Danger {
	if linter, ok := z.Provider.(providers.Linter); ok {
		return linter.Lint(o)
	}
	return nil
}
