package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// timeout is how long a sender waits for one answer.
const timeout = 60 * time.Second

// attempt tries once and returns the recipients for whom it has to be tried again. The error is the ledger's.
func (s *source) attempt(ctx context.Context, m *message, number int) (remaining []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	session, server, err := s.connect(ctx, m)
	entry := Entry{From: s.name, Server: server, Marker: m.marker, Attempt: number}
	if m.user != nil {
		entry.From = m.user.Address()
	}
	if err != nil {
		return s.note(entry, m.recipients, err)
	}
	defer session.Close()
	if err := session.Mail(m.sender, nil); err != nil {
		return s.note(entry, m.recipients, err)
	}
	var taken []string
	for i, recipient := range m.recipients {
		err := session.Rcpt(recipient, nil)
		if err == nil {
			taken = append(taken, recipient)
			continue
		}
		var answer *smtp.SMTPError
		if !errors.As(err, &answer) { // the connection is gone, and with it the transaction
			rest, failure := s.note(entry, append(taken, m.recipients[i:]...), err)
			return append(remaining, rest...), failure
		}
		again, failure := s.note(entry, []string{recipient}, err)
		if failure != nil {
			return nil, failure
		}
		remaining = append(remaining, again...)
	}
	if len(taken) == 0 {
		return remaining, nil
	}
	again, err := s.data(session, entry, m, taken)
	_ = session.Quit() // the message is accepted; whether the farewell arrives is of no matter
	return append(remaining, again...), err
}

// data sends the message itself to the recipients that were taken.
func (s *source) data(session *smtp.Client, entry Entry, m *message, taken []string) (remaining []string, err error) {
	writer, err := session.Data()
	if err != nil {
		return s.note(entry, taken, err)
	}
	// From here on the server may have it, whatever this side learns.
	unknown := entry
	unknown.Outcome = Unknown
	if err := s.write(unknown, taken); err != nil {
		return nil, err
	}
	if _, err := writer.Write(m.text); err != nil {
		return taken, nil
	}
	err = writer.Close()
	var answer *smtp.SMTPError
	if err != nil && !errors.As(err, &answer) {
		return taken, nil
	}
	return s.note(entry, taken, err)
}

// note writes what came of recipients and returns those that are to be tried again.
func (s *source) note(entry Entry, recipients []string, cause error) (again []string, err error) {
	entry.Outcome = Accepted
	var answer *smtp.SMTPError
	switch {
	case cause == nil:
		recipients = slices.Clone(recipients)
	case errors.As(cause, &answer) && answer.Code/100 == 5:
		entry.Outcome, entry.Reply = Refused, answer.Error()
	default:
		entry.Outcome, entry.Reply, again = Deferred, cause.Error(), recipients
	}
	return again, s.write(entry, recipients)
}

func (s *source) write(entry Entry, recipients []string) error {
	for _, recipient := range recipients {
		entry.Time, entry.Recipient = time.Now(), recipient
		if err := s.ledger.Write(entry); err != nil {
			return err
		}
	}
	return nil
}

// connect opens a session with the first server that answers: one of the domain's exchangers, or the submission server.
func (s *source) connect(ctx context.Context, m *message) (session *smtp.Client, server string, err error) {
	if m.user != nil {
		return s.submit(ctx, m)
	}
	exchangers, err := s.at.Exchangers(ctx, domainOf(m.recipients[0]))
	if err != nil {
		return nil, "", err
	}
	var errs []error
	for _, name := range exchangers {
		addresses, err := s.at.Addresses(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, address := range addresses {
			conn, err := s.at.Dial(ctx, address.String(), 25)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			session := s.session(ctx, smtp.NewClient(conn), conn)
			if err := session.Hello(s.at.Host().FQDN); err != nil {
				session.Close()
				// RFC 5321 section 4.2.1 lets a server greet with 4xx or 5xx; the next one may take it.
				errs = append(errs, fmt.Errorf("greeting %v: %s", address, err))
				continue
			}
			return session, address.String(), nil
		}
	}
	return nil, "", errors.Join(errs...)
}

func (s *source) submit(ctx context.Context, m *message) (*smtp.Client, string, error) {
	const server = "smtp.example.com"
	conn, err := s.at.Dial(ctx, server, 587)
	if err != nil {
		return nil, "", err
	}
	address := conn.RemoteAddr().String()
	client, err := smtp.NewClientStartTLS(conn, s.at.TLS(server))
	if err != nil {
		conn.Close()
		return nil, address, fmt.Errorf("greeting %s: %s", server, err)
	}
	session := s.session(ctx, client, conn)
	if err := session.Auth(sasl.NewPlainClient("", m.user.Address(), m.user.Password)); err != nil {
		session.Close()
		return nil, address, err
	}
	return session, address, nil
}

func (s *source) session(ctx context.Context, session *smtp.Client, conn net.Conn) *smtp.Client {
	session.CommandTimeout, session.SubmissionTimeout = timeout, timeout
	context.AfterFunc(ctx, func() { conn.Close() })
	return session
}

func domainOf(address string) string {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == '@' {
			return address[i+1:]
		}
	}
	return address
}
