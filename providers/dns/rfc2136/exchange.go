package rfc2136

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers"
	miekg "github.com/miekg/dns"
)

// fudge is how far the clocks may differ, in seconds: RFC 8945 section 10.
const fudge = 300

func algorithmText(algorithm string) string { return strings.TrimSuffix(algorithm, ".") }

// secrets returns the key's secret as the library wants it; nil without a key. It
// is resolved when it is first needed: a program that prints it may take a while,
// or ask a person.
func (h *Host) secrets(ctx context.Context) (map[string]string, error) {
	if h.key == nil {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.secret == nil {
		secret, err := h.key.Secret.Resolve(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the TSIG key %s: %w", h.key.Name, err)
		}
		secret = strings.TrimSpace(secret)
		if _, err := base64.StdEncoding.DecodeString(secret); err != nil {
			return nil, providers.Faultf("Store the secret alone, as tsig-keygen prints it between the quotes.", "reading the TSIG key %s: the secret is not base64", h.key.Name)
		}
		h.secret = map[string]string{h.key.Name: secret}
	}
	return h.secret, nil
}

func (h *Host) sign(message *miekg.Msg) {
	if h.key != nil {
		message.SetTsig(h.key.Name, h.key.Algorithm, fudge, h.now().Unix())
	}
}

// exchange sends one message over TCP and returns the answer, whatever its code.
// With an error the outcome says whether the server may have acted on it.
func (h *Host) exchange(ctx context.Context, message *miekg.Msg) (providers.Outcome, *miekg.Msg, error) {
	secrets, err := h.secrets(ctx)
	if err != nil {
		return providers.NotApplied, nil, err
	}
	stream, err := dial(ctx, h.server)
	if err != nil {
		return providers.NotApplied, nil, h.unreachable(err)
	}
	connection := &miekg.Conn{Conn: stream, TsigSecret: secrets}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	h.sign(message)
	if err := connection.WriteMsg(message); err != nil {
		return h.lost(err)
	}
	reply, err := connection.ReadMsg()
	if refusal := h.badSignature(reply); refusal != nil {
		return providers.NotApplied, nil, refusal
	}
	if errors.Is(err, miekg.ErrAuth) {
		// The library verifies no answer whose code is NOTAUTH. This one says that the
		// zone is not there, and the caller makes an error of it.
		err = nil
	}
	switch {
	case err != nil:
		return h.lost(err)
	case reply.Id != message.Id:
		return h.lost(miekg.ErrId)
	case h.key != nil && reply.IsTsig() == nil:
		// RFC 8945 section 5.3: the answer to a signed message is signed; one that is
		// not may be anybody's.
		return h.lost(errors.New("the answer is not signed"))
	}
	return providers.Applied, reply, nil
}

// lost says that a message was sent and no answer that can be trusted came.
func (h *Host) lost(err error) (providers.Outcome, *miekg.Msg, error) {
	return providers.Unknown, nil, &providers.Fault{
		Err:   fmt.Errorf("waiting for the answer of %s: %w", h.server, err),
		Next:  "Check that the server is reachable over TCP, then run the command again.",
		Retry: true,
	}
}

func (h *Host) unreachable(err error) error {
	return &providers.Fault{
		Err:   fmt.Errorf("connecting to %s: %w", h.server, err),
		Next:  "Check server in the provider block, and that the server is reachable over TCP from here.",
		Retry: true,
	}
}

// badSignature explains why the server did not accept our signature: RFC 8945
// section 5.2. Such an answer cannot be signed itself.
func (h *Host) badSignature(reply *miekg.Msg) error {
	if reply == nil || reply.Rcode != miekg.RcodeNotAuth {
		return nil
	}
	tsig := reply.IsTsig()
	if tsig == nil || h.key == nil {
		return nil
	}
	switch int(tsig.Error) {
	case miekg.RcodeBadKey:
		return providers.Faultf("Check tsig.name and tsig.algorithm in the provider block against the server's configuration.",
			"authenticating at %s: it does not know the key %s with %s (BADKEY)", h.server, h.key.Name, algorithmText(h.key.Algorithm))
	case miekg.RcodeBadSig:
		return providers.Faultf("Check that tsig.secret in the provider block refers to the key's secret, in base64.",
			"authenticating at %s: the secret of the key %s is another one there (BADSIG)", h.server, h.key.Name)
	case miekg.RcodeBadTime:
		return providers.Faultf("Set both clocks by NTP.",
			"authenticating at %s: its clock and this machine's differ by more than %d seconds (BADTIME)", h.server, fudge)
	}
	return nil
}

// refused explains an answer that is neither success nor a failed prerequisite.
func (h *Host) refused(doing string, reply *miekg.Msg) error {
	code := miekg.RcodeToString[reply.Rcode]
	cause := fmt.Errorf("%s %s at %s: the server answers %s", doing, h.zone, h.server, code)
	next := "Look at the server's log."
	switch reply.Rcode {
	case miekg.RcodeRefused:
		next = "Let the key update the zone (BIND: update-policy { grant mailmove zonesub ANY; };). BIND also refuses an MX or SRV whose target in the zone has no address record: publish that first."
		if doing != "updating" {
			next = "Let the key, or this address, ask the server (BIND: allow-query), and check that the server serves the zone."
		}
	case miekg.RcodeNotAuth:
		next = "Name the zone's primary server in server, and the zone itself, not a name in it, in zone of the provider block."
	case miekg.RcodeNotZone:
		next = "Check zone in the provider block."
	case miekg.RcodeNotImplemented:
		next = "The server takes no dynamic updates; enable them or use another provider."
	case miekg.RcodeServerFailure:
		next = "Look at the server's log: often it cannot write the zone's journal, or the zone is frozen or expired."
	}
	return &providers.Fault{Err: cause, Next: next, Retry: reply.Rcode == miekg.RcodeServerFailure}
}
