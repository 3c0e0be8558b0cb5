// Package graph is a small directed graph of things that must come one after
// another: dependencies, their cycles, an order, and a frontier of what is ready.
// It knows nothing of what its nodes mean.
//
// A [Graph] is built once; it is not safe for concurrent change. Everything that
// it returns is in the order in which nodes were added, so that the same input
// gives the same output.
package graph

import (
	"fmt"
	"io"
	"strings"
)

// A Graph holds nodes and which of them come before which.
type Graph[K comparable] struct {
	nodes  []K
	index  map[K]int
	before [][]int // before[i] are the nodes that come before node i
	after  [][]int
	edges  map[[2]int]bool
}

// New returns an empty graph.
func New[K comparable]() *Graph[K] {
	return &Graph[K]{index: map[K]int{}, edges: map[[2]int]bool{}}
}

// Add adds nodes; one that is there already stays.
func (g *Graph[K]) Add(nodes ...K) {
	for _, k := range nodes {
		if _, ok := g.index[k]; ok {
			continue
		}
		g.index[k] = len(g.nodes)
		g.nodes = append(g.nodes, k)
		g.before = append(g.before, nil)
		g.after = append(g.after, nil)
	}
}

// Connect says that first comes before second, and adds what is not there yet.
func (g *Graph[K]) Connect(first, second K) {
	g.Add(first, second)
	edge := [2]int{g.index[first], g.index[second]}
	if g.edges[edge] {
		return
	}
	g.edges[edge] = true
	g.before[edge[1]] = append(g.before[edge[1]], edge[0])
	g.after[edge[0]] = append(g.after[edge[0]], edge[1])
}

// Precedes reports whether first comes before second, directly or by way of others.
func (g *Graph[K]) Precedes(first, second K) bool {
	from, ok := g.index[first]
	to, there := g.index[second]
	if !ok || !there {
		return false
	}
	seen := map[int]bool{}
	for next := []int{from}; len(next) > 0; {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		for _, j := range g.after[i] {
			if j == to {
				return true
			}
			if !seen[j] {
				seen[j] = true
				next = append(next, j)
			}
		}
	}
	return false
}

// Len returns the number of nodes.
func (g *Graph[K]) Len() int { return len(g.nodes) }

// A CycleError names the members of a cycle, in order; the first follows the last.
type CycleError[K comparable] struct{ Members []K }

func (e *CycleError[K]) Error() string {
	names := make([]string, 0, len(e.Members)+1)
	for _, k := range e.Members {
		names = append(names, fmt.Sprint(k))
	}
	names = append(names, fmt.Sprint(e.Members[0]))
	return "a cycle: " + strings.Join(names, " → ")
}

// Order returns the nodes so that each comes after those before it, and nodes
// that are free in the order in which they were added. A cycle is a [*CycleError].
func (g *Graph[K]) Order() ([]K, error) {
	f := g.Frontier()
	order := make([]K, 0, len(g.nodes))
	for ready := f.Ready(); len(ready) > 0; ready = f.Ready() {
		for _, k := range ready {
			f.Start(k)
			f.Finish(k)
			order = append(order, k)
		}
	}
	if len(order) < len(g.nodes) {
		return nil, &CycleError[K]{Members: g.cycle()}
	}
	return order, nil
}

// cycle finds one; there is one.
func (g *Graph[K]) cycle() []K {
	const (
		unseen = iota
		open
		closed
	)
	state := make([]int, len(g.nodes))
	var path, found []int
	var visit func(i int) bool
	visit = func(i int) bool {
		state[i] = open
		path = append(path, i)
		for _, next := range g.after[i] {
			if state[next] == open {
				for j := len(path) - 1; j >= 0; j-- {
					if path[j] == next {
						found = append(found, path[j:]...)
						return true
					}
				}
			}
			if state[next] == unseen && visit(next) {
				return true
			}
		}
		path = path[:len(path)-1]
		state[i] = closed
		return false
	}
	for i := range g.nodes {
		if state[i] == unseen && visit(i) {
			break
		}
	}
	members := make([]K, 0, len(found))
	for _, i := range found {
		members = append(members, g.nodes[i])
	}
	return members
}

// DOT writes the graph in Graphviz' language.
func (g *Graph[K]) DOT(w io.Writer, label func(K) string) error {
	var b strings.Builder
	b.WriteString("digraph {\n\trankdir = \"LR\"\n\tnode [shape = \"box\"]\n")
	for i, k := range g.nodes {
		fmt.Fprintf(&b, "\tn%d [label = %q]\n", i, label(k))
	}
	for i := range g.nodes {
		for _, j := range g.after[i] {
			fmt.Fprintf(&b, "\tn%d -> n%d\n", i, j)
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Mermaid writes the graph in Mermaid's language.
func (g *Graph[K]) Mermaid(w io.Writer, label func(K) string) error {
	quote := strings.NewReplacer(`"`, "#quot;", "\n", " ", "`", "'")
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, k := range g.nodes {
		fmt.Fprintf(&b, "  n%d[\"%s\"]\n", i, quote.Replace(label(k)))
	}
	for i := range g.nodes {
		for _, j := range g.after[i] {
			fmt.Fprintf(&b, "  n%d --> n%d\n", i, j)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
