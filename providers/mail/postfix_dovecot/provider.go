package postfix_dovecot

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/remote"
)

// DefaultRelayPort is the port of the peer's door unless the configuration names another.
const DefaultRelayPort = 10525

// Provider is the provider type postfix_dovecot.
type Provider struct{}

var _ providers.Provider = Provider{}

// Schema implements [providers.Provider].
func (Provider) Schema() providers.Schema {
	str := func(doc string) providers.Attribute { return providers.Attribute{Type: cty.String, Doc: doc} }
	port := func(def int64, doc string) providers.Attribute {
		return providers.Attribute{Type: cty.Number, Default: cty.NumberIntVal(def), Doc: doc}
	}
	ssh := providers.Attributes{
		"user":        str("Who logs in; anyone but root needs sudo without a password. Default: root."),
		"port":        port(22, "The port of sshd."),
		"address":     str("Where sshd is reached if not at the server's address."),
		"key_file":    str("A private key; without it the agent and the usual files are tried."),
		"known_hosts": str("A file of known host keys; without it ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts."),
		"host_key":    str("The server's host key: a fingerprint SHA256:… or a line as in authorized_keys."),
		"jump":        str("A host on the way, as user@host:port."),
	}
	return mail.Schema("A mail server with Postfix and Dovecot 2.3, reached over SSH.", providers.Attributes{
		"address":    {Type: cty.String, Required: true, Identity: true, Doc: "The IP address that the server has for its peer and for the world."},
		"name":       str("The name in its TLS certificate; without it the peer does not verify the certificate."),
		"imap_port":  port(143, "993 for TLS from the start; otherwise STARTTLS is used."),
		"pop3_port":  port(110, "995 for TLS from the start; otherwise STARTTLS is used."),
		"relay_port": port(DefaultRelayPort, "The port at which the server takes mail from its peer; the peer must reach it."),
		"ssh":        {Type: ssh.Type(), Block: true, Nested: ssh, Doc: "How mailmove reaches the server."},
	})
}

// Open implements [providers.Provider].
func (Provider) Open(_ context.Context, config cty.Value, env providers.Env) (providers.System, error) {
	c := object{config}
	address, err := netip.ParseAddr(c.text("address"))
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	endpoint := mail.Endpoint{Address: address.String(), Name: c.text("name"),
		IMAP: c.number("imap_port"), POP3: c.number("pop3_port"), Relay: c.number("relay_port")}
	ssh := c.object("ssh")
	rc := remote.Config{Address: ssh.text("address"), Port: ssh.number("port"), User: ssh.text("user"), HostKey: ssh.text("host_key"), Transcript: env.Transcript}
	if rc.Address == "" {
		rc.Address = endpoint.Address
	}
	if f := ssh.text("key_file"); f != "" {
		rc.KeyFiles = []string{f}
	}
	if f := ssh.text("known_hosts"); f != "" {
		rc.KnownHosts = []string{f}
	}
	if j := ssh.text("jump"); j != "" {
		jump, err := parseJump(j)
		if err != nil {
			return nil, fmt.Errorf("ssh.jump: %w", err)
		}
		rc.Jump = []remote.Config{jump}
	}
	host, err := remote.New(rc)
	if err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	return New(host, endpoint, env), nil
}

// A Machine is what a System needs of the server: [remote.Host] is one.
type Machine interface {
	remote.Runner
	remote.Forwarder
}

// System is one server.
type System struct {
	*mail.Types
	runner   Machine
	endpoint mail.Endpoint
	env      providers.Env

	mu     sync.Mutex
	layout *layout
	stored map[mail.Address]store
	epoch  *providers.Epoch // nil until a turn is taken
}

var _ mail.Server = (*System)(nil)

// New returns the System of a server that machine reaches.
func New(machine Machine, endpoint mail.Endpoint, env providers.Env) *System {
	if endpoint.Relay == 0 {
		endpoint.Relay = DefaultRelayPort
	}
	s := &System{runner: machine, endpoint: endpoint, env: env}
	s.Types = mail.NewTypes(s, env)
	return s
}

// Platform implements [mail.Server].
func (s *System) Platform() string { return "postfix_dovecot" }

// Endpoint implements [mail.Server].
func (s *System) Endpoint() mail.Endpoint { return s.endpoint }

// Refresh implements [providers.Refresher].
func (s *System) Refresh() {
	s.mu.Lock()
	s.layout, s.stored = nil, nil
	s.mu.Unlock()
	s.Types.Refresh()
}

// Close implements [providers.System].
func (s *System) Close() error {
	if c, ok := s.runner.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
