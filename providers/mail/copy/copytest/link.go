package copytest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// A link is one connection through a proxy.
type link struct {
	proxy          *Proxy
	number         int
	client, server *net.TCPConn
	delay          time.Duration
	counts         [2]int64 // octets passed on, by side; under the proxy's lock

	alive context.Context
	end   context.CancelFunc
}

// window is how many octets of a side may be on the way, as that of a long connection.
const window = 4 << 20

// A parcel is what was read at once, and when it is to arrive.
type parcel struct {
	octets []byte
	due    time.Time
}

// run passes octets both ways until both sides have ended, or the connection is lost.
func (l *link) run() {
	var both sync.WaitGroup
	both.Go(func() { l.pass(FromServer, l.server, l.client) })
	both.Go(func() { l.pass(FromClient, l.client, l.server) })
	both.Wait()
	l.end()
	l.client.Close()
	l.server.Close()
}

// pass passes the octets of one side on.
func (l *link) pass(side Side, from, to *net.TCPConn) {
	way := make(chan parcel, 1<<16)
	room := semaphore.NewWeighted(window)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(way)
		l.read(from, way, room)
	})
	l.deliver(side, from, to, way, room)
	for p := range way { // what comes after the end of what is passed on
		room.Release(int64(len(p.octets)))
	}
	reader.Wait()
}

// read puts what comes on its way.
func (l *link) read(from *net.TCPConn, way chan<- parcel, room *semaphore.Weighted) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if room.Acquire(l.alive, int64(n)) != nil {
				return // the connection is lost
			}
			way <- parcel{append([]byte(nil), buffer[:n]...), time.Now().Add(l.delay)}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			l.reset()
			return
		}
	}
}

// deliver writes parcels when they are due, and has the connection meet its fate.
func (l *link) deliver(side Side, from, to *net.TCPConn, way <-chan parcel, room *semaphore.Weighted) {
	var passed int64
	for {
		if fate, left := l.proxy.next(l.number, side, passed); left == 0 {
			l.meet(fate, from, to)
			return
		}
		var p parcel
		open := false
		select {
		case p, open = <-way:
		case <-l.alive.Done():
			return
		}
		if !open {
			_ = to.CloseWrite() // an error means that the connection is gone
			return
		}
		room.Release(int64(len(p.octets)))
		select {
		case <-time.After(time.Until(p.due)):
		case <-l.alive.Done():
			return
		}
		// A rule may have come while the octets were on their way.
		fate, left := l.proxy.next(l.number, side, passed)
		last := left >= 0 && left <= int64(len(p.octets))
		if last {
			p.octets = p.octets[:left]
		}
		n, err := to.Write(p.octets)
		passed += int64(n)
		l.count(side, passed)
		if err != nil {
			l.reset()
			return
		}
		if last {
			l.meet(fate, from, to)
			return
		}
	}
}

func (l *link) meet(fate fate, from, to *net.TCPConn) {
	switch fate {
	case cut:
		// Closed as usual, so that what has been written arrives. The kernel makes a reset of it for a side of which it
		// has octets that nobody read, or that goes on to write.
		to.Close()
		from.Close()
		l.end()
	case finish:
		_ = to.CloseWrite() // an error means that the connection is gone
	case stall:
		<-l.alive.Done()
	}
}

func (l *link) count(side Side, passed int64) {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	l.counts[side] = passed
}

// reset loses the connection; what waits in the kernel is not sent.
func (l *link) reset() {
	l.end()
	resetConn(l.client)
	resetConn(l.server)
}

func resetConn(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // an error means that the connection is gone
	conn.Close()
}
