package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/engine/view"
	"github.com/mailmove/mailmove/providers/operator"
)

// statusCommand says how things stand.
func (a *app) statusCommand() *cli.Command {
	f := &projectFlags{}
	var refresh, detailed bool
	return &cli.Command{
		Name:        "status",
		Usage:       "say where the migration stands and what it waits for",
		Description: "Reads the state and connects to nothing. With -refresh it also observes everything and shows what differs.",
		Flags: append(f.configFlags(), f.stateFlag(),
			&cli.BoolFlag{Name: "refresh", Usage: "observe everything, and show what differs", Destination: &refresh},
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 unless the plan in force has been carried out", Destination: &detailed},
			a.jsonFlag("print it as JSON"),
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			s, path, err := a.snapshot(f)
			if err != nil {
				return err
			}
			contract, err := engine.Contract(s)
			if err != nil {
				return err
			}
			if err := a.showStatus(s, path, contract); err != nil {
				return err
			}
			if refresh {
				if err := a.refresh(ctx, f); err != nil {
					return err
				}
			}
			if detailed && (contract == nil || !reached(s, contract)) {
				return errPending
			}
			return nil
		},
	}
}

// refresh shows the plan that would be made now.
func (a *app) refresh(ctx context.Context, f *projectFlags) error {
	p, err := a.open(f, "mailmove status")
	if err != nil {
		return err
	}
	_, err = a.makePlan(ctx, p, engine.Target{}, false)
	return err
}

// statusLine is the status for programs.
type statusLine struct {
	Type     string       `json:"type"`
	State    string       `json:"state"`
	Lineage  string       `json:"lineage"`
	Serial   int64        `json:"serial"`
	Turns    int64        `json:"turns"`
	Contract string       `json:"contract,omitempty"`
	Reached  bool         `json:"reached"`
	Clocks   []clockStand `json:"clocks"`
	Begun    []begunLine  `json:"begun,omitempty"`
}

type clockStand struct {
	Clock string `json:"clock"`
	// Steady says that there are no phases.
	Steady  bool       `json:"steady,omitempty"`
	Phase   string     `json:"phase"`
	Entered *time.Time `json:"entered,omitempty"`
	Done    *time.Time `json:"done,omitempty"`
	Next    string     `json:"next,omitempty"`
	Gates   []gateLine `json:"gates,omitempty"`
	// Tasks are what people must do before the phase is done.
	Tasks []taskLine `json:"tasks,omitempty"`
}

type begunLine struct {
	Address string    `json:"address"`
	Action  string    `json:"action"`
	Step    string    `json:"step,omitempty"`
	Begun   time.Time `json:"begun"`
}

func (a *app) showStatus(s *state.Snapshot, path string, contract *plan.Plan) error {
	line := newStatusLine(s, path, contract)
	if a.json {
		return a.ui.object(line)
	}
	return a.ui.write(func(w io.Writer) error { return writeStatus(w, line, s, contract, a.ui.color) })
}

func newStatusLine(s *state.Snapshot, path string, contract *plan.Plan) statusLine {
	line := statusLine{Type: "status", State: path, Lineage: s.Lineage, Serial: s.Serial, Turns: s.Epoch, Contract: s.Digest}
	line.Reached = contract != nil && reached(s, contract)
	known := map[string]bool{}
	if contract != nil {
		for i := range contract.Clocks {
			if contract.Clocks[i].Gone {
				continue
			}
			known[contract.Clocks[i].Path] = true
			line.Clocks = append(line.Clocks, standOf(s, &contract.Clocks[i]))
		}
	}
	for _, clock := range sortedKeys(s.Clocks) {
		if !known[clock] {
			line.Clocks = append(line.Clocks, standOf(s, &plan.ClockPlan{Path: clock}))
		}
	}
	for _, op := range sortedKeys(s.Intents) {
		i := s.Intents[op]
		line.Begun = append(line.Begun, begunLine{i.Address, string(i.Action), i.Step, i.Begun})
	}
	return line
}

