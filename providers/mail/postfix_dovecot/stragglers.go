package postfix_dovecot

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

//go:embed scripts/stragglers.sh
var stragglersScript string

var _ mail.StragglerLog = (*System)(nil)

// Stragglers implements [mail.StragglerLog]. It reads the mail log, as far back as
// the server keeps it. What the peer delivers comes through its door, and what
// users submit is authenticated: neither counts.
func (s *System) Stragglers(ctx context.Context, domain string, since time.Time) ([]mail.Straggler, error) {
	now := s.env.Now()
	days := max(1, int(math.Ceil(now.Sub(since).Hours()/24)))
	res, err := s.runner.Run(ctx, remote.Command{Name: "read the mail log", Script: stragglersScript, Args: []string{domain, strconv.Itoa(days)}})
	if err != nil {
		return nil, err
	}
	t, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	return parseStragglers(string(res.Stdout), since, func(a netip.Addr) bool {
		return a.IsLoopback() || a.String() == s.endpoint.Address ||
			slices.ContainsFunc(t.trusts, func(t mail.Trust) bool { return t.Peer == a.String() })
	})
}

func parseStragglers(text string, since time.Time, ignore func(netip.Addr) bool) ([]mail.Straggler, error) {
	var found []mail.Straggler
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(f) != 4 {
			return nil, fmt.Errorf("reading the mail log: unexpected line %q", line)
		}
		n, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the mail log: unexpected line %q", line)
		}
		last, err := time.Parse(time.RFC3339, f[3])
		if err != nil {
			return nil, fmt.Errorf("reading the mail log: %w", err)
		}
		address, err := netip.ParseAddr(f[1])
		if err == nil && ignore(address) || last.Before(since) {
			continue
		}
		found = append(found, mail.Straggler{Host: f[2] + " [" + f[1] + "]", Last: last, Messages: n})
	}
	slices.SortFunc(found, func(a, b mail.Straggler) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Host, b.Host))
	})
	return found, nil
}
