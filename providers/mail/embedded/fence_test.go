package embedded_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail"
)

// An operator who was overtaken changes nothing any more (FAULTS B4).
func TestStaleOperatorIsRefused(t *testing.T) {
	t.Setenv("EMBEDDED_TOKEN", "secret of the test")
	h := newHost(t)
	h.AddDomain(t, "example.com")
	h.AddAccount(t, "murphy@example.com", "password")
	env := providers.Env{Now: time.Now, Lineage: "fence"}
	first, second := h.Open(t, env), h.Open(t, env)
	claim := func(s mail.Server, number int64, holder string) error {
		t.Helper()
		fencer, ok := providers.As[providers.Fencer](s)
		if !ok {
			t.Fatal("an embedded server holds no epoch")
		}
		return fencer.Claim(t.Context(), providers.Epoch{Number: number, Holder: holder})
	}
	if err := claim(first, 1, "ada"); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := first.(mail.Claimer).Claim(ctx, "op"); err != nil {
		t.Fatal(err)
	}
	hold := map[mail.Address]mail.Route{"murphy@example.com": {Mode: mail.Hold}}
	if err := first.(mail.Router).SetRoutes(ctx, "op", hold); err != nil {
		t.Fatal(err)
	}
	if err := claim(second, 2, "grace"); err != nil {
		t.Fatal(err)
	}
	local := map[mail.Address]mail.Route{"murphy@example.com": {Mode: mail.Local}}
	err := first.(mail.Router).SetRoutes(ctx, "op", local)
	var stale *providers.StaleError
	if !errors.As(err, &stale) || stale.Theirs.Holder != "grace" {
		t.Errorf("the stale operator's change: got %v, want a StaleError that names grace", err)
	}
	routes, err := first.(mail.Router).Routes(ctx, []mail.Address{"murphy@example.com"})
	if err != nil || routes["murphy@example.com"].Mode != mail.Hold {
		t.Errorf("the route is %v, %v; want hold, as before", routes, err)
	}
	for _, c := range []struct {
		number int64
		holder string
	}{{1, "ada"}, {2, "ada"}} {
		if err := claim(first, c.number, c.holder); !errors.As(err, &stale) {
			t.Errorf("claiming epoch %d as %s: got %v, want a StaleError", c.number, c.holder, err)
		}
	}
	if err := claim(second, 2, "grace"); err != nil {
		t.Errorf("claiming the same epoch again: %v", err)
	}
	if err := second.(mail.Router).SetRoutes(ctx, "op", local); err != nil {
		t.Errorf("the newer operator's change: %v", err)
	}
}

// What a server is told to be: errors name the next step.
func TestErrors(t *testing.T) {
	t.Setenv("EMBEDDED_TOKEN", "secret of the test")
	h := newHost(t)
	s := h.Open(t, providers.Env{Now: time.Now, Lineage: "errors"})
	wants := func(what string, err error, text string, temporary bool) {
		t.Helper()
		var help providers.Error
		if !errors.As(err, &help) || help.Hint() == "" || help.Temporary() != temporary || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v; want %q with a hint, temporary %v", what, err, text, temporary)
		}
	}
	hold := map[mail.Address]mail.Route{"murphy@example.com": {Mode: mail.Hold}}
	wants("without a claim", s.(mail.Router).SetRoutes(t.Context(), "op", hold), "not claimed", false)
	t.Setenv("EMBEDDED_TOKEN", "another secret")
	_, err := s.(mail.Claimer).Claimed(t.Context())
	wants("with a wrong token", err, "token is wrong", false)
	if strings.Contains(err.Error(), "another secret") {
		t.Errorf("the error shows the token: %v", err)
	}
	h.server.Stop()
	err = s.(mail.Router).SetRoutes(t.Context(), "op", hold)
	wants("without a server", err, "calling the embedded server", true)
	var known *mail.OutcomeError
	if !errors.As(err, &known) || known.Outcome != providers.NotApplied {
		t.Errorf("without a server: got %v, want an outcome: not applied", err)
	}
}
