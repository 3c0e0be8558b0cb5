package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/view"
)

// course shows how a turn goes: lines for what happens and, on a terminal, one
// line at the bottom for what is under way, with rate and time left. It is safe
// for concurrent use.
type course struct {
	ui   *ui
	now  func() time.Time
	tick *time.Ticker
	over chan struct{}

	mu      sync.Mutex
	running map[string]*work // by address
	done    int
	failed  map[string]bool // causes of failures that have had their line
}

// work is one change that is under way.
type work struct {
	begun time.Time
	step  string
	// first is the first progress seen in this run, from which the rate is counted.
	first, last view.Event
	said        time.Time
}

// sayEvery is how often progress gets a line where there is no terminal.
const sayEvery = 15 * time.Second

func newCourse(u *ui) *course {
	c := &course{ui: u, now: time.Now, tick: time.NewTicker(200 * time.Millisecond), over: make(chan struct{}), running: map[string]*work{}, failed: map[string]bool{}}
	go func() {
		for {
			select {
			case <-c.over:
				return
			case <-c.tick.C:
				c.bottom()
			}
		}
	}()
	return c
}

// end takes the bottom line away.
func (c *course) end() {
	c.tick.Stop()
	close(c.over)
	c.ui.finish()
}

// planning shows the notices of planning, of which the plan is the result.
func (c *course) planning(n engine.Notice) {
	if !c.ui.json {
		c.notice(n)
	}
}

// notice shows a notice. It is the engine's Notify.
func (c *course) notice(n engine.Notice) {
	e := view.Event{
		At: c.now().UTC(), Type: string(n.Kind), Clock: n.Clock, Phase: n.Phase, Address: n.Address, Action: n.Action,
		Text: n.Text, Done: n.Done, Total: n.Total, Unit: n.Unit,
	}
	took, silent := c.take(e)
	if c.ui.json {
		// There is nobody else to tell if standard output is gone; the turn goes on.
		_ = c.ui.object(e)
		return
	}
	if line, ok := e.Line(c.ui.errColor, took); ok && !silent {
		c.ui.note("%s", line)
	}
}

// take remembers what is under way. It returns how long a change took, and
// whether the event needs no line.
func (c *course) take(e view.Event) (took time.Duration, silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.running[e.Address]
	switch engine.NoticeKind(e.Type) {
	case engine.NoticeBegin:
		c.running[e.Address] = &work{begun: e.At}
	case engine.NoticeApplied, engine.NoticeFailed, engine.NoticeRetry, engine.NoticeTask:
		delete(c.running, e.Address)
		if w != nil {
			took = e.At.Sub(w.begun)
		}
		switch engine.NoticeKind(e.Type) {
		case engine.NoticeApplied:
			c.done++
		case engine.NoticeFailed: // the same at many objects is told once; the report counts them
			cause := strings.ReplaceAll(e.Text, e.Address, "")
			silent = c.failed[cause]
			c.failed[cause] = true
		}
	case engine.NoticeStep:
		if w != nil {
			w.step = e.Text
		}
		silent = c.ui.live
	case engine.NoticeProgress:
		if w == nil {
			return 0, true
		}
		if w.first.At.IsZero() || w.first.Unit != e.Unit {
			w.first, w.said = e, e.At
		}
		w.last = e
		silent = c.ui.live || e.At.Sub(w.said) < sayEvery
		if !silent {
			w.said = e.At
		}
	}
	return took, silent
}

// shownWork is how many changes the bottom line names.
const shownWork = 2

// bottom draws the bottom line.
func (c *course) bottom() {
	if !c.ui.live {
		return
	}
	c.mu.Lock()
	var parts []string
	for _, address := range slices.SortedFunc(maps.Keys(c.running), c.longest) {
		if len(parts) < shownWork {
			parts = append(parts, c.describe(address, c.running[address]))
		}
	}
	running, done := len(c.running), c.done
	c.mu.Unlock()
	if running == 0 {
		return
	}
	line := fmt.Sprintf("  %d under way, %d done   %s", running, done, strings.Join(parts, "   "))
	c.ui.status(line)
}

// longest orders what is under way by how long it has been.
func (c *course) longest(a, b string) int {
	return cmp.Or(c.running[a].begun.Compare(c.running[b].begun), strings.Compare(a, b))
}

// describe says how far a change is.
func (c *course) describe(address string, w *work) string {
	text := view.Clean(address)
	switch {
	case w.last.Unit != "":
		text += " " + w.last.Amount() + rate(w.first, w.last)
	case w.step != "":
		text += " " + view.Clean(w.step)
	}
	return text + " " + view.Duration(c.now().Sub(w.begun))
}

// rate says how fast it goes and how long it will take, once that can be told.
func rate(first, last view.Event) string {
	elapsed, done := last.At.Sub(first.At), last.Done-first.Done
	if elapsed < time.Second || done <= 0 {
		return ""
	}
	perSecond := float64(done) / elapsed.Seconds()
	text := fmt.Sprintf(", %.0f/s", perSecond)
	if last.Unit == "bytes" {
		text = fmt.Sprintf(", %s/s", view.Bytes(int64(perSecond)))
	}
	if rest := last.Total - last.Done; rest > 0 {
		text += ", " + view.Duration(time.Duration(float64(rest)/perSecond*float64(time.Second))) + " left"
	}
	return text
}
