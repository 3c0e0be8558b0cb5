package dns

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/zclconf/go-cty/cty"
)

// Kind is what providers of this kind stand for in a module's input.
const Kind = "dns"

// Resources returns the resource types of the kind; every host's provider serves
// exactly these.
func Resources() map[string]providers.ResourceSchema {
	return map[string]providers.ResourceSchema{"dns_rrset": rrsetSchema(), "dns_claim": claimSchema()}
}

// Config returns the arguments that the provider blocks of all hosts have.
func Config() providers.Attributes {
	return providers.Attributes{
		"zone": {Type: cty.String, Required: true, Doc: "The zone that is edited, such as \"example.com\"."},
		"nameservers": {Type: cty.List(cty.String),
			Doc: "Addresses (or names) of all authoritative servers, to be asked instead of those that the zone's NS records name; with \":port\" where that is not 53."},
	}
}

// Options of a [System].
type Options struct {
	Env providers.Env
	// Nameservers are asked instead of those that the zone names.
	Nameservers []string
	// Patience is how long a change waits for the last authoritative server before
	// it returns, unfinished; zero is 90 seconds.
	Patience time.Duration
}

// A System is an open connection to one zone. Each host's provider returns one
// from its Open.
type System struct {
	host      Host
	env       providers.Env
	patience  time.Duration
	authority *authority

	mu    sync.Mutex
	epoch *providers.Epoch
}

var (
	_ providers.System    = (*System)(nil)
	_ providers.Fencer    = (*System)(nil)
	_ providers.Refresher = (*System)(nil)
)

// NewSystem serves the resource types of the kind over host.
func NewSystem(host Host, options Options) *System {
	s := &System{
		host:      host,
		env:       options.Env,
		patience:  options.Patience,
		authority: &authority{host: host, fixed: options.Nameservers},
	}
	if s.patience == 0 {
		s.patience = 90 * time.Second
	}
	return s
}

// Resource implements [providers.System].
func (s *System) Resource(typ string) providers.Resource {
	switch typ {
	case "dns_rrset":
		return providers.Typed(rrsetSchema(), &rrsets{system: s})
	case "dns_claim":
		return providers.Typed(claimSchema(), &claims{system: s})
	}
	return nil
}

// Close implements [providers.System]. Nothing is held open between questions.
func (s *System) Close() error { return nil }

// Refresh implements [providers.Refresher].
func (s *System) Refresh() { s.authority.forget() }

func (s *System) now() time.Time {
	if s.env.Now != nil {
		return s.env.Now()
	}
	return time.Now()
}

// pauses yields the pauses between looks, growing, until patience is used up.
func (s *System) pauses() iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		pause, waited := 100*time.Millisecond, time.Duration(0)
		for waited <= s.patience {
			if !yield(pause) {
				return
			}
			waited += pause
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// sleep returns early, with an error, when ctx is done.
func (s *System) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// settleLooks is how often the host is read after an answer was lost.
const settleLooks = 3

// replace carries out one edit under the fence, and knows the outcome from what
// the host holds afterwards, not from what it answered alone.
func (s *System) replace(ctx context.Context, edit Edit) (providers.Outcome, error) {
	fence, err := s.fence(ctx)
	if err != nil {
		return providers.NotApplied, err
	}
	if edit.Wanted.Name == s.claimName() {
		fence = nil // the edit of the mark is its own condition
	}
	outcome, err := s.host.Replace(ctx, append(fence, edit))
	if err == nil && outcome != providers.Applied {
		err = errors.New("the host gave no reason")
	}
	switch outcome {
	case providers.Applied:
		return s.readBack(ctx, edit)
	case providers.NotApplied:
		var conflict *Conflict
		if errors.As(err, &conflict) && len(fence) > 0 && conflict.Expected.Name == s.claimName() {
			if _, stale := s.fence(ctx); stale != nil {
				return providers.NotApplied, stale
			}
		}
		return providers.NotApplied, err
	}
	if s.settled(ctx, edit) {
		return providers.Applied, nil
	}
	return providers.Unknown, &providers.Fault{
		Err:   fmt.Errorf("updating %s %s: the answer was lost: %w", edit.Wanted.Name, edit.Wanted.Type, err),
		Next:  "Run the command again: it looks at the zone first and repeats nothing that was done.",
		Retry: true,
	}
}

// settled reports whether an edit whose answer was lost is found done.
func (s *System) settled(ctx context.Context, edit Edit) bool {
	looks := 0
	for pause := range s.pauses() {
		if found, err := s.host.Get(ctx, edit.Wanted.Name, edit.Wanted.Type); err == nil && found.Same(edit.Wanted) {
			return true
		}
		if looks++; looks == settleLooks || s.sleep(ctx, pause) != nil {
			return false
		}
	}
	return false
}

// readBack compares what the host holds with what it was asked to hold: hosts
// raise TTLs to a minimum, and ignore what they do not like.
func (s *System) readBack(ctx context.Context, edit Edit) (providers.Outcome, error) {
	found, err := s.host.Get(ctx, edit.Wanted.Name, edit.Wanted.Type)
	if err != nil {
		return providers.Unknown, fmt.Errorf("reading back %s %s: %w", edit.Wanted.Name, edit.Wanted.Type, err)
	}
	if found.Same(edit.Wanted) {
		return providers.Applied, nil
	}
	if found.SameRecords(edit.Wanted) {
		return providers.Partial, providers.Faultf(fmt.Sprintf("Write ttl = %d, or no ttl at all.", found.TTL),
			"updating %s %s: the host made the TTL %d of %d", found.Name, found.Type, found.TTL, edit.Wanted.TTL)
	}
	return providers.Unknown, providers.Faultf("Run mailmove plan to see what is there now.",
		"updating %s %s: the host accepted the change but holds something else: wanted %v, found %v", found.Name, found.Type, edit.Wanted, found)
}
