package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A process is a login shell's child, wherever it runs.
type process struct {
	in       io.WriteCloser
	out, err io.Reader
	// done yields one value when the process has ended or the connection is lost.
	done <-chan exit
	// hangUp gives up the channel to the process. It does not end a script.
	hangUp func()
}

// An exit is how a process ended; lost is set if that cannot be known.
type exit struct {
	status int
	lost   error
}

// A launcher starts processes on a machine.
type launcher interface {
	String() string
	// frame lays out a command for this machine.
	frame(c Command, stream bool) (frame, error)
	launch(ctx context.Context, line string) (*process, error)
	// kill ends the script of a frame that began as pid, with its children.
	kill(pid int, nonce string)
	user() string
	log(c Command, began time.Time, res Result, err error)
}

// lingering is how long we wait for the output of a script that has ended while
// a child of it holds the descriptors and is silent.
const lingering = 2 * time.Second

// run runs c on l to its end.
func run(ctx context.Context, l launcher, c Command) (res Result, err error) {
	c = c.named()
	start := time.Now()
	defer func() { l.log(c, start, res, err) }()
	s, err := begin(ctx, l, c, false)
	if err != nil {
		return Result{}, err
	}
	defer s.proc.hangUp()
	s.readRest()
	end, err := s.wait(ctx)
	if err != nil {
		return Result{}, err
	}
	res = Result{Stdout: s.out.bytes(), Stderr: s.err.bytes(), Status: end.status}
	if res.Status != 0 {
		return res, &ExitError{Machine: l.String(), Doing: c.Name, Status: res.Status, Stderr: printable(res.Stderr)}
	}
	return res, nil
}

// A session is a script that has begun.
type session struct {
	l     launcher
	c     Command
	proc  *process
	frame frame
	pid   int
	// head is what was read of the script's standard output together with the
	// begin line.
	head      []byte
	out, err  *buffer
	readers   sync.WaitGroup
	overflow  chan struct{}
	overflows sync.Once
}

// begin starts c and returns when its first line runs.
func begin(ctx context.Context, l launcher, c Command, stream bool) (*session, error) {
	f, err := l.frame(c, stream)
	if err != nil {
		return nil, err
	}
	proc, err := l.launch(ctx, f.line)
	if err != nil {
		return nil, err
	}
	limit := c.MaxOutput
	if limit == 0 {
		limit = DefaultMaxOutput
	}
	s := &session{l: l, c: c, proc: proc, frame: f, overflow: make(chan struct{})}
	s.out, s.err = &buffer{limit: limit}, &buffer{limit: limit}
	s.read(s.err, proc.err)

	sent := make(chan sending, 1)
	go func() { sent <- send(proc.in, f.payload, !stream) }()
	began := make(chan error, 1)
	go func() { began <- s.awaitBegin() }()

	select {
	case err = <-began:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return s, nil
	}
	proc.hangUp()
	return nil, s.notBegun(err, sent)
}

// A sending is how far the payload got.
type sending struct {
	// whole is set if the last byte may have arrived.
	whole bool
	err   error
}

// send writes the payload. Its last byte, without which nothing runs, goes out
// only when everything before it was taken.
func send(w io.WriteCloser, payload []byte, closing bool) sending {
	last := len(payload) - 1
	if _, err := w.Write(payload[:last]); err != nil {
		return sending{err: err}
	}
	_, err := w.Write(payload[last:])
	if err == nil && closing {
		err = w.Close()
	}
	return sending{whole: true, err: err}
}

// errNoBegin means that the output ended before the begin line.
var errNoBegin = errors.New("the connection ended before the script began")

// awaitBegin reads standard output up to the begin line, which the noise of the
// login precedes.
func (s *session) awaitBegin() error {
	var seen []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := s.proc.out.Read(chunk)
		seen = append(seen, chunk[:n]...)
		if _, rest, head, found := s.frame.afterBegin(seen); found {
			s.pid, _ = strconv.Atoi(strings.TrimSpace(string(rest)))
			s.head = bytes.Clone(head)
			return nil
		}
		if err != nil {
			s.out.add(seen)
			return errNoBegin
		}
		if len(seen) > s.out.limit {
			return &OutputError{Machine: s.l.String(), Doing: "logging in", Limit: s.out.limit}
		}
	}
}

// notBegun explains a script whose begin line did not come. The channel has been
// given up, so that both goroutines of begin end.
func (s *session) notBegun(cause error, sent chan sending) error {
	began := true
	select {
	case s := <-sent:
		began = s.whole
	case <-time.After(lingering):
		// Still being sent over a connection that is stuck: nobody knows how far it got.
	}
	var end exit
	select {
	case end = <-s.proc.done:
	case <-time.After(lingering):
		end.lost = cause
	}
	if cause != errNoBegin || end.lost != nil {
		if cause == errNoBegin && end.lost != nil {
			cause = end.lost
		}
		return &CutError{Machine: s.l.String(), Doing: s.c.Name, Began: began, Err: cause}
	}
	s.readers.Wait()
	said := s.err.bytes()
	if len(said) == 0 {
		said = s.out.bytes()
	}
	if s.frame.sudo && bytes.Contains(said, []byte("sudo")) {
		return &SudoError{Machine: s.l.String(), User: s.l.user(), Said: printable(said)}
	}
	return &ShellError{Machine: s.l.String(), Status: end.status, Said: printable(said)}
}
