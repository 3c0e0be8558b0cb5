package mail

import (
	"context"
	"fmt"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func stragglersSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "Who still delivers mail for a domain to this server. It changes nothing; a gate waits for quiet_until.",
		Attributes: providers.Attributes{
			"domain":      identity("The domain."),
			"quiet":       defaults(cty.StringVal("48h"), "How long nobody shall have delivered here."),
			"last":        computed(cty.String, "When somebody last delivered here."),
			"hosts":       computed(cty.Map(cty.String), "Who did since the server was watched, and when last."),
			"quiet_since": computed(cty.String, "Since when nobody has, as far as is known."),
			"quiet_until": computed(cty.String, "When it will have been quiet for long enough, if nobody delivers until then."),
		},
	}
}

type stragglersValue struct {
	Domain     string            `cty:"domain"`
	Quiet      string            `cty:"quiet"`
	Last       *string           `cty:"last"`
	Hosts      map[string]string `cty:"hosts"`
	QuietSince *string           `cty:"quiet_since"`
	QuietUntil *string           `cty:"quiet_until"`
}

// stragglers is the type mail_stragglers.
type stragglers struct{ *Types }

var (
	_ providers.TypedResource[stragglersValue] = stragglers{}
	_ providers.Normalizer                     = stragglers{}
)

// Normalize implements [providers.Normalizer].
func (s stragglers) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[stragglersValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	if v.Domain, err = ParseDomain(v.Domain); err != nil {
		return cty.NilVal, err
	}
	quiet, err := time.ParseDuration(v.Quiet)
	if err != nil || quiet < 0 {
		return cty.NilVal, fmt.Errorf("quiet %q: want a duration such as \"48h\"", v.Quiet)
	}
	v.Quiet = quiet.String()
	return providers.Encode(stragglersSchema(), v)
}

func (s stragglers) Observe(ctx context.Context, desired, last *stragglersValue) (*stragglersValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	return s.watch(ctx, v, last)
}

// watch reads who delivered since the last record. Where there is none, the quiet
// begins now: what a server's log does not tell any more may have happened.
func (s stragglers) watch(ctx context.Context, v, last *stragglersValue) (*stragglersValue, error) {
	log, err := ability[StragglerLog](s.Types, "tell who delivers mail to it")
	if err != nil {
		return nil, err
	}
	quiet, err := time.ParseDuration(v.Quiet)
	if err != nil {
		return nil, err
	}
	since := s.env.Now()
	observed := &stragglersValue{Domain: v.Domain, Quiet: v.Quiet, Hosts: map[string]string{}}
	if last != nil && last.QuietSince != nil {
		if since, err = time.Parse(time.RFC3339, *last.QuietSince); err != nil {
			return nil, fmt.Errorf("reading quiet_since: %w", err)
		}
		observed.Last = last.Last
		for host, at := range last.Hosts {
			observed.Hosts[host] = at
		}
	}
	found, err := log.Stragglers(ctx, v.Domain, since)
	if err != nil {
		return nil, err
	}
	for _, straggler := range found {
		observed.Hosts[straggler.Host] = straggler.Last.UTC().Format(time.RFC3339)
		if !straggler.Last.Before(since) { // a log may tell whole seconds only
			since = straggler.Last
			observed.Last = new(since.UTC().Format(time.RFC3339))
		}
	}
	observed.QuietSince = new(since.UTC().Format(time.RFC3339))
	observed.QuietUntil = new(since.Add(quiet).UTC().Format(time.RFC3339))
	return observed, nil
}

func (s stragglers) Apply(ctx context.Context, change providers.TypedChange[stragglersValue], _ providers.TypedLog[stragglersValue]) (providers.Outcome, *stragglersValue, error) {
	if change.After == nil {
		return providers.Applied, nil, nil
	}
	observed, err := s.watch(ctx, change.After, change.Last)
	if err != nil {
		return refuse[stragglersValue](err)
	}
	return providers.Applied, observed, nil
}
