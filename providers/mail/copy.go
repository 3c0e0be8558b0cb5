package mail

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func copySchema() providers.ResourceSchema {
	to := required(server("The server that the account is copied to."))
	to.Identity = true
	return providers.ResourceSchema{
		Doc: "A verified copy of an account on another server, kept up while users work. Once the account's home has moved, the copy is sealed: never looked at or made again.",
		Attributes: providers.Attributes{
			"account":     identity("The account's address."),
			"to":          to,
			"method":      optional(cty.String, "How to copy: \"dsync\", \"rsync\" or \"native\". Left out: the best that both servers can."),
			"tolerance":   defaults(cty.NumberIntVal(0), "How many messages, flags and folders may differ; what users do meanwhile is carried by the handoff."),
			"state":       defaults(cty.StringVal(copyComplete), "\"complete\"; observed as \"behind\" when more differs than tolerance allows."),
			"behind":      computed(cty.Number, "How many messages, flags and folders differ."),
			"messages":    computed(cty.Number, "How many messages the account has."),
			"bytes":       computed(cty.Number, "How large the account is."),
			"verified_at": computed(cty.String, "When every message's content was last compared."),
			"method_used": computed(cty.String, "How it was copied."),
		},
		Permanent: true,
		Recurring: true,
	}
}

const (
	copyComplete = "complete"
	copyBehind   = "behind"
)

// copyPasses bounds how often one change copies an account that is in use.
const copyPasses = 4

type copyValue struct {
	Account    string  `cty:"account"`
	To         string  `cty:"to"`
	Method     *string `cty:"method"`
	Tolerance  int64   `cty:"tolerance"`
	State      string  `cty:"state"`
	Behind     *int64  `cty:"behind"`
	Messages   *int64  `cty:"messages"`
	Bytes      *int64  `cty:"bytes"`
	VerifiedAt *string `cty:"verified_at"`
	MethodUsed *string `cty:"method_used"`
}

// copies is the type mail_copy.
type copies struct{ *Types }

var (
	_ providers.TypedResource[copyValue] = copies{}
	_ providers.Normalizer               = copies{}
	_ providers.Estimator                = copies{}
	_ providers.Stepper                  = copies{}
)

// Normalize implements [providers.Normalizer].
func (c copies) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[copyValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	account, err := parseAccount(v.Account)
	if err != nil {
		return cty.NilVal, err
	}
	v.Account = string(account)
	if v.State != copyComplete {
		return cty.NilVal, fmt.Errorf("state %q: a copy can only be wished %q", v.State, copyComplete)
	}
	if v.Tolerance < 0 {
		return cty.NilVal, fmt.Errorf("tolerance %d: want 0 or more", v.Tolerance)
	}
	if err := checkMethod(v.Method); err != nil {
		return cty.NilVal, err
	}
	return providers.Encode(copySchema(), v)
}

func checkMethod(method *string) error {
	if method == nil || slices.Contains([]Method{Dsync, Rsync, Native}, Method(*method)) {
		return nil
	}
	return fmt.Errorf("method %q: want dsync, rsync or native", *method)
}

const (
	stepCopy   = "copy"
	stepVerify = "compare every message"
)

// Steps implements [providers.Stepper].
func (c copies) Steps(providers.Change) []string { return []string{stepCopy, stepVerify} }

func (c copies) Observe(ctx context.Context, desired, last *copyValue) (*copyValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	account := Address(v.Account)
	to, err := c.peer(v.To)
	if err != nil {
		return nil, err
	}
	observed := &copyValue{Account: v.Account, To: v.To, Method: v.Method, Tolerance: v.Tolerance, State: copyComplete, Behind: new(int64(0))}
	if last != nil {
		observed.Messages, observed.Bytes, observed.VerifiedAt, observed.MethodUsed = last.Messages, last.Bytes, last.VerifiedAt, last.MethodUsed
	}
	sealed, err := c.sealed(ctx, account)
	if err != nil || sealed {
		return observed, err
	}
	if observed.VerifiedAt == nil {
		return nil, nil // whatever is there, nobody has compared it
	}
	comparison, err := c.compare(ctx, to, account)
	if err != nil {
		return nil, err
	}
	observed.measure(comparison)
	return observed, nil
}

// measure sets what a comparison tells.
func (v *copyValue) measure(c Comparison) {
	v.Behind, v.Messages, v.Bytes = new(c.Behind()), new(c.Messages), new(c.Bytes)
	v.State = copyComplete
	if c.Behind() > v.Tolerance {
		v.State = copyBehind
	}
}

// sealed reports whether the account's home is not, or perhaps no longer, here:
// then copying would bring back what the user has deleted at the new home.
func (c copies) sealed(ctx context.Context, account Address) (bool, error) {
	known := c.listed(ctx, account.Domain())
	route, err := c.route(ctx, account, known)
	if err != nil {
		return false, err
	}
	login, err := c.login(ctx, account, known)
	return !serves(route, login), err
}

// compare returns how far the copy of an account on a peer is behind; with it
// are compared all accounts of the domain that live here and are there too.
func (c copies) compare(ctx context.Context, to *Types, account Address) (Comparison, error) {
	copier, err := ability[Copier](c.Types, "copy accounts")
	if err != nil {
		return Comparison{}, err
	}
	key := "compare " + to.server.Endpoint().Address + " " + account.Domain()
	home := func() ([]Address, error) {
		return once(c.cache, key+": whom", func() ([]Address, error) { return c.copied(ctx, to, account.Domain()) })
	}
	return one(c.cache, key, account, home, func(accounts []Address) (map[Address]Comparison, error) {
		return copier.Compare(ctx, to.server, accounts, Listing)
	})
}

