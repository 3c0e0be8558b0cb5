package remote

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// An Operation is work on a machine that goes on when the connection is lost. Its
// id is chosen, and recorded, before the first attempt to start it: under one id it
// runs once, however often it is started.
type Operation struct {
	// ID is unique on the machine for the life of the migration: letters, digits,
	// dots, dashes and underscores.
	ID string
	// Name, Script, Args and Stdin are as in [Command]. Descriptor 9 is the
	// operation's lock: a daemon that the script starts closes it (9>&-), or the
	// operation does not count as ended if the script is killed.
	Name, Script string
	Args         []string
	Stdin        []byte
}

// An OperationState says how far an operation is.
type OperationState int

const (
	// NotStarted: nothing has run.
	NotStarted OperationState = iota
	// Running: at least one of its processes lives.
	Running
	// Done: the script has ended, and its status is on disk.
	Done
	// Died: it ran and no longer does, without a status. It was killed or the
	// machine restarted; what it did only an observation tells.
	Died
)

func (s OperationState) String() string {
	return [...]string{"not started", "running", "done", "died"}[s]
}

// A Status is an operation as it was found.
type Status struct {
	ID, Machine string
	State       OperationState
	Code        int       // exit status, if Done
	Started     time.Time // by the machine's clock
	PID         int
	BootID      string
	// Out is standard output: for [State] its end, for [Wait] nothing.
	Out []byte
	// OutSize is the size of the standard output.
	OutSize int64
	// Stderr is the end of the standard error, printable.
	Stderr string
}

// Err is nil if the operation is done with status 0. It is an *ExitError for
// another status and a *DiedError if it died; of one that still runs or has not
// started it is a *CutError.
func (s Status) Err() error {
	switch {
	case s.State == Done && s.Code == 0:
		return nil
	case s.State == Done:
		return &ExitError{Machine: s.Machine, Doing: "operation " + s.ID, Status: s.Code, Stderr: s.Stderr}
	case s.State == Died:
		return &DiedError{Machine: s.Machine, ID: s.ID, Stderr: s.Stderr}
	}
	return &CutError{Machine: s.Machine, Doing: "operation " + s.ID, Began: s.State == Running, Err: errors.New("it is " + s.State.String())}
}

// A DiedError says that an operation was killed, or its machine restarted.
type DiedError struct {
	Machine, ID, Stderr string
}

func (e *DiedError) Error() string {
	s := fmt.Sprintf("operation %s on %s: it was killed or the machine restarted", e.ID, e.Machine)
	if e.Stderr != "" {
		s += "; it last wrote: " + e.Stderr
	}
	return s
}
func (e *DiedError) Temporary() bool { return false }
func (e *DiedError) Unknown() bool   { return true }
func (e *DiedError) Hint() string {
	return "Run the same command again: it first looks at what is there."
}

// ErrOtherOperation means that an operation of this id exists and is another one.
var ErrOtherOperation = errors.New("an operation of this id with another script or other data exists")

//go:embed start.sh
var startScript string

//go:embed carry.sh
var carryScript string

//go:embed state.sh
var stateScript string

var validOperation = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func operationDir(r Runner, id string) (string, error) {
	if !validOperation.MatchString(id) {
		return "", fmt.Errorf("operation id %q is not plain", id)
	}
	return r.StateDir() + "/ops/" + id, nil
}

// Start starts an operation unless it has been started before, and returns how it
// is found then. After an error that says Unknown it may be called again.
func Start(ctx context.Context, r Runner, o Operation) (Status, error) {
	if _, err := operationDir(r, o.ID); err != nil {
		return Status{}, err
	}
	for i, a := range o.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return Status{}, fmt.Errorf("operation %s: parameter %d holds a NUL byte", o.ID, i+1)
		}
	}
	text := []byte(program(o.Script, o.Args) + "\n")
	digest := Digest(append([]byte(Digest(text)), o.Stdin...))
	res, err := r.Run(ctx, Command{
		Name:   "start operation " + o.ID + " (" + o.Name + ")",
		Script: startScript,
		Args:   []string{r.StateDir() + "/ops", o.ID, digest, strconv.Itoa(len(text)), carryScript},
		Stdin:  append(text, o.Stdin...),
	})
	if err != nil {
		return Status{}, err
	}
	if bytes.Equal(bytes.TrimSpace(res.Stdout), []byte("other")) {
		return Status{}, fmt.Errorf("starting operation %s on %v: %w", o.ID, r, ErrOtherOperation)
	}
	return State(ctx, r, o.ID)
}

// outTail is how much of the output State brings over, outChunk what Wait does at once.
const (
	outTail  = 64 << 10
	outChunk = 256 << 10
)

// State returns how an operation is found, with the end of its output.
func State(ctx context.Context, r Runner, id string) (Status, error) {
	s, err := state(ctx, r, id, 0, 0, 0)
	if err != nil || s.OutSize == 0 {
		return s, err
	}
	return state(ctx, r, id, max(0, s.OutSize-outTail), outTail, 0)
}