// standOf says where a clock stands, what it last saw of the gates before it, and
// what a turn has come to that waits for people.
func standOf(s *state.Snapshot, c *plan.ClockPlan) clockStand {
	at := s.Clocks[c.Path]
	stand := clockStand{Clock: c.Path, Phase: at.Phase, Entered: orNil(at.Entered), Done: orNil(at.Done)}
	stand.Steady = len(c.Stages) == 1 && c.Stages[0].Phase == "" && c.Stages[0].Entered
	next := engine.StageOf(c, at.Phase) + 1
	if next > 0 {
		stand.Tasks = tasksOf(s, c.Path, c.Stages[next-1])
	}
	if next >= len(c.Stages) {
		return stand
	}
	stage := c.Stages[next]
	stand.Next = stage.Phase
	for _, g := range stage.Gates {
		key := state.GateKey(c.Path, stage.Phase, g.Name)
		seen := s.Gates[key]
		line := gateLine{Name: g.Name, Kind: string(g.Kind), Title: g.Title, Open: seen.Open, Evidence: seen.Evidence, Until: orNil(seen.Until)}
		for _, approval := range s.Approved(key) {
			line.ApprovedBy = append(line.ApprovedBy, approval.By)
		}
		stand.Gates = append(stand.Gates, line)
	}
	return stand
}

// tasksOf returns the steps for people of the stage in which a clock stands, as far
// as a turn has come to them.
func tasksOf(s *state.Snapshot, clock string, stage plan.StagePlan) []taskLine {
	var tasks []taskLine
	for _, change := range stage.Changes {
		step, ok := stepOf(change)
		seen, known := s.Gates[state.GateKey(clock, stage.Phase, change.Address)]
		if !ok || !known || seen.Open {
			continue
		}
		tasks = append(tasks, taskLine{
			Address: change.Address, Task: step.Title, Next: operator.Next(change.Address, step.Instructions),
			ConfirmedBy: s.Confirmations[step.Title].By,
		})
	}
	return tasks
}

func writeStatus(w io.Writer, line statusLine, s *state.Snapshot, contract *plan.Plan, color bool) error {
	out := &lines{w: w}
	for _, c := range line.Clocks {
		out.clock(c, color)
	}
	switch {
	case contract == nil:
		out.add("No plan has been approved.")
	case line.Reached:
		out.add("%s", view.Paint(color, "1;32", "The plan in force has been carried out."))
	default:
		out.add("Plan in force: %s (mailmove show), of %s. mailmove apply goes on with it.", s.Digest[:min(12, len(s.Digest))], contract.Created.Local().Format("2006-01-02 15:04"))
	}
	for _, b := range line.Begun {
		step := ""
		if b.Step != "" {
			step = ", at step " + view.Clean(b.Step)
		}
		out.add("Begun and not settled: %s %s, since %s%s. The next apply settles it by looking.", b.Action, view.Clean(b.Address), b.Begun.Local().Format("2006-01-02 15:04:05"), step)
	}
	out.add("State %s: serial %d, %d %s recorded, %d %s taken.", view.Clean(line.State), s.Serial, len(s.Resources), plural(len(s.Resources), "object"), s.Epoch, plural(int(s.Epoch), "turn"))
	return out.err
}

// lines writes lines and keeps the first error.
type lines struct {
	w   io.Writer
	err error
}

func (l *lines) add(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, format+"\n", args...)
	}
}

func (l *lines) clock(c clockStand, color bool) {
	where := "has not begun"
	switch {
	case c.Steady && c.Done == nil:
		where = "not as the configuration wants it yet"
	case c.Steady:
		where = "as the configuration wants it"
	case c.Phase != "":
		where = "in phase " + view.Clean(c.Phase)
	}
	if c.Entered != nil {
		where += " since " + c.Entered.Local().Format("2006-01-02 15:04:05")
	}
	switch {
	case c.Steady:
	case c.Done != nil:
		where += ", done"
	case c.Entered != nil:
		where += ", not done yet"
	}
	l.add("%s: %s", view.Paint(color, "1", clockName(c.Clock)), where)
	for _, t := range c.Tasks {
		if t.ConfirmedBy != "" {
			l.add("  %s: %s: confirmed by %s; the next apply goes on", view.Clean(t.Address), view.Clean(t.Task), view.Clean(t.ConfirmedBy))
			continue
		}
		l.add("%s", strings.TrimSuffix(taskText([]engine.Task{{Address: t.Address, Text: t.Task, Next: t.Next}}), "\n"))
	}
	if c.Next == "" {
		return
	}
	l.add("  next: phase %s", view.Clean(c.Next))
	for _, g := range c.Gates {
		standing := "closed"
		if g.Open {
			standing = "open"
		}
		text := fmt.Sprintf("    gate %s (%s): %s when last looked at", view.Clean(g.Name), kindWords(plan.GateKind(g.Kind)), standing)
		if g.Evidence != "" {
			text += ": " + view.Clean(g.Evidence)
		}
		if g.Until != nil {
			text += untilWords(*g.Until)
		}
		if len(g.ApprovedBy) > 0 {
			text += "; approved by " + view.Clean(strings.Join(g.ApprovedBy, ", "))
		}
		l.add("%s", text)
	}
}
