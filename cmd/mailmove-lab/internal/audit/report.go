package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/traffic"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/users"
)

// A Kind is a sort of fault.
type Kind string

// The kinds of fault, in the order of the report.
const (
	Lost                 Kind = "lost"
	Doubled              Kind = "doubled"
	Misdelivered         Kind = "misdelivered"
	NotAccepted          Kind = "not accepted"
	Bounced              Kind = "bounced"
	Stranger             Kind = "stranger"
	OldLost              Kind = "old message lost"
	OldDoubled           Kind = "old message doubled"
	ContentAltered       Kind = "content altered"
	FlagsAltered         Kind = "flags altered"
	KeywordsAltered      Kind = "keywords altered"
	DateAltered          Kind = "date altered"
	Misfiled             Kind = "misfiled"
	UIDChanged           Kind = "UID changed"
	UIDValidityChanged   Kind = "UIDVALIDITY changed"
	UIDLChanged          Kind = "POP3 UIDL changed"
	FolderMissing        Kind = "folder missing"
	SubscriptionsChanged Kind = "subscriptions changed"
	SieveChanged         Kind = "Sieve changed"
	FilesDiffer          Kind = "files and IMAP differ"
	ActionLost           Kind = "acknowledged action lost"
	AccountMissing       Kind = "account missing"
	SourceTouched        Kind = "gone from the old server"
	QueueNotEmpty        Kind = "queue not empty"
	LoginRefused         Kind = "login refused"
	LoginCutOff          Kind = "login cut off"
)

// Kinds lists every kind of fault.
func Kinds() []Kind {
	return []Kind{Lost, Doubled, Misdelivered, NotAccepted, Bounced, Stranger, OldLost, OldDoubled, ContentAltered, FlagsAltered,
		KeywordsAltered, DateAltered, Misfiled, UIDChanged, UIDValidityChanged, UIDLChanged, FolderMissing, SubscriptionsChanged,
		SieveChanged, FilesDiffer, ActionLost, AccountMissing, SourceTouched, QueueNotEmpty, LoginRefused, LoginCutOff}
}

// A Fault is one thing that is not as it must be.
type Fault struct {
	Kind    Kind
	Account string `json:",omitempty"`
	Detail  string
}

// A Report is the result of an audit.
type Report struct {
	Messages int // accepted from outside and from users
	Pairs    int // (message, mailbox) that had to arrive
	Old      int // old messages
	Actions  int // acknowledged to users
	Deferred int // answers 4xx or none; the sender came again
	Logins   int
	P50, P99 time.Duration // of logins
	Slowest  time.Duration
	// WithoutLogin is, by account, the longest time from an attempt to log in to the next success.
	WithoutLogin map[string]time.Duration
	Faults       []Fault
}

func newReport() *Report { return &Report{WithoutLogin: make(map[string]time.Duration)} }

func (r *Report) fault(kind Kind, account, format string, args ...any) {
	r.Faults = append(r.Faults, Fault{kind, account, fmt.Sprintf(format, args...)})
}

// Count returns how many faults of a kind there are.
func (r *Report) Count(kind Kind) int {
	n := 0
	for _, fault := range r.Faults {
		if fault.Kind == kind {
			n++
		}
	}
	return n
}

// judgeLedger looks at what senders were told.
func (r *Report) judgeLedger(ledger []traffic.Entry) {
	type copy struct{ marker, recipient string }
	last := make(map[copy]traffic.Entry)
	messages := make(map[string]bool)
	for _, entry := range ledger {
		last[copy{entry.Marker, entry.Recipient}] = entry
		messages[entry.Marker] = true
		if entry.Outcome == traffic.Deferred {
			r.Deferred++
		}
	}
	r.Messages = len(messages)
	for _, entry := range last {
		switch entry.Outcome {
		case traffic.Refused:
			r.fault(Bounced, "", "%s", describe(entry))
		case traffic.Deferred, traffic.Unknown:
			r.fault(NotAccepted, "", "%s", describe(entry))
		}
	}
}

