package remote

import (
	"context"
	"fmt"
	"net"
)

// A Runner is one machine on which scripts run. Its methods may be called
// concurrently. String names the machine in messages, as in root@mx.example.com.
type Runner interface {
	fmt.Stringer
	// Run runs the script to its end and returns its output. A status other than
	// 0 is an *ExitError, and the Result is valid then too. When ctx ends, the
	// script and its children are killed and the error is a *CutError.
	Run(ctx context.Context, c Command) (Result, error)
	// Stream starts the script and returns once it runs. The standard input and
	// output are those of the connection; Command.Stdin must be nil.
	Stream(ctx context.Context, c Command) (*Stream, error)
	// StateDir is the directory on the machine that holds operations, backups and
	// the lock.
	StateDir() string
}

// A Forwarder is a Runner that can carry connections.
type Forwarder interface {
	// Forward listens on a free port of the machine's 127.0.0.1 and hands each
	// connection to handle, in a goroutine of its own. Every user of the machine
	// can connect: whatever listens must authenticate.
	Forward(ctx context.Context, handle func(net.Conn)) (*Tunnel, error)
	// Dial connects to an address as seen from the machine.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// A Command is a constant script and its data.
type Command struct {
	// Name says in messages what the script does: "read the alias map".
	Name string
	// Script is POSIX shell text, constant in the program: nothing is ever
	// interpolated into it.
	Script string
	// Args become "$1", "$2", …, byte for byte. They cannot hold NUL. They are no
	// place for secrets.
	Args []string
	// Stdin is the script's standard input. It is on the machine as a whole before
	// the script begins.
	Stdin []byte
	// MaxOutput bounds standard output and standard error, each; 0 means
	// [DefaultMaxOutput]. A script that writes more is killed (*OutputError).
	MaxOutput int
}

// named gives a command without a name one.
func (c Command) named() Command {
	if c.Name == "" {
		c.Name = "running a script"
	}
	return c
}

// DefaultMaxOutput is the bound of a command's output unless it says otherwise.
const DefaultMaxOutput = 16 << 20

// A Result is what a script wrote and how it ended.
type Result struct {
	Stdout, Stderr []byte
	// Status is the exit status; 128 + n if signal n ended the script.
	Status int
}

// DefaultStateDir is where a Host keeps operations and backups on a server.
const DefaultStateDir = "/var/lib/mailmove"

// defaultPath is the PATH of scripts: daemons' tools live in sbin, and a user's
// login need not have it there.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
