package mail

import (
	"context"
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func routeSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "Where mail for one address goes, plus-addresses included. What a mail_handoff routes needs none.",
		Attributes: providers.Attributes{
			"address": identity("The address."),
			"mode":    required(optional(cty.String, "\"local\", \"hold\" (accepted and queued), \"relay\" (passed on to peer) or \"tee\" (delivered here and copied to the address in to).")),
			"peer":    server("With relay: the server that mail is passed on to."),
			"to":      optional(cty.String, "With tee: the address that gets the copy."),
		},
	}
}

type routeValue struct {
	Address string  `cty:"address"`
	Mode    string  `cty:"mode"`
	Peer    *string `cty:"peer"`
	To      *string `cty:"to"`
}

// routes is the type mail_route.
type routes struct{ *Types }

var (
	_ providers.TypedResource[routeValue] = routes{}
	_ providers.Normalizer                = routes{}
)

// Normalize implements [providers.Normalizer].
func (r routes) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[routeValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	address, err := parseAccount(v.Address)
	if err != nil {
		return cty.NilVal, err
	}
	v.Address = string(address)
	mode := RouteMode(v.Mode)
	switch mode {
	case Local, Hold, Relay, Tee:
	default:
		return cty.NilVal, fmt.Errorf("mode %q: want local, hold, relay or tee", v.Mode)
	}
	if (mode == Relay) != (v.Peer != nil) {
		return cty.NilVal, fmt.Errorf("mode %q: peer is set with relay, and only with relay", v.Mode)
	}
	if (mode == Tee) != (v.To != nil) {
		return cty.NilVal, fmt.Errorf("mode %q: to is set with tee, and only with tee", v.Mode)
	}
	if v.To != nil {
		to, err := parseAccount(*v.To)
		if err != nil {
			return cty.NilVal, err
		}
		v.To = new(string(to))
	}
	return providers.Encode(routeSchema(), v)
}

func (r routes) Observe(ctx context.Context, desired, last *routeValue) (*routeValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	route, err := r.route(ctx, Address(v.Address), nil)
	if err != nil {
		return nil, err
	}
	// Local is how things are without us: an object only if somebody asks for it.
	if route.Mode == Local && (desired == nil || desired.Mode != string(Local)) {
		return nil, nil
	}
	observed := &routeValue{Address: v.Address, Mode: string(route.Mode)}
	switch route.Mode {
	case Relay:
		if observed.Peer, err = r.nameOf(route.Peer, v.Peer); err != nil {
			return nil, err
		}
	case Tee:
		observed.To = new(string(route.To))
	}
	return observed, nil
}

// nameOf returns the configuration's name of the server at e if that is the one
// expected, or else its address.
func (t *Types) nameOf(e Endpoint, expected *string) (*string, error) {
	if expected != nil {
		peer, err := t.peer(*expected)
		if err != nil {
			return nil, err
		}
		if peer.server.Endpoint().Address == e.Address {
			return expected, nil
		}
	}
	return new(e.Address), nil
}

func (r routes) Apply(ctx context.Context, change providers.TypedChange[routeValue], _ providers.TypedLog[routeValue]) (providers.Outcome, *routeValue, error) {
	router, err := ability[Router](r.Types, "route the mail of single accounts")
	if err != nil {
		return refuse[routeValue](err)
	}
	v, route := change.After, Route{Mode: Local}
	if v == nil {
		v = change.Before
	} else {
		route.Mode = RouteMode(v.Mode)
	}
	if route.Mode == Relay {
		peer, err := r.peer(*v.Peer)
		if err != nil {
			return refuse[routeValue](err)
		}
		route.Peer = peer.server.Endpoint()
	}
	if route.Mode == Tee {
		route.To = Address(*v.To)
	}
	defer r.cache.touch(Address(v.Address))
	if err := router.SetRoutes(ctx, change.Op, map[Address]Route{Address(v.Address): route}); err != nil {
		return fail[routeValue](err)
	}
	return providers.Applied, change.After, nil
}
