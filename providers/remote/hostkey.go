package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// A HostKeyError says that the server did not show the host key we know: none is
// known, another one is, or the key is revoked. Nothing was sent to the server.
type HostKeyError struct {
	Machine string
	Address string // host:port
	// Shown are the fingerprints of the keys that the server showed, with their types.
	Shown []string
	// Known are the keys on record: fingerprint, type and place.
	Known   []string
	Revoked bool
	File    string // the known_hosts file to add to
}

func (e *HostKeyError) Error() string {
	shown := strings.Join(e.Shown, ", ")
	switch {
	case e.Revoked:
		return fmt.Sprintf("connecting to %s: its host key %s is revoked in %s", e.Machine, shown, strings.Join(e.Known, ", "))
	case len(e.Known) > 0:
		return fmt.Sprintf("connecting to %s: its host key is %s, but known is %s: either the server was set up anew, or somebody is in between",
			e.Machine, shown, strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("connecting to %s: its host key %s is not known", e.Machine, shown)
}
func (e *HostKeyError) Temporary() bool { return false }
func (e *HostKeyError) Hint() string {
	if e.Revoked {
		return "Do not connect until you know why the key was revoked."
	}
	host, port, _ := net.SplitHostPort(e.Address)
	compare := "Compare the fingerprint on the server's console (for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done); if it is the same: "
	scan := fmt.Sprintf("ssh-keyscan -p %s %s >> %s", port, host, e.File)
	if len(e.Known) > 0 && e.File != "" {
		scan = fmt.Sprintf("ssh-keygen -R %s -f %s && %s", knownhosts.Normalize(e.Address), e.File, scan)
	}
	pin := ""
	if len(e.Shown) > 0 {
		pin = fmt.Sprintf(`host_key = "%s"`, strings.Fields(e.Shown[0])[0])
	}
	if e.File == "" {
		return compare + pin
	}
	return compare + scan + "  or  " + pin
}

// A keyring says which host keys are right.
type keyring struct {
	// algorithms to negotiate, in rounds: a fingerprint does not tell its key type,
	// so that each type is asked for in turn.
	algorithms [][]string
	check      ssh.HostKeyCallback
	// pinned says that each round is to be tried until a key fits.
	pinned bool
}

// hostKeyRounds are the types of host keys, the likeliest first.
var hostKeyRounds = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// A pin is a parsed Config.HostKey.
type pin struct {
	fingerprint string
	key         ssh.PublicKey // nil for a fingerprint
}

func parsePin(s string) (pin, error) {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasPrefix(s, "SHA256:") && len(s) == len("SHA256:")+43 {
		return pin{fingerprint: s}, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil {
		return pin{}, fmt.Errorf(`host_key %q is neither "SHA256:" and 43 characters nor a public key line`, s)
	}
	return pin{fingerprint: ssh.FingerprintSHA256(key), key: key}, nil
}

// keyring reads the pin or the known_hosts files.
func (h *Host) keyring() (keyring, error) {
	if h.config.HostKey != "" {
		return h.pinned()
	}
	files, err := h.knownHosts()
	if err != nil {
		return keyring{}, err
	}
	addTo := files[0]
	var present []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			present = append(present, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return keyring{}, fmt.Errorf("reading known host keys: %w", err)
		}
	}
	db, err := knownhosts.NewDB(present...)
	if err != nil {
		return keyring{}, fmt.Errorf("reading known host keys: %w", err)
	}
	check := db.HostKeyCallback()
	// The second round is for a server that has no key of a type we know: its other
	// key is then shown as a changed one.
	algorithms := [][]string{slices.Concat(hostKeyRounds...)}
	if known := db.HostKeyAlgorithms(h.address()); len(known) > 0 {
		algorithms = [][]string{known, algorithms[0]}
	}
	return keyring{
		// Without this x/crypto asks for its favourite type and calls a host whose
		// other key is known a changed one.
		algorithms: algorithms,
		check: func(address string, remote net.Addr, key ssh.PublicKey) error {
			return h.explainKey(check(address, remote, key), key, addTo)
		},
	}, nil
}

// explainKey turns the verdict of known_hosts into ours.
func (h *Host) explainKey(err error, key ssh.PublicKey, addTo string) error {
	if err == nil {
		return nil
	}
	verdict := &HostKeyError{Machine: h.String(), Address: h.address(), Shown: []string{showKey(key)}, File: addTo}
	var revoked *xknownhosts.RevokedError
	var mismatch *xknownhosts.KeyError
	switch {
	case errors.As(err, &revoked):
		verdict.Revoked = true
		verdict.Known = []string{showKnown(revoked.Revoked)}
	case errors.As(err, &mismatch):
		for _, k := range mismatch.Want {
			verdict.Known = append(verdict.Known, showKnown(k))
			verdict.File = k.Filename
		}
	default:
		return fmt.Errorf("checking the host key of %s: %w", h, err)
	}
	return verdict
}

func (h *Host) pinned() (keyring, error) {
	want, err := parsePin(h.config.HostKey)
	if err != nil {
		return keyring{}, err
	}
	ring := keyring{algorithms: hostKeyRounds, pinned: true}
	if want.key != nil {
		for _, round := range hostKeyRounds {
			if strings.HasPrefix(want.key.Type(), "ssh-rsa") && round[0] == ssh.KeyAlgoRSASHA512 || round[0] == want.key.Type() ||
				strings.HasPrefix(want.key.Type(), "ecdsa-") && round[0] == ssh.KeyAlgoECDSA256 {
				ring.algorithms = [][]string{round}
			}
		}
	}
	ring.check = func(_ string, _ net.Addr, key ssh.PublicKey) error {
		if ssh.FingerprintSHA256(key) == want.fingerprint {
			return nil
		}
		return &HostKeyError{Machine: h.String(), Address: h.address(), Shown: []string{showKey(key)}, Known: []string{want.fingerprint + " (host_key)"}}
	}
	return ring, nil
}

func (h *Host) knownHosts() ([]string, error) {
	if len(h.config.KnownHosts) > 0 {
		return h.config.KnownHosts, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("looking for known_hosts: %w", err)
	}
	return []string{filepath.Join(home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}, nil
}

func showKey(k ssh.PublicKey) string { return ssh.FingerprintSHA256(k) + " (" + k.Type() + ")" }

func showKnown(k xknownhosts.KnownKey) string {
	return ssh.FingerprintSHA256(k.Key) + " (" + k.Key.Type() + ", " + k.Filename + ":" + strconv.Itoa(k.Line) + ")"
}
