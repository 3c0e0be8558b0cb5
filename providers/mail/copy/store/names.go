package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/providers"
)

// Names says what the mailboxes of one account are called on another one. It is a table,
// so that the way back is as certain as the way there: no two mailboxes share a name.
//
// A name is parted into its levels by the source's separator, behind the prefix of its
// personal namespace, and put together by the target's. INBOX is INBOX, in whatever case.
// The target's separator inside of a level becomes "_": with "/" there and "." here,
// "Lists.a/b" is "Lists/a_b". Nothing else of a name is changed.
type Names struct {
	toTarget, toSource map[string]string
}

// A NameError says that a mailbox has no place on the target.
type NameError struct {
	Name string
	// Other is the mailbox whose place it is already; "" if that is not the reason.
	Other  string
	Target string // the name both would have
	Err    error  // nil if there is an Other
}

func (e *NameError) Error() string {
	if e.Other != "" {
		return fmt.Sprintf("naming the mailbox %s: it would be %s on the target, as would %s", quote(e.Name), quote(e.Target), quote(e.Other))
	}
	return fmt.Sprintf("naming the mailbox %s: %v", quote(e.Name), e.Err)
}

// Unwrap returns the cause.
func (e *NameError) Unwrap() error { return e.Err }

// Hint implements [providers.Error].
func (e *NameError) Hint() string {
	return "Rename the mailbox on the source, or leave it out by name."
}

// Temporary implements [providers.Error].
func (e *NameError) Temporary() bool { return false }

var _ providers.Error = (*NameError)(nil)

// MapNames makes the table for all mailboxes that are to be copied. source are the
// personal namespaces there, target is the one in which mailboxes are made. The
// errors are a [NameError] for each mailbox that has no place; the table has the others.
func MapNames(source []Namespace, target Namespace, mailboxes []string) (*Names, error) {
	n := &Names{toTarget: map[string]string{}, toSource: map[string]string{}}
	holders := map[string]string{} // by the name as a server compares it
	var errs []error
	for _, name := range slices.Sorted(slices.Values(mailboxes)) {
		if _, twice := n.toTarget[name]; twice {
			continue
		}
		levels, err := part(source, name)
		if err != nil {
			errs = append(errs, &NameError{Name: name, Err: err})
			continue
		}
		there := target.join(levels)
		key := folded(target, there)
		other, taken := holders[key]
		if key == inbox && !strings.EqualFold(name, inbox) {
			other, taken = inbox, true // also if INBOX is not copied
		}
		if taken {
			errs = append(errs, &NameError{Name: name, Other: other, Target: there})
			continue
		}
		holders[key] = name
		n.toTarget[name], n.toSource[there] = there, name
	}
	return n, errors.Join(errs...)
}

// Target returns what a mailbox of the source is called on the target.
func (n *Names) Target(source string) (string, bool) {
	name, ok := n.toTarget[source]
	return name, ok
}

// Source returns which mailbox of the source has that name on the target.
func (n *Names) Source(target string) (string, bool) {
	name, ok := n.toSource[target]
	return name, ok
}

const inbox = "INBOX"

// substitute stands for a separator that is part of a name.
const substitute = "_"

// part returns the levels of a name.
func part(namespaces []Namespace, name string) ([]string, error) {
	if strings.EqualFold(name, inbox) {
		return []string{inbox}, nil
	}
	var within *Namespace
	for i, n := range namespaces {
		if n.covers(name) && (within == nil || len(n.Prefix) > len(within.Prefix)) {
			within = &namespaces[i]
		}
	}
	if within == nil {
		return nil, errors.New("it is in no personal namespace")
	}
	rest := name[len(within.Prefix):]
	levels := []string{rest}
	if within.Separator != 0 {
		levels = strings.Split(rest, string(within.Separator))
	}
	if slices.Contains(levels, "") {
		return nil, errors.New("a level of it has no name")
	}
	return levels, nil
}

// covers reports whether a name is in the namespace. In the prefix, too, INBOX is INBOX in
// whatever case.
func (n Namespace) covers(name string) bool {
	if len(name) <= len(n.Prefix) {
		return false
	}
	prefix := name[:len(n.Prefix)]
	return prefix == n.Prefix || n.belowInbox() && strings.EqualFold(prefix, n.Prefix)
}

// belowInbox reports whether the prefix is "INBOX." or the like.
func (n Namespace) belowInbox() bool {
	return n.Separator != 0 && strings.EqualFold(n.Prefix, inbox+string(n.Separator))
}

// join puts a name together.
func (n Namespace) join(levels []string) string {
	if len(levels) == 1 && levels[0] == inbox {
		return inbox
	}
	if n.Separator == 0 {
		return n.Prefix + strings.Join(levels, substitute)
	}
	separator := string(n.Separator)
	var clean []string
	for _, level := range levels {
		clean = append(clean, strings.ReplaceAll(level, separator, substitute))
	}
	return n.Prefix + strings.Join(clean, separator)
}

// folded returns a name so that names which a server takes for the same are equal: the
// first level, if it is INBOX, in whatever case (RFC 9051 section 5.1).
func folded(n Namespace, name string) string {
	first, rest, more := name, "", false
	if n.Separator != 0 {
		first, rest, more = strings.Cut(name, string(n.Separator))
	}
	if !strings.EqualFold(first, inbox) {
		return name
	}
	if !more {
		return inbox
	}
	return inbox + string(n.Separator) + rest
}
