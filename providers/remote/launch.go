package remote

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// launch opens a session and has the login shell run line. It works on the bare
// channel: ssh.Session reports an exit status only when the channel is closed,
// which a daemon that keeps a descriptor open can put off for ever, and its copy
// from Stdin blocks Run in relays.
func (h *Host) launch(ctx context.Context, line string) (*process, error) {
	var channel ssh.Channel
	var requests <-chan *ssh.Request
	release, err := h.withSession(ctx, func(ctx context.Context, client *ssh.Client) (err error) {
		channel, requests, err = openSession(ctx, client)
		return err
	})
	if err != nil {
		return nil, h.notLaunched(err)
	}
	done := make(chan exit, 1)
	go func() {
		done <- watch(requests)
		for r := range requests { // until both sides have closed the channel
			answer(r)
		}
		release()
	}()
	var once sync.Once
	hangUp := func() {
		// The other side may have closed it already.
		once.Do(func() { _ = channel.Close() })
	}
	accepted, err := request(ctx, channel, line)
	if err == nil && accepted {
		return &process{in: halfCloser{channel}, out: channel, err: channel.Stderr(), done: done, hangUp: hangUp}, nil
	}
	hangUp()
	if err == nil {
		return nil, &ShellError{Machine: h.String(), Status: -1, Said: "the server refuses to run commands"}
	}
	// The script is sent after this request: it cannot have begun.
	return nil, &CutError{Machine: h.String(), Doing: "starting /bin/sh", Err: err}
}

// request asks for a command to be run, or gives up when ctx ends.
func request(ctx context.Context, channel ssh.Channel, line string) (accepted bool, err error) {
	answered := make(chan struct{})
	var ok bool
	var failure error
	go func() {
		defer close(answered)
		ok, failure = channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{line}))
	}()
	select {
	case <-answered:
		return ok, failure
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// openSession opens a session channel, or gives up when ctx ends.
func openSession(ctx context.Context, client *ssh.Client) (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	result := make(chan opened, 1)
	go func() {
		channel, requests, err := client.OpenChannel("session", nil)
		result <- opened{channel, requests, err}
	}()
	select {
	case o := <-result:
		return o.channel, o.requests, o.err
	case <-ctx.Done():
		go func() { // nobody waits for it any more
			if o := <-result; o.err == nil {
				go ssh.DiscardRequests(o.requests)
				_ = o.channel.Close()
			}
		}()
		return nil, nil, ctx.Err()
	}
}

// notLaunched names what withSession met; nothing has run.
func (h *Host) notLaunched(err error) error {
	var ours interface{ Hint() string }
	if errors.As(err, &ours) {
		return err
	}
	return &CutError{Machine: h.String(), Doing: "opening a session", Err: err}
}

var errNoStatus = errors.New("the connection was lost")

// watch returns how the command ended (RFC 4254 section 6.10).
func watch(requests <-chan *ssh.Request) exit {
	for r := range requests {
		switch r.Type {
		case "exit-status":
			var status struct{ Status uint32 }
			if ssh.Unmarshal(r.Payload, &status) == nil {
				return exit{status: int(status.Status)}
			}
		case "exit-signal":
			var signal struct {
				Name    string
				Core    bool
				Message string
				Lang    string
			}
			if ssh.Unmarshal(r.Payload, &signal) == nil {
				return exit{status: 128 + signalNumber(signal.Name)}
			}
		}
		answer(r)
	}
	return exit{lost: errNoStatus}
}

func answer(r *ssh.Request) {
	if r.WantReply {
		_ = r.Reply(false, nil) // fails only with the connection
	}
}

// signalNumber is Linux's number of a signal that RFC 4254 section 6.10 names.
func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ILL":
		return 4
	case "ABRT":
		return 6
	case "FPE":
		return 8
	case "KILL":
		return 9
	case "USR1":
		return 10
	case "SEGV":
		return 11
	case "USR2":
		return 12
	case "PIPE":
		return 13
	case "ALRM":
		return 14
	case "TERM":
		return 15
	}
	return 0
}

// A halfCloser closes only our direction of a channel.
type halfCloser struct{ ssh.Channel }

func (h halfCloser) Close() error { return closed(h.CloseWrite()) }

// killScript ends the process group of "$1", which sshd made a session of its
// own, if it still is the script with the nonce "$2". In the instant of an exec a
// process has no environment to be known by, so it looks more than once.
const killScript = `
ours() { tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -qxF "MAILMOVE_RUN=$2"; }
ours "$@" || { sleep 0.2; ours "$@"; } || { sleep 0.5; ours "$@"; } || exit 0
s=$(cat "/proc/$1/stat") || exit 0
s=${s##*) }
set -- $s
kill -s TERM -- "-$3" 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
	kill -s 0 -- "-$3" 2>/dev/null || exit 0
	sleep 0.2
done
kill -s KILL -- "-$3" 2>/dev/null
`

// kill ends a script through a second session: closing the channel does not end
// it, and sshd refuses the signal request for root.
func (h *Host) kill(pid int, nonce string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*killGrace)
	defer cancel()
	// What cannot be reached cannot be ended; the caller reports Unknown anyway.
	_, _ = h.Run(ctx, Command{Name: "end a script", Script: killScript, Args: []string{strconv.Itoa(pid), nonce}})
}
