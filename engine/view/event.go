package view

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mailmove/mailmove/providers"
)

// An Event is something that happened during a turn.
type Event struct {
	At time.Time `json:"at"`
	// Type is observing, enter, phase_done, gate, task, begin, step, progress, applied,
	// failed, retry or waiting.
	Type    string           `json:"type"`
	Clock   string           `json:"clock,omitempty"`
	Phase   string           `json:"phase,omitempty"`
	Address string           `json:"address,omitempty"`
	Action  providers.Action `json:"action,omitempty"`
	// Text is a step's name, a gate's evidence, a person's task or an error.
	Text  string `json:"text,omitempty"`
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	Unit  string `json:"unit,omitempty"`
	// Until is when a waiting command takes the next turn.
	Until time.Time `json:"until,omitzero"`
}

// WriteEvent writes an event, or whatever else stands for one line, as one line
// of JSON.
func WriteEvent(w io.Writer, event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// Line returns an event as one line for people. took is how long a change has
// taken, zero if that is not known. ok is false for what is not worth a line.
func (e Event) Line(color bool, took time.Duration) (line string, ok bool) {
	paint := func(c, s string) string { return Paint(color, c, s) }
	address, text := Clean(e.Address), Clean(strings.TrimPrefix(e.Text, e.Address+": "))
	after := ""
	if took >= time.Second {
		after = " after " + Duration(took)
	}
	switch e.Type {
	case "observing":
		if text != "" {
			return paint(grey, text), true
		}
		return paint(grey, fmt.Sprintf("%sobserving %s", inPhase(e), plural(int(e.Total), "object"))), e.Total > 0
	case "enter":
		return paint(bold, fmt.Sprintf("%s enters phase %s%s", clockName(e.Clock), phaseWords(e.Phase), prefixed(": ", text))), true
	case "phase_done":
		if text != "" {
			return paint(green, clockName(e.Clock)+": "+text), true
		}
		if e.Phase == "" {
			return paint(green, clockName(e.Clock)+": everything is in place"), true
		}
		return paint(green, fmt.Sprintf("%s: phase %s is done", clockName(e.Clock), phaseWords(e.Phase))), true
	case "gate":
		return paint(cyan, fmt.Sprintf("gate %s before %s: %s", address, phaseWords(e.Phase), text)), true
	case "task":
		return paint(cyan, fmt.Sprintf("%s: waits for a person: %s", address, text)), true
	case "begin":
		return fmt.Sprintf("%s: %s", address, verb(e.Action, "ing")), true
	case "step":
		return fmt.Sprintf("%s: step %s", address, text), true
	case "progress":
		return fmt.Sprintf("%s: %s", address, e.Amount()), true
	case "applied":
		return paint(green, fmt.Sprintf("%s: %s%s", address, verb(e.Action, "ed"), after)), true
	case "retry":
		return paint(yellow, fmt.Sprintf("%s: trying again: %s", address, text)), true
	case "failed":
		return paint(red, fmt.Sprintf("%s: stopped: %s", address, text)), true
	}
	return "", false
}

func inPhase(e Event) string {
	if e.Phase == "" {
		return ""
	}
	return clockName(e.Clock) + ", phase " + Clean(e.Phase) + ": "
}

func phaseWords(phase string) string {
	if phase == "" {
		return "(start)"
	}
	return Clean(phase)
}

// verb conjugates an action.
func verb(a providers.Action, ending string) string {
	stem := Clean(string(a))
	switch a {
	case providers.Create, providers.Update, providers.Remove:
		return stem[:len(stem)-1] + ending
	}
	return stem + ending
}

// Amount says how much of the work is done: "1,200 of 3,000 messages (40%)".
func (e Event) Amount() string {
	quantity := func(n int64) string {
		if e.Unit == "bytes" {
			return Bytes(n)
		}
		return thousands(n)
	}
	text := quantity(e.Done)
	if e.Total > 0 {
		text += fmt.Sprintf(" of %s", quantity(e.Total))
	}
	if e.Unit != "bytes" {
		text += prefixed(" ", Clean(e.Unit))
	}
	if e.Total > 0 {
		text += fmt.Sprintf(" (%d%%)", e.Done*100/e.Total)
	}
	return text
}
