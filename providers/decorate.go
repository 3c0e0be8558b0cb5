package providers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// Decoration is behaviour that any Resource gets in the same way. The zero value
// adds nothing.
type Decoration struct {
	// Tries is how often an observation is tried whose error is temporary. Effects
	// are never repeated here: what became of them only observing can tell.
	Tries int
	// Pause waits before the next try, or until ctx is done.
	Pause func(ctx context.Context, try int)
	// Patience, which decorations of one system share, is lost where an observation
	// was tried in vain: a system that is down costs the pauses once, not once for each
	// object. nil is never lost.
	Patience *Patience
	// Slots limits how many observations and effects run at once on one system: as
	// many as the channel's capacity. Decorations of one system share it.
	Slots chan struct{}
	// ReadOnly refuses every effect.
	ReadOnly bool
}

// ErrReadOnly says that an effect was refused because nothing may be changed now.
var ErrReadOnly = errors.New("changing a read-only system")

// Pause waits a little longer before each try: 250 ms, 500 ms, 1 s, …
func Pause(ctx context.Context, try int) {
	timer := time.NewTimer(250 * time.Millisecond << min(try, 5))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Patience remembers that a system was tried in vain. Its zero value is patient; it
// is safe for concurrent use.
type Patience struct {
	mu   sync.Mutex
	lost time.Time
}

// impatience is how long patience stays lost.
const impatience = 5 * time.Second

// lose notes an observation that was tried in vain, and regain one that was not.
func (p *Patience) lose() { p.set(time.Now()) }

func (p *Patience) regain() { p.set(time.Time{}) }

func (p *Patience) set(lost time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = lost
}

// isLost reports whether an observation was tried in vain just now.
func (p *Patience) isLost() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.lost) < impatience
}

// Decorate returns r with the behaviour added.
func Decorate(r Resource, d Decoration) Resource {
	if d.Tries > 1 {
		r = retrying{Resource: r, tries: d.Tries, pause: d.Pause, patience: d.Patience}
	}
	if d.Slots != nil {
		r = limited{Resource: r, slots: d.Slots}
	}
	if d.ReadOnly {
		r = readOnly{Resource: r}
	}
	return r
}

type retrying struct {
	Resource
	tries    int
	pause    func(context.Context, int)
	patience *Patience
}

func (r retrying) Unwrap() any { return r.Resource }

func (r retrying) Observe(ctx context.Context, desired, last cty.Value) (cty.Value, error) {
	for try := 0; ; try++ {
		v, err := r.Resource.Observe(ctx, desired, last)
		var e Error
		switch {
		case err == nil:
			r.patience.regain()
			return v, nil
		case ctx.Err() != nil || !errors.As(err, &e) || !e.Temporary() || r.patience.isLost():
			return v, err
		case try+1 >= r.tries:
			r.patience.lose()
			return v, err
		}
		if r.pause != nil {
			r.pause(ctx, try)
		}
	}
}

type limited struct {
	Resource
	slots chan struct{}
}

func (l limited) Unwrap() any { return l.Resource }

func (l limited) Observe(ctx context.Context, desired, last cty.Value) (cty.Value, error) {
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	return l.Resource.Observe(ctx, desired, last)
}

func (l limited) Apply(ctx context.Context, change Change, log Log) (Outcome, cty.Value, error) {
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	return l.Resource.Apply(ctx, change, log)
}

// BatchKey implements [Batcher]; "" where the resource does not batch.
func (l limited) BatchKey(change Change) string { return batchKey(l.Resource, change) }

// BatchLimit implements [Batcher].
func (l limited) BatchLimit() int { return batchLimit(l.Resource) }

// ApplyBatch implements [Batcher].
func (l limited) ApplyBatch(ctx context.Context, changes []Change, logs []Log) []Result {
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	b, _ := As[Batcher](l.Resource)
	return b.ApplyBatch(ctx, changes, logs)
}

func batchKey(r Resource, change Change) string {
	if b, ok := As[Batcher](r); ok {
		return b.BatchKey(change)
	}
	return ""
}

func batchLimit(r Resource) int {
	if b, ok := As[Batcher](r); ok {
		return b.BatchLimit()
	}
	return 0
}

type readOnly struct{ Resource }

func (r readOnly) Unwrap() any { return r.Resource }

func (r readOnly) Apply(context.Context, Change, Log) (Outcome, cty.Value, error) {
	return NotApplied, cty.NilVal, ErrReadOnly
}

// BatchKey implements [Batcher]; "" where the resource does not batch.
func (r readOnly) BatchKey(change Change) string { return batchKey(r.Resource, change) }

// BatchLimit implements [Batcher].
func (r readOnly) BatchLimit() int { return batchLimit(r.Resource) }

// ApplyBatch implements [Batcher].
func (r readOnly) ApplyBatch(_ context.Context, changes []Change, _ []Log) []Result {
	results := make([]Result, len(changes))
	for i := range results {
		results[i] = Result{Outcome: NotApplied, Err: ErrReadOnly}
	}
	return results
}
