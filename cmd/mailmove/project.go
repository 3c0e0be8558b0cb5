package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/mailmove/mailmove/engine"
	"github.com/mailmove/mailmove/engine/config"
	"github.com/mailmove/mailmove/engine/state"
)

// projectFlags are the flags of commands that read the configuration.
type projectFlags struct {
	vars, varFiles []string
	state          string
	parallelism    int
	lockTimeout    time.Duration
	validity       time.Duration
	takeOver       bool
	dir            string // "" is the current folder
	transcript     string
}

// configFlags say what to read.
func (f *projectFlags) configFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "var", Usage: "set a variable: `name=value`; may be repeated", Destination: &f.vars},
		&cli.StringSliceFlag{Name: "var-file", Usage: "read variables from a `file`; may be repeated", Destination: &f.varFiles},
	}
}

func (f *projectFlags) stateFlag() cli.Flag {
	return &cli.StringFlag{Name: "state", Usage: "the state `file`; the configuration's if not given", Destination: &f.state}
}

// planFlags are what planning needs besides.
func (f *projectFlags) planFlags() []cli.Flag {
	return append(f.configFlags(), f.stateFlag(),
		&cli.StringFlag{Name: "transcript", Usage: "append a line for every command that is run on a server to a `file`", Destination: &f.transcript},
		&cli.DurationFlag{Name: "valid-for", Usage: "how long the plan can be accepted", Value: 7 * 24 * time.Hour, Destination: &f.validity})
}

// turnFlags are what a turn needs besides.
func (f *projectFlags) turnFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "parallelism", Usage: "how many `batches` of changes run at once", Value: 10, Destination: &f.parallelism, Validator: positive},
		f.lockFlag(),
		&cli.BoolFlag{Name: "take-over", Usage: "go on from this state although a later turn was taken with another copy of it, which is lost", Destination: &f.takeOver},
	}
}

func (f *projectFlags) lockFlag() cli.Flag {
	return &cli.DurationFlag{Name: "lock-timeout", Usage: "how long to wait for the state's lock", Destination: &f.lockTimeout}
}

func positive(n int) error {
	if n < 1 {
		return fmt.Errorf("%d is less than 1", n)
	}
	return nil
}

// A project is a configuration with the engine that carries it out.
type project struct {
	config *config.Config
	engine *engine.Engine
}

// load reads the configuration and prints what is wrong with it.
func (a *app) load(f *projectFlags) (*config.Config, error) {
	options := config.Options{
		Dir: f.dir, Modules: modules(), Schemas: registry(nil), Vars: f.vars, VarFiles: f.varFiles,
		Environ: a.environ, Version: version,
	}
	c, diags := config.Load(options)
	a.ui.diagnostics(diags)
	if diags.HasErrors() {
		return nil, errShown
	}
	return c, nil
}

// open reads the configuration and makes the engine for it. command is what the
// lock tells others.
func (a *app) open(f *projectFlags, command string) (*project, error) {
	c, err := a.load(f)
	if err != nil {
		return nil, err
	}
	path := f.state
	if path == "" {
		path = c.StatePath()
	}
	store := state.NewFile(path)
	transcript, err := f.openTranscript()
	if err != nil {
		return nil, err
	}
	return &project{config: c, engine: &engine.Engine{
		Transcript: transcript,
		Program:    program{c}, Registry: registry(confirmations(path)), Store: store, Now: time.Now, Version: version,
		Holder: holder(command), Parallelism: f.parallelism, LockTimeout: f.lockTimeout, Validity: f.validity, TakeOver: f.takeOver,
	}}, nil
}

// openTranscript opens the file of -transcript, nil without one. It stays open until
// the program ends.
func (f *projectFlags) openTranscript() (io.Writer, error) {
	if f.transcript == "" {
		return nil, nil
	}
	file, err := os.OpenFile(f.transcript, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the transcript: %w", err)
	}
	return file, nil
}

// statePath returns the path of the state. With -state no configuration is read.
func (a *app) statePath(f *projectFlags) (string, error) {
	if f.state != "" {
		return f.state, nil
	}
	c, err := a.load(f)
	if err != nil {
		return "", err
	}
	return c.StatePath(), nil
}

// snapshot returns the state, which must be there.
func (a *app) snapshot(f *projectFlags) (*state.Snapshot, string, error) {
	path, err := a.statePath(f)
	if err != nil {
		return nil, "", err
	}
	s, err := state.NewFile(path).Load()
	if err != nil {
		return nil, path, err
	}
	if s == nil {
		return nil, path, hint(fmt.Errorf("reading the state %s: %w", path, errNoState), "Nothing has been applied here yet: mailmove plan shows what would be done. Is this the right folder (-chdir) and file (-state)?")
	}
	return s, path, nil
}

var errNoState = errors.New("there is none")

// holder says who writes the state. Arguments stay out of it: they may hold values
// of variables.
func holder(command string) state.Holder {
	h := state.Holder{User: "unknown", Host: "unknown", PID: os.Getpid(), Command: command, Since: time.Now().UTC().Truncate(time.Second)}
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	if name, err := os.Hostname(); err == nil {
		h.Host = name
	}
	return h
}
