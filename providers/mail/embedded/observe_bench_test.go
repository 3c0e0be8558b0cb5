package embedded_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/providertest"
)

// BenchmarkObserve observes what a plan of 2,000 accounts observes of mail, several
// at once as the engine does.
func BenchmarkObserve(b *testing.B) {
	const accounts, observers = 2000, 8
	b.Setenv("EMBEDDED_TOKEN", "secret of the test")
	old, new := newHost(b), newHost(b)
	systems := map[string]providers.System{}
	env := providers.Env{Now: time.Now, Lineage: "bench", Peer: func(address string) (providers.System, error) { return systems[address], nil }}
	systems["old"], systems["new"] = old.Open(b, env), new.Open(b, env)
	old.AddDomain(b, "example.com")
	type object struct {
		resource providers.Resource
		desired  cty.Value
		last     cty.Value
	}
	schema := mail.Schema("", nil)
	var objects []object
	add := func(provider, typ string, set map[string]cty.Value) {
		s := schema.Resources[typ]
		r := systems[provider].Resource(typ)
		objects = append(objects, object{r, providertest.Normal(b, r, providertest.Value(s, set)), cty.NullVal(s.Attributes.Type())})
	}
	for i := range accounts {
		address := mail.Address(fmt.Sprintf("user%04d@example.com", i))
		old.AddAccount(b, address, "password")
		a := cty.StringVal(string(address))
		add("old", "mail_account", map[string]cty.Value{"address": a})
		add("new", "mail_account", map[string]cty.Value{"address": a, "password_from": cty.StringVal("old")})
		add("old", "mail_copy", map[string]cty.Value{"account": a, "to": cty.StringVal("new")})
		add("old", "mail_handoff", map[string]cty.Value{"account": a, "old": cty.StringVal("old"), "new": cty.StringVal("new"), "home": cty.StringVal("old")})
	}
	for b.Loop() {
		for _, s := range systems {
			s.(providers.Refresher).Refresh()
		}
		var wg sync.WaitGroup
		next := make(chan object)
		for range observers {
			wg.Go(func() {
				for o := range next {
					if _, err := o.resource.Observe(b.Context(), o.desired, o.last); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for _, o := range objects {
			next <- o
		}
		close(next)
		wg.Wait()
	}
	b.ReportMetric(float64(len(objects)), "objects/op")
}
