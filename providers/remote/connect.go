package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// connect makes one SSH connection, within the timeout.
func (h *Host) connect(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.config.ConnectTimeout, errConnectTimeout)
	defer cancel()
	ring, err := h.keyring()
	if err != nil {
		return nil, err
	}
	keys, err := h.keys()
	if err != nil {
		return nil, err
	}
	defer keys.close()
	var wrong *HostKeyError
	for _, algorithms := range ring.algorithms {
		client, err := h.handshake(ctx, ring, algorithms, keys)
		if err == nil {
			return client, nil
		}
		var mismatch *HostKeyError
		var none *ssh.AlgorithmNegotiationError
		switch {
		case errors.As(err, &mismatch) && mismatch.Address == h.address(): // not that of a jump host
			if wrong != nil {
				mismatch.Shown = append(wrong.Shown, mismatch.Shown...)
			}
			wrong = mismatch
			if !ring.pinned {
				return nil, wrong
			}
		case errors.As(err, &none) && len(ring.algorithms) > 1:
			// The server has no key of this type: the next round.
		default:
			return nil, err
		}
	}
	if wrong == nil {
		return nil, &UnreachableError{Machine: h.String(), Address: h.address(), Err: errors.New("the server has no host key of a type we accept")}
	}
	return nil, wrong
}

var errConnectTimeout = errors.New("connect_timeout")

// handshake dials, checks the host key and logs in.
func (h *Host) handshake(ctx context.Context, ring keyring, algorithms []string, keys *keys) (*ssh.Client, error) {
	dial := h.config.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if h.jump != nil {
		dial = h.jump.Dial
	}
	transport, err := dial(ctx, "tcp", h.address())
	if err != nil {
		return nil, h.unreachable(ctx, err)
	}
	// NewClientConn knows no context: closing the transport ends it.
	stop := context.AfterFunc(ctx, func() { transport.Close() })
	defer stop()
	var badKey error
	loggingIn := false
	config := &ssh.ClientConfig{
		User:              h.config.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.offer)},
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(address string, remote net.Addr, key ssh.PublicKey) error {
			badKey = ring.check(address, remote, key)
			loggingIn = badKey == nil
			return badKey
		},
		ClientVersion: "SSH-2.0-mailmove",
	}
	c, channels, requests, err := ssh.NewClientConn(transport, h.address(), config)
	if err == nil && !stop() {
		c.Close()
		err = context.Cause(ctx)
	}
	var none *ssh.AlgorithmNegotiationError
	switch {
	case err == nil:
		return ssh.NewClient(c, channels, requests), nil
	case badKey != nil:
		transport.Close()
		return nil, badKey
	case ctx.Err() != nil:
		return nil, h.unreachable(ctx, err)
	case errors.As(err, &none) && none.What == "host key":
		transport.Close()
		return nil, err
	case loggingIn && refusedLogin(err):
		transport.Close()
		return nil, &AuthError{Machine: h.String(), Tried: keys.tried, Err: err}
	}
	transport.Close()
	return nil, h.unreachable(ctx, err)
}

// refusedLogin tells a login that was refused from a connection that broke. The
// library has no type for it.
func refusedLogin(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "Too many authentication failures")
}

// unreachable names a failed attempt to connect.
func (h *Host) unreachable(ctx context.Context, err error) error {
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && refused.Reason == ssh.ConnectionFailed {
		return &UnreachableError{Machine: h.String(), Address: h.address(), Err: err}
	}
	var ours interface{ Hint() string } // a jump host's own error
	if errors.As(err, &ours) {
		return fmt.Errorf("connecting to %s: %w", h, err)
	}
	var timeout net.Error
	switch {
	case errors.Is(context.Cause(ctx), errConnectTimeout):
		return &TimeoutError{Machine: h.String(), Address: h.address(), Err: fmt.Errorf("%v have passed", h.config.ConnectTimeout)}
	case ctx.Err() != nil:
		return &CutError{Machine: h.String(), Doing: "connecting", Err: ctx.Err()}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &TimeoutError{Machine: h.String(), Address: h.address(), Err: err}
	}
	return &UnreachableError{Machine: h.String(), Address: h.address(), Err: err}
}

// keys are the private keys for one login.
type keys struct {
	signers []ssh.Signer
	names   []string
	tried   []string
	agent   net.Conn
}

func (k *keys) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

// offer hands out all keys and notes them for the error message.
func (k *keys) offer() ([]ssh.Signer, error) {
	k.tried = nil
	for i, s := range k.signers {
		k.tried = append(k.tried, k.names[i]+" "+ssh.FingerprintSHA256(s.PublicKey()))
	}
	return k.signers, nil
}

func (k *keys) add(s ssh.Signer, name string) {
	k.signers = append(k.signers, s)
	k.names = append(k.names, name)
}

// keys collects the keys to offer: those of the configured files, the agent's,
// and the usual files if none are configured.
func (h *Host) keys() (*keys, error) {
	k := &keys{}
	inAgent := h.askAgent(k)
	agents, names := k.signers, k.names
	k.signers, k.names = nil, nil
	for _, file := range h.config.KeyFiles {
		if err := h.loadKey(k, file, inAgent); err != nil {
			k.close()
			return nil, err
		}
	}
	k.signers, k.names = append(k.signers, agents...), append(k.names, names...)
	if len(h.config.KeyFiles) > 0 {
		return k, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return k, nil
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		file := filepath.Join(home, ".ssh", name)
		if _, err := os.Stat(file); err == nil {
			// A usual key that cannot be used is not asked for: the agent may do.
			_ = h.loadKey(k, file, inAgent)
		}
	}
	return k, nil
}

// askAgent adds the agent's keys and returns their public halves. No agent is no
// error: the login then fails for want of a key, and says so.
func (h *Host) askAgent(k *keys) map[string]bool {
	socket := h.config.Agent
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket == "" || socket == "none" {
		return nil
	}
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return nil
	}
	k.agent = conn
	client := agent.NewClient(conn)
	signers, err := client.Signers()
	if err != nil {
		return nil
	}
	held := map[string]bool{}
	for _, s := range signers {
		k.add(s, "the agent's key")
		held[string(s.PublicKey().Marshal())] = true
	}
	return held
}

// loadKey adds the key of a file. A file with a passphrase that nobody can tell
// is fine if the agent holds the same key.
func (h *Host) loadKey(k *keys, file string, inAgent map[string]bool) error {
	fail := func(err error) error { return &KeyError{Machine: h.String(), File: file, Err: err} }
	text, err := os.ReadFile(file)
	if err != nil {
		return fail(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if locked.PublicKey != nil && inAgent[string(locked.PublicKey.Marshal())] {
			return nil
		}
		if h.config.Passphrase == nil {
			return fail(errors.New("it has a passphrase"))
		}
		passphrase, err := h.config.Passphrase(file)
		if err != nil {
			return fail(err)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(text, passphrase)
		if err != nil {
			return fail(err)
		}
	} else if err != nil {
		return fail(err)
	}
	k.add(signer, file)
	return nil
}
