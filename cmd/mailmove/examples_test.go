package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
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
	// more are further domains with their zones; their addresses are given whole.
	more map[string][]string
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
	"hosting": {
		domain:   "alpha.example",
		accounts: []string{"info", "ada", "info@beta.example"},
		aliases:  map[string][]string{"sales": {"ada", "info"}},
		zone:     []string{"@ 3600 IN MX 10 mail.old.example."},
		more:     map[string][]string{"beta.example": {"@ 3600 IN MX 10 mail.old.example."}},
		dangers:  []string{"MAIL-NO-RETURN", "MAIL-NO-RETURN"},
	},
	"waves": {
		domain:   "example.net",
		accounts: []string{"murphy", "office", "sales"},
		aliases:  map[string][]string{"info": {"office"}, "team": {"murphy", "sales"}},
		zone:     []string{"@ 3600 IN MX 10 mail.old.example."},
		dangers:  []string{"MAIL-NO-RETURN"},
	},
}

// Every folder of examples/ is planned as it stands and carried out to its end, its
// servers replaced by embedded ones and its zone's server by one on loopback.
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
			b := newExampleBench(t, folder, fixture, 100+2*i)
			p := b.plan(t)
			b.carryOut(t, p)
			b.audit(t)
		})
	}
}

// exampleBench is an example with its stand-ins.
type exampleBench struct {
	fixture  example
	engine   *engine.Engine
	old, new *server.Server
	path     string // of the state
	// ahead is how far the engine's clock is ahead.
	ahead time.Duration
}

func newExampleBench(t *testing.T, folder string, fixture example, address int) *exampleBench {
	t.Helper()
	t.Setenv("EXAMPLE_TOKEN", serverToken)
	b := &exampleBench{fixture: fixture, path: filepath.Join(t.TempDir(), "state.json")}
	stand := b.standIns(t, address)
	c, diags := config.Load(config.Options{Dir: folder, Modules: modules(), Schemas: stand, Version: version})
	for _, d := range diags {
		t.Errorf("%+v", d)
	}
	if diags.HasErrors() {
		t.FailNow()
	}
	b.engine = &engine.Engine{
		Program: program{c}, Registry: stand, Store: state.NewFile(b.path), Now: func() time.Time { return time.Now().Add(b.ahead) },
		Version: version, Holder: holder("test"), Parallelism: 4, Validity: time.Hour,
	}
	return b
}

// plan plans the example as it stands.
func (b *exampleBench) plan(t *testing.T) *plan.Plan {
	t.Helper()
	p, err := b.engine.Plan(t.Context(), engine.Target{})
	if err != nil {
		t.Fatal(err)
	}
	var dangers []string
	for _, d := range p.Dangers {
		dangers = append(dangers, d.Code)
		if d.Severity == providers.Fatal {
			t.Fatalf("%s %s: %s %s", d.Code, d.Address, d.Summary, d.Fix)
		}
	}
	if got, want := strings.Join(dangers, " "), strings.Join(b.fixture.dangers, " "); got != want {
		t.Errorf("dangers are %q, want %q", got, want)
	}
	if n := handovers(p); n == 0 {
		t.Error("the plan hands over no account")
	}
	return p
}

// carryOut takes turns until the migration is done. Time passes at once, people
// approve and confirm whatever they are asked.
func (b *exampleBench) carryOut(t *testing.T, p *plan.Plan) {
	t.Helper()
	for turn := 0; turn < 60; turn++ {
		report, err := b.engine.Apply(t.Context(), p)
		if err != nil {
			t.Fatalf("turn %d: %v", turn, err)
		}
		p = nil
		if report.Done() {
			t.Logf("done in %d turns and %v", turn+1, b.ahead)
			return
		}
		people := 0
		for _, clock := range report.Clocks {
			for _, failure := range clock.Failures {
				t.Fatalf("turn %d: %v", turn, failure)
			}
			if clock.Wait == nil {
				continue
			}
			for _, task := range clock.Wait.Tasks {
				if err := b.engine.Confirm(task.Text, "ada", ""); err != nil {
					t.Fatal(err)
				}
				people++
			}
			for _, gate := range clock.Wait.Gates {
				if gate.Kind == plan.Approval && !gate.Open {
					if err := b.engine.Approve(t.Context(), clock.Path, clock.Wait.Phase, gate.Name, "ada", ""); err != nil {
						t.Fatal(err)
					}
					people++
				}
			}
		}
		if people == 0 {
			b.pass(report.Until())
		}
	}
	t.Fatal("not done after 60 turns")
}