// judgeLogins looks at what it was like to log in.
func (r *Report) judgeLogins(logins []users.Login) {
	var durations []time.Duration
	byAccount := make(map[string][]users.Login)
	for _, login := range logins {
		byAccount[login.Account] = append(byAccount[login.Account], login)
		if login.Error != "" {
			kind := LoginRefused
			if login.CutOff {
				kind = LoginCutOff
			}
			r.fault(kind, login.Account, "%s %s: %s", login.Client, login.Time.Format("15:04:05.0"), login.Error)
			continue
		}
		durations = append(durations, login.Duration)
	}
	r.Logins = len(logins)
	slices.Sort(durations)
	if n := len(durations); n > 0 {
		r.P50, r.P99, r.Slowest = durations[n/2], durations[n*99/100], durations[n-1]
	}
	for account, list := range byAccount {
		r.WithoutLogin[account] = longestWithout(list)
	}
}

// longestWithout returns the longest time from the beginning of an attempt to the end of the first success not before it.
func longestWithout(logins []users.Login) time.Duration {
	slices.SortFunc(logins, func(a, b users.Login) int { return b.Time.Add(b.Duration).Compare(a.Time.Add(a.Duration)) })
	var longest time.Duration
	var success time.Time // the earliest end of a success that comes at or after the attempt looked at, seen from the end
	for _, login := range logins {
		if login.Error == "" {
			success = login.Time.Add(login.Duration)
		}
		if !success.IsZero() {
			longest = max(longest, success.Sub(login.Time))
		}
	}
	return longest
}

// judgeHosts looks into the queues and at what came back to the senders.
func (r *Report) judgeHosts(ctx context.Context, l *lab.Lab) error {
	for _, name := range []string{"old", "new", "sender", "stale"} {
		host, err := l.Host(name)
		if err != nil {
			return err
		}
		queue, err := host.Run(ctx, nil, "postqueue", "-j")
		if err != nil {
			return fmt.Errorf("reading queue of %s: %w", name, err)
		}
		for _, line := range bytes.Split(bytes.TrimSpace(queue), []byte("\n")) {
			if len(line) > 0 {
				r.fault(QueueNotEmpty, "", "%s: %s", name, line)
			}
		}
	}
	for _, name := range []string{"sender", "stale"} {
		host, err := l.Host(name)
		if err != nil {
			return err
		}
		for _, dir := range []string{"new", "cur"} {
			path, err := host.Path("/var/mail/all/" + dir)
			if err != nil {
				return err
			}
			files, err := os.ReadDir(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("reading bounces: %w", err)
			}
			for _, file := range files {
				text, err := os.ReadFile(filepath.Join(path, file.Name()))
				if err != nil {
					return fmt.Errorf("reading bounces: %w", err)
				}
				r.fault(Bounced, "", "to %s: %s", name, reason(text))
			}
		}
	}
	return nil
}

// reason returns what a bounce says of its cause (RFC 3464 section 2.3.6), or all of it if it says nothing.
func reason(bounce []byte) string {
	_, report, found := bytes.Cut(bounce, []byte("\nDiagnostic-Code:"))
	if !found {
		return string(bounce)
	}
	first, _, _ := bytes.Cut(report, []byte("\n\n"))
	return strings.Join(strings.Fields(string(first)), " ")
}

// shown is how many faults of a kind are printed.
const shown = 5

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	b := bufio.NewWriter(w)
	row := func(what string, format string, args ...any) {
		fmt.Fprintf(b, "%-28s %s\n", what, fmt.Sprintf(format, args...))
	}
	row("messages sent", "%d", r.Messages)
	row("pairs expected", "%d", r.Pairs)
	row("old messages", "%d", r.Old)
	row("acknowledged actions", "%d", r.Actions)
	row("deferred, came again", "%d", r.Deferred)
	row("logins", "%d", r.Logins)
	row("login p50 p99 max", "%.3f %.3f %.3f s", r.P50.Seconds(), r.P99.Seconds(), r.Slowest.Seconds())
	row("longest without login", "%.3f s", r.LongestWithoutLogin().Seconds())
	for _, account := range slices.Sorted(maps.Keys(r.WithoutLogin)) {
		fmt.Fprintf(b, "    %-24s %.3f s\n", account, r.WithoutLogin[account].Seconds())
	}
	for _, kind := range Kinds() {
		row(string(kind), "%d", r.Count(kind))
		printed := 0
		for _, fault := range r.Faults {
			if fault.Kind == kind && printed < shown {
				fmt.Fprintf(b, "    %s %s\n", fault.Account, fault.Detail)
				printed++
			}
		}
	}
	return b.Flush()
}

// LongestWithoutLogin returns the longest time any account was without login.
func (r *Report) LongestWithoutLogin() time.Duration {
	var longest time.Duration
	for _, d := range r.WithoutLogin {
		longest = max(longest, d)
	}
	return longest
}
