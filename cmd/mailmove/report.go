package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/view"
	"github.com/mailmove/mailmove/providers"
)

// reportLine is a report for programs.
type reportLine struct {
	Type        string      `json:"type"`
	Done        bool        `json:"done"`
	Interrupted bool        `json:"interrupted,omitempty"`
	Clocks      []clockLine `json:"clocks"`
}

type clockLine struct {
	Clock    string        `json:"clock"`
	Phase    string        `json:"phase"`
	Status   string        `json:"status"`
	Waits    *waitLine     `json:"waits,omitempty"`
	Failures []failureLine `json:"failures,omitempty"`
}

type waitLine struct {
	Phase string     `json:"phase"`
	Until *time.Time `json:"until,omitempty"`
	Gates []gateLine `json:"gates,omitempty"`
	Tasks []taskLine `json:"tasks,omitempty"`
}

// taskLine is what a person must do.
type taskLine struct {
	Address string `json:"address"`
	Task    string `json:"task"`
	Next    string `json:"next"`
	// ConfirmedBy has said that it is done; the next turn counts it.
	ConfirmedBy string `json:"confirmed_by,omitempty"`
}

type gateLine struct {
	Name     string     `json:"name"`
	Kind     string     `json:"kind"`
	Title    string     `json:"title,omitempty"`
	Open     bool       `json:"open"`
	Evidence string     `json:"evidence,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	// ApprovedBy are those whose approval is recorded; the next turn counts them.
	ApprovedBy []string `json:"approved_by,omitempty"`
}

type failureLine struct {
	Phase   string `json:"phase"`
	Address string `json:"address"`
	Error   string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// report prints how a turn ended.
func (u *ui) report(r *engine.Report) error {
	if u.json {
		return u.object(newReportLine(r))
	}
	return u.write(func(w io.Writer) error {
		for _, c := range r.Clocks {
			if _, err := io.WriteString(w, u.clockText(c)); err != nil {
				return err
			}
		}
		if r.Done() {
			fmt.Fprintln(w, view.Paint(u.color, "1;32", "Done: everything is as the configuration wants it."))
		}
		return nil
	})
}

func newReportLine(r *engine.Report) reportLine {
	line := reportLine{Type: "report", Done: r.Done(), Interrupted: r.Interrupted}
	for _, c := range r.Clocks {
		one := clockLine{Clock: c.Path, Phase: c.Phase, Status: statusOf(c)}
		if c.Wait != nil {
			one.Waits = &waitLine{Phase: c.Wait.Phase, Until: orNil(c.Wait.Until)}
			for _, t := range c.Wait.Tasks {
				one.Waits.Tasks = append(one.Waits.Tasks, taskLine{Address: t.Address, Task: t.Text, Next: t.Next})
			}
			for _, g := range c.Wait.Gates {
				one.Waits.Gates = append(one.Waits.Gates, gateLine{Name: g.Name, Kind: string(g.Kind), Title: g.Title, Open: g.Open, Evidence: g.Evidence, Until: orNil(g.Until)})
			}
		}
		for _, f := range c.Failures {
			one.Failures = append(one.Failures, failureLine{f.Phase, f.Address, f.Err.Error(), hintOf(f.Err)})
		}
		line.Clocks = append(line.Clocks, one)
	}
	return line
}

func statusOf(c engine.ClockReport) string {
	switch {
	case len(c.Failures) > 0:
		return "stopped"
	case c.Wait != nil:
		return "waiting"
	case c.Gone:
		return "forgotten"
	case c.Done:
		return "done"
	}
	return "interrupted"
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// clockText says how things stand with one clock.
func (u *ui) clockText(c engine.ClockReport) string {
	name := view.Paint(u.color, "1", clockName(c.Path))
	switch {
	case len(c.Failures) > 0:
		return u.failures(name, c)
	case c.Wait != nil:
		return name + inPhase(c.Phase) + ": " + u.waitText(c)
	case c.Gone:
		return fmt.Sprintf("%s: %s; nothing was changed on any server\n", name, view.Paint(u.color, "32", "forgotten"))
	case c.Done:
		return fmt.Sprintf("%s%s: %s\n", name, inPhase(c.Phase), view.Paint(u.color, "32", "done"))
	}
	return fmt.Sprintf("%s%s: interrupted; mailmove apply goes on\n", name, inPhase(c.Phase))
}

func clockName(path string) string {
	if path == "" {
		return "root module"
	}
	return view.Clean(path)
}

func inPhase(phase string) string {
	if phase == "" {
		return ""
	}
	return ", phase " + view.Clean(phase)
}

// waitText says for which people and gates a clock waits.
func (u *ui) waitText(c engine.ClockReport) string {
	w, waiting := c.Wait, view.Paint(u.color, "36", "waiting")
	var b strings.Builder
	switch {
	case len(w.Gates) == 0:
		fmt.Fprintf(&b, "%s for a person\n", waiting)
	case w.Phase == c.Phase:
		fmt.Fprintf(&b, "%s to go on%s\n", waiting, untilWords(w.Until))
	default:
		fmt.Fprintf(&b, "%s to enter phase %s%s\n", waiting, view.Clean(w.Phase), untilWords(w.Until))
	}
	b.WriteString(taskText(w.Tasks))
	for _, g := range w.Gates {
		fmt.Fprintf(&b, "    gate %s (%s): %s%s\n", view.Clean(g.Name), kindWords(g.Kind), view.Clean(g.Evidence), untilWords(g.Until))
		if g.Kind == plan.Approval {
			fmt.Fprintf(&b, "        to approve: mailmove approve %s\n", view.Clean(g.Name))
		}
	}
	return b.String()
}

// taskText says what people must do, and how to say that it is done.
func taskText(tasks []engine.Task) string {
	var b strings.Builder
	for _, t := range tasks {
		fmt.Fprintf(&b, "    %s waits for a person: %s\n", view.Clean(t.Address), view.Clean(t.Text))
		for _, line := range strings.Split(t.Next, "\n") {
			fmt.Fprintf(&b, "        %s\n", view.Clean(line))
		}
	}
	return b.String()
}

func kindWords(k plan.GateKind) string { return strings.ReplaceAll(string(k), "_", " ") }

func untilWords(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", until " + t.Local().Format("2006-01-02 15:04:05 MST")
}

// shownFailures is how many failures of a clock are told in full.
const shownFailures = 20

// failures tells at what a clock stopped. The same cause at many objects is told
// once.
func (u *ui) failures(name string, c engine.ClockReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s: %s at %d %s\n", name, inPhase(c.Phase), view.Paint(u.color, "1;31", "stopped"), len(c.Failures), plural(len(c.Failures), "object"))
	byCause := map[string][]engine.Failure{}
	var causes []string
	for _, f := range c.Failures {
		cause := causeOf(f.Err)
		if byCause[cause] == nil {
			causes = append(causes, cause)
		}
		byCause[cause] = append(byCause[cause], f)
	}
	for i, cause := range causes {
		if i == shownFailures {
			fmt.Fprintf(&b, "    … and %d more causes\n", len(causes)-i)
			break
		}
		b.WriteString(u.cause(byCause[cause]))
	}
	if c.Wait != nil {
		b.WriteString(taskText(c.Wait.Tasks))
	}
	return b.String()
}

func (u *ui) cause(list []engine.Failure) string {
	var b strings.Builder
	address := view.Clean(list[0].Address)
	if len(list) > 1 {
		address += fmt.Sprintf(" and %d more", len(list)-1)
	}
	err := list[0].Err
	fmt.Fprintf(&b, "  %s %s\n", view.Paint(u.color, "31", "│"), view.Paint(u.color, "1", address))
	for _, line := range strings.Split(strings.TrimPrefix(err.Error(), list[0].Address+": "), "\n") {
		fmt.Fprintf(&b, "  %s %s\n", view.Paint(u.color, "31", "│"), view.Clean(line))
	}
	var breach *plan.BreachError
	if errors.As(err, &breach) {
		b.WriteString(u.breach(breach))
	}
	if next := hintOf(err); next != "" {
		fmt.Fprintf(&b, "  %s %s\n", view.Paint(u.color, "31", "│"), view.Clean(next))
	}
	return b.String()
}

// breach shows what would have to be done now and is not in the plan.
func (u *ui) breach(e *plan.BreachError) string {
	lines, err := view.Change(e.Needed)
	if err != nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s needed now, and not in the plan:\n", view.Paint(u.color, "31", "│"))
	for _, line := range lines {
		fmt.Fprintf(&b, "  %s   %s\n", view.Paint(u.color, "31", "│"), line)
	}
	return b.String()
}

// causeOf is what makes two failures the same.
func causeOf(err error) string {
	var fault providers.Error
	if errors.As(err, &fault) {
		return fault.Error()
	}
	return err.Error()
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
