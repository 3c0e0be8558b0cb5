package embedded

import (
	"context"
	"time"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// The abilities but copying; each is a call.

// Claimed implements [mail.Claimer].
func (s *System) Claimed(ctx context.Context) (bool, error) {
	out, err := s.client.read(ctx, "claimed", server.Request{})
	return out.OK, err
}

// Claim implements [mail.Claimer].
func (s *System) Claim(ctx context.Context, op string) error {
	return s.client.change(ctx, "claim", server.Request{Op: op, Lineage: s.env.Lineage, Epoch: s.client.held()})
}

// Unclaim implements [mail.Claimer].
func (s *System) Unclaim(ctx context.Context, op string) error {
	return s.client.change(ctx, "unclaim", server.Request{Op: op})
}

// Accounts implements [mail.AccountStore].
func (s *System) Accounts(ctx context.Context, domain string) ([]mail.Account, error) {
	out, err := s.client.read(ctx, "accounts", server.Request{Domain: domain})
	accounts := make([]mail.Account, len(out.Accounts))
	for i, a := range out.Accounts {
		accounts[i] = mail.Account{Address: a.Address, Quota: a.Quota}
	}
	return accounts, err
}

// Credentials implements [mail.AccountStore].
func (s *System) Credentials(ctx context.Context, accounts []mail.Address) (map[mail.Address]mail.Credential, error) {
	out, err := s.client.read(ctx, "credentials", server.Request{Addresses: accounts})
	found := map[mail.Address]mail.Credential{}
	for _, a := range out.Accounts {
		found[a.Address] = mail.NewCredential(a.Hash)
	}
	return found, err
}

// PutAccounts implements [mail.AccountStore].
func (s *System) PutAccounts(ctx context.Context, op string, edits []mail.AccountEdit) error {
	accounts := make([]server.Account, len(edits))
	for i, e := range edits {
		accounts[i] = server.Account{Address: e.Address, Quota: e.Quota, Hash: e.Credential.Reveal()}
	}
	return s.client.change(ctx, "put-accounts", server.Request{Op: op, Accounts: accounts})
}

// Aliases implements [mail.AliasStore].
func (s *System) Aliases(ctx context.Context, domain string) ([]mail.Alias, error) {
	out, err := s.client.read(ctx, "aliases", server.Request{Domain: domain})
	return out.Aliases, err
}

// PutAliases implements [mail.AliasStore].
func (s *System) PutAliases(ctx context.Context, op string, aliases []mail.AliasEdit) error {
	return s.client.change(ctx, "put-aliases", server.Request{Op: op, Aliases: aliases})
}

// Accepts implements [mail.DomainStore].
func (s *System) Accepts(ctx context.Context, domain string) (bool, error) {
	out, err := s.client.read(ctx, "accepts", server.Request{Domain: domain})
	return out.OK, err
}

// PutDomain implements [mail.DomainStore].
func (s *System) PutDomain(ctx context.Context, op, domain string, accept bool) error {
	return s.client.change(ctx, "put-domain", server.Request{Op: op, Domain: domain, On: accept})
}

// Trusts implements [mail.TrustStore].
func (s *System) Trusts(ctx context.Context) ([]mail.Trust, error) {
	out, err := s.client.read(ctx, "trusts", server.Request{})
	return out.Trusts, err
}

// PutTrust implements [mail.TrustStore].
func (s *System) PutTrust(ctx context.Context, op string, trust mail.Trust, on bool) error {
	return s.client.change(ctx, "put-trust", server.Request{Op: op, Trust: trust, On: on})
}

// Routes implements [mail.Router].
func (s *System) Routes(ctx context.Context, addresses []mail.Address) (map[mail.Address]mail.Route, error) {
	out, err := s.client.read(ctx, "routes", server.Request{Addresses: addresses})
	return out.Routes, err
}

// SetRoutes implements [mail.Router].
func (s *System) SetRoutes(ctx context.Context, op string, routes map[mail.Address]mail.Route) error {
	return s.client.change(ctx, "set-routes", server.Request{Op: op, Routes: routes})
}

// Logins implements [mail.Doorkeeper].
func (s *System) Logins(ctx context.Context, accounts []mail.Address) (map[mail.Address]mail.Login, error) {
	out, err := s.client.read(ctx, "logins", server.Request{Addresses: accounts})
	return out.Logins, err
}

// SetLogins implements [mail.Doorkeeper].
func (s *System) SetLogins(ctx context.Context, op string, logins map[mail.Address]mail.Login) error {
	return s.client.change(ctx, "set-logins", server.Request{Op: op, Logins: logins})
}

// Arm implements [mail.Sentry].
func (s *System) Arm(ctx context.Context, op string, account mail.Address, peer mail.Endpoint, within time.Duration) error {
	return s.client.change(ctx, "arm", server.Request{Op: op, Addresses: []mail.Address{account}, Peer: peer, Within: within})
}

// Commit implements [mail.Sentry].
func (s *System) Commit(ctx context.Context, op string) error {
	return s.client.change(ctx, "commit", server.Request{Op: op})
}

// Handoff implements [mail.Sentry].
func (s *System) Handoff(ctx context.Context, op string) (mail.HandoffState, error) {
	out, err := s.client.read(ctx, "handoff", server.Request{Op: op})
	return out.State, err
}

// Disarm implements [mail.Sentry].
func (s *System) Disarm(ctx context.Context, op string) error {
	return s.client.change(ctx, "disarm", server.Request{Op: op})
}

// Stragglers implements [mail.StragglerLog].
func (s *System) Stragglers(ctx context.Context, domain string, since time.Time) ([]mail.Straggler, error) {
	out, err := s.client.read(ctx, "stragglers", server.Request{Domain: domain, Since: since})
	return out.Stragglers, err
}
