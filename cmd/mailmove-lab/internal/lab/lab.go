// Package lab is a small internet on one machine: two mail servers, two name servers, an operator and two senders, each
// a host of package machine with the real daemons of a Debian mail server, on a switch nobody else is connected to.
//
//	old     198.51.100.10   Postfix, Dovecot: today's home of example.com
//	new     198.51.100.20   the same, without the accounts of example.com
//	dns     198.51.100.53   BIND: the root zone and every other zone, open to signed updates
//	dns2    198.51.100.54   BIND: secondary of all of them
//	op      198.51.100.5    where mailmove runs: SSH key for root and admin (sudo) on old and new, known_hosts, TSIG key
//	sender  198.51.100.100  an outside sender whose resolver obeys TTLs
//	stale   198.51.100.101  an outside sender whose resolver keeps its first answers for ever
//
// Every host but the name servers has a resolver of its own (unbound) that starts from the lab's root zone.
//
// Old and new keep their users in files of their own or are, each by itself, a server whose users are those of the system
// (see [System]).
//
// What a host's disk holds beyond the image is in files/, one folder for each part a host can play, written as
// templates. A lab's own records are below [Dir], on a tmpfs, so that [Lab.Down] leaves nothing behind.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/image"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
)

// Dir holds a directory for each lab that is up.
const Dir = "/run/mailmove-lab"

// Options say what kind of lab is wanted.
type Options struct {
	SPF      string        // what new does with mail that fails SPF: "mark" or "reject"
	TTL      time.Duration // of the records of the moving domain
	SPFBoth  bool          // whether the SPF record of the moving domain names the new server already
	Users    string        // whom old keeps mail for: Virtual users or those of the System; "" for Virtual
	NewUsers string        // the same of new
	Mailmove string        // a mailmove program to install on op; "" for none
	ImageDir string        // where the image is kept
	Progress func(string)  `json:"-"` // told what is being waited for
}

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	if o.SPF != "mark" && o.SPF != "reject" {
		return fmt.Errorf("spf %q: must be mark or reject", o.SPF)
	}
	if o.TTL < time.Second {
		return fmt.Errorf("ttl %v: must be a second or more", o.TTL)
	}
	for _, kind := range []string{o.Users, o.NewUsers} {
		if kind != "" && kind != Virtual && kind != System {
			return fmt.Errorf("users %q: must be %s or %s", kind, Virtual, System)
		}
	}
	return nil
}

// The kinds of users that a mail server can have.
const (
	Virtual = "virtual" // in a passwd-file of Dovecot and indexed maps of Postfix, below /var/vmail
	System  = "system"  // in /etc/passwd and /etc/aliases, with their mail in their homes
)

// SystemUsers reports whether the users of a host are those of the system.
func (o Options) SystemUsers(host string) bool {
	return host == "old" && o.Users == System || host == "new" && o.NewUsers == System
}

// A Lab is a lab that is up.
type Lab struct {
	Name    string
	Options Options
	TSIG    TSIG
	dir     string
	hosts   map[string]*machine.Host
}

var validName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

func newLab(name string) (*Lab, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("lab name %q: must be 1 to 16 letters a-z and digits", name)
	}
	l := &Lab{Name: name, dir: filepath.Join(Dir, name), hosts: make(map[string]*machine.Host)}
	for _, r := range roles {
		l.hosts[r.name] = &machine.Host{
			Name: r.name, FQDN: r.fqdn, NetNS: l.namespace(r.name),
			Dir: filepath.Join(l.dir, "hosts", r.name), Image: filepath.Join(l.dir, "image"),
		}
	}
	return l, nil
}

// Up builds a lab, clearing first what a crashed one of that name left. It returns when every service answers.
func Up(ctx context.Context, name string, options Options) (l *Lab, err error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	l, err = newLab(name)
	if err != nil {
		return nil, err
	}
	if _, err := Open(name); err == nil {
		return nil, fmt.Errorf("lab %s is up: take it down first", name)
	}
	if options.Progress == nil {
		options.Progress = func(string) {}
	}
	if err := ensureTools(ctx, options.Progress); err != nil {
		return nil, err
	}
	if err := Down(ctx, name); err != nil {
		return nil, fmt.Errorf("clearing what lab %s left: %w", name, err)
	}
	file, err := image.Ensure(ctx, options.ImageDir, options.Progress)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, Down(context.WithoutCancel(ctx), name))
		}
	}()
	l.Options = options
	if err := l.build(ctx, file); err != nil {
		return nil, err
	}
	return l, l.save()
}

