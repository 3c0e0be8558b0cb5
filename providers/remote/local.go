package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// Local runs scripts on this machine, as the user that runs mailmove, by the very
// same line that a Host sends through SSH. It serves tests, and migrations whose
// server is the operator's machine.
type Local struct {
	// State is the state directory. It must be set.
	State string
	// Path replaces the PATH of scripts; tests put directories with stand-ins for
	// a server's programs before the usual ones. It holds no quotes or blanks.
	Path string
}

var (
	_ Runner    = (*Local)(nil)
	_ Forwarder = (*Local)(nil)
)

func (l *Local) String() string   { return "localhost" }
func (l *Local) StateDir() string { return l.State }

// Run implements [Runner].
func (l *Local) Run(ctx context.Context, c Command) (Result, error) { return run(ctx, l, c) }

// Stream implements [Runner].
func (l *Local) Stream(ctx context.Context, c Command) (*Stream, error) { return stream(ctx, l, c) }

// Forward implements [Forwarder].
func (l *Local) Forward(ctx context.Context, handle func(net.Conn)) (*Tunnel, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening on 127.0.0.1: %w", err)
	}
	return newTunnel(listener, handle), nil
}

// Dial implements [Forwarder].
func (l *Local) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func (l *Local) frame(c Command, stream bool) (frame, error) {
	path := l.Path
	if path == "" {
		path = defaultPath
	}
	return newFrame(c, stream, false, path)
}

func (l *Local) launch(_ context.Context, line string) (*process, error) {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as sshd does
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting /bin/sh: %w", err)
	}
	// Pipes of our own: those of exec.Cmd are closed as soon as the process ends,
	// output or not.
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting /bin/sh: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting /bin/sh: %w", err), outR.Close(), outW.Close())
	}
	cmd.Stdout, cmd.Stderr = outW, errW
	err = cmd.Start()
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		return nil, fmt.Errorf("starting /bin/sh: %w", err)
	}
	done := make(chan exit, 1)
	go func() {
		// The status is in ProcessState; a write to a process that has ended is
		// no error of ours.
		_ = cmd.Wait()
		done <- exit{status: exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus))}
	}()
	return &process{in: in, out: outR, err: errR, done: done, hangUp: func() {
		in.Close()
		outR.Close()
		errR.Close()
	}}, nil
}

func exitStatus(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// kill ends the process group of pid, which launch made its own.
func (l *Local) kill(pid int, nonce string) {
	if pid <= 1 || !carries(pid, nonce) {
		return // ended already
	}
	// ESRCH says that the group ended in the meantime.
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	for deadline := time.Now().Add(killGrace); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if syscall.Kill(-pid, 0) != nil {
			return
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// carries reports whether the process still is the script with the nonce. In the
// instant of an exec a process has no environment to be known by, so it looks
// more than once.
func carries(pid int, nonce string) bool {
	for range 10 {
		environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil {
			return false
		}
		if len(environ) > 0 {
			return bytes.Contains(environ, []byte("MAILMOVE_RUN="+nonce))
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// killGrace is how long a script has between SIGTERM and SIGKILL.
const killGrace = 5 * time.Second

func (l *Local) user() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

func (l *Local) log(Command, time.Time, Result, error) {}
