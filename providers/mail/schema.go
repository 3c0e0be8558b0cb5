package mail

import (
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

// Kind is the kind's name, as in provider(mail).
const Kind = "mail"

// Schema returns the schema of a platform: its own configuration and the kind's
// resource types.
func Schema(doc string, config providers.Attributes) providers.Schema {
	return providers.Schema{Kind: Kind, Doc: doc, Config: config, Resources: schemas()}
}

func schemas() map[string]providers.ResourceSchema {
	return map[string]providers.ResourceSchema{
		"mail_claim":      claimSchema(),
		"mail_account":    accountSchema(),
		"mail_alias":      aliasSchema(),
		"mail_domain":     domainSchema(),
		"mail_trust":      trustSchema(),
		"mail_route":      routeSchema(),
		"mail_login":      loginSchema(),
		"mail_copy":       copySchema(),
		"mail_handoff":    handoffSchema(),
		"mail_probe":      probeSchema(),
		"mail_stragglers": stragglersSchema(),
	}
}

// Short forms of the attributes that the types are made of.

func identity(doc string) providers.Attribute {
	return providers.Attribute{Type: cty.String, Required: true, Identity: true, Doc: doc}
}

func server(doc string) providers.Attribute {
	return providers.Attribute{Type: cty.String, System: Kind, Doc: doc}
}

func required(a providers.Attribute) providers.Attribute {
	a.Required = true
	return a
}

func optional(typ cty.Type, doc string) providers.Attribute {
	return providers.Attribute{Type: typ, Doc: doc}
}

func computed(typ cty.Type, doc string) providers.Attribute {
	return providers.Attribute{Type: typ, Computed: true, Doc: doc}
}

func defaults(value cty.Value, doc string) providers.Attribute {
	return providers.Attribute{Type: value.Type(), Default: value, Doc: doc}
}
