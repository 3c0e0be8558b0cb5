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

// A manifest is what a store holds.
type manifest struct {
	// things are sizes, times and digests by kind and name.
	things map[thing]string
	// contents are digests of what the bytes of a comparison by content are: the
	// message files, or Dovecot's mailboxes.
	contents        map[string]string
	messages, bytes int64
}

// A thing is one of a store's: its kind is a letter of store.sh.
type thing struct{ kind, name string }

func (t thing) String() string {
	switch t.kind {
	case "b":
		return "mailbox " + t.name
	case "s":
		return "subscription of " + t.name
	}
	return t.name
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
	methods, err := other.remembered(ctx, accounts, to)
	if err != nil {
		return nil, err
	}
	comparisons := map[mail.Address]mail.Comparison{}
	for _, a := range accounts {
		dovecot := methods[a] == mail.Dsync || from[a].why != nil || to[a].why != nil
		var here, there *manifest
		both, ctx := errgroup.WithContext(ctx)
		both.Go(func() (err error) { here, err = s.manifest(ctx, a, from[a], dovecot, depth); return err })
		both.Go(func() (err error) { there, err = other.manifest(ctx, a, to[a], dovecot, depth); return err })
		if err := both.Wait(); err != nil {
			return nil, fmt.Errorf("comparing %s: %w", a, err)
		}
		comparisons[a] = compare(here, there, depth)
	}
	return comparisons, nil
}

// remembered looks up by which method this server's stores were made.
func (s *System) remembered(ctx context.Context, accounts []mail.Address, stores map[mail.Address]store) (map[mail.Address]mail.Method, error) {
	args := []string{"methods"}
	for _, a := range accounts {
		args = append(args, stores[a].home)
	}
	said, err := s.store(ctx, "look up the methods", nil, args...)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(said)
	if len(words) != len(accounts) {
		return nil, fmt.Errorf("looking up methods on %v: %d answers for %d accounts", s.runner, len(words), len(accounts))
	}
	methods := map[mail.Address]mail.Method{}
	for i, a := range accounts {
		methods[a] = mail.Method(words[i])
	}
	return methods, nil
}

// manifest lists a store by its files or, with dovecot, as Dovecot sees it.
func (s *System) manifest(ctx context.Context, a mail.Address, st store, dovecot bool, depth mail.Depth) (*manifest, error) {
	l, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]string{"list", string(depth), st.home}, st.items()...)
	if dovecot {
		args = append([]string{"boxes", string(depth), l.login(a), st.home}, st.scripts...)
	}
	res, err := s.runner.Run(ctx, remote.Command{Name: "list a store", Script: storeScript, Args: args, MaxOutput: maxManifest})
	if err != nil {
		return nil, err
	}
	return parseManifest(string(res.Stdout))
}

func parseManifest(text string) (*manifest, error) {
	m := &manifest{things: map[thing]string{}, contents: map[string]string{}}
	if text != "" && !strings.HasSuffix(text, "\x00") {
		return nil, fmt.Errorf("a manifest is cut off at its end")
	}
	for record := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		if record == "" {
			continue // of an empty manifest
		}
		if err := m.add(record); err != nil {
			return nil, fmt.Errorf("reading the record %q of a manifest: %w", record, err)
		}
	}
	return m, nil
}

// add takes a record: its kind, as many values as the kind has, and a name, which
// may hold anything.
func (m *manifest) add(record string) error {
	values := map[string]int{"m": 2, "u": 2, "f": 1, "b": 1, "c": 1, "d": 0, "l": 0, "s": 0}
	kind, rest, _ := strings.Cut(record, "\t")
	n, known := values[kind]
	f := strings.SplitN(rest, "\t", n+1)
	if !known || len(f) != n+1 || f[n] == "" {
		return fmt.Errorf("want one of the kinds of store.sh with %d values and a name", n)
	}
	name := strings.TrimPrefix(f[n], "./")
	if kind == "c" {
		m.contents[name] = f[0]
		return nil
	}
	t := thing{kind, name}
	_, again := m.things[t] // where items overlap
	m.things[t] = strings.Join(f[:n], "\t")
	if (kind == "m" || kind == "u") && !again {
		var size int64
		if _, err := fmt.Sscan(f[0], &size); err != nil {
			return fmt.Errorf("size %q: %w", f[0], err)
		}
		m.messages++
		m.bytes += size
	}
	return nil
}

// compare counts what differs. With depth content, what both have must be proved
// to have the same bytes.
func compare(here, there *manifest, depth mail.Depth) mail.Comparison {
	c := mail.Comparison{Messages: here.messages, Bytes: here.bytes}
	var examples []string
	for t, value := range here.things {
		other, found := there.things[t]
		switch {
		case !found:
			c.Missing++
			examples = append(examples, t.String()+" is missing")
		case other != value:
			c.Differing++
			examples = append(examples, t.String()+" differs")
		case depth == mail.Content && (t.kind == "m" || t.kind == "b"):
			ours, known := here.contents[t.name]
			theirs, knownThere := there.contents[t.name]
			if !known || !knownThere {
				c.Differing++
				examples = append(examples, "the content of "+t.String()+" could not be read")
			} else if ours != theirs {
				c.Differing++
				examples = append(examples, "the content of "+t.String()+" differs")
			}
		}
	}
	for t := range there.things {
		if _, found := here.things[t]; !found {
			c.Extra++
			examples = append(examples, t.String()+" is only there")
		}
	}
	slices.Sort(examples)
	c.Examples = examples[:min(len(examples), 10)]
	return c
}
