package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// InitCommand is the argument by which the program must recognise that it is to call [Init].
const InitCommand = "init-host"

const (
	path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// readyFile appears in the host's directory when it has booted; it holds what went wrong, or nothing.
	readyFile = "ready"
	// SetupDir holds the programs that are run once, in order, at the host's first start; BootDir those of every start,
	// which start its daemons.
	SetupDir = "/etc/host/setup.d"
	BootDir  = "/etc/host/boot.d"
	setUp    = "/etc/host/set-up" // exists when the first is done
)

// Init is the first process of a host: it mounts the host's file systems, takes the place of syslogd, runs the programs
// of [SetupDir] and [BootDir], and then reaps whatever ends until the host is killed. spec is the host as JSON.
func Init(spec string) error {
	var host Host
	if err := json.Unmarshal([]byte(spec), &host); err != nil {
		return fmt.Errorf("reading host: %w", err)
	}
	if os.Getpid() != 1 {
		return errors.New("not the first process of a host: use `up`")
	}
	// Kept open across the change of root.
	dir, err := os.OpenRoot(host.Dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", host.Dir, err)
	}
	err = boot(&host)
	message := ""
	if err != nil {
		message = err.Error()
	}
	if err := dir.WriteFile(readyFile+".new", []byte(message), 0o644); err != nil {
		return err
	}
	if err := dir.Rename(readyFile+".new", readyFile); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	for {
		_, err := syscall.Wait4(-1, nil, 0, nil)
		if errors.Is(err, syscall.ECHILD) { // no daemon left: only commands from outside
			time.Sleep(time.Second)
		}
	}
}

func boot(host *Host) error {
	if err := mountAll(host); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(host.Name)); err != nil {
		return fmt.Errorf("setting host name: %w", err)
	}
	if err := listenSyslog(host.Name); err != nil {
		return err
	}
	if _, err := os.Stat(setUp); errors.Is(err, fs.ErrNotExist) {
		if err := runAll(SetupDir); err != nil {
			return err
		}
		if err := os.WriteFile(setUp, nil, 0o644); err != nil {
			return err
		}
	}
	return runAll(BootDir)
}

// mountAll gives the host its root file system and those of the kernel.
func mountAll(host *Host) error {
	root := filepath.Join(host.Dir, "root")
	layers := fmt.Sprintf("lowerdir=%s:/,upperdir=%s,workdir=%s",
		filepath.Join(host.Image, "upper"), filepath.Join(host.Dir, "upper"), filepath.Join(host.Dir, "work"))
	mounts := []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"overlay", root, "overlay", 0, layers},
		{"proc", root + "/proc", "proc", 0, ""},
		{"sysfs", root + "/sys", "sysfs", unix.MS_RDONLY, ""},
		{"tmpfs", root + "/dev", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"tmpfs", root + "/run", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"tmpfs", root + "/tmp", "tmpfs", unix.MS_NOSUID, "mode=1777"},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	if err := makeDevices(root + "/dev"); err != nil {
		return err
	}
	// pivot_root(2), NOTES: with the new and the old root in one place no directory is needed for the old one.
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return os.MkdirAll("/run/lock", 0o1777)
}

func makeDevices(dev string) error {
	unix.Umask(0)
	defer unix.Umask(0o022)
	devices := []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}
	for _, d := range devices {
		if err := unix.Mknod(filepath.Join(dev, d.name), unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("making /dev/%s: %w", d.name, err)
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	for _, m := range []struct{ dir, kind, data string }{{"pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"}, {"shm", "tmpfs", "mode=1777"}} {
		target := filepath.Join(dev, m.dir)
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, target, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", target, err)
		}
	}
	return nil
}

// runAll runs the programs in dir in the order of their names (ReadDir sorts) and waits for each; what they leave behind are daemons.
func runAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}

	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	log, err := os.OpenFile("/var/log/boot.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	for _, entry := range entries {
		program := filepath.Join(dir, entry.Name())
		process, err := os.StartProcess(program, []string{program}, &os.ProcAttr{
			Dir: "/", Env: os.Environ(), Files: []*os.File{null, log, log},
		})
		if err != nil {
			return fmt.Errorf("starting %s: %w", program, err)
		}
		state, err := process.Wait()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", program, err)
		}
		if !state.Success() {
			text, _ := os.ReadFile("/var/log/boot.log") // only for the message
			return fmt.Errorf("%s: %v\n%s", program, state, text[max(0, len(text)-2000):])
		}
	}
	return nil
}
