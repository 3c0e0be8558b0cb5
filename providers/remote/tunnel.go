package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A Tunnel is a port of a machine's loopback whose connections end here.
type Tunnel struct {
	listener net.Listener
	port     int
	closing  sync.Once
	done     chan struct{}
	mu       sync.Mutex
	conns    map[net.Conn]bool
	handlers sync.WaitGroup
}

func newTunnel(listener net.Listener, handle func(net.Conn)) *Tunnel {
	t := &Tunnel{
		listener: listener,
		port:     listener.Addr().(*net.TCPAddr).Port,
		done:     make(chan struct{}),
		conns:    map[net.Conn]bool{},
	}
	go t.accept(handle)
	return t
}

func (t *Tunnel) accept(handle func(net.Conn)) {
	defer close(t.done)
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		t.conns[conn] = true
		t.mu.Unlock()
		t.handlers.Go(func() {
			handle(conn)
			conn.Close()
			t.mu.Lock()
			delete(t.conns, conn)
			t.mu.Unlock()
		})
	}
}

// Port is the port on the machine's 127.0.0.1.
func (t *Tunnel) Port() int { return t.port }

// Done is closed when no further connection can come: after Close, or when the
// connection to the machine is lost.
func (t *Tunnel) Done() <-chan struct{} { return t.done }

// Close gives up the port, closes what came through it and waits for the handlers.
func (t *Tunnel) Close() error {
	var err error
	t.closing.Do(func() {
		err = t.listener.Close()
		<-t.done
		t.mu.Lock()
		for conn := range t.conns {
			conn.Close()
		}
		t.mu.Unlock()
		t.handlers.Wait()
	})
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("closing the forwarded port %d: %w", t.port, err)
	}
	return nil
}

// Bridge joins two connections until both have ended, and closes them. The end of
// one direction is passed on as such, so that protocols that end their own side
// first lose nothing. The error is that of the first direction that failed; then
// both are closed at once.
func Bridge(a, b net.Conn) error {
	errs := make(chan error, 2)
	go func() { errs <- pipe(a, b) }()
	go func() { errs <- pipe(b, a) }()
	first := <-errs
	if first != nil {
		a.Close()
		b.Close()
	}
	second := <-errs
	if first == nil && second != nil {
		first = second
	}
	// Close reports how a Stream's script ended: that is part of the outcome.
	return errors.Join(first, closed(a.Close()), closed(b.Close()))
}

// pipe copies src to dst and passes on the end.
func pipe(dst, src net.Conn) error {
	if _, err := io.Copy(dst, src); err != nil {
		return fmt.Errorf("passing on from %v to %v: %w", src.RemoteAddr(), dst.RemoteAddr(), err)
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		return closed(half.CloseWrite())
	}
	return closed(dst.Close())
}

// closed drops the error of closing something that is closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
