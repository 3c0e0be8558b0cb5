package copytest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a server, passes their octets on unchanged, and fails where it is told to. It
// counts octets of TCP: under TLS those of its records, otherwise those of IMAP.
//
//	proxy := copytest.NewProxy(t, server.IMAP)
//	proxy.Cut(2, copytest.FromServer, 4711) // the second connection is lost after 4711 octets of the server
type Proxy struct {
	Address string // 127.0.0.1:port

	target   string
	listener net.Listener

	mu    sync.Mutex
	delay time.Duration
	rules map[int][]rule // by the number of the connection, 0 for every one
	links []*link
	done  bool
	group sync.WaitGroup
}

// Side is where octets come from.
type Side int

const (
	FromServer Side = iota
	FromClient
)

func (s Side) String() string { return [...]string{"server", "client"}[s] }

// A rule is what becomes of a connection when a number of octets of one side have been passed on.
type rule struct {
	side  Side
	after int64
	fate  fate
}

type fate int

const (
	cut    fate = iota // the connection is lost
	finish             // the end of this side's octets; the other side goes on
	stall              // nothing of this side is passed on any more, and nothing is said
)

// NewProxy listens on 127.0.0.1 and connects to target for each connection. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening for a proxy: %v", err)
	}
	p := &Proxy{Address: listener.Addr().String(), target: target, listener: listener, rules: map[int][]rule{}}
	p.group.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Cut loses connection k, counted from 1, after n octets from one side: the peer receives these n, then sees the end;
// the side itself sees the end or a reset. 0 for k is every connection. A connection that has passed n octets before it was told so
// is cut at the next one.
func (p *Proxy) Cut(k int, side Side, n int64) { p.add(k, rule{side, n, cut}) }

// HalfClose ends one side's octets of connection k after n of them, as a peer does that has said its last word and
// still listens.
func (p *Proxy) HalfClose(k int, side Side, n int64) { p.add(k, rule{side, n, finish}) }

// Stall keeps everything that comes from one side after n octets of connection k, and keeps the connection open.
func (p *Proxy) Stall(k int, side Side, n int64) { p.add(k, rule{side, n, stall}) }

// Delay lets every octet arrive a while after it was sent, in both directions: a round trip takes twice as long. Any
// number of octets may be on the way. It holds for new connections.
func (p *Proxy) Delay(each time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = each
}

// Heal removes all rules; connections that are stalled stay so.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = map[int][]rule{}
}

func (p *Proxy) add(k int, r rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[k] = append(p.rules[k], r)
}

// CutAll loses every connection that there is.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	links := p.links
	p.mu.Unlock()
	for _, l := range links {
		l.reset()
	}
}

// Connections is how many connections there have been.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Count returns how many octets of a side were passed on in connection k, or in all of them if k is 0.
func (p *Proxy) Count(k int, side Side) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum int64
	for i, l := range p.links {
		if k == 0 || k == i+1 {
			sum += l.counts[side]
		}
	}
	return sum
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			resetConn(client.(*net.TCPConn)) // as a server does that is down
			continue
		}
		p.link(client.(*net.TCPConn), server.(*net.TCPConn))
	}
}

func (p *Proxy) link(client, server *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &link{proxy: p, number: len(p.links) + 1, client: client, server: server, delay: p.delay}
	l.alive, l.end = context.WithCancel(context.Background())
	if p.done {
		l.reset()
		return
	}
	p.links = append(p.links, l)
	p.group.Go(l.run)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.done = true
	p.mu.Unlock()
	p.listener.Close()
	p.CutAll()
	p.group.Wait()
}

// next returns what becomes of a connection after some octets of a side, and how many octets it has until then; -1 if
// nothing does.
func (p *Proxy) next(number int, side Side, passed int64) (fate, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first fate
	left := int64(-1)
	for _, k := range []int{0, number} {
		for _, r := range p.rules[k] {
			if until := max(0, r.after-passed); r.side == side && (left < 0 || until < left) {
				first, left = r.fate, until
			}
		}
	}
	return first, left
}
