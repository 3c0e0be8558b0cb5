package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Config says how to reach a server. Only Address is required.
type Config struct {
	// Address is a host name or an IP address, Port the port of sshd (22).
	Address string
	Port    int
	// User logs in (root). Anyone else runs scripts through sudo -n, unless Sudo
	// says otherwise.
	User string
	Sudo Sudo
	// KeyFiles are private keys, tried in this order and before the agent's. If
	// there are none, the agent's keys are tried and then ~/.ssh/id_ed25519,
	// id_ecdsa and id_rsa.
	KeyFiles []string
	// Passphrase returns the passphrase of a key file; nil if nobody can be asked.
	Passphrase func(file string) ([]byte, error)
	// Agent is the socket of an ssh-agent; empty means $SSH_AUTH_SOCK, "none" no
	// agent. The agent is never forwarded.
	Agent string
	// KnownHosts are files of known host keys; if there are none,
	// ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.
	KnownHosts []string
	// HostKey pins the server's key and makes KnownHosts irrelevant: a fingerprint
	// "SHA256:…", or "ssh-ed25519 AAAA…" as in authorized_keys.
	HostKey string
	// Jump are hosts on the way, the first one nearest to the operator.
	Jump []Config
	// ConnectTimeout bounds one connection attempt, login included (20 s).
	ConnectTimeout time.Duration
	// KeepAlive is the interval of keepalive requests (15 s). Three unanswered ones
	// end the connection.
	KeepAlive time.Duration
	// StateDir is the state directory on the server (DefaultStateDir).
	StateDir string
	// Transcript, if not nil, gets a line for each script: its name, parameters and
	// outcome, never its standard input or output.
	Transcript io.Writer
	// DialContext replaces net.Dialer for the first hop.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Sudo says when scripts run through sudo -n.
type Sudo int

const (
	// SudoAuto: unless the user is root.
	SudoAuto Sudo = iota
	// SudoNever: scripts run as the user.
	SudoNever
	// SudoAlways: even if the user is called root.
	SudoAlways
)

// A Host is a server reached over SSH. It connects when it is first used and again
// after the connection was lost. It may be used concurrently: sessions share
// connections, sshd's limit of sessions per connection (MaxSessions 10) in mind.
type Host struct {
	config Config
	jump   *Host // nil for a direct connection

	mu     sync.Mutex
	conns  []*conn
	free   chan struct{} // closed and replaced whenever a session ends
	making *attempt
	closed bool

	logging sync.Mutex
}

var (
	_ Runner    = (*Host)(nil)
	_ Forwarder = (*Host)(nil)
)

var (
	// A name that begins with a dash would be an option to a person who copies the
	// command of a hint.
	validAddress = regexp.MustCompile(`^[A-Za-z0-9:][A-Za-z0-9._:%-]*$`)
	validUser    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@\\-]*$`)
	validState   = regexp.MustCompile(`^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$`)
)

// New checks a configuration. It does not connect.
func New(c Config) (*Host, error) {
	if c.Port == 0 {
		c.Port = 22
	}
	if c.User == "" {
		c.User = "root"
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 20 * time.Second
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 15 * time.Second
	}
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	switch {
	case !validAddress.MatchString(c.Address):
		return nil, fmt.Errorf("configuring SSH: %q is not a host name or IP address", c.Address)
	case c.Port < 1 || c.Port > 65535:
		return nil, fmt.Errorf("configuring SSH to %s: %d is not a port", c.Address, c.Port)
	case !validUser.MatchString(c.User):
		return nil, fmt.Errorf("configuring SSH to %s: %q is not a user name", c.Address, c.User)
	case !validState.MatchString(c.StateDir):
		return nil, fmt.Errorf("configuring SSH to %s: %q is not a plain absolute path", c.Address, c.StateDir)
	}
	if _, err := parsePin(c.HostKey); err != nil {
		return nil, fmt.Errorf("configuring SSH to %s: %w", c.Address, err)
	}
	h := &Host{config: c, free: make(chan struct{})}
	if n := len(c.Jump); n > 0 {
		last := c.Jump[n-1]
		if len(last.Jump) > 0 {
			return nil, fmt.Errorf("configuring SSH to %s: jump host %s has jump hosts of its own; list them in order instead", c.Address, last.Address)
		}
		last.Jump = c.Jump[:n-1]
		if last.DialContext == nil {
			last.DialContext = c.DialContext
		}
		jump, err := New(last)
		if err != nil {
			return nil, err
		}
		h.jump = jump
	}
	return h, nil
}

// String is user@address, with the port if it is not 22.
func (h *Host) String() string {
	if h.config.Port == 22 {
		return h.config.User + "@" + h.config.Address
	}
	return h.config.User + "@" + h.address()
}

// StateDir implements [Runner].
func (h *Host) StateDir() string { return h.config.StateDir }

// Run implements [Runner].
func (h *Host) Run(ctx context.Context, c Command) (Result, error) { return run(ctx, h, c) }

// Stream implements [Runner].
func (h *Host) Stream(ctx context.Context, c Command) (*Stream, error) { return stream(ctx, h, c) }

// Close ends all connections. Scripts that run are not ended.
func (h *Host) Close() error {
	h.mu.Lock()
	conns := h.conns
	h.conns, h.closed = nil, true
	h.mu.Unlock()
	var errs []error
	for _, c := range conns {
		errs = append(errs, closed(c.client.Close()))
	}
	if h.jump != nil {
		errs = append(errs, h.jump.Close())
	}
	return errors.Join(errs...)
}

func (h *Host) user() string { return h.config.User }

func (h *Host) sudo() bool {
	return h.config.Sudo == SudoAlways || h.config.Sudo == SudoAuto && h.config.User != "root"
}

func (h *Host) frame(c Command, stream bool) (frame, error) {
	return newFrame(c, stream, h.sudo(), defaultPath)
}

func (h *Host) address() string {
	return net.JoinHostPort(h.config.Address, strconv.Itoa(h.config.Port))
}

// log writes a line of the transcript.
func (h *Host) log(c Command, began time.Time, res Result, err error) {
	if h.config.Transcript == nil {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", began.UTC().Format("2006-01-02T15:04:05.000Z07:00"), h, c.Name)
	for _, a := range c.Args {
		if len(a) > 100 {
			a = a[:100] + "…"
		}
		fmt.Fprintf(&b, " %q", a)
	}
	fmt.Fprintf(&b, " (%d bytes of input): status %d, %d + %d bytes of output, %v",
		len(c.Stdin), res.Status, len(res.Stdout), len(res.Stderr), time.Since(began).Round(time.Millisecond))
	var exited *ExitError
	switch {
	case err == nil:
	case errors.As(err, &exited):
		// The message ends with what the script wrote; that is not ours to show.
	default:
		fmt.Fprintf(&b, ", %v", err)
	}
	h.logging.Lock()
	defer h.logging.Unlock()
	// A transcript that cannot be written is no reason to stop a migration.
	_, _ = io.WriteString(h.config.Transcript, b.String()+"\n")
}
