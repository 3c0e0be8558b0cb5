package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailmove/mailmove/providers"
	"github.com/mailmove/mailmove/providers/mail/copy/wire"
)

// Exists reports that an error says that what was to be made is there already. Only a
// server with response codes (RFC 5530) says so.
func Exists(err error) bool {
	refused := (*wire.RefusedError)(nil)
	return errors.As(err, &refused) && refused.Code == string(imap.ResponseCodeAlreadyExists)
}

// broken is the cause of a connection's end that the server has brought about by what it
// sent.
func broken(format string, args ...any) error { return &breach{fmt.Sprintf(format, args...)} }

// A breach becomes a [wire.ProtocolError] where the server's name is known.
type breach struct{ what string }

func (b *breach) Error() string { return b.what }

// A MessageError is about one message; the sequence it comes in goes on with the others.
type MessageError struct {
	UID uint32
	Err error // ErrVanished, ErrNoBody or ErrNotListed
}

func (e *MessageError) Error() string { return fmt.Sprintf("reading UID %d: %v", e.UID, e.Err) }

// Unwrap returns which.
func (e *MessageError) Unwrap() error { return e.Err }

// Hint implements [providers.Error].
func (e *MessageError) Hint() string {
	if errors.Is(e.Err, ErrVanished) {
		return "Somebody has deleted or moved it meanwhile: there is nothing to copy."
	}
	return "The message is damaged on the server. Repair it there (Dovecot: doveadm force-resync), or copy it by other means."
}

// Temporary implements [providers.Error].
func (e *MessageError) Temporary() bool { return false }

var _ providers.Error = (*MessageError)(nil)

var (
	// ErrVanished is that of a message that is not in the mailbox any more.
	ErrVanished = errors.New("it has vanished from the mailbox")
	// ErrNoBody is that of a message that is there and of which the server gives no body,
	// asked twice.
	ErrNoBody = errors.New("the server lists it and does not give its body")
	// ErrNotListed is that of a message whose flags, date and size the server does not give,
	// asked twice.
	ErrNotListed = errors.New("the server has it and does not give its flags, date and size")
	// ErrUnsupported is that of something the server cannot do.
	ErrUnsupported = errors.New("the server cannot do it")
)

// quote shows a server's words on one line and bounded.
func quote(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}
