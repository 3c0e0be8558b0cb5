package copytest

import (
	"bytes"
	_ "embed"
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
)

//go:embed chamber.sh
var chamberScript string

// A chamber is a process tree with a root file system of its own. What it writes below /srv is kept from one start to
// the next; everything else it writes is not.
type chamber struct {
	dir  string // holds srv, the log of the first process, and the layers
	tree string // the unpacked packages

	starts int
	init   *os.Process   // the first process, nil if none runs
	ended  chan struct{} // closed when it has ended
}

// srv returns where a path below the server's /srv is for the test.
func (c *chamber) srv(path ...string) string {
	return filepath.Join(append([]string{c.dir, "srv"}, path...)...)
}

func (c *chamber) console() string { return filepath.Join(c.dir, "console") }

// ownDir makes a directory below /srv that is of the user who owns mail.
func (c *chamber) ownDir(name string) error {
	dir := c.srv(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chown(dir, mailUID, mailUID)
}

// syslog takes what the server sends to /dev/log (RFC 3164) and writes it to a file, until the chamber's owner closes
// it.
func (c *chamber) syslog(file string) (io.Closer, error) {
	dir, err := os.Open(c.srv())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// The name of a socket has 107 octets at most, that of a test's directory may have more.
	name := fmt.Sprintf("/proc/self/fd/%d/syslog", dir.Fd())
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		err = os.Chmod(c.srv("syslog"), 0o777)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	go func() {
		defer log.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return // closed
			}
			fmt.Fprintf(log, "%s\n", bytes.TrimRight(buffer[:n], "\n\x00"))
		}
	}()
	return socket, nil
}

// start runs argv; files are written first, below the chamber's root.
func (c *chamber) start(files map[string]string, argv ...string) error {
	c.starts++
	// A layer of its own each time: the one before may still be mounted for a moment.
	layer := filepath.Join(c.dir, "layer"+strconv.Itoa(c.starts))
	for name, text := range files {
		file := filepath.Join(layer, "upper", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.srv(), 0o755); err != nil {
		return err
	}
	console, err := os.OpenFile(c.console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", chamberScript, "chamber", c.dir, c.tree, layer}, argv...)...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // an interrupt at the terminal is for the test, which then ends this
	}
	started := make(chan error)
	ended := make(chan struct{})
	go func() {
		// The signal is sent when the thread that started the process ends, so that one has to stay.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands on the console
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	c.init, c.ended = cmd.Process, ended
	return nil
}

// stop asks the server to end, and waits.
func (c *chamber) stop() error {
	if c.init == nil {
		return nil
	}
	if err := c.init.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-c.ended:
		c.init = nil
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("the server was asked to end a minute ago and still runs")
	}
}

// kill ends all processes of the chamber at once. One that does not run is no error.
func (c *chamber) kill() {
	if c.init == nil {
		return
	}
	_ = c.init.Kill() // an error means that it has ended
	<-c.ended
	c.init = nil
}

// command returns one that will run in the running chamber.
func (c *chamber) command(argv ...string) (*exec.Cmd, error) {
	if c.init == nil {
		return nil, fmt.Errorf("running %s: the server does not run", argv[0])
	}
	pid, err := c.process()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", argv[0], err)
	}
	cmd := exec.Command("nsenter", append([]string{"--target", pid, "--mount", "--pid", "--root", "--wdns=/", "--"}, argv...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/srv"}
	return cmd, nil
}

// process returns the number of the server's process, once the chamber is made. The first process has the machine's
// root, this one the chamber's.
func (c *chamber) process() (string, error) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.init.Pid))
		if err != nil {
			return "", err
		}
		for _, pid := range strings.Fields(string(children)) {
			if root, err := os.Readlink("/proc/" + pid + "/root"); err == nil && root != "/" {
				return pid, nil
			}
		}
		select {
		case <-c.ended:
			console, err := os.ReadFile(c.console())
			return "", errors.Join(fmt.Errorf("it ended: %s", console), err)
		default:
		}
		if time.Now().After(deadline) {
			return "", errors.New("it was not ready within a minute")
		}
	}
}
