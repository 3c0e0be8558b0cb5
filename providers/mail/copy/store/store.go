// Package store is an IMAP account as the copier sees it: what mailboxes there are, what
// messages they hold, and the bodies of these as a stream.
//
// Words. A [Source] is read and nothing else: its mailboxes are opened with EXAMINE, and
// there is no method that changes anything. A [Target] can be read too, and has mailboxes
// made, subscribed to, and flags set; messages are put there by package wire, which does
// so faster than go-imap can. [Names] says what a mailbox of the source is called on the
// target.
//
// Both stand on a connection that is logged in already and greets with PREAUTH, as
// package wire hands it over:
//
//	source, err := store.NewSource(ctx, conn.Handover(ctx), "imap.example.com:993")
//	listing, err := source.Mailboxes(ctx)
//	inbox, err := source.Open(ctx, "INBOX")
//	for message, err := range inbox.List(ctx, 0) { ... }
//	for body, err := range inbox.Bodies(ctx, uids) { ... }
//
// Promises.
//   - Every message that was asked for comes with a body, or with an error that names it
//     and says whether it has vanished meanwhile ([MessageError]). What the server says
//     unasked is never taken for the answer.
//   - Nothing is held whole but what is small: a body is read by the caller from the
//     connection. What a server may send for one answer is bounded; more is an error.
//   - No call waits for ever: package wire gives up a server that owes an answer and is
//     silent, and a context that ends ends the call at once. Both close the connection.
//   - An error is a [wire.RefusedError], the server's NO or BAD, after which the connection
//     serves on; a [wire.LostError], after which it is closed and the caller connects
//     anew; or the context's. Where the server broke the protocol a LostError wraps a
//     [wire.ProtocolError].
//
// Names of mailboxes are in UTF-8 with the server's own separator; [EncodeName] gives the
// form on the wire. Extensions are used where the server names them: NAMESPACE,
// LIST-EXTENDED, LIST-STATUS, SPECIAL-USE, CONDSTORE, ESEARCH, UIDPLUS, QUOTA, APPENDLIMIT.
//
// A Source, a Target and what they open serve one goroutine at a time.
package store

import (
	"context"
	"net"

	"github.com/emersion/go-imap/v2"
)

// A Source is an account that is copied from.
type Source struct{ *session }

// NewSource takes over a connection that greets with PREAUTH and its capabilities; server
// is what errors call it.
func NewSource(ctx context.Context, conn net.Conn, server string) (*Source, error) {
	s, err := newSession(ctx, conn, server)
	if err != nil {
		return nil, err
	}
	return &Source{s}, nil
}

// Open opens a mailbox by EXAMINE; another one that is open is closed by that.
func (s *Source) Open(ctx context.Context, name string) (*Mailbox, error) {
	return s.open(ctx, name, true)
}

// A Target is an account that is copied to.
type Target struct{ *session }

// NewTarget is to a target what [NewSource] is to a source.
func NewTarget(ctx context.Context, conn net.Conn, server string) (*Target, error) {
	s, err := newSession(ctx, conn, server)
	if err != nil {
		return nil, err
	}
	return &Target{s}, nil
}

// Open opens a mailbox by SELECT; another one that is open is closed by that.
func (t *Target) Open(ctx context.Context, name string) (*TargetMailbox, error) {
	m, err := t.open(ctx, name, false)
	if err != nil {
		return nil, err
	}
	return &TargetMailbox{m}, nil
}

// Create makes a mailbox, if it can with these special uses (RFC 6154 section 3); a server
// without CREATE-SPECIAL-USE is not told of them, and the result says so.
func (t *Target) Create(ctx context.Context, name string, uses []string) (withUses bool, err error) {
	options := &imap.CreateOptions{}
	if t.Can(imap.CapCreateSpecialUse) {
		for _, use := range uses {
			options.SpecialUse = append(options.SpecialUse, imap.MailboxAttr(use))
		}
	}
	err = t.change(ctx, "making the mailbox "+quote(name), func() error { return t.client.Create(name, options).Wait() })
	return err == nil && len(options.SpecialUse) > 0, err
}

// Subscribe subscribes to a mailbox. RFC 9051 section 6.3.7 lets a server refuse one that
// does not exist, as Dovecot does.
func (t *Target) Subscribe(ctx context.Context, name string) error {
	return t.change(ctx, "subscribing to "+quote(name), func() error { return t.client.Subscribe(name).Wait() })
}

// Unsubscribe ends a subscription.
func (t *Target) Unsubscribe(ctx context.Context, name string) error {
	return t.change(ctx, "unsubscribing from "+quote(name), func() error { return t.client.Unsubscribe(name).Wait() })
}

// A Quota is a quota root that counts a mailbox (RFC 9208). A limit of 0 says that there is
// none.
type Quota struct {
	Root                    string
	Bytes, BytesLimit       int64
	Messages, MessagesLimit int64
}

// Quotas returns the quota roots of a mailbox; none if the server has no QUOTA.
func (s *session) Quotas(ctx context.Context, mailbox string) ([]Quota, error) {
	if !s.Can(imap.CapQuota) {
		return nil, nil
	}
	var quotas []Quota
	err := s.do(ctx, "reading the quota of "+quote(mailbox), func() error {
		data, err := s.client.GetQuotaRoot(mailbox).Wait()
		for _, d := range data {
			q := Quota{Root: d.Root}
			for kind, r := range d.Resources {
				switch kind {
				case imap.QuotaResourceStorage: // in units of 1024 octets
					q.Bytes, q.BytesLimit = r.Usage*1024, r.Limit*1024
				case imap.QuotaResourceMessage:
					q.Messages, q.MessagesLimit = r.Usage, r.Limit
				}
			}
			quotas = append(quotas, q)
		}
		return err
	})
	return quotas, err
}

// AppendLimit returns how large a message may be that is put into a mailbox (RFC 7889);
// 0: the server does not say.
func (s *session) AppendLimit(ctx context.Context, mailbox string) (int64, error) {
	limit, offered := s.caps.AppendLimit()
	if !offered {
		return 0, nil
	}
	if limit == nil { // one for each mailbox
		status, err := s.status(ctx, mailbox, &imap.StatusOptions{AppendLimit: true})
		if err != nil {
			return 0, err
		}
		limit = status.AppendLimit
	}
	if limit == nil || *limit == ^uint32(0) {
		return 0, nil
	}
	return int64(*limit), nil
}
