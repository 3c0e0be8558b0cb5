package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// An evaluator gives values to what the configuration declares, with every clock
// standing somewhere. It evaluates what is asked for and nothing else.
//
// A value is remembered together with the answers of reached() that it was made
// of, and stands as long as those answers do. So what does not depend on the
// phase is evaluated once for all phases, without anybody having to say so.
type evaluator struct {
	config   *Config
	standing map[*clock]int
	memory   map[node][]*remembered

	// desired is, while observed objects are looked at, the evaluator of what the
	// configuration asks for; else nil.
	desired  *evaluator
	observed Observed

	active []*frame
}

// maxChain bounds how many values can refer one to another: each is a call in a
// call, and a full stack ends the process.
const maxChain = 1000

// A node is something that can be evaluated.
type node struct {
	instance *instance
	kind     nodeKind
	name     string
}

type nodeKind string

const (
	variableNode  nodeKind = "var."
	localNode     nodeKind = "local."
	outputNode    nodeKind = "output."
	resourceNode  nodeKind = ""
	systemNode    nodeKind = "provider."
	callNode      nodeKind = "depends_on of module."
	expansionNode nodeKind = "for_each of module."
)

func (n node) String() string {
	text := string(n.kind) + n.name
	if n.instance.path != "" && n.kind != callNode && n.kind != expansionNode {
		text = n.instance.path + "." + text
	}
	return text
}

// remembered is one value of a node, with what went into it.
type remembered struct {
	value any
	trace
}

// A trace is what went into a value.
type trace struct {
	// reads are the answers of reached().
	reads map[*phase]bool
	// missing says which object was looked at that nobody has observed, or that
	// does not exist; "" if none.
	missing string
	diags   hcl.Diagnostics
}

// A frame is a node that is being evaluated.
type frame struct {
	node node
	trace
}

// begin opens a frame for what is not remembered.
func (e *evaluator) begin(n node) *frame {
	f := &frame{node: n, trace: trace{reads: map[*phase]bool{}}}
	e.active = append(e.active, f)
	return f
}

// end closes the frame; what it read and found wrong is its caller's too.
func (e *evaluator) end(f *frame) {
	e.active = e.active[:len(e.active)-1]
	e.inherit(f.trace)
}

func (e *evaluator) inherit(from trace) {
	if len(e.active) == 0 {
		return
	}
	f := e.active[len(e.active)-1]
	maps.Copy(f.reads, from.reads)
	f.lacks(from.missing)
	for _, diag := range from.diags {
		if !slices.Contains(f.diags, diag) {
			f.diags = append(f.diags, diag)
		}
	}
}

// lacks notes an object that is missing; of several the first by name.
func (f *frame) lacks(missing string) {
	if missing != "" && (f.missing == "" || missing < f.missing) {
		f.missing = missing
	}
}

// attempt evaluates what looks at observed objects. If that fails and an object is
// missing, then this is the reason and no fault of the file: attempt returns it,
// and no error is reported.
func (e *evaluator) attempt(n node, compute func()) (missing string) {
	f := e.begin(n)
	compute()
	if f.diags.HasErrors() && f.missing != "" {
		missing, f.diags = f.missing, nil
	}
	e.end(f)
	return missing
}

// add reports what is wrong with the node that is being evaluated.
func (e *evaluator) add(diags ...*hcl.Diagnostic) {
	f := e.active[len(e.active)-1]
	f.diags = append(f.diags, diags...)
}

// reached reports whether the clock of p stands at p or later.
func (e *evaluator) reached(p *phase) bool {
	answer := e.standing[p.clock] >= p.index
	if len(e.active) > 0 {
		e.active[len(e.active)-1].reads[p] = answer
	}
	return answer
}

// value returns the value of a node, remembered or computed. In a cycle it
// returns failure, once, after reporting it.
func value[T any](e *evaluator, n node, failure T, compute func() T) T {
	for _, v := range e.memory[n] {
		if e.current(v) {
			e.inherit(v.trace)
			return v.value.(T)
		}
	}
	if e.inCycle(n) {
		return failure
	}
	if len(e.active) > maxChain {
		e.add(fault(n.where(), "Too long a chain", "More than %d values refer one to another, so that %s cannot be evaluated.", maxChain, n))
		return failure
	}
	f := e.begin(n)
	result := compute()
	e.end(f)
	e.memory[n] = append(e.memory[n], &remembered{value: result, trace: f.trace})
	return result
}

func (e *evaluator) current(v *remembered) bool {
	for p, answer := range v.reads {
		if (e.standing[p.clock] >= p.index) != answer {
			return false
		}
	}
	return true
}

// inCycle reports whether n is being evaluated already, which is an error.
func (e *evaluator) inCycle(n node) bool {
	i := slices.IndexFunc(e.active, func(f *frame) bool { return f.node == n })
	if i >= 0 {
		e.cycle(e.active[i:], n)
	}
	return i >= 0
}

func (e *evaluator) cycle(members []*frame, again node) {
	path := make([]string, 0, len(members)+1)
	for _, f := range members {
		path = append(path, f.node.String())
	}
	path = append(path, again.String())
	e.add(fault(again.where(), "Cycle", "These need each other, so none of them can come first: %s.", strings.Join(path, " → ")))
}

// where is the place at which a node is declared.
func (n node) where() *hcl.Range {
	m := n.instance.module
	switch n.kind {
	case variableNode:
		return m.variables[n.name].block.DefRange().Ptr()
	case localNode:
		return m.locals[n.name].Range().Ptr()
	case outputNode:
		return &m.outputs[n.name].rng
	case resourceNode:
		return &m.resources[n.name].rng
	case systemNode:
		return &m.providers[n.name].rng
	case expansionNode:
		return &m.calls[n.name].rng
	case callNode:
		return &n.instance.parent.module.calls[n.name].rng
	}
	return nil
}