func (l *Lab) build(ctx context.Context, file string) error {
	if err := l.mount(ctx, file); err != nil {
		return err
	}
	l.Options.Progress("connecting the hosts")
	if err := l.connect(ctx); err != nil {
		return err
	}
	if err := l.furnish(); err != nil {
		return err
	}
	l.Options.Progress("starting the hosts")
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return l.each(func(h *machine.Host) error {
		if err := h.Start(ctx); err != nil {
			return err
		}
		return l.Await(ctx, h.Name)
	})
}

// mount makes the directory of the lab: a tmpfs, so that the daemons' many fsyncs cost nothing, with the image below it.
func (l *Lab) mount(ctx context.Context, file string) error {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", l.dir, err)
	}
	if err := unix.Mount("mailmove-lab", l.dir, "tmpfs", 0, "mode=755,size=12g,nr_inodes=0"); err != nil {
		return fmt.Errorf("mounting %s: %w", l.dir, err)
	}
	target := filepath.Join(l.dir, "image")
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	if output, err := exec.CommandContext(ctx, "mount", "-o", "loop,ro", file, target).CombinedOutput(); err != nil {
		return fmt.Errorf("mounting %s: %w: %s", file, err, output)
	}
	return nil
}

// Down ends lab name and removes everything of it. A lab that is not there is no error.
func Down(ctx context.Context, name string) error {
	l, err := newLab(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := l.each(func(h *machine.Host) error { return h.Kill(ctx) }); err != nil {
		return err
	}
	if err := disconnect(ctx, name); err != nil {
		return err
	}
	for _, target := range []string{filepath.Join(l.dir, "image"), l.dir} {
		if err := unmount(ctx, target); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("removing %s: %w", l.dir, err)
	}
	os.Remove(Dir) // if it was the last lab
	return nil
}

// unmount takes target away however often something was mounted there. A file that is still being closed makes it wait.
func unmount(ctx context.Context, target string) error {
	for {
		err := unix.Unmount(target, 0)
		switch {
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT): // nothing is mounted there
			return nil
		case err != nil && !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("unmounting %s: %w", target, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("unmounting %s: %w (does a shell stand in it?)", target, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// recordFile is written last, when the lab is up.
const recordFile = "lab.json"

func (l *Lab) save() error {
	data, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, recordFile), data, 0o600)
}

// Open returns the lab called name, which must be up.
func Open(name string) (*Lab, error) {
	l, err := newLab(name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(l.dir, recordFile))
	if err != nil {
		return nil, fmt.Errorf("lab %s is not up: run `mailmove-lab up` first", name)
	}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("reading %s: %w", recordFile, err)
	}
	return l, nil
}

// Host returns the host called name.
func (l *Lab) Host(name string) (*machine.Host, error) {
	if _, err := roleOf(name); err != nil {
		return nil, err
	}
	return l.hosts[name], nil
}

// Record returns the path of one of the lab's own files, such as a ledger.
func (l *Lab) Record(name string) string { return filepath.Join(l.dir, "records", name) }

// Reboot cuts the power of a host and starts it again on the same disk.
func (l *Lab) Reboot(ctx context.Context, name string) error {
	host, err := l.Host(name)
	if err != nil {
		return err
	}
	if err := host.Kill(ctx); err != nil {
		return err
	}
	if err := host.Start(ctx); err != nil {
		return err
	}
	return l.Await(ctx, name)
}

// Await returns when the services of a host answer.
func (l *Lab) Await(ctx context.Context, name string) error {
	host, err := l.Host(name)
	if err != nil {
		return err
	}
	ports := map[string][]int{
		"old": {22, 25, 587, 110, 143, 993, 995, 4190}, "new": {22, 25, 587, 110, 143, 993, 995, 4190},
		"dns": {53}, "dns2": {53}, "op": {22}, "sender": {25}, "stale": {25},
	}[name]
	for _, port := range ports {
		address := netip.AddrPortFrom(Address(name), uint16(port)).String()
		if err := await(ctx, host, address); err != nil {
			return fmt.Errorf("waiting for port %s of %s: %w", strconv.Itoa(port), name, err)
		}
	}
	if role, err := roleOf(name); err == nil && slices.Contains(role.trees, "names") {
		return l.awaitZones(ctx, host, Address(name))
	}
	return nil
}

func await(ctx context.Context, host *machine.Host, address string) error {
	for {
		var conn net.Conn
		conn, err := host.Dial(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// each calls f for every host at once and returns what went wrong.
func (l *Lab) each(f func(*machine.Host) error) error {
	var group sync.WaitGroup
	errs := make([]error, len(roles))
	for i, r := range roles {
		group.Go(func() { errs[i] = f(l.hosts[r.name]) })
	}
	group.Wait()
	return errors.Join(errs...)
}
