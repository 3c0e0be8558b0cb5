package mail

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailmove/mailmove/providers"
)

// Types are the kind's resource types on one server. A platform's System embeds
// what [NewTypes] returns and has its Resource and Refresh from there:
//
//	type System struct {
//		*mail.Types
//		…
//	}
//	s := &System{…}
//	s.Types = mail.NewTypes(s, env)
type Types struct {
	server    Server
	env       providers.Env
	cache     *snapshot
	resources map[string]providers.Resource
}

// NewTypes returns the resource types over the abilities of server.
func NewTypes(server Server, env providers.Env) *Types {
	t := &Types{server: server, env: env, cache: newSnapshot(env.Now)}
	schema := schemas()
	t.resources = map[string]providers.Resource{
		"mail_claim":      providers.Typed(schema["mail_claim"], claim{t}),
		"mail_account":    providers.Typed(schema["mail_account"], accounts{t}),
		"mail_alias":      providers.Typed(schema["mail_alias"], aliases{t}),
		"mail_domain":     providers.Typed(schema["mail_domain"], domains{t}),
		"mail_trust":      providers.Typed(schema["mail_trust"], trusts{t}),
		"mail_route":      providers.Typed(schema["mail_route"], routes{t}),
		"mail_login":      providers.Typed(schema["mail_login"], logins{t}),
		"mail_copy":       providers.Typed(schema["mail_copy"], copies{t}),
		"mail_handoff":    providers.Typed(schema["mail_handoff"], handoffs{t}),
		"mail_probe":      providers.Typed(schema["mail_probe"], probes{t}),
		"mail_stragglers": providers.Typed(schema["mail_stragglers"], stragglers{t}),
	}
	return t
}

// Resource is [providers.System.Resource].
func (t *Types) Resource(typ string) providers.Resource { return t.resources[typ] }

// Refresh implements [providers.Refresher].
func (t *Types) Refresh() { t.cache.reset() }

// types lets a Types find that of a peer; see peer.
func (t *Types) types() *Types { return t }

// peer returns the resource types of another server.
func (t *Types) peer(address string) (*Types, error) {
	sys, err := t.env.Peer(address)
	if err != nil {
		return nil, err
	}
	holder, ok := providers.As[interface{ types() *Types }](sys)
	if !ok {
		return nil, fmt.Errorf("%s is not a mail server", address)
	}
	return holder.types(), nil
}

// name is the server in errors.
func (t *Types) name() string {
	e := t.server.Endpoint()
	if e.Name != "" && e.Name != e.Address {
		return fmt.Sprintf("server %s (%s, %s)", e.Name, e.Address, t.server.Platform())
	}
	return fmt.Sprintf("server %s (%s)", e.Address, t.server.Platform())
}

// same reports whether two provider blocks are one server.
func (t *Types) same(other *Types) bool {
	a, b := t.server.Endpoint(), other.server.Endpoint()
	return t == other || a.Address == b.Address && a.SMTP == b.SMTP
}

// ability finds what a server can do; verb completes "cannot …".
func ability[A any](t *Types, verb string) (A, error) {
	a, ok := providers.As[A](t.server)
	if !ok {
		return a, providers.Faultf("See mailmove providers for what each platform can do; choose another recipe or platform.", "%s cannot %s", t.name(), verb)
	}
	return a, nil
}

// outcome returns what an error of a platform tells of the effect.
func outcome(err error) providers.Outcome {
	var known *OutcomeError
	var conflict *ConflictError
	switch {
	case err == nil:
		return providers.Applied
	case errors.As(err, &known):
		return known.Outcome
	case errors.As(err, &conflict):
		return providers.NotApplied
	}
	return providers.Unknown
}

// fail is the return of an Apply whose effect failed with err.
func fail[T any](err error) (providers.Outcome, *T, error) { return outcome(err), nil, err }

// refuse is the return of an Apply that had no effect.
func refuse[T any](err error) (providers.Outcome, *T, error) { return providers.NotApplied, nil, err }

// alone applies a change of a batching type as a batch of one.
func alone[T any](ctx context.Context, change providers.TypedChange[T], batch func(context.Context, []providers.TypedChange[T]) []result[T]) (providers.Outcome, *T, error) {
	r := batch(ctx, []providers.TypedChange[T]{change})[0]
	return r.outcome, r.value, r.err
}

// A result is a typed [providers.Result].
type result[T any] struct {
	outcome providers.Outcome
	value   *T
	err     error
}

// batched applies changes of a batching type together.
func batched[T any](ctx context.Context, typ string, changes []providers.Change, batch func(context.Context, []providers.TypedChange[T]) []result[T]) []providers.Result {
	schema := schemas()[typ]
	results := make([]providers.Result, len(changes))
	var typed []providers.TypedChange[T]
	var places []int
	for i, change := range changes {
		c, err := providers.DecodeChange[T](change)
		if err != nil {
			results[i] = providers.Result{Outcome: providers.NotApplied, Err: err}
			continue
		}
		typed = append(typed, c)
		places = append(places, i)
	}
	for i, r := range batch(ctx, typed) {
		value, err := providers.Encode(schema, r.value)
		if err != nil {
			r.outcome, r.err = providers.Unknown, err
		}
		results[places[i]] = providers.Result{Outcome: r.outcome, Value: value, Err: r.err}
	}
	return results
}

// together gives every change of a batch the same outcome.
func together[T any](changes []providers.TypedChange[T], err error, value func(providers.TypedChange[T]) *T) []result[T] {
	results := make([]result[T], len(changes))
	for i, c := range changes {
		results[i] = result[T]{outcome: outcome(err), err: err}
		if err == nil && c.After != nil {
			results[i].value = value(c)
		}
	}
	return results
}
