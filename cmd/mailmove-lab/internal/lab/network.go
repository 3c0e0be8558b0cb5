package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The network of a lab is one switch and a cable to each host. The switch is a bridge in a network namespace of its own,
// and the cables are made in there: at no time is there an interface, an address or a route in the machine's own network.

// namespace returns the name of a host's network namespace, or of the switch's.
func (l *Lab) namespace(host string) string { return namespacePrefix(l.Name) + host }

func namespacePrefix(lab string) string { return "mmlab-" + lab + "-" }

const switchName = "switch"

// connect makes the switch, the hosts' network namespaces and the cables between them.
func (l *Lab) connect(ctx context.Context) error {
	for _, name := range append(HostNames(), switchName) {
		if err := ip(ctx, "", "netns", "add", l.namespace(name)); err != nil {
			return err
		}
	}
	var batch strings.Builder
	batch.WriteString("link add br0 type bridge\nlink set br0 up\n")
	for _, r := range roles {
		fmt.Fprintf(&batch, "link add %s type veth peer name eth0 netns %s\n", r.name, l.namespace(r.name))
		fmt.Fprintf(&batch, "link set %s master br0 up\n", r.name)
	}
	if err := ip(ctx, batch.String(), "-n", l.namespace(switchName), "-batch", "-"); err != nil {
		return err
	}
	for _, r := range roles {
		commands := fmt.Sprintf("address add %s/%d dev eth0\nlink set eth0 up\nlink set lo up\n", r.address, prefix)
		if err := ip(ctx, commands, "-n", l.namespace(r.name), "-batch", "-"); err != nil {
			return err
		}
	}
	return nil
}

// disconnect ends whatever runs in the lab's network namespaces and removes them. It asks the kernel and not the lab's
// records, so that it also clears what a killed `up` left.
func disconnect(ctx context.Context, lab string) error {
	names, err := filepath.Glob(filepath.Join("/run/netns", namespacePrefix(lab)+"*"))
	if err != nil {
		return err
	}
	for _, path := range names {
		name := filepath.Base(path)
		if err := endProcesses(ctx, name); err != nil {
			return err
		}
		if err := ip(ctx, "", "netns", "delete", name); err != nil {
			return err
		}
	}
	return nil
}

// endProcesses kills what runs in network namespace name until nothing does.
func endProcesses(ctx context.Context, name string) error {
	for {
		output, err := exec.CommandContext(ctx, "ip", "netns", "pids", name).Output()
		if err != nil {
			return fmt.Errorf("listing processes of %s: %w", name, err)
		}
		// This process is listed while its first thread dials in there.
		pids := slices.DeleteFunc(strings.Fields(string(output)), func(pid string) bool { return pid == strconv.Itoa(os.Getpid()) })
		if len(pids) == 0 {
			return nil
		}
		for _, text := range pids {
			pid, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("reading process number: %w", err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending process %d of %s: %w", pid, name, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ending processes of %s: %w", name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ip runs iproute2's program with commands on its standard input.
func ip(ctx context.Context, commands string, args ...string) error {
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(commands)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
