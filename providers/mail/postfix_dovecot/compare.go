package postfix_dovecot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

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

// Compare implements [mail.Copier]. Stores that were copied by rsync are compared
// by their files, and neither is opened, so that it may be repeated at any time:
// Dovecot moves files when it opens a store. What dsync made has other files, and
// is compared as Dovecot sees it.
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
	methods, err := other.remembered(ctx, accounts)
	if err != nil {
		return nil, err
	}
	comparisons := map[mail.Address]mail.Comparison{}
	for _, a := range accounts {
		var here, there *manifest
		both, ctx := errgroup.WithContext(ctx)
		both.Go(func() (err error) { here, err = s.manifest(ctx, a, from[a], methods[a], depth); return err })
		both.Go(func() (err error) { there, err = other.manifest(ctx, a, to[a], methods[a], depth); return err })
		if err := both.Wait(); err != nil {
			return nil, fmt.Errorf("comparing %s: %w", a, err)
		}
		comparisons[a] = compare(here, there)
	}
	return comparisons, nil
}

// remember notes by which method this server's store of an account is made.
func (s *System) remember(ctx context.Context, a mail.Address, method mail.Method) error {
	_, err := s.runner.Run(ctx, remote.Command{Name: "note the method", Script: storeScript, Args: []string{"method", string(a), string(method)}})
	return err
}

func (s *System) remembered(ctx context.Context, accounts []mail.Address) (map[mail.Address]mail.Method, error) {
	args := []string{"methods"}
	for _, a := range accounts {
		args = append(args, string(a))
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "look up the methods", Script: storeScript, Args: args})
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(res.Stdout))
	if len(words) != len(accounts) {
		return nil, fmt.Errorf("looking up methods on %v: %d answers for %d accounts", s.runner, len(words), len(accounts))
	}
	methods := map[mail.Address]mail.Method{}
	for i, a := range accounts {
		methods[a] = mail.Method(words[i])
	}
	return methods, nil
}

func (s *System) manifest(ctx context.Context, a mail.Address, st store, method mail.Method, depth mail.Depth) (*manifest, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]string{"list", string(depth), st.home}, st.items...)
	if method == mail.Dsync {
		args = append([]string{"boxes", string(depth), l.login(a), st.home}, st.items[1:]...)
	}
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
		case "c", "d", "f", "l", "s":
		default:
			return nil, fmt.Errorf("line %q of a manifest cannot be read", line)
		}
		switch kind {
		case "c": // the digest of what is listed already
			name = "content of " + name
		case "s":
			name = "subscription of " + name
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
