package remote

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// cuts plays a connection that breaks after some bytes, in either direction, at
// about the given number of points over what a whole run of work takes. work gets a
// Host with a live connection and returns its error.
func cuts(t *testing.T, s *server, points int, prepare func(h *Host), work func(h *Host) error, check func(h *Host, err error)) {
	t.Helper()
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	connected := func() *Host {
		w.arm(-1, -1)
		h := open(t, c)
		checkEcho(t, h, nil, nil)
		return h
	}
	h := connected()
	prepare(h)
	w.arm(-1, -1)
	if err := work(h); err != nil {
		t.Fatal(err)
	}
	sent, received := w.counts()
	cut, clean := 0, 0
	for i := range 2 * points {
		h := connected()
		prepare(h)
		at := [2]int{-1, -1}
		at[i%2] = [2]int{sent, received}[i%2] * (i / 2) / (points - 1)
		w.arm(at[0], at[1])
		err := work(h)
		w.arm(-1, -1)
		var lost *CutError
		switch {
		case err == nil:
			clean++
		case errors.As(err, &lost):
			cut++
			if Temporary(err) == Unknown(err) {
				t.Errorf("cut at %v: temporary %v and unknown %v: %v", at, Temporary(err), Unknown(err), err)
			}
		default:
			t.Errorf("cut at %v: got %v (%T), want a CutError", at, err, err)
		}
		check(h, err)
		if t.Failed() {
			t.Fatalf("cut at %v of %d sent, %d received: %v", at, sent, received, err)
		}
	}
	if cut < points {
		t.Errorf("%d of %d runs were cut: the wire does not work", cut, 2*points)
	}
	t.Logf("%d runs cut, %d whole", cut, clean)
}

// A command whose connection breaks says that it has not begun only if it has not.
func TestRunCut(t *testing.T) {
	s := startServer(t, "")
	mark := s.dir + "/runs"
	cuts(t, s, 8,
		func(*Host) { os.Remove(mark) },
		func(h *Host) error {
			_, err := h.Run(context.Background(), Command{Name: "marking", Script: `echo ran >>"$1"; cat`, Args: []string{mark}, Stdin: make([]byte, 100_000)})
			return err
		},
		func(h *Host, err error) {
			if err == nil || Temporary(err) {
				// What could still run on the server would have to be received first.
				want := "absent"
				if err == nil {
					want = "ran\n"
				}
				if got := read(t, mark); got != want {
					t.Errorf("%v: the runs are %q, want %q", err, got, want)
				}
			}
			checkEcho(t, h, []string{"reconnected"}, nil)
		})
}

func TestEditCut(t *testing.T) {
	s := startServer(t, "")
	file := s.dir + "/etc/map"
	edit := FileEdit{Path: file, Expect: Digest([]byte("old")), Content: []byte(strings.Repeat("new\n", 30_000))}
	cuts(t, s, 8,
		func(h *Host) {
			// An edit cut before may still be at work: this waits for its lock.
			if _, err := Edit(context.Background(), h, "op", FileEdit{Path: s.dir + "/other", Content: []byte("x")}); err != nil {
				t.Error(err)
			}
			write(t, file, "old", 0o640)
		},
		func(h *Host) error { _, err := Edit(context.Background(), h, "op", edit); return err },
		func(h *Host, err error) {
			if got := read(t, file); got != "old" && got != string(edit.Content) || Temporary(err) && got != "old" {
				t.Errorf("%v: the file holds %.20q", err, got)
			}
			if _, err := Edit(context.Background(), h, "op", edit); err != nil {
				t.Errorf("repeated: %v", err)
			}
			checkFile(t, file, string(edit.Content), 0o640)
			if l := leftovers(t, s.dir+"/etc"); len(l) > 0 {
				t.Errorf("left over: %q", l)
			}
		})
}

func TestStartCut(t *testing.T) {
	s := startServer(t, "")
	var mark string
	op := Operation{Name: "marking", Script: `cat >/dev/null; echo ran >>"$1"`, Stdin: make([]byte, 50_000)}
	n := 0
	cuts(t, s, 8,
		func(*Host) {
			n++
			mark = s.dir + "/runs-" + itoa(n)
			op.ID, op.Args = "op-"+itoa(n), []string{mark}
		},
		func(h *Host) error { _, err := Start(context.Background(), h, op); return err },
		func(h *Host, err error) {
			if _, err := Start(context.Background(), h, op); err != nil {
				t.Errorf("repeated: %v", err)
			}
			if s, err := Wait(context.Background(), h, op.ID, nil); err != nil || s.Err() != nil {
				t.Errorf("repeated: %+v, %v", s, err)
			}
			if got := read(t, mark); got != "ran\n" {
				t.Errorf("%v: it ran %q, want once", err, got)
			}
		})
}

