package view

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/mailmove/mailmove/engine/plan"
	"github.com/mailmove/mailmove/providers"
)

// A document is a plan arranged for reading. All its texts are clean.
type document struct {
	Digest, Created, Expires string
	Summary                  string
	Back, Empty              bool
	Dangers                  []danger
	Clocks                   []clock
	Actions                  []action // those that occur
}

type danger struct {
	Fatal                  bool
	Code, Address, Summary string
	// Fix is what to do: a sentence, or lines to add to the configuration. Its lines
	// are always shown indented, so that none can pass for one of ours.
	Fix []string
}

type clock struct {
	Name, From string
	Gone       bool
	Stages     []stage
}

type stage struct {
	// Number counts the stages that are entered by this plan, from 1; 0 is the one
	// in which the clock stands.
	Number, Total int
	Phase, Title  string
	Entered       bool
	Settle        bool
	NoReturn      bool
	Gates         []gate
	Groups        []group
	Estimate      string
}

type gate struct{ Name, Kind, Text, Title string }

// group are changes that are the same but for the key of their address.
type group struct {
	action
	// Address is that of the one change, or that of the block without a key.
	Address string
	Count   int
	// Keys name the members, "" for one change.
	Keys        string
	Differences []difference
	Steps       string
	Estimate    string
	Recurring   bool
}

type difference struct {
	Name          string
	Before, After string
	// Note stands instead of the two.
	Note string
}

// action is how a change is shown.
type action struct {
	Verb         providers.Action
	Symbol, Done string
	color        string
}

// actions are in the order of the legend.
func actions() []action {
	return []action{
		{providers.Create, "+", "to create", green},
		{providers.Update, "~", "to update", yellow},
		{providers.Remove, "-", "to remove", red},
		{providers.Adopt, "=", "to adopt (it is as it shall be; nothing is done)", cyan},
		{providers.Forget, ".", "to forget (it stays as it is; nothing is done)", grey},
	}
}

func actionOf(verb providers.Action) action {
	for _, a := range actions() {
		if a.Verb == verb {
			return a
		}
	}
	return action{Verb: verb, Symbol: "?", Done: Clean(string(verb))}
}

// arrange makes the document of a plan.
func arrange(p *plan.Plan, o Options) (*document, error) {
	digest, err := p.Digest()
	if err != nil {
		return nil, err
	}
	d := &document{Digest: digest, Created: moment(p.Created), Expires: moment(p.Expires), Back: p.Back, Empty: p.Empty()}
	count := p.Count()
	for _, a := range actions() {
		if count[a.Verb] > 0 {
			d.Actions = append(d.Actions, a)
		}
	}
	for _, x := range p.Dangers {
		d.Dangers = append(d.Dangers, danger{x.Severity == providers.Fatal, Clean(x.Code), Clean(x.Address), Clean(x.Summary), cleanLines(x.Fix)})
	}
	for i := range p.Clocks {
		c, err := arrangeClock(&p.Clocks[i], o)
		if err != nil {
			return nil, err
		}
		d.Clocks = append(d.Clocks, c)
	}
	d.Summary = summary(p, count)
	return d, nil
}

func cleanLines(s string) []string {
	if s == "" {
		return nil
	}
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Clean(lines[i])
	}
	return lines
}

// summary says in a line what the plan does.
func summary(p *plan.Plan, count map[providers.Action]int) string {
	if p.Empty() {
		return "Nothing to do: everything is as the configuration wants it."
	}
	parts := []string{
		fmt.Sprintf("%d to create", count[providers.Create]),
		fmt.Sprintf("%d to update", count[providers.Update]),
		fmt.Sprintf("%d to remove", count[providers.Remove]),
	}
	if n := count[providers.Adopt]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d to adopt", n))
	}
	if n := count[providers.Forget]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d to forget", n))
	}
	phases, gates := 0, 0
	for _, c := range p.Clocks {
		for _, s := range c.Stages {
			if !s.Entered {
				phases++
			}
			gates += len(s.Gates)
		}
	}
	text := "Plan: " + strings.Join(parts, ", ")
	if phases > 0 {
		text += fmt.Sprintf("; %s to enter, %s on the way", plural(phases, "phase"), plural(gates, "gate"))
	}
	return text + "."
}

func arrangeClock(c *plan.ClockPlan, o Options) (clock, error) {
	out := clock{Name: clockName(c.Path), From: Clean(c.From), Gone: c.Gone}
	total := 0
	for _, s := range c.Stages {
		if !s.Entered {
			total++
		}
	}
	number := 0
	for _, s := range c.Stages {
		next := stage{Total: total, Phase: Clean(s.Phase), Title: Clean(s.Title), Entered: s.Entered, Settle: s.Settle, NoReturn: s.NoReturn}
		if !s.Entered {
			number++
			next.Number = number
		}
		for _, g := range s.Gates {
			next.Gates = append(next.Gates, gate{Clean(g.Name), gateWords(g.Kind), Clean(strings.Join(strings.Fields(g.Text), " ")), Clean(g.Title)})
		}
		var total plan.Estimate
		for _, change := range s.Changes {
			total = add(total, change.Estimate)
		}
		next.Estimate = estimate(total)
		groups, err := fold(s.Changes, o.Expand)
		if err != nil {
			return out, err
		}
		next.Groups = groups
		out.Stages = append(out.Stages, next)
	}
	return out, nil
}

