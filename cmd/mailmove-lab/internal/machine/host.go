// Package machine runs hosts: each is a process tree of its own with its own root file system, process numbers, name,
// mounts and network, started from one image (package image) on the running kernel.
//
// A host's disk is an overlay whose own layer lies below [Host.Dir]; it outlives [Host.Kill], so that a host can be
// started again as after a power cut. Its first process is this program (see [Init]); it mounts, sets up, starts the
// daemons and reaps. Everything a host mounts is in its own mount namespace and vanishes with it.
//
// A host's network namespace has a name (ip netns), made and removed by the owner of the network, so that a host can be
// reached with [Host.Dial] from this process without any address in or route to the machine's own network.
package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Host is one machine of a lab.
type Host struct {
	Name  string // also its host name
	FQDN  string // its full name
	NetNS string // the name of its network namespace
	Dir   string // holds its disk and its records
	Image string // where the image's file system is mounted
}

// Layer returns where path of the host's own disk layer lies. It is for writing files before the first start only;
// afterwards use [Host.Path].
func (h *Host) Layer(path string) string { return filepath.Join(h.Dir, "upper", path) }

// Path returns where path of the running host can be read and written from outside.
func (h *Host) Path(path string) (string, error) {
	pid, err := h.PID()
	if err != nil {
		return "", err
	}
	return filepath.Join("/proc", strconv.Itoa(pid), "root", path), nil
}

// Prepare makes the host's disk: empty, but for directories which hide what the machine itself keeps in the same place.
func (h *Host) Prepare() error {
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(h.Dir, dir), 0o755); err != nil {
			return fmt.Errorf("making disk of %s: %w", h.Name, err)
		}
	}
	return h.hideMachine()
}

// hideMachine covers everything of the machine's own that is not Debian's: homes, logs, jobs, local software, and
// whatever else stands at the top of its tree.
func (h *Host) hideMachine() error {
	standard := map[string]bool{"bin": true, "boot": true, "dev": true, "etc": true, "lib": true, "lib32": true, "lib64": true,
		"libx32": true, "proc": true, "run": true, "sbin": true, "sys": true, "tmp": true, "usr": true, "var": true}
	hidden := []string{"usr/local", "var/log", "var/cache", "var/tmp", "var/spool/cron", "etc/cron.d", "etc/cron.hourly",
		"etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly"}
	entries, err := os.ReadDir("/")
	if err != nil {
		return fmt.Errorf("reading /: %w", err)
	}
	for _, entry := range entries {
		switch {
		case standard[entry.Name()]:
		case entry.IsDir():
			hidden = append(hidden, entry.Name())
		default:
			// Overlayfs takes a character device 0/0 for "not there".
			if err := unix.Mknod(h.Layer(entry.Name()), unix.S_IFCHR, 0); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("hiding /%s: %w", entry.Name(), err)
			}
		}
	}
	for _, dir := range hidden {
		if err := h.Hide(dir); err != nil {
			return err
		}
	}
	if err := os.Chmod(h.Layer("var/tmp"), 0o1777|os.ModeSticky); err != nil {
		return err
	}
	return os.Chmod(h.Layer("root"), 0o700)
}

// Hide makes dir an empty directory, whatever the image has there.
func (h *Host) Hide(dir string) error {
	path := h.Layer(dir)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	if err := unix.Setxattr(path, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		return fmt.Errorf("making %s opaque: %w", path, err)
	}
	return nil
}

