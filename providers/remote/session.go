package remote

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"
)

// readRest starts to collect what the script writes to standard output.
func (s *session) readRest() {
	s.collect(s.out, s.head)
	s.read(s.out, s.proc.out)
}

func (s *session) collect(b *buffer, p []byte) {
	if !b.add(p) {
		s.overflows.Do(func() { close(s.overflow) })
	}
}

// read collects all of r in b. Past the bound it reads on and drops, so that
// nothing blocks while the script is being stopped.
func (s *session) read(b *buffer, r io.Reader) {
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		chunk := make([]byte, 32<<10)
		for {
			n, err := r.Read(chunk)
			s.collect(b, chunk[:n])
			if err != nil {
				return
			}
		}
	}()
}

// wait returns when the script has ended and its output is complete.
func (s *session) wait(ctx context.Context) (exit, error) {
	select {
	case end := <-s.proc.done:
		if end.lost != nil {
			return exit{}, s.cut(end.lost)
		}
		s.drain()
		return end, s.tooMuch()
	default:
	}
	select {
	case end := <-s.proc.done:
		if end.lost != nil {
			return exit{}, s.cut(end.lost)
		}
		s.drain()
		return end, s.tooMuch()
	case <-s.overflow:
		s.l.kill(s.pid, s.frame.nonce)
		return exit{}, s.tooMuch()
	case <-ctx.Done():
		s.l.kill(s.pid, s.frame.nonce)
		return exit{}, s.cut(ctx.Err())
	}
}

func (s *session) cut(cause error) error {
	return &CutError{Machine: s.l.String(), Doing: s.c.Name, Began: true, Err: cause}
}

func (s *session) tooMuch() error {
	select {
	case <-s.overflow:
		return &OutputError{Machine: s.l.String(), Doing: s.c.Name, Limit: s.out.limit}
	default:
		return nil
	}
}

// drain waits for the end of both outputs, or until they have been silent for a
// while: a daemon that the script started may hold them open for ever.
func (s *session) drain() {
	ended := make(chan struct{})
	go func() { s.readers.Wait(); close(ended) }()
	for {
		before := s.out.written() + s.err.written()
		select {
		case <-ended:
			s.err.dropThrough(append(s.frame.begin(), '\n'))
			return
		case <-time.After(lingering):
			if s.out.written()+s.err.written() == before {
				s.err.dropThrough(append(s.frame.begin(), '\n'))
				return
			}
		}
	}
}

// A buffer holds the first bytes of a stream.
type buffer struct {
	mu    sync.Mutex
	data  []byte
	total int
	limit int
}

// add keeps p as far as there is room and reports whether there was.
func (b *buffer) add(p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total += len(p)
	b.data = append(b.data, p[:min(len(p), b.limit-len(b.data))]...)
	return b.total <= b.limit
}

func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.data)
}

func (b *buffer) written() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// dropThrough removes everything up to and including mark.
func (b *buffer) dropThrough(mark []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, after, found := bytes.Cut(b.data, mark); found {
		b.data = after
	}
}