func clockName(path string) string {
	if path == "" {
		return "root module"
	}
	return Clean(path)
}

func gateWords(k plan.GateKind) string {
	return strings.ReplaceAll(Clean(string(k)), "_", " ")
}

// member is a change with what is shown of it.
type member struct {
	change plan.Change
	block  string
	key    string
	diffs  []difference
}

// fold groups changes of one block that have the same action, steps and changed
// attributes. Groups stand where their first member stood.
func fold(changes []plan.Change, expand bool) ([]group, error) {
	var order []string
	members := map[string][]member{}
	for i, change := range changes {
		diffs, err := differences(change)
		if err != nil {
			return nil, fmt.Errorf("showing %s: %w", change.Address, err)
		}
		block, key := splitKey(change.Address)
		id := fmt.Sprint(i)
		if !expand && key != "" {
			names := make([]string, len(diffs))
			for j, d := range diffs {
				names[j] = d.Name
			}
			id = fmt.Sprintf("%s|%s|%q|%q|%v", block, change.Action, names, change.Steps, change.Recurring)
		}
		if members[id] == nil {
			order = append(order, id)
		}
		members[id] = append(members[id], member{change, block, key, diffs})
	}
	groups := make([]group, len(order))
	for i, id := range order {
		groups[i] = groupOf(members[id])
	}
	return groups, nil
}

func groupOf(list []member) group {
	first := list[0]
	g := group{
		action: actionOf(first.change.Action), Address: Clean(first.change.Address), Count: len(list),
		Differences: first.diffs, Recurring: first.change.Recurring,
	}
	steps := make([]string, len(first.change.Steps))
	for i, s := range first.change.Steps {
		steps[i] = Clean(s)
	}
	g.Steps = strings.Join(steps, " → ")
	var total plan.Estimate
	keys := make([]string, len(list))
	for i, m := range list {
		total = add(total, m.change.Estimate)
		keys[i] = m.key
	}
	g.Estimate = estimate(total)
	if len(list) > 1 {
		g.Address, g.Keys, g.Differences = Clean(first.block), abbreviated(keys), common(list)
	}
	return g
}

// shownKeys is how many keys of a group are named.
const shownKeys = 6

func abbreviated(keys []string) string {
	if len(keys) <= shownKeys+1 {
		return strings.Join(keys, ", ")
	}
	return fmt.Sprintf("%s … and %d more", strings.Join(keys[:shownKeys], ", "), len(keys)-shownKeys)
}

// common returns the differences that all members share, and names the others.
func common(list []member) []difference {
	var out []difference
	for i, d := range list[0].diffs {
		same := !slices.ContainsFunc(list, func(m member) bool { return !reflect.DeepEqual(m.diffs[i], d) })
		switch another := "another for each (-expand shows them)"; {
		case same:
		case d.Before == "":
			d = difference{Name: d.Name, After: another}
		default:
			d = difference{Name: d.Name, Note: another}
		}
		out = append(out, d)
	}
	return out
}

// differences returns what a change shows: for an update what changes, for a new
// object all of it, for one that goes nothing.
func differences(c plan.Change) ([]difference, error) {
	before, err := object(c.Before)
	if err != nil {
		return nil, err
	}
	after, err := object(c.After)
	if err != nil {
		return nil, err
	}
	var out []difference
	switch c.Action {
	case providers.Create:
		for _, name := range sortedKeys(after) {
			out = append(out, difference{Name: Clean(name), After: text(after[name])})
		}
	case providers.Update:
		for _, name := range c.Differs {
			d := difference{Name: Clean(name), Before: text(before[name]), After: text(after[name])}
			if note, ok := listChange(before[name], after[name]); ok {
				d.Note = note
			}
			out = append(out, d)
		}
	}
	return out, nil
}

// splitKey divides an address into the block's and the key of the instance,
// quoted; the key is "" where there is none.
func splitKey(address string) (block, key string) {
	if !strings.HasSuffix(address, `"]`) {
		return address, ""
	}
	// The key is the last one; keys themselves are quoted with \" for a quote.
	at := strings.LastIndex(address, `["`)
	for at > 0 && strings.HasSuffix(address[:at], `\`) {
		at = strings.LastIndex(address[:at], `["`)
	}
	if at < 0 {
		return address, ""
	}
	return address[:at], Clean(address[at+1 : len(address)-1])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
