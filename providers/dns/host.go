package dns

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailmove/mailmove/providers"
)

// A Host is one zone at the place where it is edited. It is what each folder
// below this one implements; everything else of the kind is written over it once.
// It is safe for concurrent use.
type Host interface {
	// Zone is the zone's name in normal form. It is pure.
	Zone() string

	// Get reads a set exactly as the host stores it: not from a cache, and not
	// what a wildcard would answer for the name. A set that does not exist has no
	// records and no error.
	Get(ctx context.Context, name, typ string) (RRset, error)

	// Replace changes every set whose edit wants something else than it expects,
	// if every set is as its edit expects; else it changes nothing and returns a
	// [*Conflict]. Members and their raw form are compared, TTLs are not. An edit
	// that wants what it expects is a condition alone.
	//
	// With Unknown the change may have happened, or may happen yet. It is safe to
	// call Replace again with the same edits only as far as [Capabilities] says.
	Replace(ctx context.Context, edits []Edit) (providers.Outcome, error)

	// Capabilities says what the host can do. It is pure.
	Capabilities() Capabilities
}

// An Edit is one set as it must be and as it shall be. Both have the same name
// and type.
type Edit struct{ Expected, Wanted RRset }

// changes reports whether the edit is more than a condition.
func (e Edit) changes() bool { return !e.Expected.Same(e.Wanted) }

// Capabilities of a [Host].
type Capabilities struct {
	// Atomic: no query sees a set between its two states, nor one edit of a Replace
	// without the others.
	Atomic bool
	// Swap: the host itself compares the edits' expectations in the same instant in
	// which it changes the sets. Without it somebody else's change between our
	// reading and our writing is overwritten.
	Swap bool
	// List: the whole zone can be read, see [Transferer].
	List bool
}

// A Transferer is a Host that can list its zone.
type Transferer interface {
	// Transfer returns all sets of the zone but those of DNSSEC, complete, or an
	// error; [ErrNoTransfer] if the configuration says that it is not allowed.
	Transfer(ctx context.Context) ([]RRset, error)
}

// ErrNoTransfer says that the zone cannot be listed, by configuration.
var ErrNoTransfer = errors.New("the zone cannot be listed")

// A Conflict says that a set is not as an edit expected: somebody else changed
// it. Nothing was done.
type Conflict struct{ Expected, Found RRset }

func (c *Conflict) Error() string {
	return fmt.Sprintf("updating %s %s: somebody else changed it: expected %v, found %v", c.Expected.Name, c.Expected.Type, c.Expected, c.Found)
}

// Hint implements [providers.Error].
func (c *Conflict) Hint() string {
	return "Run mailmove plan to see what is there now, and find out who changed it."
}

// Temporary implements [providers.Error].
func (c *Conflict) Temporary() bool { return false }

var _ providers.Error = (*Conflict)(nil)