// Waiting goes on over lost connections, and misses no output.
func TestWaitCut(t *testing.T) {
	s := startServer(t, "")
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	h := open(t, c)
	op, release := blocked(t, "long")
	if _, err := Start(context.Background(), h, op); err != nil {
		t.Fatal(err)
	}
	var out []byte
	waited := make(chan error, 1)
	go func() {
		s, err := Wait(context.Background(), h, "long", func(p []byte) { out = append(out, p...) })
		waited <- errors.Join(err, s.Err())
	}()
	waitFor(t, "the operation to run", func() bool { return read(t, op.Args[1]) != "absent" })
	for range 3 {
		w.arm(100, -1)
		waitFor(t, "the connection to be used", func() bool { sent, _ := w.counts(); return sent >= 100 })
		w.arm(-1, -1)
	}
	release()
	if err := <-waited; err != nil || string(out) != "first\nthen done\n" {
		t.Errorf("got %v, output %q", err, out)
	}
}

// A connection over which nothing comes any more ends a command by keepalive.
func TestStalledConnection(t *testing.T) {
	s := startServer(t, "")
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	c.KeepAlive = 200 * time.Millisecond
	c.ConnectTimeout = time.Second
	h := open(t, c)
	checkEcho(t, h, nil, nil)
	fifo := s.dir + "/started"
	sh(t, s.dir, "mkfifo started")
	go func() {
		_, _ = os.ReadFile(fifo) // returns when the script has begun
		w.stall(true)
	}()
	_, err := h.Run(context.Background(), Command{Name: "waiting", Script: `echo >"$1"; sleep 60`, Args: []string{fifo}})
	var cut *CutError
	if !errors.As(err, &cut) || !Unknown(err) {
		t.Errorf("got %v, want a CutError that says Unknown", err)
	}
	w.stall(false)
	checkEcho(t, h, []string{"again"}, nil)
}

func TestStreamCut(t *testing.T) {
	s := startServer(t, "")
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	h := open(t, c)
	stream, err := h.Stream(context.Background(), Command{Name: "echoing", Script: "exec cat"})
	if err != nil {
		t.Fatal(err)
	}
	w.arm(-1, 50_000)
	go func() { _, _ = stream.Write(make([]byte, 200_000)) }()
	_, _ = io.Copy(io.Discard, stream)
	var cut *CutError
	if err := stream.Close(); !errors.As(err, &cut) || !Unknown(err) {
		t.Errorf("got %v, want a CutError that says Unknown", err)
	}
}

// The end of the context ends the program behind a stream.
func TestStreamCancelled(t *testing.T) {
	s := startServer(t, "")
	for _, r := range []Runner{testLocal(t), open(t, s.config())} {
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := r.Stream(ctx, Command{Name: "sleeping", Script: `echo $$; exec sleep 1000`})
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 20)
		n, err := stream.Read(line)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := stream.Close(); !errors.Is(err, context.Canceled) || !Unknown(err) {
			t.Errorf("%v: got %v, want a CutError by cancellation", r, err)
		}
		pid := strings.TrimSpace(string(line[:n]))
		waitFor(t, "the program to end", func() bool {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

// A script cannot be torn: of what is cut while it is sent, nothing runs.
func TestNothingRunsOfATornScript(t *testing.T) {
	l := testLocal(t)
	f, err := l.frame(Command{Name: "x", Script: `echo "ran $1" >>"$2"`, Args: []string{"a", l.State + "-mark"}, Stdin: []byte("some data")}, false)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(f.payload) {
		p, err := l.launch(context.Background(), f.line)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.in.Write(f.payload[:n])
		p.in.Close()
		if end := <-p.done; end.status == 0 {
			t.Errorf("%d of %d bytes: status 0", n, len(f.payload))
		}
		p.hangUp()
	}
	if got := read(t, l.State+"-mark"); got != "absent" {
		t.Errorf("a torn script ran: %q", got)
	}
}

// Commands that meet a connection in the very moment of its end come back.
func TestConnectionEndsWhileSessionsOpen(t *testing.T) {
	s := startServer(t, "")
	w := newWire()
	c := s.config()
	c.DialContext = w.dial
	h := open(t, c)
	for range 15 {
		checkEcho(t, h, nil, nil)
		h.mu.Lock()
		client := h.conns[0].client
		h.mu.Unlock()
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				_, err := h.Run(short(t), Command{Name: "racing", Script: "true"})
				done <- err
			}()
		}
		client.Close()
		for range cap(done) {
			if err := <-done; errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want an answer at once", err)
			}
		}
	}
}
