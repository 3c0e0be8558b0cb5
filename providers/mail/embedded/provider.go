// Package embedded is the platform "embedded": the mail server of the package
// server, reached over its control interface. It needs no root and no software but
// mailmove itself, and can all that the kind mail asks for.
//
//	provider "embedded" "old" {
//	  address = "http://127.0.0.2:7001"
//	  token   = secret("env:OLD_TOKEN")
//	}
//
// It serves mailmove's demonstration and tests. Its only way of copying is its
// own ("native"), which keeps UIDs, UIDVALIDITY, flags, keywords, dates and
// subscriptions, and carries the contents that the peer lacks through this process.
package embedded

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"sync"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/mail/embedded/server"
)

// Provider is the provider "embedded".
type Provider struct{}

var (
	_ providers.Provider = Provider{}
	_ providers.Linter   = Provider{}
)

// Schema implements [providers.Provider].
func (Provider) Schema() providers.Schema {
	return mail.Schema("mailmove's own mail server, for demonstrations and tests.", providers.Attributes{
		"address": {Type: cty.String, Required: true, Identity: true, Doc: "The URL of the server's control interface, on the server's own loopback address."},
		"token":   {Type: providers.SecretType, Required: true, Doc: "What opens the control interface."},
	})
}

// Lint implements [providers.Linter].
func (Provider) Lint(outlook providers.Outlook) []providers.Danger { return mail.Lint(outlook) }

// Open implements [providers.Provider].
func (Provider) Open(_ context.Context, config cty.Value, env providers.Env) (providers.System, error) {
	text := config.GetAttr("address").AsString()
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("address %q: want http://ADDRESS:PORT", text)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address %q: an embedded server has a loopback address", text)
	}
	secret, ok := providers.SecretFrom(config.GetAttr("token"))
	if !ok {
		return nil, fmt.Errorf("token: it is not set")
	}
	return New(u, secret, env), nil
}

// System is one embedded server.
type System struct {
	*mail.Types
	client client
	host   string
	env    providers.Env

	mu       sync.Mutex
	endpoint *mail.Endpoint
}

var (
	_ mail.Server         = (*System)(nil)
	_ mail.Claimer        = (*System)(nil)
	_ mail.AccountStore   = (*System)(nil)
	_ mail.AliasStore     = (*System)(nil)
	_ mail.DomainStore    = (*System)(nil)
	_ mail.TrustStore     = (*System)(nil)
	_ mail.Router         = (*System)(nil)
	_ mail.Doorkeeper     = (*System)(nil)
	_ mail.Sentry         = (*System)(nil)
	_ mail.Copier         = (*System)(nil)
	_ mail.StragglerLog   = (*System)(nil)
	_ providers.Fencer    = fencer{}
	_ providers.Refresher = (*System)(nil)
)

// New returns the System of the server whose control interface is at u.
func New(u *url.URL, token providers.Secret, env providers.Env) *System {
	s := &System{client: newClient(u, token, env.Lineage), host: u.Hostname(), env: env}
	s.Types = mail.NewTypes(s, env)
	return s
}

// Platform implements [mail.Server].
func (*System) Platform() string { return "embedded" }

// Endpoint implements [mail.Server]. The ports are the server's to say; while it
// cannot be reached they are 0.
func (s *System) Endpoint() mail.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoint == nil {
		ctx, cancel := context.WithTimeout(context.Background(), endpointTime)
		defer cancel()
		out, err := s.client.read(ctx, "endpoint", server.Request{})
		if err != nil || out.Endpoint == nil {
			return mail.Endpoint{Address: s.host}
		}
		s.endpoint = out.Endpoint
	}
	return *s.endpoint
}

// Close implements [providers.System].
func (s *System) Close() error {
	s.client.http.CloseIdleConnections()
	return nil
}

// Unwrap leads [providers.As] to the [providers.Fencer]: its method has the name of
// one of [mail.Claimer].
func (s *System) Unwrap() any { return fencer{s} }

type fencer struct{ *System }

// Claim implements [providers.Fencer].
func (f fencer) Claim(ctx context.Context, epoch providers.Epoch) error {
	f.client.hold(epoch)
	_, err := f.client.read(ctx, "fence", server.Request{Lineage: f.env.Lineage, Epoch: epoch})
	return err
}

// Unwrap ends the search: System is what led here.
func (fencer) Unwrap() any { return nil }
