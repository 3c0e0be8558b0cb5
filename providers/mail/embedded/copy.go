package embedded

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// Methods implements [mail.Copier].
func (s *System) Methods(_ context.Context, peer mail.Server) ([]mail.Method, error) {
	if _, ok := providers.As[*System](peer); !ok {
		return nil, providers.Faultf("Use servers of one platform.", "copying to a server of the platform %s: an embedded server copies to embedded servers only", peer.Platform())
	}
	return []mail.Method{mail.Native}, nil
}

func embeddedPeer(peer mail.Server) (*System, error) {
	p, ok := providers.As[*System](peer)
	if !ok {
		return nil, fmt.Errorf("copying to a server of the platform %s: it is not an embedded server", peer.Platform())
	}
	return p, nil
}

// Copy implements [mail.Copier]: what the peer lacks is fetched by content, and
// then its store is replaced as a whole by what this one's manifest says.
func (s *System) Copy(ctx context.Context, job mail.CopyJob, log providers.Log) (mail.Pass, error) {
	peer, err := embeddedPeer(job.Peer)
	if err != nil {
		return mail.Pass{}, err
	}
	ours, err := s.manifest(ctx, job.Account, false)
	if err != nil {
		return mail.Pass{}, err
	}
	theirs, err := peer.manifest(ctx, job.Account, false)
	if err != nil {
		return mail.Pass{}, err
	}
	has := contents(theirs)
	var lacking []string
	for _, hash := range slices.Sorted(maps.Keys(contents(ours))) {
		if !has[hash] {
			lacking = append(lacking, hash)
		}
	}
	pass := mail.Pass{Changed: int64(len(lacking))}
	for _, f := range ours.Folders {
		for _, m := range f.Messages {
			pass.Messages++
			pass.Bytes += m.Size
		}
	}
	aside := ""
	if job.Aside {
		aside = job.Op
	}
	var given map[string][]byte
	if len(lacking) > 0 {
		out, err := s.client.read(ctx, "bodies", server.Request{Addresses: []mail.Address{job.Account}, Hashes: lacking})
		if err != nil {
			return pass, err
		}
		given = out.Bodies
	}
	// A message that was removed after it had been listed is in the next pass's
	// difference.
	prune(&ours, func(hash string) bool { return has[hash] || given[hash] != nil })
	log.Progress(pass.Messages-pass.Changed, pass.Messages, "messages")
	err = peer.client.change(ctx, "replace", server.Request{Op: job.Op, Addresses: []mail.Address{job.Account}, Manifest: &ours, Bodies: given, Aside: aside})
	if err != nil {
		return pass, err
	}
	log.Progress(pass.Messages, pass.Messages, "messages")
	return pass, nil
}

func (s *System) manifest(ctx context.Context, account mail.Address, content bool) (server.Manifest, error) {
	out, err := s.client.read(ctx, "manifest", server.Request{Addresses: []mail.Address{account}, Content: content})
	if err != nil || out.Manifest == nil {
		return server.Manifest{}, err
	}
	return *out.Manifest, nil
}

// contents returns the hashes of a manifest.
func contents(m server.Manifest) map[string]bool {
	found := map[string]bool{}
	for _, f := range m.Folders {
		for _, msg := range f.Messages {
			found[msg.Hash] = true
		}
	}
	return found
}

// prune takes out the messages whose content is not at hand.
func prune(m *server.Manifest, atHand func(string) bool) {
	for i := range m.Folders {
		m.Folders[i].Messages = slices.DeleteFunc(m.Folders[i].Messages, func(msg server.MessageManifest) bool { return !atHand(msg.Hash) })
	}
}

// Compare implements [mail.Copier]. Stores of one digest are equal; of the others
// the manifests are compared.
func (s *System) Compare(ctx context.Context, to mail.Server, accounts []mail.Address, depth mail.Depth) (map[mail.Address]mail.Comparison, error) {
	peer, err := embeddedPeer(to)
	if err != nil {
		return nil, err
	}
	in := server.Request{Addresses: accounts, Content: depth == mail.Content}
	ours, err := s.client.read(ctx, "digests", in)
	if err != nil {
		return nil, err
	}
	theirs, err := peer.client.read(ctx, "digests", in)
	if err != nil {
		return nil, err
	}
	found := make(map[mail.Address]mail.Comparison, len(accounts))
	for _, account := range accounts {
		here, ok := ours.Digests[account]
		if !ok {
			continue
		}
		c := mail.Comparison{Messages: here.Messages, Bytes: here.Bytes}
		there, ok := theirs.Digests[account]
		switch {
		case !ok:
			c.Missing = here.Messages + 1 // the account itself is missing too
			c.Examples = []string{"the account " + string(account)}
		case here.Digest != there.Digest:
			if c, err = s.difference(ctx, peer, account, in.Content); err != nil {
				return nil, err
			}
		}
		found[account] = c
	}
	return found, nil
}

// difference compares the manifests of one account.
func (s *System) difference(ctx context.Context, peer *System, account mail.Address, content bool) (mail.Comparison, error) {
	ours, err := s.manifest(ctx, account, content)
	if err != nil {
		return mail.Comparison{}, err
	}
	theirs, err := peer.manifest(ctx, account, content)
	if err != nil {
		return mail.Comparison{}, err
	}
	var c mail.Comparison
	here, there := things(ours), things(theirs)
	for _, f := range ours.Folders {
		for _, m := range f.Messages {
			c.Messages++
			c.Bytes += m.Size
		}
	}
	note := func(text string) {
		if len(c.Examples) < 10 {
			c.Examples = append(c.Examples, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(here)) {
		switch other, ok := there[name]; {
		case !ok:
			c.Missing++
			note("missing: " + name)
		case other != here[name]:
			c.Differing++
			note("different: " + name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, ok := here[name]; !ok {
			c.Extra++
			note("too many: " + name)
		}
	}
	return c, nil
}

// things returns what a manifest lists, by name: folders, subscriptions and
// messages with all that a copy must keep of them.
func things(m server.Manifest) map[string]string {
	found := map[string]string{}
	for _, name := range m.Subscribed {
		found[fmt.Sprintf("subscription %q", name)] = ""
	}
	for _, f := range m.Folders {
		found[fmt.Sprintf("folder %q", f.Name)] = fmt.Sprint(f.UIDValidity, f.UIDNext)
		for _, msg := range f.Messages {
			found[fmt.Sprintf("message %d of %q", msg.UID, f.Name)] = fmt.Sprintf("%d %d %q %s", msg.Size, msg.Date.Unix(), msg.Flags, msg.Hash)
		}
	}
	return found
}
