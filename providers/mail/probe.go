package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/zclconf/go-cty/cty"

	"github.com/mailmove/mailmove/providers"
)

func probeSchema() providers.ResourceSchema {
	return providers.ResourceSchema{
		Doc: "Asks the server by SMTP, from where mailmove runs, whether it takes mail for addresses: by RCPT alone, nothing is sent.",
		Attributes: providers.Attributes{
			"name":      identity("What the probe is for; two probes of one server have different names."),
			"addresses": required(optional(cty.Set(cty.String), "The addresses to ask for.")),
			"from":      defaults(cty.StringVal(""), "The envelope sender; \"\" is the null sender."),
			"expect":    defaults(cty.StringVal(probeAccepted), "\"accepted\" (2xx), \"deferred\" (4xx) or \"refused\" (5xx) for every address; observed is the worst."),
			"deliver":   defaults(cty.False, "Send a marked message as well. Only to accounts made for it: a message in a user's store is in the way of the copy."),
			"replies":   computed(cty.Map(cty.String), "What the server said to each address that it did not answer as expected."),
			"probed_at": computed(cty.String, "When it was asked."),
		},
		Recurring: true,
	}
}

// What a server says to an address, best first.
const (
	probeAccepted = "accepted"
	probeDeferred = "deferred"
	probeRefused  = "refused"
)

// probeTime bounds one command of a probe.
const probeTime = 30 * time.Second

type probeValue struct {
	Name      string            `cty:"name"`
	Addresses []string          `cty:"addresses"`
	From      string            `cty:"from"`
	Expect    string            `cty:"expect"`
	Deliver   bool              `cty:"deliver"`
	Replies   map[string]string `cty:"replies"`
	ProbedAt  *string           `cty:"probed_at"`
}

// probes is the type mail_probe.
type probes struct{ *Types }

var (
	_ providers.TypedResource[probeValue] = probes{}
	_ providers.Normalizer                = probes{}
)

// Normalize implements [providers.Normalizer].
func (p probes) Normalize(desired cty.Value) (cty.Value, error) {
	v, err := providers.Decode[probeValue](desired)
	if err != nil || v == nil {
		return desired, err
	}
	for i, s := range v.Addresses {
		address, err := parseAccount(s)
		if err != nil {
			return cty.NilVal, err
		}
		v.Addresses[i] = string(address)
	}
	if v.From != "" {
		from, err := parseAccount(v.From)
		if err != nil {
			return cty.NilVal, fmt.Errorf("from: %w", err)
		}
		v.From = string(from)
	}
	if !slices.Contains([]string{probeAccepted, probeDeferred, probeRefused}, v.Expect) {
		return cty.NilVal, fmt.Errorf("expect %q: want accepted, deferred or refused", v.Expect)
	}
	return providers.Encode(probeSchema(), v)
}

// Observe implements [providers.TypedResource]. What was never asked is not there:
// a plan sends nothing to servers that are not ready for it.
func (p probes) Observe(ctx context.Context, desired, last *probeValue) (*probeValue, error) {
	if desired == nil || last == nil {
		return nil, nil
	}
	v := *desired
	v.Deliver = false
	observed, err := p.ask(ctx, v)
	if err != nil {
		return nil, err
	}
	observed.Deliver = last.Deliver
	return observed, nil
}

func (p probes) Apply(ctx context.Context, change providers.TypedChange[probeValue], log providers.TypedLog[probeValue]) (providers.Outcome, *probeValue, error) {
	if change.After == nil {
		return providers.Applied, nil, nil
	}
	log.Progress(0, int64(len(change.After.Addresses)), "addresses")
	observed, err := p.ask(ctx, *change.After)
	if err != nil {
		return refuse[probeValue](err)
	}
	if observed.Expect == change.After.Expect {
		return providers.Applied, observed, nil
	}
	var text []string
	for address, reply := range observed.Replies {
		text = append(text, address+": "+reply)
	}
	slices.Sort(text)
	return providers.NotApplied, nil, &providers.Fault{
		Err:   fmt.Errorf("probing %s: %d of %d addresses are not %s: %s", p.name(), len(text), len(change.After.Addresses), change.After.Expect, strings.Join(text[:min(len(text), 10)], "; ")),
		Next:  "Make the server answer these addresses as expected, then run mailmove apply again.",
		Retry: observed.Expect == probeDeferred,
	}
}

