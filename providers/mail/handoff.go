package mail

import (
	"context"
	"fmt"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func handoffSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "Which of two servers is an account's home. The other one relays its mail and proxies its logins to it. A change of home takes seconds, in which mail queues and logins wait.",
		Attributes: providers.Attributes{
			"account": identity("The account's address."),
			"old":     required(server("The server that the migration leads away from.")),
			"new":     required(server("The server that it leads to.")),
			"home":    required(optional(cty.String, "\"old\" or \"new\"; observed as \"between\" while a handoff is not complete.")),
			"method":  optional(cty.String, "How the last difference is copied: \"dsync\", \"rsync\" or \"native\". Left out: the best that both servers can."),
			"timeout": defaults(cty.StringVal("2m"), "After this long without a decision the account is served by its old home again, whatever has failed."),
			"pause":   computed(cty.String, "How long mail queued and logins waited in the last change of home."),
		},
	}
}

// homeBetween is observed when the desired home is not known or not complete.
const homeBetween = "between"

type handoffValue struct {
	Account string  `cty:"account"`
	Old     string  `cty:"old"`
	New     string  `cty:"new"`
	Home    string  `cty:"home"`
	Method  *string `cty:"method"`
	Timeout string  `cty:"timeout"`
	Pause   *string `cty:"pause"`
}

// handoffs is the type mail_handoff.
type handoffs struct{ *Types }

var (
	_ providers.TypedResource[handoffValue] = handoffs{}
	_ providers.Normalizer                  = handoffs{}
	_ providers.Stepper                     = handoffs{}
	_ providers.Batcher                     = handoffs{}
)

// Normalize implements [providers.Normalizer].
func (h handoffs) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[handoffValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	account, err := parseAccount(v.Account)
	if err != nil {
		return cty.NilVal, err
	}
	v.Account = string(account)
	if v.Home != string(homeOld) && v.Home != string(homeNew) {
		return cty.NilVal, fmt.Errorf("home %q: want old or new", v.Home)
	}
	if v.Old == v.New {
		return cty.NilVal, fmt.Errorf("old and new are both %s", v.Old)
	}
	timeout, err := time.ParseDuration(v.Timeout)
	if err != nil || timeout < 5*time.Second || timeout > time.Hour {
		return cty.NilVal, fmt.Errorf("timeout %q: want a duration between 5s and 1h, such as \"2m\"", v.Timeout)
	}
	v.Timeout = timeout.String()
	if err := checkMethod(v.Method); err != nil {
		return cty.NilVal, err
	}
	return providers.Encode(handoffSchema(), v)
}

// The steps of a handoff.
const (
	stepAhead  = "copy ahead"
	stepArm    = "arm the dead-man's timer"
	stepHold   = "hold new mail"
	stepPark   = "end sessions and park logins"
	stepLast   = "copy the last difference"
	stepEqual  = "verify"
	stepCommit = "commit"
	stepSwitch = "switch"
	// stepKeepAway is all there is to do when the home stays.
	stepKeepAway = "make the other server relay and proxy"
)

// Steps implements [providers.Stepper].
func (h handoffs) Steps(change providers.Change) []string {
	after, err := providers.Decode[handoffValue](change.After)
	before, beforeErr := providers.Decode[handoffValue](change.Before)
	switch {
	case err != nil || beforeErr != nil || after == nil:
		return nil
	case before == nil && after.Home == string(homeOld), before != nil && before.Home == after.Home:
		return []string{stepKeepAway}
	}
	return []string{stepAhead, stepArm, stepHold, stepPark, stepLast, stepEqual, stepCommit, stepSwitch}
}

// pair finds the two servers.
func (h handoffs) pair(v *handoffValue) (pair, error) {
	old, err := h.peer(v.Old)
	if err != nil {
		return pair{}, err
	}
	new, err := h.peer(v.New)
	if err != nil {
		return pair{}, err
	}
	if old.same(new) {
		return pair{}, fmt.Errorf("old and new are the same %s", old.name())
	}
	return pair{old: old, new: new, account: Address(v.Account)}, nil
}

func (h handoffs) Observe(ctx context.Context, desired, last *handoffValue) (*handoffValue, error) {
	v := desired
	if v == nil {
		v = last
	}
	p, err := h.pair(v)
	if err != nil {
		return nil, err
	}
	old, new, err := p.seen(ctx)
	if err != nil {
		return nil, err
	}
	found, settled := homeOf(old, new)
	if found == homeUnset && (last == nil || desired == nil) {
		return nil, nil
	}
	observed := *v
	observed.Home, observed.Pause = homeBetween, nil
	if settled {
		observed.Home = string(found)
	}
	if last != nil {
		observed.Pause = last.Pause
	}
	return &observed, nil
}

func (h handoffs) Apply(ctx context.Context, change providers.TypedChange[handoffValue], log providers.TypedLog[handoffValue]) (providers.Outcome, *handoffValue, error) {
	r := h.apply(ctx, []providers.TypedChange[handoffValue]{change}, []providers.Log{log.Log})[0]
	return r.outcome, r.value, r.err
}

// BatchKey implements [providers.Batcher]: accounts that go the same way share the
// edits of routes, which take a real server seconds to be certain of.
func (h handoffs) BatchKey(change providers.Change) string {
	v, err := providers.Decode[handoffValue](change.After)
	verb := "to"
	if err == nil && v == nil {
		verb = "dissolve"
		v, err = providers.Decode[handoffValue](change.Before)
	}
	if err != nil || v == nil {
		return ""
	}
	return fmt.Sprintf("%s %s %s %s", verb, v.Home, v.Old, v.New)
}

// BatchLimit implements [providers.Batcher]. Accounts of a batch hold their mail
// until the last of them is handed over.
func (h handoffs) BatchLimit() int { return 20 }

// ApplyBatch implements [providers.Batcher].
func (h handoffs) ApplyBatch(ctx context.Context, changes []providers.Change, logs []providers.Log) []providers.Result {
	return batched(ctx, "mail_handoff", changes, func(ctx context.Context, typed []providers.TypedChange[handoffValue]) []result[handoffValue] {
		return h.apply(ctx, typed, logs)
	})
}

// apply carries out changes of one batch key.
func (h handoffs) apply(ctx context.Context, changes []providers.TypedChange[handoffValue], logs []providers.Log) []result[handoffValue] {
	b := &batch{}
	moves := make([]*move, len(changes))
	for i, change := range changes {
		m, err := h.move(change, logs[i])
		if err != nil {
			m = &move{}
			m.end(providers.NotApplied, err)
		}
		moves[i] = m
		b.moves = append(b.moves, m)
	}
	if changes[0].After == nil {
		b.dissolve(ctx)
	} else {
		b.run(ctx)
	}
	results := make([]result[handoffValue], len(changes))
	for i, m := range moves {
		results[i] = result[handoffValue]{outcome: m.outcome, err: m.err}
		if m.err == nil && changes[i].After != nil {
			results[i].value = m.value(changes[i])
		}
	}
	return results
}

// move prepares the change of one account.
func (h handoffs) move(change providers.TypedChange[handoffValue], log providers.Log) (*move, error) {
	v := change.After
	if v == nil {
		v = change.Before
	}
	p, err := h.pair(v)
	if err != nil {
		return nil, err
	}
	timeout, err := time.ParseDuration(v.Timeout)
	if err != nil {
		return nil, err
	}
	return &move{
		pair: p, op: change.Op, to: home(v.Home), from: home(v.Home).other(), method: v.Method, timeout: timeout,
		recorded: change.Before != nil && change.Last != nil, log: log, env: h.env,
	}, nil
}