func state(ctx context.Context, r Runner, id string, offset, most int64, patience time.Duration) (Status, error) {
	dir, err := operationDir(r, id)
	if err != nil {
		return Status{}, err
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	res, err := r.Run(ctx, Command{
		Name:   "look at operation " + id,
		Script: stateScript,
		Args:   []string{dir, number(offset), number(most), number(int64(patience / time.Second))},
	})
	if err != nil {
		return Status{}, err
	}
	s, err := parseState(res.Stdout)
	if err != nil {
		return Status{}, fmt.Errorf("looking at operation %s on %v: %w", id, r, err)
	}
	s.ID, s.Machine = id, r.String()
	return s, nil
}

// parseState reads the answer of state.sh.
func parseState(answer []byte) (Status, error) {
	head, rest, _ := bytes.Cut(answer, []byte("\n"))
	fields := strings.Fields(string(head))
	if len(fields) != 6 {
		return Status{}, fmt.Errorf("unexpected answer %q", printable(answer))
	}
	var s Status
	switch fields[0] {
	case "absent", "not-started":
		s.State = NotStarted
	case "running":
		s.State = Running
	case "done":
		s.State = Done
	case "died":
		s.State = Died
	default:
		return Status{}, fmt.Errorf("unexpected state %q", fields[0])
	}
	var err error
	number := func(field string) int64 {
		if field == "-" {
			return 0
		}
		n, e := strconv.ParseInt(field, 10, 64)
		err = errors.Join(err, e)
		return n
	}
	if s.State == Done && fields[1] == "-" {
		return Status{}, errors.New("the status on disk is empty")
	}
	s.Code, s.PID, s.OutSize = int(number(fields[1])), int(number(fields[3])), number(fields[5])
	if fields[2] != "-" {
		s.Started = time.Unix(number(fields[2]), 0).UTC()
	}
	if fields[4] != "-" {
		s.BootID = fields[4]
	}
	tail, out, _ := bytes.Cut(rest, []byte("\n"))
	stderr, e := base64.StdEncoding.DecodeString(string(tail))
	s.Stderr, s.Out = printable(stderr), out
	return s, errors.Join(err, e)
}

const (
	// longPoll is how long one look waits for news, so that an idle operation costs
	// few round trips.
	longPoll = 10 * time.Second
	// silence is how long Wait goes on without reaching the machine.
	silence = 5 * time.Minute
)

// Wait returns when the operation has ended, or was never started. It hands what
// the operation writes to standard output to progress (if not nil), in order, from
// its beginning. It survives lost connections; ctx ends the waiting, not the
// operation.
func Wait(ctx context.Context, r Runner, id string, progress func(out []byte)) (Status, error) {
	var offset, most int64
	if progress != nil {
		most = outChunk
	} else {
		offset = 1 << 62 // no output is news
	}
	reached := time.Now()
	for pause := time.Second; ; {
		s, err := state(ctx, r, id, offset, most, longPoll)
		if err != nil {
			if ctx.Err() != nil || !(Temporary(err) || Unknown(err)) || time.Since(reached) > silence {
				return Status{}, fmt.Errorf("waiting for operation %s, which goes on: %w", id, err)
			}
			select {
			case <-time.After(pause):
				pause = min(2*pause, 15*time.Second)
			case <-ctx.Done():
			}
			continue
		}
		reached, pause = time.Now(), time.Second
		if progress != nil && len(s.Out) > 0 {
			progress(s.Out)
			offset += int64(len(s.Out))
			s.Out = nil
		}
		if s.State != Running && (progress == nil || offset >= s.OutSize) {
			return s, nil
		}
	}
}

// Stop ends an operation: SIGTERM to all its processes, SIGKILL after ten seconds.
// It is no error if it has ended already.
func Stop(ctx context.Context, r Runner, id string) (Status, error) {
	dir, err := operationDir(r, id)
	if err != nil {
		return Status{}, err
	}
	// The pid of another boot, or one used anew, is somebody else's.
	const script = `cd "$1" 2>/dev/null && [ ! -e rc ] && [ -s pid ] || exit 0
[ "$(cat boot_id)" = "$(cat /proc/sys/kernel/random/boot_id)" ] || exit 0
p=$(cat pid)
tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qxF "MAILMOVE_OP=$2" || exit 0
kill -s TERM -- "-$p" 2>/dev/null
end=$(($(date +%s) + 10))
while ! flock -n -s lock true; do
	if [ "$(date +%s)" -ge "$end" ]; then kill -s KILL -- "-$p" 2>/dev/null; exit 0; fi
	sleep 0.1
done`
	if _, err := r.Run(ctx, Command{Name: "stop operation " + id, Script: script, Args: []string{dir, id}}); err != nil {
		return Status{}, err
	}
	return State(ctx, r, id)
}

// Operations returns the ids of all operations on the machine, sorted.
func Operations(ctx context.Context, r Runner) ([]string, error) {
	const script = `[ -d "$1" ] || { echo absent; exit; }
echo present
cd "$1" && for d in *; do if [ -d "$d" ]; then printf '%s\0' "$d"; fi; done`
	return list(ctx, r, Command{Name: "list operations", Script: script, Args: []string{r.StateDir() + "/ops"}})
}

// Reap removes what operations have left that ended at least age ago, and returns
// their ids. None that runs is touched.
func Reap(ctx context.Context, r Runner, age time.Duration) ([]string, error) {
	const script = `[ -d "$1" ] || { echo absent; exit; }
echo present
cd "$1" || exit
old() { [ $(($(date +%s) - $(stat -c %Y -- "$1"))) -ge "$2" ]; }
for d in * .new.*; do
	[ -d "$d" ] && old "$d" "$2" || continue
	flock -n "$d/lock" rm -rf -- "$d" && printf '%s\0' "$d"
done
true`
	return list(ctx, r, Command{Name: "remove old operations", Script: script, Args: []string{r.StateDir() + "/ops", strconv.Itoa(int(age / time.Second))}})
}