// copied returns the accounts of a domain that live here and are on a peer too.
func (c copies) copied(ctx context.Context, to *Types, domain string) ([]Address, error) {
	known, err := c.known(ctx, domain)
	if err != nil {
		return nil, err
	}
	there, err := to.accounts(ctx, domain)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(known), func(a Address) bool {
		if _, found := there[a]; !found {
			return true // somebody whom nobody moves
		}
		sealed, err := c.sealed(ctx, a)
		return err != nil || sealed
	}), nil
}

// Estimate implements [providers.Estimator].
func (c copies) Estimate(ctx context.Context, change providers.Change) (providers.Estimate, error) {
	v, err := providers.Decode[copyValue](change.After)
	if err != nil || v == nil {
		return providers.Estimate{}, err
	}
	to, err := c.peer(v.To)
	if err != nil {
		return providers.Estimate{}, err
	}
	comparison, err := c.compare(ctx, to, Address(v.Account))
	return providers.Estimate{Bytes: comparison.Bytes, Messages: comparison.Messages}, err
}

func (c copies) Apply(ctx context.Context, change providers.TypedChange[copyValue], log providers.TypedLog[copyValue]) (providers.Outcome, *copyValue, error) {
	if change.After == nil {
		return refuse[copyValue](fmt.Errorf("removing the copy of %s: copies are never removed", change.Before.Account))
	}
	v := *change.After
	account := Address(v.Account)
	to, err := c.peer(v.To)
	if err != nil {
		return refuse[copyValue](err)
	}
	defer c.cache.touch(account)
	c.cache.touch(account)
	if sealed, err := c.sealed(ctx, account); err != nil {
		return refuse[copyValue](err)
	} else if sealed {
		return providers.Applied, &v, nil
	}
	if err := to.outOfUse(ctx, account); err != nil {
		return refuse[copyValue](err)
	}
	method, err := c.method(ctx, to, v.Method)
	if err != nil {
		return refuse[copyValue](err)
	}
	v.MethodUsed = new(string(method))
	return c.passes(ctx, change.Op, &v, to, log)
}

// passes copies until what differs is within tolerance, which what users do
// meanwhile may prevent.
func (c copies) passes(ctx context.Context, op string, v *copyValue, to *Types, log providers.TypedLog[copyValue]) (providers.Outcome, *copyValue, error) {
	copier, err := ability[Copier](c.Types, "copy accounts")
	if err != nil {
		return refuse[copyValue](err)
	}
	job := CopyJob{Op: op, Account: Address(v.Account), Peer: to.server, Method: Method(*v.MethodUsed)}
	var comparison Comparison
	for range copyPasses {
		if err := log.Step(stepCopy); err != nil {
			return providers.Partial, nil, err
		}
		if _, err := copier.Copy(ctx, job, log.Log); err != nil {
			return fail[copyValue](err)
		}
		if err := log.Step(stepVerify); err != nil {
			return providers.Partial, nil, err
		}
		all, err := copier.Compare(ctx, to.server, []Address{job.Account}, Content)
		if err != nil {
			return providers.Partial, nil, err
		}
		comparison = all[job.Account]
		v.VerifiedAt = new(c.env.Now().UTC().Format(time.RFC3339))
		v.measure(comparison)
		if v.State == copyComplete {
			return providers.Applied, v, nil
		}
	}
	return providers.Partial, v, &providers.Fault{
		Err:   fmt.Errorf("copying %s: after %d passes %d things differ, tolerance is %d: %q", v.Account, copyPasses, *v.Behind, v.Tolerance, comparison.Examples),
		Next:  "The account changes while it is copied. Run mailmove apply again, or allow a larger tolerance: the handoff carries the rest while nobody can change it.",
		Retry: true,
	}
}

// outOfUse refuses to write to a store that somebody may be using.
func (t *Types) outOfUse(ctx context.Context, account Address) error {
	route, login, err := t.presence(ctx, account)
	if err != nil {
		return err
	}
	if (route.Mode != Hold && route.Mode != Relay) || login.Mode == Open {
		return providers.Faultf("Declare a mail_handoff of the account first: it keeps mail and users away from the copy.",
			"copying %s to %s: the account is in use there", account, t.name())
	}
	return nil
}

// presence reads the route and login mode of an account as they are this moment.
func (t *Types) presence(ctx context.Context, account Address) (Route, Login, error) {
	routes, logins, err := t.presences(ctx, []Address{account})
	return routes[account], logins[account], err
}

// presences is presence of many accounts.
func (t *Types) presences(ctx context.Context, accounts []Address) (map[Address]Route, map[Address]Login, error) {
	router, err := ability[Router](t, "route the mail of single accounts")
	if err != nil {
		return nil, nil, err
	}
	keeper, err := ability[Doorkeeper](t, "direct the logins of single accounts")
	if err != nil {
		return nil, nil, err
	}
	routes, err := router.Routes(ctx, accounts)
	if err != nil {
		return nil, nil, err
	}
	logins, err := keeper.Logins(ctx, accounts)
	return routes, logins, err
}

// method returns the way to copy to a peer: the one asked for, or else the best.
func (t *Types) method(ctx context.Context, to *Types, asked *string) (Method, error) {
	copier, err := ability[Copier](t, "copy accounts")
	if err != nil {
		return "", err
	}
	methods, err := copier.Methods(ctx, to.server)
	if err != nil {
		return "", err
	}
	if asked == nil && len(methods) > 0 {
		return methods[0], nil
	}
	if asked != nil && slices.Contains(methods, Method(*asked)) {
		return Method(*asked), nil
	}
	wanted := "in any way"
	if asked != nil {
		wanted = "by " + *asked
	}
	return "", providers.Faultf(fmt.Sprintf("What both servers can do: %q.", methods), "copying from %s to %s: they cannot copy %s", t.name(), to.name(), wanted)
}
