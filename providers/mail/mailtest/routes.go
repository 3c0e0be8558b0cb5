package mailtest

import (
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers/mail"
	"github.com/mailmove/mailmove/providers/providertest"
)

func setRoute(t testing.TB, b *bench, s mail.Server, name string, route mail.Route) {
	t.Helper()
	if err := does[mail.Router](t, s).SetRoutes(t.Context(), b.op(), map[mail.Address]mail.Route{user(name): route}); err != nil {
		t.Fatalf("making the route of %s %s: %v", name, route.Mode, err)
	}
	b.refresh()
}

func setLogin(t testing.TB, b *bench, s mail.Server, name string, login mail.Login) {
	t.Helper()
	if err := does[mail.Doorkeeper](t, s).SetLogins(t.Context(), b.op(), map[mail.Address]mail.Login{user(name): login}); err != nil {
		t.Fatalf("making logins of %s %s: %v", name, login.Mode, err)
	}
	b.refresh()
}

func testRoutes(t *testing.T, b *bench) {
	b.prepare(t, "murphy", "office")
	r := b.wrapped[oldName].Resource("mail_route")
	for _, set := range []map[string]cty.Value{
		{"mode": str("hold")}, {"mode": str("relay"), "peer": str(newName)},
	} {
		set["address"] = str(string(user("murphy")))
		providertest.Run(t, providertest.Case{Resource: r, Schema: schema("mail_route"), Desired: set})
	}
	// Other accounts of the server are not touched.
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Hold})
	mustSend(t, b.Old, user("office"), "beside")
	arrives(t, b.Old, user("office"), "beside")
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Local})
}

// What was held is delivered once, by the route that follows, plus-addresses too.
func testHeldMail(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Hold})
	mustSend(t, b.Old, user("murphy"), "held")
	mustSend(t, b.Old, user("murphy+tag"), "held-tag")
	if v := read(t, b.Old, user("murphy")); len(v.Letters) != 0 {
		t.Fatalf("%d messages were delivered while mail was held", len(v.Letters))
	}
	b.Old.Restart(t)
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Local})
	arrives(t, b.Old, user("murphy"), "held")
	arrives(t, b.Old, user("murphy"), "held-tag")
	// And to the peer, where it stays.
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Hold})
	mustSend(t, b.Old, user("murphy"), "held-relay")
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Relay, Peer: b.new().Endpoint()})
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	arrives(t, b.New, user("murphy"), "held-relay")
	if got := read(t, b.Old, user("murphy")).count("held-relay"); got != 0 {
		t.Errorf("relayed mail is %d times on the old server as well", got)
	}
}

// Both servers away: what one hands over, the other keeps; nothing goes round.
func testPeerIsKept(t *testing.T, b *bench) {
	b.prepare(t, "murphy")
	setRoute(t, b, b.old(), "murphy", mail.Route{Mode: mail.Relay, Peer: b.new().Endpoint()})
	setLogin(t, b, b.new(), "murphy", mail.Login{Mode: mail.Open})
	mustSend(t, b.Old, user("murphy"), "to-new")
	arrives(t, b.New, user("murphy"), "to-new")
	mustSend(t, b.New, user("murphy"), "to-old")
	arrives(t, b.Old, user("murphy"), "to-old")
	if got := read(t, b.Old, user("murphy")).count("to-new"); got != 0 {
		t.Errorf("what the new server kept is %d times on the old one", got)
	}
}
