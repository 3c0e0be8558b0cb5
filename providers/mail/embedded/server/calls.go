package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers/mail"
)

func (s *Server) claim(in Request) (Response, error) {
	s.disk.claimed = true
	if in.Epoch.Number > 0 {
		s.disk.epochs[in.Lineage] = in.Epoch
	}
	return Response{}, nil
}

func (s *Server) unclaim(in Request) (Response, error) {
	if n := len(s.disk.routes) + len(s.disk.logins) + len(s.disk.trusts); n > 0 {
		return Response{}, &failure{Kind: kindRefused, Text: fmt.Sprintf("removing mailmove's hooks from %s: %d routes, logins and trusts are in force", s.options.Name, n), Hint: "Remove them first."}
	}
	s.disk.claimed = false
	clear(s.disk.epochs)
	return Response{}, nil
}

// raise holds an operator's epoch, if the server is claimed.
func (s *Server) raise(in Request) (Response, error) {
	held, ok := s.disk.epochs[in.Lineage]
	if ok && (held.Number > in.Epoch.Number || held.Number == in.Epoch.Number && held.Holder != in.Epoch.Holder) {
		return Response{}, &failure{Kind: kindStale, Text: "a later turn has been taken", Theirs: held}
	}
	if s.disk.claimed {
		s.disk.epochs[in.Lineage] = in.Epoch
	}
	return Response{}, nil
}

func (s *Server) listAccounts(in Request) (Response, error) {
	var out Response
	for address, a := range s.disk.accounts {
		if address.Domain() == in.Domain {
			out.Accounts = append(out.Accounts, Account{Address: address, Quota: a.quota})
		}
	}
	slices.SortFunc(out.Accounts, func(a, b Account) int { return strings.Compare(string(a.Address), string(b.Address)) })
	return out, nil
}

func (s *Server) credentials(in Request) (Response, error) {
	var out Response
	for _, address := range in.Addresses {
		if a := s.disk.accounts[address]; a != nil {
			out.Accounts = append(out.Accounts, Account{Address: address, Hash: a.hash})
		}
	}
	return out, nil
}

func (s *Server) putAccounts(in Request) (Response, error) {
	for _, edit := range in.Accounts {
		if s.disk.accounts[edit.Address] == nil && edit.Hash == "" {
			return Response{}, &failure{Kind: kindRefused, Text: fmt.Sprintf("creating account %s: no password hash", edit.Address)}
		}
	}
	for _, edit := range in.Accounts {
		a := s.disk.accounts[edit.Address]
		if a == nil {
			a = &account{address: edit.Address, store: newStore(), aside: map[string]*store{}}
			s.disk.accounts[edit.Address] = a
		}
		a.quota = edit.Quota
		if edit.Hash != "" {
			a.hash = edit.Hash
		}
	}
	return Response{}, nil
}

func (s *Server) listAliases(in Request) (Response, error) {
	var out Response
	for address, alias := range s.disk.aliases {
		if address.Domain() == in.Domain {
			out.Aliases = append(out.Aliases, alias)
		}
	}
	slices.SortFunc(out.Aliases, func(a, b mail.Alias) int { return strings.Compare(string(a.Address), string(b.Address)) })
	return out, nil
}

func (s *Server) putAliases(in Request) (Response, error) {
	for _, edit := range in.Aliases {
		if found := s.disk.aliases[edit.Address].Members; !slices.Equal(found, edit.Expect) && !slices.Equal(found, edit.Members) {
			conflict := &mail.ConflictError{Object: "alias " + string(edit.Address), Expected: fmt.Sprint(edit.Expect), Found: fmt.Sprint(found)}
			return Response{}, &failure{Kind: kindConflict, Text: conflict.Error(), Conflict: conflict}
		}
	}
	for _, edit := range in.Aliases {
		if len(edit.Members) == 0 {
			delete(s.disk.aliases, edit.Address)
			continue
		}
		s.disk.aliases[edit.Address] = mail.Alias{Address: edit.Address, Members: edit.Members}
	}
	return Response{}, nil
}

func (s *Server) listTrusts(Request) (Response, error) {
	var out Response
	for trust := range s.disk.trusts {
		out.Trusts = append(out.Trusts, trust)
	}
	return out, nil
}

func (s *Server) putTrust(in Request) (Response, error) {
	if in.On {
		s.disk.trusts[in.Trust] = true
	} else {
		delete(s.disk.trusts, in.Trust)
	}
	return Response{}, nil
}

func (s *Server) digests(in Request) (Response, error) {
	out := Response{Digests: map[mail.Address]Digest{}}
	for _, address := range in.Addresses {
		if a := s.disk.accounts[address]; a != nil {
			out.Digests[address] = a.store.manifest(in.Content).sum()
		}
	}
	return out, nil
}

// one returns the account that a request is about.
func (s *Server) one(in Request) (*account, error) {
	if len(in.Addresses) != 1 || s.disk.accounts[in.Addresses[0]] == nil {
		return nil, &failure{Kind: kindRefused, Text: fmt.Sprintf("%s has no account %v", s.options.Name, in.Addresses)}
	}
	return s.disk.accounts[in.Addresses[0]], nil
}

func (s *Server) manifest(in Request) (Response, error) {
	a, err := s.one(in)
	if err != nil {
		return Response{}, err
	}
	return Response{Manifest: new(a.store.manifest(in.Content))}, nil
}

func (s *Server) bodies(in Request) (Response, error) {
	a, err := s.one(in)
	if err != nil {
		return Response{}, err
	}
	return Response{Bodies: a.store.bodies(in.Hashes)}, nil
}

func (s *Server) replaceStore(in Request) (Response, error) {
	a, err := s.one(in)
	if err != nil {
		return Response{}, err
	}
	if in.Manifest == nil {
		return Response{}, &failure{Kind: kindRefused, Text: "no manifest"}
	}
	return Response{}, s.replace(a, *in.Manifest, in.Bodies, in.Aside)
}

func (s *Server) stragglers(in Request) (Response, error) {
	found := map[string]mail.Straggler{}
	for _, d := range s.disk.direct {
		if d.domain != in.Domain || d.at.Before(in.Since) {
			continue
		}
		straggler := found[d.host]
		straggler.Host, straggler.Last, straggler.Messages = d.host, d.at, straggler.Messages+1
		found[d.host] = straggler
	}
	var out Response
	for _, straggler := range found {
		out.Stragglers = append(out.Stragglers, straggler)
	}
	slices.SortFunc(out.Stragglers, func(a, b mail.Straggler) int { return strings.Compare(a.Host, b.Host) })
	return out, nil
}
