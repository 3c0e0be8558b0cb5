package demo

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mailmove/mailmove/engine/view"
	"github.com/mailmove/mailmove/providers/mail"
)

// A Kind is a sort of fault.
type Kind string

// The kinds of fault.
const (
	Lost           Kind = "lost"
	Doubled        Kind = "doubled"
	Misdelivered   Kind = "misdelivered"
	Stranger       Kind = "sent by nobody"
	Refused        Kind = "refused by a server, or not taken in time"
	Bounced        Kind = "bounced"
	Queued         Kind = "left in a queue"
	OldLost        Kind = "lost or misfiled"
	ContentAltered Kind = "content altered"
	FlagsAltered   Kind = "flags or keywords altered"
	DateAltered    Kind = "internal date altered"
	UIDChanged     Kind = "UID or UIDVALIDITY changed"
	FoldersChanged Kind = "folders or subscriptions changed"
	SourceTouched  Kind = "gone from the old server's disk"
	ActionLost     Kind = "actions lost"
	ProxyDiffers   Kind = "not seen by way of the old server"
	LoginRefused   Kind = "logins refused"
)

// A Fault is one thing that is not as it must be.
type Fault struct {
	Kind    Kind
	Account mail.Address
	Detail  string
}

// A Report is the result of an audit.
type Report struct {
	Sent, Deferred int // messages that servers took; answers 4xx or none, after which a sender came again
	Pairs, Once    int // message × final address; those that are there exactly once
	Old            int // messages that were there before
	Actions        int // acknowledged to users
	// Messages of the sender that ignores TTLs: all, those sent after the MX had moved,
	// and those that came by way of the old server.
	Ignoring, IgnoringMoved, IgnoringViaOld int

	Logins []Logins
	Took   time.Duration
	Faults []Fault
}

// Logins is what became of one account's logins. The slowest shows the pause: a
// login during the handoff is not refused, it waits.
type Logins struct {
	Account        mail.Address
	Tried, Refused int
	Slowest        time.Duration
}

func (r *Report) fault(kind Kind, account mail.Address, format string, args ...any) {
	r.Faults = append(r.Faults, Fault{kind, account, fmt.Sprintf(format, args...)})
}

// Err is nil if nothing is wrong.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("auditing the move: %d things are wrong; the table says which", len(r.Faults))
}

// A Row is a line of the table.
type Row struct {
	Label, Value string
	// Part says that it belongs to the line above, Bad that it must be 0 and is not.
	Part, Bad bool
}

// Rows returns the table.
func (r *Report) Rows() []Row {
	tried, slowest := 0, time.Duration(0)
	for _, l := range r.Logins {
		tried, slowest = tried+l.Tried, max(slowest, l.Slowest)
	}
	head := func(label string, n int) Row { return Row{Label: label, Value: fmt.Sprint(n)} }
	part := func(label string, n int) Row { return Row{Label: label, Value: fmt.Sprint(n), Part: true} }
	rows := []Row{
		head("messages sent while the domain moved", r.Sent),
		part("times that a sender was put off, and came again", r.Deferred),
		part("copies of them promised (message × final address)", r.Pairs),
		part("arrived exactly once", r.Once),
	}
	rows = r.zeros(rows, Lost, Doubled, Misdelivered, Stranger, Refused, Bounced, Queued)
	rows = append(rows, head("of these by the sender that ignores TTLs", r.Ignoring),
		part("by way of the old server", r.IgnoringViaOld), part("after the MX had moved", r.IgnoringMoved),
		head("old messages", r.Old))
	rows = r.zeros(rows, OldLost, ContentAltered, FlagsAltered, DateAltered, UIDChanged, FoldersChanged, SourceTouched)
	rows = append(rows, head("actions of users that were acknowledged", r.Actions))
	rows = r.zeros(rows, ActionLost, ProxyDiffers)
	rows = append(rows, head("logins tried", tried))
	rows = r.zeros(rows, LoginRefused)
	return append(rows, Row{Label: "slowest", Value: seconds(slowest), Part: true}, Row{Label: "duration", Value: seconds(r.Took)})
}

func (r *Report) zeros(rows []Row, kinds ...Kind) []Row {
	for _, kind := range kinds {
		n := r.Count(kind)
		rows = append(rows, Row{string(kind), fmt.Sprint(n), true, n > 0})
	}
	return rows
}

// Count returns how many faults of a kind there are.
func (r *Report) Count(kind Kind) int {
	n := 0
	for _, f := range r.Faults {
		if f.Kind == kind {
			n++
		}
	}
	return n
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// shown is how many faults are told one by one.
const shown = 20

// Text writes the table for people.
func (r *Report) Text(w io.Writer, color bool) error {
	var b strings.Builder
	b.WriteString(view.Paint(color, "1", "Audit, read by IMAP after the move") + "\n")
	for _, row := range r.Rows() {
		indent := "  "
		if row.Part {
			indent = "    "
		}
		line := fmt.Sprintf("%-56s %10s", indent+row.Label, row.Value)
		if row.Bad {
			line = view.Paint(color, "1;31", line+"  WRONG")
		}
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "\n  %-28s %8s %8s %10s\n", "account", "logins", "refused", "slowest")
	for _, l := range r.slowest() {
		fmt.Fprintf(&b, "  %-28s %8d %8d %10s\n", l.Account, l.Tried, l.Refused, seconds(l.Slowest))
	}
	for i, f := range r.Faults {
		if i == shown {
			fmt.Fprintf(&b, "  … and %d more\n", len(r.Faults)-i)
			break
		}
		b.WriteString(view.Paint(color, "31", fmt.Sprintf("  %s: %s: %s", f.Kind, f.Account, view.Clean(f.Detail))) + "\n")
	}
	b.WriteString("\n" + r.verdict(color) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) verdict(color bool) string {
	if len(r.Faults) > 0 {
		return view.Paint(color, "1;31", fmt.Sprintf("%d things are wrong.", len(r.Faults)))
	}
	return view.Paint(color, "1;32", "Nothing lost, nothing doubled, nobody locked out.")
}

// slowest returns the accounts' logins; of many accounts only those with the longest
// pauses.
func (r *Report) slowest() []Logins {
	if len(r.Logins) <= shown {
		return r.Logins
	}
	list := slices.SortedFunc(slices.Values(r.Logins), func(a, b Logins) int { return int(b.Slowest - a.Slowest) })
	return list[:shown]
}

// HTML writes the table as a part of a page.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("audit").Funcs(template.FuncMap{"seconds": seconds}).Parse(auditPage)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"Rows": r.Rows(), "Logins": r.slowest(), "Faults": r.Faults, "Verdict": r.verdict(false)})
}

const auditPage = `<h1>{{.Verdict}}</h1>
<p class="quiet">Audit, read by IMAP after the move</p>
<table>{{range .Rows}}
<tr{{if .Bad}} class="bad"{{end}}><td>{{if .Part}}&emsp;{{end}}{{.Label}}</td><td>{{.Value}}{{if .Bad}} WRONG{{end}}</td></tr>{{end}}
</table>
<table><tr><td>account</td><td>logins</td><td>refused</td><td>slowest</td></tr>{{range .Logins}}
<tr><td>{{.Account}}</td><td>{{.Tried}}</td><td>{{.Refused}}</td><td>{{seconds .Slowest}}</td></tr>{{end}}
</table>
{{if .Faults}}<ul>{{range .Faults}}
<li class="bad">{{.Kind}}: {{.Account}}: {{.Detail}}</li>{{end}}
</ul>{{end}}
<h2>The plan that was carried out</h2>
`
