package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

// A resolver asks the zone's server, and keeps an answer as long as its TTL says or,
// if it ignores TTLs, for ever.
type resolver struct {
	server  string
	forever bool

	mu    sync.Mutex
	cache map[miekg.Question]cached
}

type cached struct {
	answer []miekg.RR
	until  time.Time
}

func newResolver(server string, forever bool) *resolver {
	return &resolver{server: server, forever: forever, cache: map[miekg.Question]cached{}}
}

// exchanger returns the host that takes mail for a domain (RFC 5321 section 5.1).
func (r *resolver) exchanger(ctx context.Context, name string) (string, error) {
	answer, err := r.lookup(ctx, name, miekg.TypeMX)
	if err != nil {
		return "", err
	}
	first := slices.MinFunc(answer, func(a, b miekg.RR) int {
		return int(a.(*miekg.MX).Preference) - int(b.(*miekg.MX).Preference)
	})
	return first.(*miekg.MX).Mx, nil
}

// address returns an IPv4 address of a host.
func (r *resolver) address(ctx context.Context, host string) (string, error) {
	answer, err := r.lookup(ctx, host, miekg.TypeA)
	if err != nil {
		return "", err
	}
	return answer[0].(*miekg.A).A.String(), nil
}

// lookup returns a set that is not empty.
func (r *resolver) lookup(ctx context.Context, name string, typ uint16) ([]miekg.RR, error) {
	question := new(miekg.Msg).SetQuestion(miekg.Fqdn(strings.ToLower(name)), typ)
	key := question.Question[0]
	r.mu.Lock()
	kept, ok := r.cache[key]
	r.mu.Unlock()
	if ok && (r.forever || time.Now().Before(kept.until)) {
		return kept.answer, nil
	}
	asked := time.Now()
	reply, _, err := (&miekg.Client{Timeout: 10 * time.Second}).ExchangeContext(ctx, question, r.server)
	if err != nil {
		return nil, fmt.Errorf("looking up %s %s: %w", name, miekg.TypeToString[typ], err)
	}
	answer := slices.DeleteFunc(reply.Answer, func(rr miekg.RR) bool { return rr.Header().Rrtype != typ })
	if len(answer) == 0 {
		return nil, fmt.Errorf("looking up %s %s: %s, none", name, miekg.TypeToString[typ], miekg.RcodeToString[reply.Rcode])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache[key] = cached{answer, asked.Add(time.Duration(answer[0].Header().Ttl) * time.Second)}
	return answer, nil
}
