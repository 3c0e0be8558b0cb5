package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/engine/state"
	"github.com/mailmove/mailmove/providers"
)

// A Wait is what a clock waits for.
type Wait struct {
	// Phase is the one to be entered, or to go on with.
	Phase string
	// Gates are the closed gates before the phase.
	Gates []plan.Reading
	// Tasks are what people must do before the phase in which the clock stands is done.
	Tasks []Task
	// Until is the earliest moment at which looking again makes sense; zero if only
	// a person or an observation can tell.
	Until time.Time
}

// A Task is a change that waits for a person.
type Task struct {
	Address string
	// Text says what is to be done, Next how, and how to say that it is done.
	Text, Next string
}

// passGates evaluates the gates of the next phase, and enters it if all are open.
func (c *clockRun) passGates() error {
	if c.stage+1 >= len(c.plan.Stages) {
		c.mode = done
		return nil
	}
	next := c.plan.Stages[c.stage+1]
	readings, err := c.read(next)
	if err != nil {
		return err
	}
	c.wait = Wait{Phase: next.Phase}
	for _, r := range readings {
		c.note(next.Phase, r)
		if !r.Open {
			c.wait.Gates = append(c.wait.Gates, r)
			c.wait.Until = later(c.wait.Until, r.Until)
		}
	}
	if len(c.wait.Gates) > 0 {
		c.mode = waiting
		return nil
	}
	c.t.append(state.Entry{Enter: &state.Enter{Clock: c.path, Phase: next.Phase}})
	c.t.notify(Notice{Kind: NoticeEnter, Clock: c.path, Phase: next.Phase, Text: next.Title})
	c.stage++
	c.round, c.renewed, c.tries = 0, map[string]bool{}, map[string]int{}
	if err := c.observe(); err != nil {
		return err
	}
	return c.t.wake(c)
}

// read evaluates the gates before a stage; on the way back there are none.
func (c *clockRun) read(stage plan.StagePlan) ([]plan.Reading, error) {
	if c.t.contract.Back || len(stage.Gates) == 0 {
		return nil, nil
	}
	readings, err := c.t.program.Gates(c.t.position(c.t.state), c.path, stage.Phase, c.t.observed, c.t.now)
	if err != nil {
		return nil, err
	}
	for i := range readings {
		if readings[i].Kind == plan.Approval && !readings[i].Open {
			c.approval(stage.Phase, &readings[i])
		}
	}
	return readings, nil
}

// approval opens an approval gate if enough of those who may have approved.
func (c *clockRun) approval(phase string, r *plan.Reading) {
	var by []string
	for _, a := range c.t.state.Approved(state.GateKey(c.path, phase, r.Name)) {
		if (len(r.Approvers) == 0 || slices.Contains(r.Approvers, a.By)) && !slices.Contains(by, a.By) {
			by = append(by, a.By)
		}
	}
	quorum := max(1, r.Quorum)
	if r.Open = len(by) >= quorum; r.Open {
		r.Evidence = "approved by " + strings.Join(by, ", ")
		return
	}
	r.Evidence = fmt.Sprintf("%d of %d approvals", len(by), quorum)
	if len(r.Approvers) > 0 {
		r.Evidence += " by " + strings.Join(r.Approvers, ", ")
	}
}

// note journals a reading that is new.
func (c *clockRun) note(phase string, r plan.Reading) {
	key := state.GateKey(c.path, phase, r.Name)
	was, known := c.t.state.Gates[key]
	if known && was.Open == r.Open && was.Evidence == r.Evidence && was.Until.Equal(r.Until) {
		return
	}
	c.t.append(state.Entry{Gate: &state.Gate{Key: key, Open: r.Open, Evidence: r.Evidence, Until: r.Until.UTC()}})
	text := "closed: " + r.Evidence
	if r.Open {
		text = "open: " + r.Evidence
	}
	c.t.notify(Notice{Kind: NoticeGate, Clock: c.path, Phase: phase, Address: r.Name, Text: text})
}

// await notes a change that waits for a person. The state has it as a gate of the
// phase, by the object's address, for those who ask how things stand.
func (c *clockRun) await(address string, w *providers.WaitError) {
	c.tasks = append(c.tasks, Task{Address: address, Text: w.Task, Next: w.Next})
	key := state.GateKey(c.path, c.phase(), address)
	if was, known := c.t.state.Gates[key]; !known || was.Open || was.Evidence != w.Task {
		c.t.append(state.Entry{Gate: &state.Gate{Key: key, Evidence: w.Task}})
	}
	c.t.notify(Notice{Kind: NoticeTask, Clock: c.path, Phase: c.phase(), Address: address, Text: w.Task})
}

// answered notes that what a change waited for has been done.
func (c *clockRun) answered(address string) {
	key := state.GateKey(c.path, c.phase(), address)
	if was, known := c.t.state.Gates[key]; known && !was.Open {
		c.t.append(state.Entry{Gate: &state.Gate{Key: key, Open: true, Evidence: was.Evidence}})
	}
}

// readWindow looks whether the windows of the phase in which the clock stands are
// open: outside of them nothing is begun, and what was begun is finished.
func (c *clockRun) readWindow() error {
	c.shut, c.closes = false, time.Time{}
	if c.stage < 0 || len(c.changes) == 0 {
		return nil
	}
	stage := c.plan.Stages[c.stage]
	if !slices.ContainsFunc(stage.Gates, func(g plan.Gate) bool { return g.Kind == plan.Window }) {
		return nil
	}
	readings, err := c.read(stage)
	if err != nil {
		return err
	}
	c.wait = Wait{Phase: stage.Phase}
	for _, r := range readings {
		if r.Kind != plan.Window {
			continue
		}
		if r.Open {
			c.closes = until(c.closes, r.Closes)
		} else {
			c.shut = true
			c.wait.Gates = append(c.wait.Gates, r)
			c.wait.Until = later(c.wait.Until, r.Until)
		}
	}
	return nil
}

// later returns the later of two moments: a phase opens when its last gate does.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
