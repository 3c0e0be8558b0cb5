package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// systems are the provider blocks of a configuration, opened when first used. It
// is safe for concurrent use.
type systems struct {
	engine  *Engine
	lineage string
	configs map[string]config.Provider

	// readOnly refuses every effect: nothing but a turn may have one.
	readOnly bool

	mu        sync.Mutex
	open      map[string]providers.System
	slots     map[string]chan struct{}
	patience  map[string]*providers.Patience
	resources map[served]providers.Resource
	normals   map[string]normalised // by address
}

// served is a resource type on a provider block.
type served struct{ provider, typ string }

// normalised is a value with its normal form. Phases have most values in common.
type normalised struct {
	resource    served
	value, form cty.Value
}

const (
	// observers is how many objects are observed at once.
	observers = 8
	// slots is how many observations and effects run at once on one system.
	slots = 16
	// tries is how often an observation is tried whose error is temporary.
	tries = 3
)

func (e *Engine) systems(lineage string) *systems {
	s := &systems{
		engine: e, lineage: lineage, configs: map[string]config.Provider{}, open: map[string]providers.System{}, slots: map[string]chan struct{}{},
		patience: map[string]*providers.Patience{}, resources: map[served]providers.Resource{}, normals: map[string]normalised{},
	}
	for _, p := range e.Program.Providers() {
		s.configs[p.Address] = p
	}
	return s
}

// system returns the open System of a provider block.
func (s *systems) system(ctx context.Context, address string) (providers.System, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sys, ok := s.open[address]; ok {
		return sys, nil
	}
	p, ok := s.configs[address]
	if !ok {
		return nil, providers.Faultf("Put the provider block back until nothing of it is left in the state.", "%s: there is no such provider block any more", address)
	}
	kind, ok := s.engine.Registry[p.Type]
	if !ok {
		return nil, fmt.Errorf("%s: there is no provider of type %q", address, p.Type)
	}
	sys, err := kind.Open(ctx, p.Config, providers.Env{
		Now: s.engine.Now, Lineage: s.lineage, Transcript: s.engine.Transcript,
		Peer: func(peer string) (providers.System, error) { return s.system(ctx, peer) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s (%s): %w", address, p.Where, err)
	}
	s.open[address], s.slots[address], s.patience[address] = sys, make(chan struct{}, slots), &providers.Patience{}
	return sys, nil
}

// resource returns the implementation of a type on a provider block.
func (s *systems) resource(ctx context.Context, address, typ string) (providers.Resource, error) {
	key := served{address, typ}
	s.mu.Lock()
	known := s.resources[key]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	sys, err := s.system(ctx, address)
	if err != nil {
		return nil, err
	}
	r := sys.Resource(typ)
	if r == nil {
		return nil, providers.Faultf("See mailmove providers for what each platform can do.", "%s has no resource type %q", address, typ)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources[key] = providers.Decorate(r, providers.Decoration{Tries: tries, Pause: providers.Pause, Patience: s.patience[address], Slots: s.slots[address], ReadOnly: s.readOnly})
	return s.resources[key], nil
}

// refresh forgets what the systems have cached.
func (s *systems) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sys := range s.open {
		if r, ok := providers.As[providers.Refresher](sys); ok {
			r.Refresh()
		}
	}
}

// claim raises the epoch on every system that can hold one.
func (s *systems) claim(ctx context.Context, epoch providers.Epoch) error {
	for address := range s.configs {
		sys, err := s.system(ctx, address)
		if err != nil {
			return err
		}
		fencer, ok := providers.As[providers.Fencer](sys)
		if !ok {
			continue
		}
		if err := fencer.Claim(ctx, epoch); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	return nil
}

// close closes what was opened.
func (s *systems) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, sys := range s.open {
		errs = append(errs, sys.Close())
	}
	s.open = map[string]providers.System{}
	return errors.Join(errs...)
}

// normal returns the world with its values in their normal form.
func (s *systems) normal(ctx context.Context, world plan.World) (plan.World, error) {
	normal := make(plan.World, len(world))
	for i, r := range world {
		values, err := s.form(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s (%s): %w", r.Address, r.Where, err)
		}
		r.Values = values
		normal[i] = r
	}
	return normal, nil
}

// form returns the normal form of a resource's values.
func (s *systems) form(ctx context.Context, r plan.Resource) (cty.Value, error) {
	key := served{r.Provider, r.Type}
	s.mu.Lock()
	known, ok := s.normals[r.Address]
	s.mu.Unlock()
	if ok && known.resource == key && known.value.RawEquals(r.Values) {
		return known.form, nil
	}
	res, err := s.resource(ctx, r.Provider, r.Type)
	if err != nil {
		return cty.NilVal, err
	}
	form := r.Values
	if n, ok := providers.As[providers.Normalizer](res); ok {
		if form, err = n.Normalize(r.Values); err != nil {
			return cty.NilVal, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.normals[r.Address] = normalised{resource: key, value: r.Values, form: form}
	return form, nil
}

// A request asks for one object.
type request struct {
	address, typ, provider string
	desired, last          cty.Value
}

// An observation is the answer.
type observation struct {
	address string
	value   cty.Value
	err     error
}

// observe observes the objects, several at a time, and keeps their order.
func (s *systems) observe(ctx context.Context, requests []request) []observation {
	results := make([]observation, len(requests))
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(observers, len(requests)) {
		wg.Go(func() {
			for i := range next {
				results[i] = s.observeOne(ctx, requests[i])
			}
		})
	}
	for i := range requests {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

func (s *systems) observeOne(ctx context.Context, r request) observation {
	res, err := s.resource(ctx, r.provider, r.typ)
	if err != nil {
		return observation{address: r.address, err: err}
	}
	value, err := res.Observe(ctx, r.desired, r.last)
	if err != nil {
		err = &blindError{address: r.address, err: err}
	}
	return observation{address: r.address, value: value, err: err}
}

// A blindError says that an object could not be observed, and how many more could
// not be for the same cause.
type blindError struct {
	address string
	more    int
	err     error
}

func (e *blindError) Unwrap() error { return e.err }

func (e *blindError) Error() string {
	switch e.more {
	case 0:
		return fmt.Sprintf("observing %s: %v", e.address, e.err)
	case 1:
		return fmt.Sprintf("observing %s and 1 more object: %v", e.address, e.err)
	}
	return fmt.Sprintf("observing %s and %d more objects: %v", e.address, e.more, e.err)
}

// joined joins the errors of observations, the same cause once: a server that is down
// is one error, however many objects it has.
func joined(errs []error) error {
	seen := map[string]*blindError{}
	var kept []error
	for _, err := range errs {
		cause := err
		var fault providers.Error
		if errors.As(err, &fault) {
			cause = fault
		}
		var blind *blindError
		if !errors.As(err, &blind) {
			blind = &blindError{}
		} else if cause == err {
			cause = blind.err
		}
		if before := seen[cause.Error()]; before != nil {
			before.more++
			continue
		}
		seen[cause.Error()] = blind
		kept = append(kept, err)
	}
	return errors.Join(kept...)
}
