package trial

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/lab"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/machine"
	"github.com/mailmove/mailmove/cmd/mailmove-lab/internal/people"
)

//go:embed move.mm.hcl
var configuration string

const (
	program  = "/usr/local/bin/mailmove"
	project  = "/root/move" // on the operator's host
	turnTime = 10 * time.Minute
	kills    = 6 // so often it is killed at most
	failures = 5 // after so many failed turns the trial gives up
)

// Mailmove moves the domain with mailmove and one of its recipes, turn by turn, as cron would: a turn that fails is
// followed by another, but not for ever, and it is counted.
type Mailmove struct {
	Recipe string    // one that ships with mailmove, or, with a slash in it, the directory of one's own
	Kill   bool      // kill it at a random instant, again and again
	Log    io.Writer // what it prints
	kills  int       // how often it has been killed
	failed int       // how many turns ended with an error
}

// String says what happened on the way, for the row of the trial.
func (m *Mailmove) String() string {
	return fmt.Sprintf("killed %d, failed turns %d", m.kills, m.failed)
}

var _ Migration = (*Mailmove)(nil)

// Forward writes the configuration and takes turns until every account and the MX are on the new server.
func (m *Mailmove) Forward(ctx context.Context, l *lab.Lab) error {
	host, err := l.Host("op")
	if err != nil {
		return err
	}
	if path, err := host.Path(program); err != nil {
		return err
	} else if _, err := os.Stat(path); err != nil {
		return errors.New("no mailmove on the operator's host: give one with -mailmove")
	}
	if err := m.configure(l, host, "24h"); err != nil {
		return err
	}
	return m.turns(ctx, host, func() (bool, error) { return m.reached(ctx, host, "drain") }, "apply", "-auto-approve", "-no-color", "-detailed-exitcode", "-transcript=transcript")
}

// Back returns to before the first phase.
func (m *Mailmove) Back(ctx context.Context, l *lab.Lab) error {
	host, err := l.Host("op")
	if err != nil {
		return err
	}
	never := func() (bool, error) { return false, nil }
	return m.turns(ctx, host, never, "rollback", "-to-start", "-auto-approve", "-no-color", "-detailed-exitcode")
}

// Finish lets the old server go, now that nobody sends any more, and demands that nothing is left to plan.
func (m *Mailmove) Finish(ctx context.Context, l *lab.Lab) error {
	host, err := l.Host("op")
	if err != nil {
		return err
	}
	if err := m.configure(l, host, "1s"); err != nil {
		return err
	}
	never := func() (bool, error) { return false, nil }
	if err := m.turns(ctx, host, never, "apply", "-auto-approve", "-no-color", "-detailed-exitcode"); err != nil {
		return err
	}
	if err := runLogged(ctx, host, m.Log, program, "-chdir="+project, "plan", "-no-color", "-detailed-exitcode"); err != nil {
		return fmt.Errorf("planning again, which must find nothing to do: %w", err)
	}
	return nil
}

// The statuses of mailmove's own table that are not errors.
const (
	statusDone    = 0
	statusPending = 2 // waits for a gate
)

// turns takes turns until mailmove is done or enough says so. A turn that is killed is taken again.
func (m *Mailmove) turns(ctx context.Context, host *machine.Host, enough func() (bool, error), command ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, turnTime, errors.New("the migration did not come to its end in time"))
	defer cancel()
	for {
		status, killed, err := m.turn(ctx, host, command)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case killed:
			m.kills++
			continue
		case err != nil && m.failed == failures:
			return err
		case err != nil:
			m.failed++
			fmt.Fprintln(m.Log, "the turn failed; another is taken")
		case status == statusDone:
			return nil
		}
		if done, err := enough(); done || err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// turn runs mailmove once.
func (m *Mailmove) turn(ctx context.Context, host *machine.Host, command []string) (status int, killed bool, err error) {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	argv := append([]string{program, "-chdir=" + project}, command...)
	if m.Kill && m.kills < kills {
		// timeout(1) sends the signal inside the host. Early instants are likelier, so that kills fall on one another's heels,
		// too, and some come late, so that they fall into every part of the work.
		after := time.Duration(rand.ExpFloat64() * float64(8*time.Second))
		argv = append([]string{"timeout", "-s", "KILL", fmt.Sprintf("%.3f", after.Seconds()+0.01)}, argv...)
	}
	err = runLogged(running, host, m.Log, argv...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return statusDone, false, nil
	case !errors.As(err, &exit):
		return 0, false, err
	case m.Kill && (exit.ExitCode() == 137 || exit.ExitCode() == -1): // 128+SIGKILL, of timeout or of nsenter
		return 0, true, nil
	case exit.ExitCode() == statusPending:
		return statusPending, false, nil
	}
	return exit.ExitCode(), false, err
}

// reached reports whether the migration stands in a phase and has done it.
func (m *Mailmove) reached(ctx context.Context, host *machine.Host, phase string) (bool, error) {
	output, err := host.Run(ctx, nil, program, "-chdir="+project, "status", "-json")
	if err != nil {
		return false, err
	}
	var status struct {
		Clocks []struct {
			Phase string
			Done  *time.Time
		}
	}
	if err := json.Unmarshal(output, &status); err != nil {
		return false, fmt.Errorf("reading status: %w", err)
	}
	for _, clock := range status.Clocks {
		if strings.HasSuffix(clock.Phase, phase) {
			return clock.Done != nil, nil
		}
	}
	return false, nil
}

// configure writes the configuration of the move on the operator's host. quiet is how long the old server must have been
// left alone before it may go.
func (m *Mailmove) configure(l *lab.Lab, host *machine.Host, quiet string) error {
	population, err := people.Load(l.Record(people.File))
	if err != nil {
		return err
	}
	values := struct {
		Source, Domain, Old, New, OldMX, NewMX, Server, Quiet string
		Accounts                                              []people.Account
		Aliases                                               []people.Alias
		CatchAll                                              []string
		Services                                              []string
		TSIG                                                  lab.TSIG
		Normal, Moving                                        int
	}{
		Source: "std/" + m.Recipe, Domain: population.Domain, Old: lab.Address("old").String(), New: lab.Address("new").String(),
		OldMX: lab.FQDN("old"), NewMX: lab.FQDN("new"), Server: lab.Address("dns").String(), Quiet: quiet,
		Accounts: population.Moving(), Services: lab.ServiceNames(), TSIG: l.TSIG,
		Normal: int(l.Options.TTL.Seconds()), Moving: max(1, int(l.Options.TTL.Seconds())/2),
	}
	for _, alias := range population.Aliases {
		local, _, _ := strings.Cut(alias.Address, "@")
		if local == "" {
			values.CatchAll = alias.Members
			continue
		}
		values.Aliases = append(values.Aliases, people.Alias{Address: local, Members: alias.Members})
	}
	dir, err := host.Path(project)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if strings.Contains(m.Recipe, "/") {
		values.Source = "./recipe"
		if err := replaceDir(filepath.Join(dir, "recipe"), m.Recipe); err != nil {
			return fmt.Errorf("installing recipe: %w", err)
		}
	}
	parsed, err := template.New("move").Parse(configuration)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, values); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "move.mm.hcl"), text.Bytes(), 0o600)
}

// replaceDir makes to a copy of from.
func replaceDir(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
