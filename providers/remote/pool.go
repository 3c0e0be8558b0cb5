package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// sessionsPerConn stays below sshd's MaxSessions of 10, so that there is always
	// room for the session that kills a script.
	sessionsPerConn = 8
	connsPerHost    = 8
)

// errClosed is the error of a Host after Close.
var errClosed = errors.New("the connection was closed by this program")

// A conn is one SSH connection of a Host.
type conn struct {
	client *ssh.Client
	// lost is closed when the connection has ended.
	lost chan struct{}
	// sessions counts those in use, limit those that the server was seen to bear.
	// Both are guarded by Host.mu.
	sessions, limit int
}

// withSession opens a session on a connection that has room for one and keeps its
// place until release is called.
func (h *Host) withSession(ctx context.Context, open func(context.Context, *ssh.Client) error) (release func(), err error) {
	for {
		c, err := h.withConn(ctx, (*conn).hasRoom, open)
		if err == nil {
			return func() { h.release(c) }, nil
		}
		if c == nil {
			return nil, err
		}
		h.release(c)
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || !h.shrink(c) {
			return nil, err
		}
		// The server bears fewer sessions on a connection than we thought.
	}
}

// withConn calls open with a connection that fits. A connection that turns out to
// be dead is replaced; nothing has run on it then. The connection is returned,
// with its place taken, if open succeeded or the server refused.
func (h *Host) withConn(ctx context.Context, fits func(*conn) bool, open func(context.Context, *ssh.Client) error) (*conn, error) {
	for {
		c, fresh, err := h.acquire(ctx, fits)
		if err != nil {
			return nil, err
		}
		err = c.open(ctx, open)
		var refused *ssh.OpenChannelError
		if err == nil || errors.As(err, &refused) {
			return c, err
		}
		h.release(c)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.alive() {
			return nil, err
		}
		h.drop(c)
		if fresh {
			return nil, err
		}
	}
}

// open calls f with a context that also ends with the connection: x/crypto waits for
// ever for the answer to a channel that is opened while its connection breaks.
func (c *conn) open(ctx context.Context, f func(context.Context, *ssh.Client) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.lost:
			cancel(errNoStatus)
		case <-ctx.Done():
		}
	}()
	err := f(ctx, c.client)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// alive reports whether the connection still answers.
func (c *conn) alive() bool {
	_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

// hasRoom and isThere are what acquire can be asked for: forwarded connections do
// not count as sessions.
func (c *conn) hasRoom() bool { return c.sessions < c.limit }
func (c *conn) isThere() bool { return true }

// acquire takes a place on a connection that fits, on a new one if need be. One
// connection is made at a time, and all who wait for it share its failure: a server
// that is away is not called once for each of them.
func (h *Host) acquire(ctx context.Context, fits func(*conn) bool) (c *conn, fresh bool, err error) {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return nil, false, errClosed
		}
		for _, c := range h.conns {
			if fits(c) {
				c.sessions++
				h.mu.Unlock()
				return c, false, nil
			}
		}
		free, making := h.free, h.making
		ours := making == nil && len(h.conns) < connsPerHost
		if ours {
			making = &attempt{done: make(chan struct{})}
			h.making = making
		}
		h.mu.Unlock()
		if ours {
			c, err := h.add(ctx)
			making.err = err
			h.mu.Lock()
			h.making = nil
			h.mu.Unlock()
			close(making.done)
			return c, true, err
		}
		var made <-chan struct{}
		if making != nil {
			made = making.done
		}
		select {
		case <-free:
		case <-made:
			// A context of somebody else that ended is no failure of ours.
			var cut *CutError
			if making.err != nil && !errors.As(making.err, &cut) {
				return nil, true, making.err
			}
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// An attempt is a connection being made.
type attempt struct {
	done chan struct{}
	err  error // valid once done is closed
}

// add connects and takes the first session of the new connection.
func (h *Host) add(ctx context.Context) (*conn, error) {
	client, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{client: client, lost: make(chan struct{}), sessions: 1, limit: sessionsPerConn}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, errors.Join(errClosed, client.Close())
	}
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	go func() {
		// Why a connection ended is told by whoever used it.
		_ = client.Wait()
		close(c.lost)
		h.drop(c)
	}()
	go h.keepAlive(client, c.lost)
	return c, nil
}

func (h *Host) release(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.sessions--
	close(h.free)
	h.free = make(chan struct{})
}

// shrink notes that the server refused a session on c and reports whether it may
// be tried elsewhere: if c bore none at all, it may not.
func (h *Host) shrink(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.sessions == 0 {
		return false
	}
	c.limit = c.sessions
	return true
}

func (h *Host) drop(c *conn) {
	h.mu.Lock()
	h.conns = slices.DeleteFunc(h.conns, func(o *conn) bool { return o == c })
	close(h.free)
	h.free = make(chan struct{})
	h.mu.Unlock()
	// It is lost, or unusable: there is nobody to tell.
	_ = c.client.Close()
}

// keepAlive closes a connection that no longer answers, so that whoever waits on
// it learns of it (a cut that sends no packet otherwise lasts for ever).
func (h *Host) keepAlive(client *ssh.Client, lost <-chan struct{}) {
	ticker := time.NewTicker(h.config.KeepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-lost:
			return
		case <-ticker.C:
		}
		answered := make(chan error, 1)
		go func() {
			_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
			answered <- err
		}()
		select {
		case <-lost:
			return
		case <-answered:
		case <-time.After(3 * h.config.KeepAlive):
			_ = client.Close()
			return
		}
	}
}

// Dial implements [Forwarder].
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var opened net.Conn
	c, err := h.withConn(ctx, (*conn).isThere, func(ctx context.Context, client *ssh.Client) (err error) {
		opened, err = client.DialContext(ctx, network, address)
		return err
	})
	if c != nil {
		h.release(c)
	}
	if err != nil {
		return nil, h.forwardingError("connecting to "+address+" through "+h.String(), err)
	}
	return opened, nil
}

// Forward implements [Forwarder]. The tunnel ends with the SSH connection.
func (h *Host) Forward(ctx context.Context, handle func(net.Conn)) (*Tunnel, error) {
	var listener net.Listener
	c, err := h.withConn(ctx, (*conn).isThere, func(ctx context.Context, client *ssh.Client) (err error) {
		listener, err = client.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if c != nil {
		h.release(c)
	}
	if err != nil {
		return nil, h.forwardingError("listening on 127.0.0.1 of "+h.String(), err)
	}
	return newTunnel(listener, handle), nil
}

// A ForwardingError says that the server would not carry a connection.
type ForwardingError struct {
	Doing string
	Err   error
}

func (e *ForwardingError) Error() string   { return fmt.Sprintf("%s: %v", e.Doing, e.Err) }
func (e *ForwardingError) Unwrap() error   { return e.Err }
func (e *ForwardingError) Temporary() bool { return false }
func (e *ForwardingError) Hint() string {
	return "Check that something listens there and that sshd_config has AllowTcpForwarding yes."
}

// forwardingError leaves errors of the connection as they are.
func (h *Host) forwardingError(doing string, err error) error {
	var ours interface{ Hint() string }
	if errors.As(err, &ours) {
		return err
	}
	return &ForwardingError{Doing: doing, Err: err}
}