// Start boots the host and returns when its daemons have been started, which does not mean that they answer.
func (h *Host) Start(ctx context.Context) error {
	if _, err := h.PID(); err == nil {
		return fmt.Errorf("starting %s: it is running", h.Name)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	spec, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	console, err := os.OpenFile(filepath.Join(h.Dir, "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	defer console.Close()
	os.Remove(filepath.Join(h.Dir, readyFile))

	cmd := exec.Command(self, InitCommand, string(spec))
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + path, "LANG=C.UTF-8", "HOME=/root"}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setsid:     true,
	}
	if err := h.inNetNS(cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	record := fmt.Sprintf("%d %s", cmd.Process.Pid, startTime(cmd.Process.Pid))
	if err := os.WriteFile(filepath.Join(h.Dir, "pid"), []byte(record), 0o644); err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", h.Name, err), cmd.Process.Kill())
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }() // how it ended stands on the console
	return h.waitReady(ctx, exited)
}

func (h *Host) waitReady(ctx context.Context, exited <-chan struct{}) error {
	for {
		if data, err := os.ReadFile(filepath.Join(h.Dir, readyFile)); err == nil {
			if message := strings.TrimSpace(string(data)); message != "" {
				return fmt.Errorf("booting %s: %s\n%s", h.Name, message, h.consoleTail())
			}
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("booting %s: its first process ended\n%s", h.Name, h.consoleTail())
		case <-ctx.Done():
			return fmt.Errorf("booting %s: %w\n%s", h.Name, ctx.Err(), h.consoleTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (h *Host) consoleTail() string {
	data, _ := os.ReadFile(filepath.Join(h.Dir, "console")) // only for an error message
	return string(data[max(0, len(data)-3000):])
}

// Kill ends every process of the host at once, as a power cut does. Its disk stays. A host that is not running is no error.
func (h *Host) Kill(ctx context.Context) error {
	pid, err := h.PID()
	if err != nil {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing %s: %w", h.Name, err)
	}
	// The kernel kills the others of a process namespace before its first process is gone.
	for {
		if _, err := h.PID(); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("killing %s: %w", h.Name, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// PID returns the number of the host's first process, or an error if the host is not running.
func (h *Host) PID() (int, error) {
	data, err := os.ReadFile(filepath.Join(h.Dir, "pid"))
	if err != nil {
		return 0, fmt.Errorf("host %s is not running", h.Name)
	}
	number, started, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || started == "" || startTime(pid) != started {
		return 0, fmt.Errorf("host %s is not running", h.Name)
	}
	return pid, nil
}

// startTime returns when process pid was started, in the kernel's ticks, which tells it from a later one with its
// number; "" if there is none or if it has ended and only waits to be reaped.
func startTime(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// proc(5): the name in parentheses may hold blanks; field 3 is the state, field 22 the start time.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// Command returns a command that will run argv as root in the host.
func (h *Host) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := h.PID()
	if err != nil {
		return nil, err
	}
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/root", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
	cmd.Env = []string{"PATH=" + path, "LANG=C.UTF-8", "HOME=/root", "USER=root", "LOGNAME=root"}
	if term, ok := os.LookupEnv("TERM"); ok {
		cmd.Env = append(cmd.Env, "TERM="+term)
	}
	return cmd, nil
}

// Run runs argv as root in the host with stdin and returns what it printed. An error holds what it said.
func (h *Host) Run(ctx context.Context, stdin io.Reader, argv ...string) ([]byte, error) {
	cmd, err := h.Command(ctx, argv...)
	if err != nil {
		return nil, err
	}
	var output, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &output, &complaint
	if err := cmd.Run(); err != nil {
		return output.Bytes(), fmt.Errorf("running %s on %s: %w: %s", argv[0], h.Name, err, strings.TrimSpace(complaint.String()))
	}
	return output.Bytes(), nil
}

// Dial connects from within the host's network to address, which must be an IP address with a port.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	inside := h.inNetNS(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, inside
}

// inNetNS calls f on a thread in the host's network namespace; sockets and processes made there stay in it.
func (h *Host) inNetNS(f func() error) error {
	result := make(chan error, 1)
	go func() { // of its own, as a thread that could not be brought back must end with its goroutine
		runtime.LockOSThread()
		here, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			result <- err
			return
		}
		defer here.Close()
		there, err := os.Open(filepath.Join("/run/netns", h.NetNS))
		if err != nil {
			result <- err
			return
		}
		defer there.Close()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("entering network of %s: %w", h.Name, err)
			return
		}
		err = f()
		if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
