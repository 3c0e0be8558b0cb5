package remote

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// A Stream is a running script seen as a connection: what is written goes to its
// standard input, what is read is its standard output. It serves protocols on
// standard input and output: rsync --server, dsync-server, imap.
//
// Deadlines have no effect; use the context of Runner.Stream to end it.
type Stream struct {
	s       *session
	out     io.Reader
	ended   chan struct{}
	err     error // valid once ended is closed
	closing sync.Once
	closed  chan struct{}
}

var _ net.Conn = (*Stream)(nil)

// stream starts c on l as a connection.
func stream(ctx context.Context, l launcher, c Command) (*Stream, error) {
	c = c.named()
	start := time.Now()
	s, err := begin(ctx, l, c, true)
	if err != nil {
		l.log(c, start, Result{}, err)
		return nil, err
	}
	st := &Stream{
		s:      s,
		out:    io.MultiReader(bytes.NewReader(s.head), s.proc.out),
		ended:  make(chan struct{}),
		closed: make(chan struct{}),
	}
	go func() {
		defer close(st.ended)
		st.err = st.follow(ctx)
		l.log(c, start, Result{}, st.err)
	}()
	return st, nil
}

// follow waits for the end of the script, which ctx or Close may bring about.
func (st *Stream) follow(ctx context.Context) error {
	select {
	case end := <-st.s.proc.done:
		return st.judge(end)
	case <-ctx.Done():
		st.s.l.kill(st.s.pid, st.s.frame.nonce)
		st.s.proc.hangUp()
		return st.s.cut(ctx.Err())
	case <-st.closed:
	}
	// Most protocols end at the end of their input, with a status worth having.
	_ = st.CloseWrite()
	select {
	case end := <-st.s.proc.done:
		return st.judge(end)
	case <-time.After(lingering):
	case <-ctx.Done():
	}
	st.s.l.kill(st.s.pid, st.s.frame.nonce)
	st.s.proc.hangUp()
	if ctx.Err() != nil {
		return st.s.cut(ctx.Err())
	}
	return st.s.cut(net.ErrClosed)
}

func (st *Stream) judge(end exit) error {
	if end.lost != nil {
		return st.s.cut(end.lost)
	}
	if end.status == 0 {
		return nil
	}
	st.s.drain()
	return &ExitError{Machine: st.s.l.String(), Doing: st.s.c.Name, Status: end.status, Stderr: printable(st.s.err.bytes())}
}

// Read reads the script's standard output; io.EOF at its end.
func (st *Stream) Read(p []byte) (int, error) { return st.out.Read(p) }

// Write writes to the script's standard input.
func (st *Stream) Write(p []byte) (int, error) { return st.s.proc.in.Write(p) }

// CloseWrite ends the script's standard input.
func (st *Stream) CloseWrite() error { return st.s.proc.in.Close() }

// Close ends the script's input, then the script if that does not end it, and
// returns what [Stream.Wait] returns. It may be called again.
func (st *Stream) Close() error {
	st.closing.Do(func() { close(st.closed) })
	defer st.s.proc.hangUp()
	return st.Wait()
}

// Wait waits for the end of the script. Its output must be read to the end
// elsewhere. The error is as of Runner.Run.
func (st *Stream) Wait() error {
	<-st.ended
	return st.err
}

// LocalAddr and RemoteAddr name the machine.
func (st *Stream) LocalAddr() net.Addr  { return streamAddr("operator") }
func (st *Stream) RemoteAddr() net.Addr { return streamAddr(st.s.l.String()) }

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing.
func (st *Stream) SetDeadline(time.Time) error      { return nil }
func (st *Stream) SetReadDeadline(time.Time) error  { return nil }
func (st *Stream) SetWriteDeadline(time.Time) error { return nil }

type streamAddr string

func (streamAddr) Network() string  { return "ssh" }
func (a streamAddr) String() string { return string(a) }
