package store

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// A session is go-imap on a connection, with the screen between them.
type session struct {
	server string
	client *imapclient.Client
	screen *screen
	caps   imap.CapSet
	opened *Mailbox // the one that is selected
}

func newSession(ctx context.Context, conn net.Conn, server string) (*session, error) {
	s := &session{server: server, screen: newScreen(conn)}
	s.client = imapclient.New(s.screen, nil)
	err := s.do(ctx, "waiting for the greeting", func() error {
		if err := s.client.WaitGreeting(); err != nil {
			return err
		}
		if state := s.client.State(); state != imap.ConnStateAuthenticated {
			return fmt.Errorf("a greeting before the login (state: %v)", state)
		}
		if s.caps = s.client.Caps(); s.caps == nil {
			return errors.New("no capabilities")
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.screen.lsub.Store(!s.caps.Has(imap.CapListExtended))
	return s, nil
}

// Can reports whether the server has a capability, also one that follows from another.
func (s *session) Can(capability imap.Cap) bool { return s.caps.Has(capability) }

// Logout takes leave of the server and closes the connection.
func (s *session) Logout(ctx context.Context) error {
	err := s.do(ctx, "logging out", func() error { return s.client.Logout().Wait() })
	return errors.Join(err, s.Close())
}

// Close closes the connection without a word to the server.
func (s *session) Close() error {
	s.screen.end(net.ErrClosed) // go-imap notices by itself; to wait for that would be to wait for who reads a body
	return nil
}

// do runs what sends a command and waits for its answer. doing names it in errors. The end
// of the context closes the connection.
func (s *session) do(ctx context.Context, doing string, run func() error) error {
	return s.attempt(ctx, doing, false, run)
}

// change is do for what changes something on the server: if the connection breaks then,
// nobody knows whether it did.
func (s *session) change(ctx context.Context, doing string, run func() error) error {
	return s.attempt(ctx, doing, true, run)
}

func (s *session) attempt(ctx context.Context, doing string, changes bool, run func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	}
	stop := s.watch(ctx)
	defer stop()
	err := s.explain(doing, run())
	if lost := (*wire.LostError)(nil); errors.As(err, &lost) {
		lost.Began = changes
	}
	return err
}

// watch has the end of the context close the connection until it is stopped.
func (s *session) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { s.screen.end(&endedError{context.Cause(ctx)}) })
}

// An endedError is the cause of a connection's end that is the end of a context.
type endedError struct{ err error }

func (e *endedError) Error() string { return e.err.Error() }

// explain makes errors that say what happened of those of go-imap, which keep only the text
// of their cause.
func (s *session) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	refused := (*imap.Error)(nil)
	if errors.As(err, &refused) && (refused.Type == imap.StatusResponseTypeNo || refused.Type == imap.StatusResponseTypeBad) {
		said := quote(refused.Text)
		if refused.Code != "" {
			said = "[" + string(refused.Code) + "] " + said
		}
		return &wire.RefusedError{Server: s.server, Doing: doing, Status: string(refused.Type), Code: string(refused.Code), Said: said}
	}
	cause := s.screen.cause()
	if cause == nil { // it is go-imap that cannot go on
		cause = broken("what is not understood (%s)", quote(err.Error()))
	}
	return s.fail(doing, cause)
}

// fail closes the connection, if it is not closed already, and says why.
func (s *session) fail(doing string, cause error) error {
	s.screen.end(cause)
	if ended := (*endedError)(nil); errors.As(cause, &ended) {
		return fmt.Errorf("%s: %w", doing, ended.err)
	}
	if what := (*breach)(nil); errors.As(cause, &what) {
		cause = &wire.ProtocolError{Server: s.server, What: what.what}
	}
	return &wire.LostError{Server: s.server, Doing: doing, Bye: s.screen.bye(), Err: cause}
}
