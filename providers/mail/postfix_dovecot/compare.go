package postfix_dovecot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// maxManifest bounds a manifest: two million messages.
const maxManifest = 512 << 20

// A manifest is what a store holds: the digest, size or time of each path.
type manifest struct {
	things          map[string]string
	messages, bytes int64
}

// Compare implements [mail.Copier]. It reads both stores anew and opens neither,
// so that it may be repeated at any time: Dovecot moves files when it opens one.
func (s *System) Compare(ctx context.Context, peer mail.Server, accounts []mail.Address, depth mail.Depth) (map[mail.Address]mail.Comparison, error) {
	other, err := s.platform(peer)
	if err != nil {
		return nil, err
	}
	from, err := s.stores(ctx, accounts)
	if err != nil {
		return nil, err
	}
	to, err := other.stores(ctx, accounts)
	if err != nil {
		return nil, err
	}
	comparisons := map[mail.Address]mail.Comparison{}
	for _, a := range accounts {
		here, err := s.manifest(ctx, from[a], depth)
		if err != nil {
			return nil, fmt.Errorf("comparing %s: %w", a, err)
		}
		there, err := other.manifest(ctx, to[a], depth)
		if err != nil {
			return nil, fmt.Errorf("comparing %s: %w", a, err)
		}
		comparisons[a] = compare(here, there)
	}
	return comparisons, nil
}

func (s *System) manifest(ctx context.Context, st store, depth mail.Depth) (*manifest, error) {
	args := append([]string{"list", string(depth), st.home}, st.items...)
	res, err := s.runner.Run(ctx, remote.Command{Name: "list a store", Script: storeScript, Args: args, MaxOutput: maxManifest})
	if err != nil {
		return nil, err
	}
	return parseManifest(string(res.Stdout))
}

func parseManifest(text string) (*manifest, error) {
	m := &manifest{things: map[string]string{}}
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		name, value, _ := strings.Cut(rest, "\t")
		switch kind {
		case "m":
			var size int64
			if _, err := fmt.Sscan(value, &size); err != nil {
				return nil, fmt.Errorf("line %q of a manifest cannot be read", line)
			}
			m.messages++
			m.bytes += size
		case "c", "d", "f", "l":
		default:
			return nil, fmt.Errorf("line %q of a manifest cannot be read", line)
		}
		if kind == "c" { // the digest of a message that is listed already
			name = "content of " + name
		}
		m.things[name] = value
	}
	return m, nil
}

func compare(here, there *manifest) mail.Comparison {
	c := mail.Comparison{Messages: here.messages, Bytes: here.bytes}
	var examples []string
	for name, value := range here.things {
		other, found := there.things[name]
		switch {
		case !found && !strings.HasPrefix(name, "content of "):
			c.Missing++
			examples = append(examples, name+" is missing")
		case found && other != value:
			c.Differing++
			examples = append(examples, name+" differs")
		}
	}
	for name := range there.things {
		if _, found := here.things[name]; !found && !strings.HasPrefix(name, "content of ") {
			c.Extra++
			examples = append(examples, name+" is only there")
		}
	}
	slices.Sort(examples)
	c.Examples = examples[:min(len(examples), 10)]
	return c
}
