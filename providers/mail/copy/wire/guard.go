package wire

import (
	"net"
	"sync"
	"time"
)

// A guard is a connection that is closed when the server owes something and no byte
// moves for too long. It lies under TLS and compression, and needs nothing of the
// connection but Close: an SSH channel has no deadlines.
type guard struct {
	net.Conn
	idle time.Duration

	mu    sync.Mutex
	owed  int       // answers the server must give, writes it must take
	moved time.Time // when a byte last moved, or something began to be owed
	timer *time.Timer
	cause error // why we closed the connection
}

func newGuard(conn net.Conn, idle time.Duration) *guard {
	g := &guard{Conn: conn, idle: idle}
	g.timer = time.AfterFunc(idle, g.expire)
	g.timer.Stop()
	return g
}

// owe says that the server must now do something, settle that it has.
func (g *guard) owe() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owed++
	if g.owed == 1 {
		g.moved = time.Now()
		g.timer.Reset(g.idle)
	}
}

func (g *guard) settle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owed--
	if g.owed == 0 {
		g.timer.Stop()
	}
}

func (g *guard) expire() {
	g.mu.Lock()
	if g.owed == 0 {
		g.mu.Unlock()
		return
	}
	if quiet := time.Since(g.moved); quiet < g.idle {
		g.timer.Reset(g.idle - quiet)
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	g.kill(&SilenceError{After: g.idle})
}

func (g *guard) progress() {
	g.mu.Lock()
	g.moved = time.Now()
	g.mu.Unlock()
}

// kill closes the connection; reads and writes, also those under way, end with cause.
func (g *guard) kill(cause error) {
	g.mu.Lock()
	if g.cause == nil {
		g.cause = cause
	}
	g.timer.Stop()
	g.mu.Unlock()
	_ = g.Conn.Close() // the cause is what is told
}

// because replaces the error that our own kill led to by its cause.
func (g *guard) because(err error) error {
	if err == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause != nil {
		return g.cause
	}
	return err
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 {
		g.progress()
	}
	return n, g.because(err)
}

// Write writes in pieces, so that a slow network is seen to move.
func (g *guard) Write(p []byte) (int, error) {
	g.owe()
	defer g.settle()
	const piece = 16 << 10 // as much as a record of TLS
	written := 0
	for written < len(p) {
		n, err := g.Conn.Write(p[written:min(len(p), written+piece)])
		written += n
		if err != nil {
			return written, g.because(err)
		}
		g.progress()
	}
	return written, nil
}

func (g *guard) Close() error {
	g.kill(net.ErrClosed)
	return nil
}
