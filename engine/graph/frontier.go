package graph

// A Frontier walks a graph: it says which nodes become ready, that is, have all nodes
// before them finished. The walker decides how many run at
// once. A failed node holds back what comes after it and nothing else.
type Frontier[K comparable] struct {
	g       *Graph[K]
	waiting []int // nodes before it that are not finished
	state   []nodeState
	counts  [failed + 1]int // nodes by state
	ready   []int
}

type nodeState uint8

const (
	pending nodeState = iota
	started
	finished
	failed
)

// Frontier returns the start of a walk.
func (g *Graph[K]) Frontier() *Frontier[K] {
	f := &Frontier[K]{g: g, waiting: make([]int, len(g.nodes)), state: make([]nodeState, len(g.nodes))}
	f.counts[pending] = len(g.nodes)
	for i := range g.nodes {
		f.waiting[i] = len(g.before[i])
		if f.waiting[i] == 0 {
			f.ready = append(f.ready, i)
		}
	}
	return f
}

// Ready returns the nodes that have become ready since it was last asked.
func (f *Frontier[K]) Ready() []K {
	nodes := make([]K, len(f.ready))
	for n, i := range f.ready {
		nodes[n] = f.g.nodes[i]
	}
	f.ready = f.ready[:0]
	return nodes
}

// Start takes a ready node.
func (f *Frontier[K]) Start(k K) { f.move(f.g.index[k], started) }

// Finish says that a started node is done, so that what comes after it may be ready.
func (f *Frontier[K]) Finish(k K) {
	i := f.g.index[k]
	f.move(i, finished)
	for _, next := range f.g.after[i] {
		if f.waiting[next]--; f.waiting[next] == 0 {
			f.ready = append(f.ready, next)
		}
	}
}

// Fail says that a started node is not done; what comes after it never gets ready.
func (f *Frontier[K]) Fail(k K) { f.move(f.g.index[k], failed) }

func (f *Frontier[K]) move(i int, to nodeState) {
	f.counts[f.state[i]]--
	f.state[i] = to
	f.counts[to]++
}

// Running returns the number of nodes that are started and neither finished nor failed.
func (f *Frontier[K]) Running() int { return f.counts[started] }

// Held returns the nodes that a failed node holds back.
func (f *Frontier[K]) Held() []K {
	var nodes []K
	for i, s := range f.state {
		if s == pending && f.waiting[i] > 0 {
			nodes = append(nodes, f.g.nodes[i])
		}
	}
	return nodes
}

// Done reports whether every node is finished.
func (f *Frontier[K]) Done() bool { return f.counts[finished] == len(f.state) }

// Retry takes a started node back, so that it is ready again.
func (f *Frontier[K]) Retry(k K) {
	i := f.g.index[k]
	f.move(i, pending)
	f.ready = append(f.ready, i)
}
