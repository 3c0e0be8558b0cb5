package mail

import (
	"context"
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func loginSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "What happens to logins of one account. What a mail_handoff directs needs none.",
		Attributes: providers.Attributes{
			"account": identity("The account's address."),
			"mode":    required(optional(cty.String, "\"open\", \"closed\" (refused; mail is still accepted), \"parked\" (a right password waits until the mode changes) or \"proxied\" (to peer).")),
			"peer":    server("With proxied: the server that sessions go to."),
		},
	}
}

type loginValue struct {
	Account string  `cty:"account"`
	Mode    string  `cty:"mode"`
	Peer    *string `cty:"peer"`
}

// logins is the type mail_login.
type logins struct{ *Types }

var (
	_ providers.TypedResource[loginValue] = logins{}
	_ providers.Normalizer                = logins{}
)

// Normalize implements [providers.Normalizer].
func (l logins) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[loginValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	address, err := parseAccount(v.Account)
	if err != nil {
		return cty.NilVal, err
	}
	v.Account = string(address)
	switch LoginMode(v.Mode) {
	case Open, Closed, Parked, Proxied:
	default:
		return cty.NilVal, fmt.Errorf("mode %q: want open, closed, parked or proxied", v.Mode)
	}
	if (LoginMode(v.Mode) == Proxied) != (v.Peer != nil) {
		return cty.NilVal, fmt.Errorf("mode %q: peer is set with proxied, and only with proxied", v.Mode)
	}
	return providers.Encode(loginSchema(), v)
}

func (l logins) Observe(ctx context.Context, desired, last *loginValue) (*loginValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	login, err := l.login(ctx, Address(v.Account), nil)
	if err != nil {
		return nil, err
	}
	if login.Mode == Open && (desired == nil || desired.Mode != string(Open)) {
		return nil, nil
	}
	observed := &loginValue{Account: v.Account, Mode: string(login.Mode)}
	if login.Mode == Proxied {
		if observed.Peer, err = l.nameOf(login.Peer, v.Peer); err != nil {
			return nil, err
		}
	}
	return observed, nil
}

func (l logins) Apply(ctx context.Context, change providers.TypedChange[loginValue], _ providers.TypedLog[loginValue]) (providers.Outcome, *loginValue, error) {
	keeper, err := ability[Doorkeeper](l.Types, "direct the logins of single accounts")
	if err != nil {
		return refuse[loginValue](err)
	}
	v, login := change.After, Login{Mode: Open}
	if v == nil {
		v = change.Before
	} else {
		login.Mode = LoginMode(v.Mode)
	}
	if login.Mode == Proxied {
		peer, err := l.peer(*v.Peer)
		if err != nil {
			return refuse[loginValue](err)
		}
		login.Peer = peer.server.Endpoint()
	}
	defer l.cache.touch(Address(v.Account))
	if err := keeper.SetLogins(ctx, change.Op, map[Address]Login{Address(v.Account): login}); err != nil {
		return fail[loginValue](err)
	}
	return providers.Applied, change.After, nil
}
