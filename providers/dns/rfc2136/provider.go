// Package rfc2136 is the DNS host that is edited by dynamic updates: BIND, Knot,
// PowerDNS with dnsupdate, Windows DNS, and every server that speaks RFC 2136.
//
//	provider "rfc2136" "zone" {
//	  zone   = "example.com"
//	  server = "198.51.100.53"
//	  tsig {
//	    name      = "mailmove"
//	    algorithm = "hmac-sha256"
//	    secret    = secret("env:MAILMOVE_TSIG")
//	  }
//	}
//
// Every change is one message with prerequisites (section 2.4): the server itself
// compares what is there with what the plan expected, and applies all of the
// message or nothing, in the same instant. Updates, questions to the server and
// transfers are signed (RFC 8945) and go over TCP; so where BIND shows different
// views to different keys, the one that is read is the one that is written.
//
// What is needed in BIND:
//
//	key "mailmove" { algorithm hmac-sha256; secret "…"; };   // tsig-keygen mailmove
//	zone "example.com" {
//	  type primary; file "…";
//	  update-policy { grant mailmove zonesub ANY; };
//	  allow-transfer { key mailmove; };
//	};
//
// The transfer serves to find records that still name the old server; without
// it, write axfr = false, and only the names that mail uses are looked at.
package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/dns"
	miekg "github.com/miekg/dns"
	"github.com/zclconf/go-cty/cty"
)

// Name is the provider's name in the language.
const Name = "rfc2136"

// Provider is the provider "rfc2136".
type Provider struct{}

var (
	_ providers.Provider = Provider{}
	_ providers.Linter   = Provider{}
)

// Config is the provider block.
type Config struct {
	Zone   string `cty:"zone"`
	Server string `cty:"server"`
	// Nameservers are asked instead of those that the zone names.
	Nameservers []string `cty:"nameservers"`
	// AXFR says that the server lets us transfer the zone.
	AXFR bool `cty:"axfr"`
	// Key signs; nil leaves messages unsigned.
	Key *Key
}

// A Key signs messages. It holds a reference to the secret.
type Key struct {
	Name string
	// Algorithm is hmac-sha256 if empty.
	Algorithm string
	Secret    providers.Secret
}

var tsigAttributes = providers.Attributes{
	"name":      {Type: cty.String, Required: true, Doc: "The key's name, as the server knows it."},
	"algorithm": {Type: cty.String, Default: cty.StringVal("hmac-sha256"), Doc: "hmac-sha256, hmac-sha384, hmac-sha512, hmac-sha224 or hmac-sha1."},
	"secret":    {Type: providers.SecretType, Required: true, Doc: "The key in base64, as a reference."},
}

// Schema implements [providers.Provider].
func (Provider) Schema() providers.Schema {
	attributes := dns.Config()
	attributes["server"] = providers.Attribute{Type: cty.String, Required: true, Doc: "The primary server: an address or a name, with \":port\" where that is not 53."}
	attributes["axfr"] = providers.Attribute{Type: cty.Bool, Default: cty.True, Doc: "The server lets our key transfer the zone."}
	attributes["tsig"] = providers.Attribute{Type: tsigAttributes.Type(), Block: true, Nested: tsigAttributes, Doc: "The key that signs (RFC 8945). Without it messages are unsigned."}
	return providers.Schema{
		Kind:      dns.Kind,
		Doc:       "A zone that is edited by dynamic updates (RFC 2136): BIND, Knot and others.",
		Config:    attributes,
		Resources: dns.Resources(),
	}
}

// Open implements [providers.Provider].
func (Provider) Open(_ context.Context, value cty.Value, env providers.Env) (providers.System, error) {
	config, err := providers.Decode[Config](value)
	if err != nil {
		return nil, err
	}
	if config.Key, err = keyFrom(value); err != nil {
		return nil, err
	}
	host, err := NewHost(*config)
	if err != nil {
		return nil, err
	}
	return dns.NewSystem(host, dns.Options{Env: env, Nameservers: config.Nameservers}), nil
}

// Lint implements [providers.Linter].
func (Provider) Lint(plan providers.Outlook) []providers.Danger {
	return dns.Lint(plan, Name, abilities)
}

// abilities tells what the server of a provider block can do.
func abilities(block cty.Value) dns.Capabilities {
	able := capabilities
	able.List = !block.GetAttr("axfr").IsNull() && block.GetAttr("axfr").True()
	return able
}

// NewHost checks the configuration; it connects to nothing.
func NewHost(config Config) (*Host, error) {
	zone, err := dns.Absolute(config.Zone, ".")
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	server := config.Server
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	h := &Host{zone: zone, server: server, axfr: config.AXFR, now: time.Now}
	if config.Key != nil {
		h.key = &Key{Name: miekg.CanonicalName(config.Key.Name), Algorithm: miekg.HmacSHA256, Secret: config.Key.Secret}
		if config.Key.Algorithm != "" {
			h.key.Algorithm = miekg.CanonicalName(config.Key.Algorithm)
		}
		if !slices.Contains(algorithms, h.key.Algorithm) {
			return nil, fmt.Errorf("tsig.algorithm: %q is not known: want hmac-sha256, hmac-sha384, hmac-sha512, hmac-sha224 or hmac-sha1", config.Key.Algorithm)
		}
	}
	return h, nil
}

var algorithms = []string{miekg.HmacSHA1, miekg.HmacSHA224, miekg.HmacSHA256, miekg.HmacSHA384, miekg.HmacSHA512}

// keyFrom reads the tsig block; nil if there is none.
func keyFrom(value cty.Value) (*Key, error) {
	if !value.Type().HasAttribute("tsig") || value.GetAttr("tsig").IsNull() {
		return nil, nil
	}
	block := value.GetAttr("tsig")
	secret, ok := providers.SecretFrom(block.GetAttr("secret"))
	if !ok {
		return nil, errors.New("tsig.secret: want a reference, such as secret(\"env:MAILMOVE_TSIG\")")
	}
	key := &Key{Name: block.GetAttr("name").AsString(), Secret: secret}
	if algorithm := block.GetAttr("algorithm"); !algorithm.IsNull() {
		key.Algorithm = algorithm.AsString()
	}
	return key, nil
}