// pass lets time pass until a moment, ten minutes at least.
func (b *exampleBench) pass(until time.Time) {
	b.ahead += max(10*time.Minute, until.Sub(b.engine.Now())+time.Second)
}

// audit checks that the new server has everybody and the old one nobody any more.
func (b *exampleBench) audit(t *testing.T) {
	t.Helper()
	if p, err := b.engine.Plan(t.Context(), engine.Target{}); err != nil || !p.Empty() {
		t.Errorf("planning again: %+v, %v; want nothing to do", p, err)
	}
	for name := range b.fixture.aliases {
		if name == "" || name == "cron" {
			continue
		}
		if err := deliverTo(b.new, b.at(name)); err != nil {
			t.Errorf("the new server refuses %s: %v", b.at(name), err)
		}
		if err := deliverTo(b.old, b.at(name)); err == nil {
			t.Errorf("the old server still takes mail for %s", b.at(name))
		}
	}
	for _, name := range b.fixture.accounts {
		if inbox := b.old.Folders(b.at(name))[0]; len(inbox.Messages) != 1 {
			t.Errorf("the old server has %d messages of %s, want the one that was there", len(inbox.Messages), b.at(name))
		}
	}
}

func deliverTo(s *server.Server, to mail.Address) error {
	client, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		return err
	}
	defer client.Close()
	return client.SendMail("x@outside.test", []string{string(to)}, strings.NewReader("Subject: x\r\n\r\n.\r\n"))
}

// at returns an address of the example's domain.
func (b *exampleBench) at(name string) mail.Address {
	if strings.Contains(name, "@") {
		return mail.Address(name)
	}
	return mail.Address(name + "@" + b.fixture.domain)
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

// standIns returns the providers, with embedded servers in the place of real ones.
func (b *exampleBench) standIns(t *testing.T, address int) providerTypes {
	t.Helper()
	start := func(n int) *server.Server {
		s, err := server.Start(server.NewDisk(), server.Options{
			Address: fmt.Sprintf("127.79.0.%d", n), Token: serverToken,
			Route: func(string) (string, error) { return "127.0.0.1:1", nil }, // nobody is there
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		return s
	}
	b.old, b.new = start(address), start(address+1)
	for _, name := range b.fixture.accounts {
		b.old.AddAccount(b.at(name), password, 0)
		message := server.Message{Date: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), Body: []byte("Subject: old\r\n\r\n.\r\n")}
		if err := b.old.Fill(b.at(name), "INBOX", []server.Message{message}); err != nil {
			t.Fatal(err)
		}
	}
	for name, members := range b.fixture.aliases {
		alias := mail.Alias{Address: b.at(name)}
		for _, member := range members {
			alias.Members = append(alias.Members, b.at(member))
		}
		b.old.AddAlias(alias)
	}
	zones := map[string]string{}
	add := func(domain string, records []string) {
		b.old.AddDomain(domain)
		zones[domain+"."] = "@ 3600 IN SOA ns1 hostmaster 1 3600 600 86400 300\n@ 3600 IN NS ns1\nns1 3600 IN A 198.51.100.53\n" + strings.Join(records, "\n") + "\n"
	}
	add(b.fixture.domain, b.fixture.zone)
	for domain, records := range b.fixture.more {
		add(domain, records)
	}
	zone, err := zoneserver.Start(zoneserver.Config{Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { zone.Close() })
	types := registry(confirmations(b.path))
	servers := map[string]*server.Server{"198.51.100.10": b.old, "198.51.100.20": b.new}
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
