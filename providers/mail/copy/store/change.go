package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A TargetMailbox is one that is open and can be changed.
type TargetMailbox struct{ *Mailbox }

// changeBatch is how many messages a command changes.
const changeBatch = 1000

// Keeps reports whether the mailbox keeps a flag for good (PERMANENTFLAGS, RFC 9051 section
// 7.1). A keyword that is no atom is kept by no server that goes by the grammar.
func (m *TargetMailbox) Keeps(flag string) bool {
	if !isFlag(flag) {
		return false
	}
	if m.PermanentFlags == nil {
		return true
	}
	return slices.ContainsFunc(m.PermanentFlags, func(kept string) bool {
		return strings.EqualFold(kept, flag) || (kept == `\*` && !strings.HasPrefix(flag, `\`))
	})
}

// isFlag reports whether the grammar allows a flag (RFC 9051 section 9, flag).
func isFlag(flag string) bool {
	name := strings.TrimPrefix(flag, `\`)
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r)
	})
}

// StoreFlags sets the flags of messages to exactly these. What Keeps does not allow is not
// to be among them. Messages that are not there any more are passed over.
func (m *TargetMailbox) StoreFlags(ctx context.Context, uids []uint32, flags []string) error {
	return m.store(ctx, "setting flags in "+quote(m.name), uids, imap.StoreFlagsSet, flags)
}

func (m *TargetMailbox) store(ctx context.Context, doing string, uids []uint32, op imap.StoreFlagsOp, flags []string) error {
	if err := m.check(); err != nil {
		return err
	}
	change := &imap.StoreFlags{Op: op, Silent: true}
	for _, flag := range flags {
		if !isFlag(flag) {
			return fmt.Errorf("%s: %s is no flag that IMAP can say", doing, quote(flag))
		}
		change.Flags = append(change.Flags, imap.Flag(flag))
	}
	for _, part := range setsOf(uids, changeBatch) {
		err := m.session.change(ctx, doing, func() error { return m.session.client.Store(setOf(part), change, nil).Close() })
		if err != nil {
			return err
		}
	}
	return nil
}

// Expunge deletes these messages and no others. It takes UIDPLUS (RFC 4315): without it the
// error is [ErrUnsupported], since EXPUNGE would delete what somebody else has marked.
func (m *TargetMailbox) Expunge(ctx context.Context, uids []uint32) error {
	doing := "deleting messages from " + quote(m.name)
	if !m.session.Can(imap.CapUIDPlus) {
		return fmt.Errorf("%s without UIDPLUS: %w", doing, ErrUnsupported)
	}
	if err := m.store(ctx, doing, uids, imap.StoreFlagsAdd, []string{string(imap.FlagDeleted)}); err != nil {
		return err
	}
	for _, part := range setsOf(uids, changeBatch) {
		err := m.session.change(ctx, doing, func() error { return m.session.client.UIDExpunge(setOf(part)).Close() })
		if err != nil {
			return err
		}
	}
	return nil
}