// ask asks for every address in one session, in transactions that every server
// takes (RFC 5321 section 4.5.3.1.8 guarantees 100 recipients).
func (p probes) ask(ctx context.Context, v probeValue) (*probeValue, error) {
	observed := v
	observed.Expect, observed.Replies = v.Expect, map[string]string{}
	observed.ProbedAt = new(p.env.Now().UTC().Format(time.RFC3339))
	client, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	worst := probeAccepted
	for chunk := range slices.Chunk(v.Addresses, 100) {
		if err := client.Mail(v.From, nil); err != nil {
			return nil, fmt.Errorf("probing %s: sender <%s>: %w", p.name(), v.From, err)
		}
		for _, address := range chunk {
			answer, text, err := classify(client.Rcpt(address, nil))
			if err != nil {
				return nil, fmt.Errorf("probing %s: %w", p.name(), err)
			}
			worst = worse(worst, answer)
			if answer != v.Expect {
				observed.Replies[address] = text
			}
		}
		if v.Deliver && worst == probeAccepted {
			if err := p.deliver(client, v, chunk); err != nil {
				return nil, fmt.Errorf("probing %s: %w", p.name(), err)
			}
			continue
		}
		if err := client.Reset(); err != nil {
			return nil, fmt.Errorf("probing %s: %w", p.name(), err)
		}
	}
	if len(observed.Replies) > 0 {
		observed.Expect = worst
		if worst == v.Expect { // the others are better than expected
			observed.Expect = probeAccepted
		}
	}
	return &observed, nil
}

func (p probes) dial(ctx context.Context) (*smtp.Client, error) {
	e := p.server.Endpoint()
	port := e.SMTP
	if port == 0 {
		port = 25
	}
	dialer := net.Dialer{Timeout: probeTime}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(e.Address, strconv.Itoa(port)))
	if err != nil {
		return nil, &providers.Fault{Err: fmt.Errorf("probing %s: %w", p.name(), err), Retry: true,
			Next: "Check that the server's SMTP port can be reached from here; many networks close port 25. Without a probe, take mail_probe out of the configuration."}
	}
	client := smtp.NewClient(conn)
	client.CommandTimeout, client.SubmissionTimeout = probeTime, probeTime
	if err := client.Hello("mailmove.invalid"); err != nil {
		return nil, errors.Join(fmt.Errorf("probing %s: %w", p.name(), err), client.Close())
	}
	return client, nil
}

// deliver sends the marked message.
func (p probes) deliver(client *smtp.Client, v probeValue, to []string) error {
	w, err := client.Data()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "From: mailmove <%s>\r\nTo: %s\r\nDate: %s\r\nSubject: mailmove probe %s\r\nAuto-Submitted: auto-generated\r\n\r\nThis message was sent by mailmove to test the way of mail.\r\n",
		v.From, strings.Join(to, ", "), p.env.Now().Format(time.RFC1123Z), v.Name)
	return errors.Join(err, w.Close())
}

// classify tells what a reply means; an error that is no reply is returned.
func classify(err error) (answer, text string, fatal error) {
	var reply *smtp.SMTPError
	switch {
	case err == nil:
		return probeAccepted, "accepted", nil
	case !errors.As(err, &reply):
		return "", "", err
	case reply.Code/100 == 4:
		return probeDeferred, reply.Error(), nil
	}
	return probeRefused, reply.Error(), nil
}

func worse(a, b string) string {
	order := []string{probeAccepted, probeDeferred, probeRefused}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}
